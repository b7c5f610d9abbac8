//! A pod's volumes, as folders of the machine.
//!
//! What comes from ConfigMaps and Secrets is replaced as the kubelet does it: all files of
//! a volume at once, by a link that is renamed.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::{PermissionsExt, chown, symlink},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::{
    authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec},
    core::v1::{
        Container, KeyToPath, PersistentVolume, PersistentVolumeClaim, Pod, ServiceAccount, Volume,
        VolumeProjection,
    },
};
use kube::{Api, Client, ResourceExt, api::PostParams};

use super::environment::{config_map, secret};

/// A folder, and where the container has it.
#[derive(Clone, Debug)]
pub(super) struct Mount {
    pub(super) source: PathBuf,
    pub(super) target: String,
    pub(super) read_only: bool,
}

/// The volumes of a pod.
#[derive(Clone)]
pub(super) struct Volumes {
    pod: Pod,
    client: Client,
    folder: PathBuf,
    /// The group of all files, if the pod has one for that.
    group: Option<u32>,
}

/// The files of a volume, by name, and their permissions.
type Files = BTreeMap<String, (Vec<u8>, u32)>;

impl Volumes {
    /// Those of a pod, as folders of `folder`.
    pub(super) fn new(pod: Pod, client: Client, folder: PathBuf) -> Self {
        let security = pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref());
        let group = security.and_then(|security| security.fs_group).and_then(|group| group.try_into().ok());
        Self { pod, client, folder, group }
    }

    /// Makes all of them, and says where a container wants them.
    pub(super) async fn prepare(&self, container: &Container) -> Result<Vec<Mount>> {
        let mut sources = BTreeMap::new();
        for volume in self.all() {
            let source = self.make(volume).await.with_context(|| format!("the volume {}", volume.name))?;
            sources.insert(volume.name.as_str(), source);
        }
        let mut mounts = Vec::new();
        for mount in container.volume_mounts.iter().flatten() {
            ensure!(
                mount.sub_path.is_none() && mount.sub_path_expr.is_none(),
                "a part of the volume {} is mounted, which is not covered",
                mount.name
            );
            let source = sources.get(mount.name.as_str());
            mounts.push(Mount {
                source: source.with_context(|| format!("there is no volume {}", mount.name))?.clone(),
                target: mount.mount_path.clone(),
                read_only: mount.read_only == Some(true),
            });
        }
        // A folder is mounted before those within it.
        mounts.sort_by(|a, b| a.target.cmp(&b.target));
        Ok(mounts)
    }

    /// Writes again what comes from ConfigMaps and Secrets and has changed.
    pub(super) async fn refresh(&self) -> Result<()> {
        for volume in self.all() {
            if volume.config_map.is_some() || volume.secret.is_some() {
                self.make(volume).await?;
            }
        }
        Ok(())
    }

    fn all(&self) -> impl Iterator<Item = &Volume> {
        self.pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten())
    }

    async fn make(&self, volume: &Volume) -> Result<PathBuf> {
        let folder = self.folder.join(&volume.name);
        let namespace = self.pod.namespace().unwrap_or_default();
        if let Some(of) = &volume.config_map {
            let values = config_map(&self.client, &namespace, &of.name, of.optional).await?;
            self.replace(&folder, files(values, of.items.as_deref(), of.default_mode)?)?;
        } else if let Some(of) = &volume.secret {
            let name = of.secret_name.as_deref().unwrap_or_default();
            let values = secret(&self.client, &namespace, name, of.optional).await?;
            self.replace(&folder, files(values, of.items.as_deref(), of.default_mode)?)?;
        } else if let Some(of) = &volume.projected {
            let mut all = Files::new();
            for source in of.sources.iter().flatten() {
                all.extend(self.projected(source, of.default_mode).await?);
            }
            self.replace(&folder, all)?;
        } else if volume.empty_dir.is_some() {
            self.own(&folder)?;
            // Each container may write to it, whoever it is.
            fs::set_permissions(&folder, fs::Permissions::from_mode(0o2777))?;
        } else if let Some(of) = &volume.persistent_volume_claim {
            let disk = self.disk(&namespace, &of.claim_name).await?;
            self.own(&disk)?;
            fs::set_permissions(&disk, fs::Permissions::from_mode(0o2775))?;
            return Ok(disk);
        } else {
            bail!("it is of a kind that is not covered");
        }
        Ok(folder)
    }

    async fn projected(&self, source: &VolumeProjection, mode: Option<i32>) -> Result<Files> {
        let namespace = self.pod.namespace().unwrap_or_default();
        if let Some(of) = &source.config_map {
            let values = config_map(&self.client, &namespace, &of.name, of.optional).await?;
            files(values, of.items.as_deref(), mode)
        } else if let Some(of) = &source.secret {
            let values = secret(&self.client, &namespace, &of.name, of.optional).await?;
            files(values, of.items.as_deref(), mode)
        } else if let Some(of) = &source.service_account_token {
            let token = self.token(of.audience.clone(), of.expiration_seconds).await?;
            Ok(Files::from([(of.path.clone(), (token.into_bytes(), 0o640))]))
        } else if let Some(of) = &source.downward_api {
            let mut files = Files::new();
            for item in of.items.iter().flatten() {
                let field = item.field_ref.as_ref().map(|field| field.field_path.as_str());
                ensure!(
                    field == Some("metadata.namespace"),
                    "of the pod itself only its namespace is covered"
                );
                files.insert(item.path.clone(), (namespace.clone().into_bytes(), 0o644));
            }
            Ok(files)
        } else {
            bail!("it is put together from what is not covered");
        }
    }

    /// A token of the pod's account, for this pod.
    async fn token(&self, audience: Option<String>, seconds: Option<i64>) -> Result<String> {
        let namespace = self.pod.namespace().unwrap_or_default();
        let account = self.pod.spec.as_ref().and_then(|spec| spec.service_account_name.clone());
        let request = TokenRequest {
            spec: TokenRequestSpec {
                audiences: audience.into_iter().collect(),
                expiration_seconds: seconds,
                bound_object_ref: Some(BoundObjectReference {
                    api_version: Some("v1".to_owned()),
                    kind: Some("Pod".to_owned()),
                    name: self.pod.metadata.name.clone(),
                    uid: self.pod.uid(),
                }),
            },
            ..TokenRequest::default()
        };
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), &namespace);
        let account = account.as_deref().unwrap_or("default");
        let answer = accounts.create_token_request(account, &PostParams::default(), &request).await;
        let answer = answer.with_context(|| format!("a token of the account {account}"))?;
        Ok(answer.status.context("there is no token in the answer")?.token)
    }

    /// Where the volume of a claim is.
    async fn disk(&self, namespace: &str, claim: &str) -> Result<PathBuf> {
        let claims: Api<PersistentVolumeClaim> = Api::namespaced(self.client.clone(), namespace);
        let name = claims.get(claim).await?.spec.and_then(|spec| spec.volume_name);
        let volumes: Api<PersistentVolume> = Api::all(self.client.clone());
        let volume = volumes.get(&name.context("the claim has no volume yet")?).await?;
        let path = volume.spec.and_then(|spec| spec.host_path).map(|of| PathBuf::from(of.path));
        path.context("its volume is of a kind that is not covered")
    }

    /// Makes a folder of the pod's group.
    fn own(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder)?;
        Ok(chown(folder, None, self.group)?)
    }

    /// Puts these files in the place of those there are, if they are others.
    fn replace(&self, folder: &Path, mut files: Files) -> Result<()> {
        self.own(folder)?;
        // The pod's group may read what it is given.
        let more = if self.group.is_some() { 0o440 } else { 0 };
        files.values_mut().for_each(|(_, mode)| *mode |= more);
        let data = folder.join("..data");
        let there = fs::read_link(&data).ok();
        if there.is_some() && read(&data) == files {
            return Ok(());
        }
        let number: u64 =
            there.as_ref().and_then(|of| of.to_str()?.trim_start_matches('.').parse().ok()).unwrap_or(0);
        let fresh = format!("..{}", number + 1);
        self.own(&folder.join(&fresh))?;
        for (name, (bytes, mode)) in &files {
            ensure!(!name.contains('/'), "the path {name} of a file of a volume is not covered");
            let file = folder.join(&fresh).join(name);
            fs::write(&file, bytes)?;
            chown(&file, None, self.group)?;
            fs::set_permissions(&file, fs::Permissions::from_mode(*mode))?;
        }
        symlink(&fresh, folder.join("..fresh"))?;
        fs::rename(folder.join("..fresh"), &data)?;
        for name in files.keys() {
            match symlink(Path::new("..data").join(name), folder.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error.into()),
                _ => {}
            }
        }
        for entry in fs::read_dir(folder)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if !name.starts_with("..") && !files.contains_key(&name) {
                fs::remove_file(folder.join(name))?;
            }
        }
        if let Some(there) = there {
            fs::remove_dir_all(folder.join(there))?;
        }
        Ok(())
    }
}

/// Values as files: all of them, or those that are named.
fn files(
    mut values: BTreeMap<String, Vec<u8>>,
    items: Option<&[KeyToPath]>,
    mode: Option<i32>,
) -> Result<Files> {
    let mode_of = |mode: Option<i32>| mode.and_then(|mode| mode.try_into().ok()).unwrap_or(0o644);
    let Some(items) = items.filter(|items| !items.is_empty()) else {
        return Ok(values.into_iter().map(|(key, value)| (key, (value, mode_of(mode)))).collect());
    };
    let mut files = Files::new();
    for item in items {
        let value = values.remove(&item.key).with_context(|| format!("there is no key {}", item.key))?;
        files.insert(item.path.clone(), (value, mode_of(item.mode.or(mode))));
    }
    Ok(files)
}

fn read(folder: &Path) -> Files {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let read = entries.filter_map(|entry| {
        let mode = entry.metadata().ok()?.permissions().mode() & 0o777;
        let name = entry.file_name().into_string().ok()?;
        Some((name, (fs::read(entry.path()).ok()?, mode)))
    });
    read.collect()
}
