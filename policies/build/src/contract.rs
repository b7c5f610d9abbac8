//! `placement.wit`, read.

use wit_parser::{Resolve, WorldId, WorldKey};

const CONTRACT: &str = include_str!("../wit/placement.wit");

/// The world of all that a policy may export.
const COMPLETE: &str = "complete-placement";

/// The interface that a policy must export.
pub(crate) const REQUIRED: &str = "policy";

/// All that a policy may export.
pub(crate) fn complete() -> anyhow::Result<(Resolve, WorldId)> {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("placement.wit", CONTRACT)?;
    let world = resolve.select_world(&[package], Some(COMPLETE))?;
    Ok((resolve, world))
}

/// Whether this is the interface that a policy must export.
pub(crate) fn is_required(resolve: &Resolve, key: &WorldKey) -> bool {
    matches!(key, WorldKey::Interface(id) if resolve.interfaces[*id].name.as_deref() == Some(REQUIRED))
}
