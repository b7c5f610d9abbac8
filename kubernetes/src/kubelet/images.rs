//! What stands in for images: programs of this workspace, and of the machine.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};

/// The programs that this workspace's images have, in the folder where they have them.
const PROGRAMS: [&str; 3] = ["agent-host", "echo-runner", "run_guild"];

/// Where they are within an image.
pub(super) const BIN: &str = "/usr/local/bin";

/// Copies of the programs, so that a build that goes on meanwhile changes nothing.
#[derive(Debug)]
pub(crate) struct Images {
    folder: PathBuf,
}

/// What is known of one image.
#[derive(Debug)]
pub(super) struct Image {
    /// What is run when the container names no command.
    pub(super) entrypoint: Vec<String>,
    /// Files of the machine, and their names in [`BIN`].
    pub(super) programs: Vec<(PathBuf, &'static str)>,
}

impl Images {
    /// Copies the programs into `folder`.
    ///
    /// # Errors
    /// When they cannot be copied.
    ///
    /// # Panics
    /// When they are not built.
    pub(crate) fn gather(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        for program in PROGRAMS {
            fs::copy(guildhall_testing::binary(program), folder.join(program))?;
        }
        Ok(Self { folder: folder.to_owned() })
    }

    /// The image of this name.
    ///
    /// # Errors
    /// When nothing here stands in for it.
    pub(super) fn find(&self, name: &str) -> Result<Image> {
        let repository = name.split_once('@').map_or(name, |(name, _)| name);
        let repository = repository.rsplit_once(':').map_or(repository, |(repository, _)| repository);
        let with =
            |programs: &[&'static str]| programs.iter().map(|&of| (self.folder.join(of), of)).collect();
        let begins_with = |program: &str| vec![format!("{BIN}/{program}")];
        match repository {
            "guildhall/agent-host" => {
                Ok(Image { entrypoint: begins_with("agent-host"), programs: with(&["agent-host"]) })
            }
            "guildhall/agent-host-echo" => Ok(Image {
                entrypoint: begins_with("agent-host"),
                programs: with(&["agent-host", "echo-runner"]),
            }),
            "guildhall/run-guild" => {
                Ok(Image { entrypoint: begins_with("run_guild"), programs: with(&["run_guild"]) })
            }
            // The machine's own, which is in /usr/bin.
            "redis" => Ok(Image { entrypoint: vec!["redis-server".to_owned()], programs: Vec::new() }),
            _ => bail!("nothing here stands in for the image {name}: see kubelet/images.rs"),
        }
    }
}
