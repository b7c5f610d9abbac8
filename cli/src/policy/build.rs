//! From a policy's source, a crate or C files, to its component.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};
use guildhall::placement::Sha256Digest;
use guildhall_policy_build::{Toolchain, build_c, c_header, encode};

#[derive(clap::Args)]
pub(crate) struct Build {
    /// The crate's folder, or one with a `policy.c`.
    #[arg(default_value = ".")]
    folder: PathBuf,

    /// Where the component goes. Unset: in the folder, under the crate's name or the folder's.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Build {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let folder = &self.folder;
        let folder = fs::canonicalize(folder).with_context(|| format!("no folder {}", folder.display()))?;
        let (name, component) = if is_c(&folder) { from_c(&folder)? } else { from_crate(&folder)? };
        let output = self.output.unwrap_or_else(|| folder.join(format!("{name}.wasm")));
        fs::write(&output, &component).with_context(|| format!("cannot write {}", output.display()))?;
        println!("{}: {} bytes, sha256 {}", output.display(), component.len(), Sha256Digest::of(&component));
        Ok(())
    }
}

fn from_crate(folder: &Path) -> anyhow::Result<(String, Vec<u8>)> {
    let name = package_name(folder)?;
    let toolchains = Toolchain::all(&[]);
    let toolchain = toolchains.first().context(
        "no compiler for WebAssembly: `rustup target add wasm32-unknown-unknown`, \
         or Debian's rustc-web, cargo-web and rust-web-src",
    )?;
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| folder.join("target"), PathBuf::from);
    let status = toolchain.cargo(folder, &target)?.arg("--release").status().context("cannot run cargo")?;
    ensure!(status.success(), "{name} does not compile with {}", toolchain.identity);
    let module = target.join("wasm32-unknown-unknown/release").join(name.replace('-', "_") + ".wasm");
    let module = fs::read(&module).with_context(|| {
        format!("cannot read {}: does Cargo.toml say crate-type = [\"cdylib\"]?", module.display())
    })?;
    Ok((name, encode(&module)?))
}

fn is_c(folder: &Path) -> bool {
    folder.join("policy.c").exists() && !folder.join("Cargo.toml").exists()
}

fn from_c(folder: &Path) -> anyhow::Result<(String, Vec<u8>)> {
    leave_header(&folder.join("target"))?;
    let name = folder.file_name().context("the folder has no name")?;
    Ok((name.to_string_lossy().into_owned(), build_c(folder)?))
}

/// For the author to read, and for the author's editor.
fn leave_header(target: &Path) -> anyhow::Result<()> {
    let header = target.join("placement.h");
    let cannot = || format!("cannot write {}", header.display());
    fs::create_dir_all(target).with_context(cannot)?;
    fs::write(&header, c_header()?).with_context(cannot)
}

fn package_name(folder: &Path) -> anyhow::Result<String> {
    let file = folder.join("Cargo.toml");
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let manifest: toml::Table = text.parse().with_context(|| format!("{} is no TOML", file.display()))?;
    let name = manifest.get("package").and_then(|package| package.get("name")).and_then(toml::Value::as_str);
    name.map(str::to_owned).with_context(|| format!("{} names no package", file.display()))
}
