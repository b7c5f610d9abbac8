//! Finds libFuzzer, for the one binary that has it.
//!
//! It is the one that comes with clang. The crate `libfuzzer-sys` would build its own,
//! with another feature of the crate `cc`, for which cargo would build wasmtime again.

use std::{env, path::PathBuf, process::Command};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if env::var_os("CARGO_FEATURE_LIBFUZZER").is_none() {
        return;
    }
    let arch = env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default();
    let library = found(&format!("libclang_rt.fuzzer-{arch}.a"))
        .or_else(|| found("libclang_rt.fuzzer.a"))
        .expect("clang's libFuzzer is needed (Debian: clang and libclang-rt-dev)");
    println!("cargo:rustc-link-arg-bins={}", library.display());
    println!("cargo:rustc-link-arg-bins=-lstdc++");
}

/// The file of clang's own of that name, if there is one.
fn found(name: &str) -> Option<PathBuf> {
    let output = Command::new("clang").arg(format!("-print-file-name={name}")).output().ok()?;
    let path = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim());
    // clang prints the bare name of what it does not find.
    path.is_absolute().then_some(path)
}
