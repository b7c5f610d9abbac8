//! From a core module to a policy component.

use std::collections::BTreeSet;

use anyhow::{Context, ensure};
use wasmparser::{Parser, Payload};
use wit_component::{ComponentEncoder, DecodedWasm, StringEncoding, embed_component_metadata, metadata};
use wit_parser::{Resolve, WorldId, WorldItem};

use crate::contract;

/// Makes a component of a core module, and sees that it imports nothing. Of the
/// interfaces that `placement.wit` lets a policy export, it exports those that the
/// module does.
///
/// # Errors
/// When the module is no policy, or its component imports anything.
pub fn encode(module: &[u8]) -> anyhow::Result<Vec<u8>> {
    let (bare, _) = metadata::decode(module)?;
    let mut module = bare.unwrap_or_else(|| module.to_owned());
    let (mut resolve, world) = contract::complete()?;
    leave_out_the_absent(&mut resolve, world, &exports(&module)?);
    ensure!(
        resolve.worlds[world].exports.keys().any(|key| contract::is_required(&resolve, key)),
        "the module exports no function of a policy: was `guildhall_policy::export!` left out?"
    );
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)?;
    let component = ComponentEncoder::default()
        .module(&module)?
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
    without_names(&component)
}

/// What the module exports, by name.
fn exports(module: &[u8]) -> anyhow::Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for payload in Parser::new(0).parse_all(module) {
        if let Payload::ExportSection(section) = payload? {
            for export in section {
                names.insert(export?.name.to_owned());
            }
        }
    }
    Ok(names)
}

/// Takes the interfaces out of the world of which the module has no function.
fn leave_out_the_absent(resolve: &mut Resolve, world: WorldId, exported: &BTreeSet<String>) {
    let absent: Vec<_> = resolve.worlds[world]
        .exports
        .iter()
        .filter(|(key, item)| {
            let WorldItem::Interface { id, .. } = item else { return false };
            let interface = resolve.name_world_key(key);
            let functions = &resolve.interfaces[*id].functions;
            !functions.keys().any(|function| exported.contains(&format!("{interface}#{function}")))
        })
        .map(|(key, _)| key.clone())
        .collect();
    let exports = &mut resolve.worlds[world].exports;
    absent.iter().for_each(|key| drop(exports.shift_remove(key)));
}

/// The component without its custom sections: names for debuggers, and who produced it.
fn without_names(component: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut stripped = component[..8].to_vec();
    let mut end = stripped.len();
    for payload in Parser::new(0).parse_all(component) {
        let payload = payload?;
        let Some((id, range)) = payload.as_section() else { continue };
        let range = usize::try_from(range.start)?..usize::try_from(range.end)?;
        // Sections of the module inside lie within its own, which was copied whole.
        if range.end <= end {
            continue;
        }
        if !matches!(payload, Payload::CustomSection(_)) {
            stripped.push(id);
            leb128(&mut stripped, range.len());
            stripped.extend(&component[range.clone()]);
        }
        end = range.end;
    }
    Ok(stripped)
}

fn leb128(bytes: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}
