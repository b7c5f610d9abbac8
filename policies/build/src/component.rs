//! From a core module to a policy component.

use anyhow::{Context, ensure};
use wit_component::{ComponentEncoder, DecodedWasm};

/// Makes a component of a core module, and sees that it imports nothing.
///
/// # Errors
/// When the module is no policy, or its component imports anything.
pub fn encode(module: &[u8]) -> anyhow::Result<Vec<u8>> {
    let component = ComponentEncoder::default()
        .module(module)
        .context("the module does not say what it exports: was `guildhall_policy::export!` left out?")?
        .validate(true)
        .encode()
        .context("the module does not make a component")?;
    let decoded = wit_component::decode(&component)?;
    let DecodedWasm::Component(resolve, world) = &decoded else {
        anyhow::bail!("the component has no world");
    };
    let imports: Vec<String> =
        resolve.worlds[*world].imports.keys().map(|key| resolve.name_world_key(key)).collect();
    ensure!(imports.is_empty(), "the component imports {}; a policy may import nothing", imports.join(", "));
    Ok(component)
}
