//! A crate with a policy, to begin from.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};

/// The files of a new crate. `NAME`, `Name` and `KIT` are filled in.
const FILES: [(&str, &str); 3] = [
    ("Cargo.toml", include_str!("../../template/Cargo.toml.txt")),
    ("src/lib.rs", include_str!("../../template/lib.rs.txt")),
    (".gitignore", "/target\n"),
];

#[derive(clap::Args)]
pub(crate) struct New {
    /// Its name, as `keep-in-zone`: that of the crate, and of the folder that is made.
    name: String,

    /// Where the kit (the crate `guildhall-policy`) is on this machine. Unset: in the
    /// registry of crates.
    #[arg(long, value_name = "FOLDER")]
    kit: Option<PathBuf>,
}

impl New {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let name = &self.name;
        let well_formed = name.starts_with(|first: char| first.is_ascii_lowercase())
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
        ensure!(
            well_formed,
            "{name:?} is not a name such as keep-in-zone: small letters, digits and hyphens"
        );
        let kit = match &self.kit {
            None => format!("version = {:?}", env!("CARGO_PKG_VERSION")),
            Some(folder) => {
                let folder =
                    fs::canonicalize(folder).with_context(|| format!("no kit at {}", folder.display()))?;
                format!("path = {folder:?}")
            }
        };
        let folder = Path::new(name);
        ensure!(!folder.exists(), "{name} is there already");
        for (file, template) in FILES {
            let path = folder.join(file);
            let text = template.replace("KIT", &kit).replace("NAME", name).replace("Name", &type_name(name));
            let parent = path.parent().unwrap_or(folder);
            fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        println!("{name}: a policy that keeps agents in the zone they ask for. Next:");
        println!("  cd {name}");
        println!("  cargo test                       # its test, natively");
        println!("  guildhall policy build           # makes {name}.wasm");
        println!("  guildhall policy check {name}.wasm");
        Ok(())
    }
}

/// `keep-in-zone` becomes `KeepInZone`.
fn type_name(name: &str) -> String {
    let capitalised = |word: &str| {
        let mut letters = word.chars();
        letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect::<String>()
    };
    name.split('-').map(capitalised).collect()
}
