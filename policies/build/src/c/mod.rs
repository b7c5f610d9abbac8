//! From a policy in C to its component.
//!
//! The author writes the functions that `placement.h` declares; the rest is generated from
//! `placement.wit`. Here are the steps; [`bindings`] knows WIT, and [`clang`] the compiler.

mod bindings;
mod clang;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};

use self::{bindings::Bindings, clang::Clang};
use crate::encode;

/// Makes a component of all C files in a folder. It exports those interfaces of
/// `placement.wit` of which the files define a function. What the compiler warns of goes to
/// standard error.
///
/// # Errors
/// Says which package is missing, or what clang says of the files, or why the module that
/// they make is no policy.
pub fn build_c(folder: &Path) -> anyhow::Result<Vec<u8>> {
    let sources = sources(folder)?;
    let clang = Clang::of(Path::new("clang"))?;
    let scratch = tempfile::tempdir().context("no folder for what is generated")?;
    let scratch = scratch.path();

    let mut bindings = Bindings::complete()?;
    bindings.write(scratch)?;
    let mut objects = Vec::new();
    for (nth, source) in sources.iter().enumerate() {
        let object = scratch.join(format!("{nth}.o"));
        clang.compile(folder, source, scratch, &object)?;
        objects.push(object);
    }
    let contents = objects.iter().map(fs::read).collect::<Result<Vec<_>, _>>()?;
    bindings.keep_defined(&clang::defined(&contents)?);
    let glue = bindings.write(scratch)?;
    let glued = scratch.join("glue.o");
    clang.compile(scratch, &glue.source, scratch, &glued)?;
    objects.extend([glued, glue.component_type]);

    let module = scratch.join("policy.wasm");
    clang.link(&objects, &module)?;
    let module = fs::read(&module).context("clang made no module")?;
    refuse_imports(&module)?;
    encode(&module)
}

/// The header that a policy in C includes, `placement.h`, for its author to read.
///
/// # Errors
/// When `placement.wit` cannot be said in C.
pub fn c_header() -> anyhow::Result<String> {
    Bindings::complete()?.header()
}

/// The folder's C files by name: the same bytes in any order of the folder.
fn sources(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut sources = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let name = PathBuf::from(entry?.file_name());
        if name.extension().is_some_and(|extension| extension == "c") {
            sources.push(name);
        }
    }
    ensure!(!sources.is_empty(), "no C file in {}", folder.display());
    sources.sort();
    Ok(sources)
}

/// The encoder would refuse them too, and not say where they come from.
fn refuse_imports(module: &[u8]) -> anyhow::Result<()> {
    let imports = clang::imports(module)?;
    ensure!(
        imports.is_empty(),
        "the module imports {}; a policy may import nothing. The C library does so for files, clocks and \
         the like, and for printf, snprintf and their kind",
        imports.join(", ")
    );
    Ok(())
}
