//! What the API server says of the manifests.

use std::path::Path;

use guildhall_kubernetes::{Cluster, sandboxed};

use crate::setup::{ours, overlay};

#[test]
#[ignore = "needs a control plane: make test-kubernetes"]
fn every_overlay_is_taken_as_it_is() {
    sandboxed(async |folder| {
        let cluster = Cluster::start(&folder).await.unwrap();
        let namespace = std::fs::read_to_string(overlay("../base/namespace.yaml")).unwrap();
        cluster.kubectl().apply(&namespace).unwrap();
        for name in ["dev", "production", "production-emptiest-first", "mtls"] {
            let objects = cluster.kubectl().kustomize(&overlay(name)).unwrap();
            compare(name, &objects);
            let (ours, others) = ours(&objects);
            let said = cluster.kubectl().apply(&ours.join("\n---\n")).unwrap();
            assert_eq!(said.errors, "", "{name}: the API server warns, as Pod Security does");
            println!("{name}: {} objects are taken, {} are of other software", ours.len(), others.len());
            assert!(ours.len() > 10, "{name}");
        }
        // A field that there is not is refused.
        let wrong = namespace.replace("metadata:", "metadata:\n  lables: {}");
        cluster.kubectl().apply(&wrong).unwrap_err();
    });
}

/// What other tests read is current. With `UPDATE_RENDERED` set it is written anew.
fn compare(overlay: &str, objects: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rendered");
    let file = folder.join(format!("{overlay}.yaml"));
    if std::env::var_os("UPDATE_RENDERED").is_some() {
        std::fs::write(&file, objects).unwrap();
    }
    let kept = std::fs::read_to_string(&file).unwrap();
    assert!(kept == objects, "{} is not current: set UPDATE_RENDERED", file.display());
}
