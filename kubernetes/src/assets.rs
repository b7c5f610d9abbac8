//! The programs of Kubernetes, as `KUBEBUILDER_ASSETS` says where they are.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};

const NAMES: [&str; 5] = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl"];

/// A folder that has them all.
#[derive(Clone, Debug)]
pub struct Assets {
    folder: PathBuf,
}

impl Assets {
    /// Those that the environment names.
    ///
    /// # Errors
    /// When it names none, or one is missing.
    pub fn of_environment() -> Result<Self> {
        let folder = env::var_os("KUBEBUILDER_ASSETS").filter(|folder| !folder.is_empty()).context(
            "KUBEBUILDER_ASSETS is not set: it names the folder of kube-apiserver, etcd and the others, \
             which `make envtest` builds and `make test-kubernetes` sets",
        )?;
        let folder = PathBuf::from(folder);
        for name in NAMES {
            ensure!(
                folder.join(name).is_file(),
                "KUBEBUILDER_ASSETS is {}, where there is no {name}: `make envtest` builds it",
                folder.display()
            );
        }
        Ok(Self { folder })
    }

    /// Where the program of this name is.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Their folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}
