//! Where the programs of this workspace are.

use std::{env, path::PathBuf};

/// The program, or the example, of this name in the target directory that the calling
/// test is in. For programs of the test's own package cargo itself says where they are.
///
/// # Panics
/// When it is not built.
pub fn binary(name: &str) -> PathBuf {
    let test = env::current_exe().expect("a test knows where it is");
    // The test is target/PROFILE/deps/x.
    let profile = test.ancestors().nth(2).expect("a test is in target/PROFILE/deps");
    let places = [profile.join(name), profile.join("examples").join(name)];
    let found = places.into_iter().find(|path| path.is_file());
    found.unwrap_or_else(|| {
        panic!(
            "there is no {name} in {}: build the whole workspace with the test's profile",
            profile.display()
        )
    })
}
