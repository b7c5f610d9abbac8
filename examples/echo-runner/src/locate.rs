//! Where things are: the agent's socket, and the runner itself.

use std::{
    env,
    path::{Path, PathBuf},
};

/// The name of the program.
const PROGRAM: &str = "echo-runner";

/// The socket of one incarnation, in `dir`. Its name is short, for sockets' names
/// may not be long.
pub fn socket_path(dir: &Path, guild: &str, agent: &str, epoch: u64) -> PathBuf {
    // FNV-1a: the same in every process and version, unlike the standard hasher.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in guild.bytes().chain([0]).chain(agent.bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    dir.join(format!("echo-{hash:016x}-{epoch}"))
}

/// There is no echo runner beside this program.
#[derive(Debug, thiserror::Error)]
#[error("there is no {PROGRAM} in {} or above it; run `cargo build -p {PROGRAM}` with the same profile", searched.display())]
pub struct NotBuilt {
    /// Where the search began.
    pub searched: PathBuf,
}

/// Finds the runner in the target directory that the calling program is in.
///
/// # Errors
/// [`NotBuilt`] says how to build it.
pub fn binary() -> Result<PathBuf, NotBuilt> {
    let program = env::current_exe().unwrap_or_default();
    // target/PROFILE/x, target/PROFILE/deps/x, target/PROFILE/examples/x.
    let found = program.ancestors().skip(1).take(3).map(|dir| dir.join(PROGRAM)).find(|path| path.is_file());
    found.ok_or_else(|| NotBuilt { searched: program.parent().unwrap_or(Path::new("")).to_owned() })
}
