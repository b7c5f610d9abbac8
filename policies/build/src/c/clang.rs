//! The C compiler and its library, and how to call it so that the bytes depend on nothing
//! but the sources and the compiler.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail, ensure};
use wasmparser::{KnownCustom, Linking, Parser, Payload, SymbolFlags, SymbolInfo};

/// WASI's C library is the one there is. Of a policy it takes what needs no system.
const TARGET: &str = "--target=wasm32-wasi";

/// A clang that finds a linker and a C library for WebAssembly.
#[derive(Debug)]
pub(super) struct Clang {
    program: PathBuf,
}

impl Clang {
    /// This clang.
    ///
    /// # Errors
    /// Says what is missing, and which package of Debian's has it.
    pub(super) fn of(program: &Path) -> anyhow::Result<Self> {
        let clang = Self { program: program.to_owned() };
        for (question, package) in [
            ("-print-prog-name=wasm-ld", "lld"),
            ("-print-file-name=libc.a", "wasi-libc"),
            ("-print-file-name=crt1-reactor.o", "wasi-libc"),
        ] {
            let (_, wanted) = question.split_once('=').unwrap_or_default();
            // What clang does not find, it answers as it was asked for.
            ensure!(
                clang.answer(question)?.is_absolute(),
                "clang finds no {wanted} for WebAssembly: install it (on Debian: apt-get install {package})"
            );
        }
        Ok(clang)
    }

    fn answer(&self, question: &str) -> anyhow::Result<PathBuf> {
        let program = self.program.display();
        let ran = match Command::new(&self.program).args([TARGET, question]).output() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                bail!("no {program}: install it (on Debian: apt-get install clang lld wasi-libc)")
            }
            ran => ran.with_context(|| format!("cannot run {program}"))?,
        };
        ensure!(ran.status.success(), "{program}: {}", String::from_utf8_lossy(&ran.stderr).trim());
        Ok(PathBuf::from(String::from_utf8_lossy(&ran.stdout).trim()))
    }

    /// Compiles one file of a folder. Its name is all that the bytes could have of its path.
    pub(super) fn compile(
        &self,
        folder: &Path,
        source: &Path,
        headers: &Path,
        object: &Path,
    ) -> anyhow::Result<()> {
        let mut command = self.command();
        command
            .current_dir(folder)
            .args(["-std=c11", "-Os", "-Wall", "-Wextra", "-Werror=date-time", "-c"])
            .arg("-I")
            .arg(headers)
            .arg(source)
            .arg("-o")
            .arg(object);
        run(&mut command).with_context(|| format!("{} does not compile", source.display()))
    }

    /// Makes a module that waits to be called.
    pub(super) fn link(&self, objects: &[PathBuf], module: &Path) -> anyhow::Result<()> {
        let mut command = self.command();
        command
            // No part of the compiler's own library, which is one more package.
            .args(["-mexec-model=reactor", "-nodefaultlibs"])
            // A stack that is full runs out of memory, and not into the data.
            .arg("-Wl,--stack-first,--strip-all")
            .args(objects)
            .args(["-lc", "-o"])
            .arg(module);
        run(&mut command).context("the files do not link")
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        // Folders that clang would search before its own.
        for name in ["CPATH", "C_INCLUDE_PATH", "LIBRARY_PATH", "CCC_OVERRIDE_OPTIONS"] {
            command.env_remove(name);
        }
        command.arg(TARGET);
        command
    }
}

/// Runs it; its warnings are told, and its errors are the error.
fn run(command: &mut Command) -> anyhow::Result<()> {
    let ran = command.output().with_context(|| format!("cannot run {command:?}"))?;
    let said = String::from_utf8_lossy(&ran.stderr);
    ensure!(ran.status.success(), "{}", said.trim());
    eprint!("{said}");
    Ok(())
}

/// The functions that these objects define.
pub(super) fn defined(objects: &[Vec<u8>]) -> anyhow::Result<BTreeSet<String>> {
    let mut functions = BTreeSet::new();
    for object in objects {
        for payload in Parser::new(0).parse_all(object) {
            let Payload::CustomSection(section) = payload? else { continue };
            let KnownCustom::Linking(linking) = section.as_known() else { continue };
            for part in linking.subsections() {
                let Linking::SymbolTable(symbols) = part? else { continue };
                for symbol in symbols {
                    match symbol? {
                        SymbolInfo::Func { flags, name: Some(name), .. }
                            if !flags.contains(SymbolFlags::UNDEFINED) =>
                        {
                            functions.insert(name.to_owned());
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    Ok(functions)
}

/// What a module imports, by name.
pub(super) fn imports(module: &[u8]) -> anyhow::Result<Vec<String>> {
    let mut imports = Vec::new();
    for payload in Parser::new(0).parse_all(module) {
        if let Payload::ImportSection(section) = payload? {
            for import in section.into_imports() {
                let import = import?;
                imports.push(format!("{}.{}", import.module, import.name));
            }
        }
    }
    Ok(imports)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_clang_is_told_with_the_packages_to_install() {
        let error = Clang::of(Path::new("no-such-clang")).unwrap_err().to_string();
        assert_eq!(error, "no no-such-clang: install it (on Debian: apt-get install clang lld wasi-libc)");
    }
}
