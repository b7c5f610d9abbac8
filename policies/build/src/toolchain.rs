//! A compiler for `wasm32-unknown-unknown`, and how to call it.
//!
//! Two kinds will do: one that rustup manages, which brings a compiled standard
//! library, and a distribution's (Debian: `rustc-web`, `cargo-web`,
//! `rust-web-src`), which builds the standard library from its source.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail};

const TARGET: &str = "wasm32-unknown-unknown";

/// A compiler that can make WebAssembly, with what belongs to it.
#[derive(Clone, Debug)]
pub struct Toolchain {
    rustc: PathBuf,
    sysroot: PathBuf,
    commit: String,
    /// What the bytes depend on: the compiler's version, and where the standard
    /// library and the linker come from.
    pub identity: String,
    std: Std,
}

#[derive(Clone, Debug)]
enum Std {
    Compiled,
    FromSource { linker: PathBuf },
}

impl Toolchain {
    /// The toolchain of this `rustc`, if it can compile to wasm.
    ///
    /// # Errors
    /// Says what is missing.
    pub fn of(rustc: &Path) -> anyhow::Result<Self> {
        let version = output(Command::new(rustc).arg("-vV"))?;
        let field = |name: &str| version.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
        let first = version.lines().next().unwrap_or_default().to_owned();
        let commit = field("commit-hash: ").unwrap_or_default();
        let host = field("host: ").context("rustc names no host")?;
        let sysroot = PathBuf::from(output(Command::new(rustc).args(["--print", "sysroot"]))?.trim());
        let rustlib = sysroot.join("lib/rustlib");
        // The compiler itself, not rustup's stand-in for it.
        let rustc = Some(sysroot.join("bin/rustc")).filter(|path| path.exists()).unwrap_or(rustc.to_owned());
        if !rustlib.join(TARGET).join("lib").exists() {
            add_target(&sysroot);
        }
        if rustlib.join(TARGET).join("lib").exists() {
            return Ok(Self { rustc, sysroot, commit, identity: first, std: Std::Compiled });
        }
        if !rustlib.join("src/rust/library/std").exists() {
            bail!("{first} has neither the target {TARGET} nor the source of the standard library");
        }
        let linker = linker(&rustlib, &host)
            .with_context(|| format!("{first} has no linker for wasm: rust-lld or wasm-ld"))?;
        let linked_by = linker_version(&linker)?;
        let identity = format!("{first}, std from source, {linked_by}");
        Ok(Self { rustc, sysroot, commit, identity, std: Std::FromSource { linker } })
    }

    /// All toolchains at hand: `$RUSTC` or `rustc`, rustup's of the given releases,
    /// and the system's. Those that cannot compile to wasm are told, and left out.
    pub fn all(releases: &[String]) -> Vec<Self> {
        let mut compilers = vec![PathBuf::from(env::var_os("RUSTC").unwrap_or("rustc".into()))];
        let of_release = |release: &String| {
            let found = output(Command::new("rustup").args(["which", "rustc", "--toolchain", release]));
            found.ok().map(|path| PathBuf::from(path.trim()))
        };
        compilers.extend(releases.iter().filter_map(of_release));
        compilers.extend(Some(PathBuf::from("/usr/bin/rustc")).filter(|path| path.exists()));
        let mut found: Vec<Self> = Vec::new();
        for rustc in compilers {
            match Self::of(&rustc) {
                Ok(toolchain) if found.iter().any(|other| other.identity == toolchain.identity) => {}
                Ok(toolchain) => found.push(toolchain),
                Err(error) => eprintln!("{} is of no use: {error:#}", rustc.display()),
            }
        }
        found
    }

    /// A `cargo build` to wasm with this toolchain, to which the package and the profile
    /// are to be added. Nothing in its environment, and nothing of this machine's paths,
    /// changes the bytes. The module will be below `target_dir`, in the folder
    /// `wasm32-unknown-unknown` and the profile's.
    ///
    /// # Errors
    /// When there is no folder of cargo's.
    pub fn cargo(&self, workspace: &Path, target_dir: &Path) -> anyhow::Result<Command> {
        let cargo = Some(self.sysroot.join("bin/cargo")).filter(|path| path.exists());
        let mut cargo = Command::new(cargo.unwrap_or("cargo".into()));
        for (name, _) in env::vars_os() {
            let name = name.to_string_lossy();
            let steers =
                ["CARGO_BUILD_", "CARGO_PROFILE_", "CARGO_TARGET_", "CARGO_UNSTABLE_", "RUSTC", "RUSTFLAGS"];
            if steers.iter().any(|prefix| name.starts_with(prefix)) {
                cargo.env_remove(&*name);
            }
        }
        cargo
            .current_dir(workspace)
            .env("RUSTC", &self.rustc)
            .env("CARGO_ENCODED_RUSTFLAGS", self.flags(workspace)?)
            .env("CARGO_TARGET_DIR", target_dir)
            .args(["build", "--target", TARGET]);
        if let Std::FromSource { linker } = &self.std {
            cargo
                .env("RUSTC_BOOTSTRAP", "1")
                .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker)
                .arg("-Zbuild-std=std,panic_abort");
        }
        Ok(cargo)
    }

    fn flags(&self, workspace: &Path) -> anyhow::Result<OsString> {
        // All engines that run components have had fixed-width SIMD for years.
        let mut flags = OsString::from("-Ctarget-feature=+simd128");
        let mut remap = |from: &Path, to: &str| {
            flags.push("\u{1f}--remap-path-prefix=");
            flags.push(from);
            flags.push("=");
            flags.push(to);
        };
        remap(workspace, "/guildhall");
        // Each registry's folder has a hash in its name, which no path may depend on.
        let sources = cargo_home()?.join("registry/src");
        for registry in sources.read_dir().with_context(|| format!("cannot list {}", sources.display()))? {
            remap(&registry?.path(), "/crates");
        }
        // With the source of the standard library at hand, rustc names it by its
        // place on this machine, and without it by this name.
        remap(&self.sysroot.join("lib/rustlib/src/rust"), &format!("/rustc/{}", self.commit));
        Ok(flags)
    }

    /// Paths that must not be in the bytes.
    ///
    /// # Errors
    /// When there is no folder of cargo's.
    pub fn private_paths(&self, workspace: &Path) -> anyhow::Result<Vec<PathBuf>> {
        Ok(vec![workspace.to_owned(), cargo_home()?, self.sysroot.join("lib/rustlib")])
    }
}

fn cargo_home() -> anyhow::Result<PathBuf> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    home.or_else(|| env::home_dir().map(|home| home.join(".cargo")))
        .context("neither CARGO_HOME nor HOME is set")
}

/// Asks rustup for the target. That there is no rustup, or that the toolchain is
/// not one of its own, shows in the target's absence.
fn add_target(sysroot: &Path) {
    let toolchain = sysroot.file_name().unwrap_or_default();
    let _ = Command::new("rustup").args(["target", "add", TARGET, "--toolchain"]).arg(toolchain).output();
}

fn linker(rustlib: &Path, host: &str) -> Option<PathBuf> {
    let own = rustlib.join(host).join("bin/rust-lld");
    let of_rustup = || {
        let sysroot = output(Command::new("rustc").args(["--print", "sysroot"])).ok()?;
        Some(PathBuf::from(sysroot.trim()).join("lib/rustlib").join(host).join("bin/rust-lld"))
    };
    let on_path = || {
        let path = env::var_os("PATH")?;
        env::split_paths(&path).map(|dir| dir.join("wasm-ld")).find(|linker| linker.exists())
    };
    Some(own)
        .filter(|linker| linker.exists())
        .or_else(|| of_rustup().filter(|linker| linker.exists()))
        .or_else(on_path)
}

fn linker_version(linker: &Path) -> anyhow::Result<String> {
    let mut command = Command::new(linker);
    if linker.ends_with("rust-lld") {
        command.args(["-flavor", "wasm"]);
    }
    let version = output(command.arg("--version"))?;
    // Behind the version, in brackets, is where LLD's own build had its source.
    Ok(version.split(" (").next().unwrap_or_default().trim().to_owned())
}

fn output(command: &mut Command) -> anyhow::Result<String> {
    let ran = command.output().with_context(|| format!("cannot run {command:?}"))?;
    if !ran.status.success() {
        bail!("{command:?} failed: {}", String::from_utf8_lossy(&ran.stderr).trim());
    }
    String::from_utf8(ran.stdout).with_context(|| format!("{command:?} did not print text"))
}
