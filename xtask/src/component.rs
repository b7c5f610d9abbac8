//! From a core module to a policy component.

use std::{fs, path::Path};

use anyhow::{Context, ensure};
use wit_component::{ComponentEncoder, DecodedWasm};

/// Makes a component, and sees that it imports nothing.
pub(crate) fn encode(module: &[u8]) -> anyhow::Result<Vec<u8>> {
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

pub(crate) fn convert(module: &Path, output: &Path) -> anyhow::Result<()> {
    let bytes = fs::read(module).with_context(|| format!("cannot read {}", module.display()))?;
    let component = encode(&bytes)?;
    fs::write(output, &component).with_context(|| format!("cannot write {}", output.display()))?;
    println!("{}: {} bytes", output.display(), component.len());
    Ok(())
}
