//! A whole cluster: the control plane, a network of pods, and nodes for them.

use std::{
    collections::HashMap,
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError},
};

use anyhow::{Context, Result};
use k8s_openapi::api::{
    authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec},
    core::v1::{PersistentVolume, Pod, ServiceAccount},
};
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use crate::{
    assets::Assets,
    control_plane::ControlPlane,
    kubectl::Kubectl,
    kubelet::{self, Ground, Images},
    names,
    network::Network,
};

/// A cluster. It lives in a sandbox, with which all of it ends.
pub struct Cluster {
    plane: ControlPlane,
    ground: Arc<Ground>,
    client: Client,
    kubectl: Kubectl,
    folder: PathBuf,
    tasks: TaskTracker,
    cancelled: CancellationToken,
    _ends: DropGuard,
}

impl Cluster {
    /// Starts one without nodes, in a folder of its own.
    ///
    /// # Errors
    /// When a part of it does not start.
    ///
    /// # Panics
    /// When the workspace's programs are not built.
    pub async fn start(folder: &Path) -> Result<Self> {
        let network = Network::build()?;
        let images = Images::gather(&folder.join("images"))?;
        let plane = ControlPlane::start(Assets::of_environment()?, folder).await?;
        let (tasks, cancelled) = (TaskTracker::new(), CancellationToken::new());
        let client = plane.admin().await?;
        let names = names::follow(client.clone(), &tasks, cancelled.clone());
        let pods = folder.join("pods");
        std::fs::create_dir_all(&pods)?;
        let ground = Ground { network, names, images, folder: pods, processes: HashMap::new().into() };
        Ok(Self {
            kubectl: plane.kubectl()?,
            plane,
            ground: Arc::new(ground),
            client,
            folder: folder.to_owned(),
            tasks,
            _ends: cancelled.clone().drop_guard(),
            cancelled,
        })
    }

    /// Adds a node in this zone, which runs pods.
    ///
    /// # Errors
    /// When it cannot be registered.
    pub async fn node(&self, name: &str, zone: &str) -> Result<()> {
        let user = format!("system:node:{name}");
        let client = self.plane.client(name, &user, Some("system:nodes")).await?;
        kubelet::start(client, name, zone, self.ground.clone(), &self.tasks, self.cancelled.clone()).await
    }

    /// Adds a disk for the claim of one pod.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn disk(&self, name: &str) -> Result<()> {
        let folder = self.folder.join("disks").join(name);
        std::fs::create_dir_all(&folder)?;
        let disks: Api<PersistentVolume> = Api::all(self.client.clone());
        let disk = json!({
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": name},
            "spec": {
                "capacity": {"storage": "64Gi"},
                "accessModes": ["ReadWriteOnce"],
                "hostPath": {"path": folder},
            },
        });
        disks.patch(name, &PatchParams::apply("test"), &Patch::Apply(&disk)).await?;
        Ok(())
    }

    /// Somebody who may do everything.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// `kubectl` of somebody who may do everything.
    pub fn kubectl(&self) -> &Kubectl {
        &self.kubectl
    }

    /// The processes of the control plane.
    pub fn plane(&mut self) -> &mut ControlPlane {
        &mut self.plane
    }

    /// A client with a token of this account, as a pod of the account has it.
    ///
    /// # Errors
    /// When there is no such account.
    pub async fn client_of(&self, namespace: &str, account: &str) -> Result<Client> {
        self.client_with(&self.token(namespace, account, None).await?)
    }

    /// The same with the token that this very pod has.
    ///
    /// # Errors
    /// When there is no such pod or account.
    pub async fn client_of_pod(&self, pod: &Pod, account: &str) -> Result<Client> {
        let namespace = pod.namespace().unwrap_or_default();
        self.client_with(&self.token(&namespace, account, Some(pod)).await?)
    }

    fn client_with(&self, token: &str) -> Result<Client> {
        let mut config = self.plane.config_of_a_pod()?;
        config.auth_info.token = Some(token.to_owned().into());
        Ok(Client::try_from(config)?)
    }

    /// A token of this account, bound to a pod or to none.
    async fn token(&self, namespace: &str, account: &str, pod: Option<&Pod>) -> Result<String> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), namespace);
        let hour = TokenRequestSpec {
            expiration_seconds: Some(3600),
            bound_object_ref: pod.map(|pod| BoundObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Pod".to_owned()),
                name: pod.metadata.name.clone(),
                uid: pod.uid(),
            }),
            ..TokenRequestSpec::default()
        };
        let request = TokenRequest { spec: hour, ..TokenRequest::default() };
        let answer = accounts.create_token_request(account, &PostParams::default(), &request).await;
        let answer = answer.with_context(|| format!("a token of {account}"))?;
        Ok(answer.status.context("there is no token in the answer")?.token)
    }

    /// The first process of a pod, as long as it is there.
    pub fn process(&self, namespace: &str, pod: &str) -> Option<i32> {
        let processes = self.ground.processes.lock().unwrap_or_else(PoisonError::into_inner);
        processes.get(&(namespace.to_owned(), pod.to_owned())).copied()
    }

    /// Where pods have their folders, `NAME-UID`, with the logs of their containers and
    /// their volumes in `volumes`. They stay when the pods are gone.
    pub fn pods(&self) -> &Path {
        &self.ground.folder
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("folder", &self.folder).finish_non_exhaustive()
    }
}
