//! `placement.wit` in C: the header for the author, and the code between the author's
//! functions and the component's exports.

use std::{
    collections::{BTreeSet, HashMap},
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use wit_bindgen_c::{Opts, c_func_name};
use wit_bindgen_core::Files;
use wit_parser::{Resolve, WorldId, WorldItem, WorldKey};

use crate::contract;

/// What the generated files and the types of no interface are named for.
const NAME: &str = "placement";

/// A world that C code is generated for.
pub(super) struct Bindings {
    resolve: Resolve,
    world: WorldId,
}

/// What was generated, beside the header.
pub(super) struct Glue {
    /// The C file, by its name in the folder.
    pub(super) source: PathBuf,
    /// The object that tells what the exports mean.
    pub(super) component_type: PathBuf,
}

impl Bindings {
    /// For all that a policy may export.
    pub(super) fn complete() -> anyhow::Result<Self> {
        let (resolve, world) = contract::complete()?;
        Ok(Self { resolve, world })
    }

    /// Takes those of the optional interfaces out of which no function is among these. Of
    /// what is left, the linker asks for every function.
    pub(super) fn keep_defined(&mut self, functions: &BTreeSet<String>) {
        let renames = self.renames();
        let renames: HashMap<_, _> = renames.into_iter().collect();
        let absent: Vec<WorldKey> = self
            .interfaces()
            .filter(|(_, name, _)| *name != contract::REQUIRED)
            .filter(|(key, _, interface)| {
                !self.resolve.interfaces[*interface].functions.values().any(|function| {
                    let name = c_func_name(false, &self.resolve, NAME, Some(key), function, &renames);
                    functions.contains(&name)
                })
            })
            .map(|(key, ..)| key.clone())
            .collect();
        let exports = &mut self.resolve.worlds[self.world].exports;
        absent.iter().for_each(|key| drop(exports.shift_remove(key)));
    }

    /// Writes what is generated into this folder.
    pub(super) fn write(&self, folder: &Path) -> anyhow::Result<Glue> {
        for (name, contents) in self.generate()?.iter() {
            fs::write(folder.join(name), contents).with_context(|| format!("cannot write {name}"))?;
        }
        Ok(Glue {
            source: format!("{NAME}.c").into(),
            component_type: folder.join(format!("{NAME}_component_type.o")),
        })
    }

    /// The header's text.
    pub(super) fn header(&self) -> anyhow::Result<String> {
        let files = self.generate()?;
        let header = format!("{NAME}.h");
        let (_, header) = files.iter().find(|(name, _)| *name == header).context("no header came out")?;
        Ok(String::from_utf8(header.to_owned())?)
    }

    fn generate(&self) -> anyhow::Result<Files> {
        let by_name = self.renames().into_iter().map(|(key, name)| (self.resolve.name_world_key(&key), name));
        let options =
            Opts { rename: by_name.collect(), rename_world: Some(NAME.to_owned()), ..Opts::default() };
        let mut files = Files::default();
        options.build().generate(&mut self.resolve.clone(), self.world, &mut files)?;
        Ok(files)
    }

    /// Interfaces go by their own names, without the package's before them.
    fn renames(&self) -> Vec<(WorldKey, String)> {
        self.interfaces().map(|(key, name, _)| (key.clone(), name.replace('-', "_"))).collect()
    }

    fn interfaces(&self) -> impl Iterator<Item = (&WorldKey, &str, wit_parser::InterfaceId)> {
        self.resolve.worlds[self.world].exports.iter().filter_map(|(key, item)| {
            let WorldItem::Interface { id, .. } = item else { return None };
            Some((key, self.resolve.interfaces[*id].name.as_deref()?, *id))
        })
    }
}
