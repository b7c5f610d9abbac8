//! The gateway agent, which Rustic AI adds to a guild that has a `gateway`.

use serde_json::{Value, json};

use super::{
    draft::{Draft, join, wrong_type},
    error::SpecError,
};

/// The class of the agent that is added. A guild that has one gets no second.
const CLASS_NAME: &str = "rustic_ai.core.guild.g2g.gateway_agent.GatewayAgent";

/// Adds the gateway agent as the last one, if the guild asks for it.
pub(super) fn add(guild: &mut Draft) -> Result<(), SpecError> {
    let path = guild.path_of("gateway");
    let gateway = match guild.map.get("gateway") {
        None | Some(Value::Null) => return Ok(()),
        Some(gateway) => Draft::new(path.clone(), gateway.clone())?,
    };
    let formats = |field: &str| match gateway.map.get(field) {
        Some(Value::Array(formats)) => match formats.iter().position(|format| !format.is_string()) {
            None => Ok(json!(formats)),
            Some(at) => Err(wrong_type(format!("{}[{at}]", join(&path, field)), "text", &formats[at])),
        },
        None if field == "returned_formats" => Ok(json!([])),
        None => Err(SpecError::Missing { path: join(&path, field) }),
        Some(value) => Err(wrong_type(join(&path, field), "a list", value)),
    };
    let properties = json!({
        "input_formats": formats("input_formats")?,
        "output_formats": formats("output_formats")?,
        "returned_formats": formats("returned_formats")?,
    });
    match gateway.map.get("enabled") {
        Some(Value::Bool(false)) => return Ok(()),
        None | Some(Value::Bool(true)) => {}
        Some(value) => return Err(wrong_type(join(&path, "enabled"), "a boolean", value)),
    }

    // Agents of a wrong type are found later, with a path of their own.
    let agents = guild.map.entry("agents").or_insert_with(|| json!([]));
    if let Value::Array(agents) = agents {
        let is_gateway = |agent: &Value| {
            agent.get("class_name").and_then(Value::as_str).is_some_and(|class| class.trim() == CLASS_NAME)
        };
        if !agents.iter().any(is_gateway) {
            agents.push(json!({
                "id": "gateway",
                "name": "Gateway",
                "description": "Automatic Gateway Agent",
                "class_name": CLASS_NAME,
                "properties": properties,
            }));
        }
    }
    Ok(())
}
