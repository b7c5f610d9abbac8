//! Sources of policies, and what tells that theirs has changed.

use std::{collections::BTreeSet, fs, os::unix::fs::symlink, sync::Arc};

use guildhall::{
    placement::{BuiltIn, PolicyArtifact, PolicyFiles, PolicySource},
    registry::{FleetPolicy, MemoryRegistry, Registry},
};

/// The versions of one source, each looked at twice.
#[derive(Default)]
struct Versions(BTreeSet<String>);

impl Versions {
    /// Something else is there than ever before.
    async fn assert_new(&mut self, source: &dyn PolicySource) {
        let version = source.version().await.unwrap();
        assert_eq!(source.version().await.unwrap(), version, "nothing has changed");
        assert!(self.0.insert(version), "it has changed");
    }
}

#[tokio::test]
async fn a_file_that_is_written_anew_has_another_version() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mine.wasm");
    let (source, mut versions) = (PolicyFiles::new(&path), Versions::default());
    versions.assert_new(&source).await;
    assert!(source.fetch().await.is_err());

    fs::write(&path, "one").unwrap();
    versions.assert_new(&source).await;
    assert_eq!(source.fetch().await.unwrap(), PolicyArtifact::new("mine", *b"one"));

    // Of the same length, and put in place by a rename.
    fs::write(dir.path().join("new"), "two").unwrap();
    fs::rename(dir.path().join("new"), &path).unwrap();
    versions.assert_new(&source).await;
    assert_eq!(&*source.fetch().await.unwrap().component, b"two");

    fs::write(dir.path().join("mine.wasm.sig"), [1; 64]).unwrap();
    versions.assert_new(&source).await;
    assert_eq!(source.fetch().await.unwrap().signature, Some(vec![1; 64]));

    fs::remove_file(&path).unwrap();
    versions.assert_new(&source).await;
    assert!(source.fetch().await.is_err());
}

/// The way in which an orchestrator swaps a mounted directory.
#[tokio::test]
async fn a_directory_that_is_swapped_by_its_link_has_another_version() {
    let dir = tempfile::tempdir().unwrap();
    let mounted = dir.path().join("spread");
    fs::create_dir(&mounted).unwrap();
    for (version, settings) in [("..1", r#"{"a": 1}"#), ("..2", r#"{"a": 2}"#)] {
        fs::create_dir(mounted.join(version)).unwrap();
        fs::write(mounted.join(version).join("policy.wasm"), "policy").unwrap();
        fs::write(mounted.join(version).join("settings.json"), settings).unwrap();
    }
    symlink("..1", mounted.join("..data")).unwrap();
    for file in ["policy.wasm", "settings.json"] {
        symlink(format!("..data/{file}"), mounted.join(file)).unwrap();
    }
    let (source, mut versions) = (PolicyFiles::new(&mounted), Versions::default());
    let settings = async || source.fetch().await.unwrap().settings.unwrap();
    versions.assert_new(&source).await;
    assert_eq!(settings().await, serde_json::json!({"a": 1}));

    symlink("..2", mounted.join("..new")).unwrap();
    fs::rename(mounted.join("..new"), mounted.join("..data")).unwrap();
    versions.assert_new(&source).await;
    assert_eq!(settings().await, serde_json::json!({"a": 2}));
}

#[tokio::test]
async fn the_fleets_policy_is_the_one_that_was_published_last() {
    let registry: Arc<dyn Registry> = Arc::new(MemoryRegistry::new());
    let (source, mut versions) = (FleetPolicy::new(registry.clone()), Versions::default());
    versions.assert_new(&source).await;
    assert_eq!(source.fetch().await.unwrap(), BuiltIn::RoundRobin.into());

    let mine = PolicyArtifact::new("mine", *b"component");
    for published in
        [BuiltIn::LeastLoaded.into(), mine.clone(), mine.with_settings(serde_json::json!({"a": 1}))]
    {
        registry.publish_policy(Some(&published)).await.unwrap();
        versions.assert_new(&source).await;
        assert_eq!(source.fetch().await.unwrap(), published);
    }
    registry.publish_policy(None).await.unwrap();
    assert_eq!(source.fetch().await.unwrap(), BuiltIn::RoundRobin.into());
}

#[tokio::test]
async fn what_is_in_memory_never_changes() {
    let policy = PolicyArtifact::new("mine", *b"component");
    assert_eq!(policy.fetch().await.unwrap(), policy);
    assert_eq!((policy.look_every(), BuiltIn::LeastLoaded.look_every()), (None, None));
}
