//! `kubectl`, as somebody of the cluster.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use crate::tool::{Said, run_with};

/// The command and who it is.
#[derive(Clone, Debug)]
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
}

impl Kubectl {
    pub(crate) fn new(program: PathBuf, kubeconfig: PathBuf) -> Self {
        Self { program, kubeconfig }
    }

    /// Runs it with these arguments.
    ///
    /// # Errors
    /// What it says when it fails.
    pub fn run(&self, arguments: &[&str]) -> Result<Said> {
        self.run_with(arguments, "")
    }

    /// Runs it with this standard input.
    ///
    /// # Errors
    /// What it says when it fails.
    pub fn run_with(&self, arguments: &[&str], input: &str) -> Result<Said> {
        let mut command = Command::new(&self.program);
        command.arg("--kubeconfig").arg(&self.kubeconfig).args(arguments);
        // Where it keeps what it learned of the API.
        command.env("HOME", self.kubeconfig.parent().unwrap_or(Path::new("/")));
        run_with(&mut command, input)
    }

    /// What a kustomization comes to.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn kustomize(&self, folder: &Path) -> Result<String> {
        Ok(self.run(&["kustomize", &folder.to_string_lossy()])?.output)
    }

    /// Applies objects: server-side, and with nothing in them that the server does not
    /// know.
    ///
    /// # Errors
    /// What the server refuses.
    pub fn apply(&self, objects: &str) -> Result<Said> {
        self.run_with(&["apply", "--server-side", "--validate=strict", "-f", "-"], objects)
    }
}
