//! Renders a guild's `configuration` into its agents and routing steps.

use serde_json::{Map, Value};

use super::{
    document::Allowance,
    draft::{Draft, join, wrong_type},
    error::{SpecError, shorten},
    template::Template,
};

/// Replaces the templates in each agent and each routing step, and takes the
/// `configuration` away, as it is spent. Without one (or with an empty one)
/// nothing is rendered and braces mean nothing.
pub(super) fn render(guild: &mut Draft, allowance: &mut Allowance) -> Result<(), SpecError> {
    match guild.map.get("configuration") {
        None | Some(Value::Null) => return Ok(()),
        Some(Value::Object(map)) if map.is_empty() => return Ok(()),
        Some(Value::Object(_)) => {}
        Some(value) => return Err(wrong_type(guild.path_of("configuration"), "a mapping", value)),
    }
    let configuration = guild.map.shift_remove("configuration").unwrap_or_default();
    let mut renderer = Renderer { configuration: &configuration, allowance, path: String::new() };

    if let Some(agents) = guild.map.get_mut("agents") {
        renderer.begin(join(&guild.path, "agents")).value(agents)?;
    }
    match guild.map.get_mut("routes") {
        // Rustic AI takes nothing for no routes only when it renders.
        Some(routes @ Value::Null) => *routes = Value::Object(Map::new()),
        Some(Value::Object(routes)) => {
            if let Some(steps) = routes.get_mut("steps") {
                renderer.begin(join(&guild.path, "routes.steps")).value(steps)?;
            }
        }
        _ => {}
    }
    Ok(())
}

struct Renderer<'c, 'a> {
    configuration: &'c Value,
    allowance: &'a mut Allowance,
    /// Where it is now; grows and shrinks on the way through the document.
    path: String,
}

impl Renderer<'_, '_> {
    fn begin(&mut self, path: String) -> &mut Self {
        self.path = path;
        self
    }

    fn value(&mut self, value: &mut Value) -> Result<(), SpecError> {
        let here = self.path.len();
        match value {
            Value::String(text) => {
                if let Some(rendered) = self.text(text)? {
                    *text = rendered;
                }
            }
            Value::Array(items) => {
                for (at, item) in items.iter_mut().enumerate() {
                    self.path.push_str(&format!("[{at}]"));
                    self.value(item)?;
                    self.path.truncate(here);
                }
            }
            Value::Object(map) => {
                for (key, mut value) in std::mem::take(map) {
                    self.path.push('.');
                    self.path.push_str(&shorten(&key));
                    self.value(&mut value)?;
                    let key = self.text(&key)?.unwrap_or(key);
                    self.path.truncate(here);
                    map.insert(key, value);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
        Ok(())
    }

    /// The text with its tags replaced, if it has any.
    fn text(&mut self, text: &str) -> Result<Option<String>, SpecError> {
        if !text.contains("{{") {
            return Ok(None);
        }
        Template::parse(text, &self.path)?.render(self.configuration, &self.path, self.allowance).map(Some)
    }
}
