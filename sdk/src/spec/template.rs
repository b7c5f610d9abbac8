//! The part of Mustache that specs use, with the meaning that Rustic AI gives it.
//!
//! Supported are `{{ name }}`, `{{{ name }}}` and `{{& name }}` (all insert the
//! value as it is), `{{# name }} … {{/ name }}`, `{{^ name }} … {{/ name }}` and
//! `{{! comments }}`. Names are letters, digits, `_`, `-`, and `.` between the
//! parts of a path; a lone `.` is the item of the list that is walked. Values are
//! written as Python writes them: `True`, `1.0`, nothing for null.
//!
//! There they are escaped for JSON, put into the JSON of the agent, and read back,
//! which comes to the same as inserting them into the text itself.

use serde_json::Value;

use super::{
    document::Allowance,
    error::{SpecError, shorten},
    python,
};

/// How deeply sections may be nested in one text.
const MAX_SECTIONS: usize = 16;

/// One text, taken apart.
pub(super) struct Template<'t>(Vec<Part<'t>>);

enum Part<'t> {
    Text(&'t str),
    Variable(&'t str),
    Section { name: &'t str, inverted: bool, body: Vec<Part<'t>> },
}

/// A section that has begun and not yet ended.
struct OpenSection<'t> {
    tag: &'t str,
    name: &'t str,
    inverted: bool,
    /// What came before it.
    before: Vec<Part<'t>>,
}

impl<'t> Template<'t> {
    /// Takes the text at `path` apart.
    pub(super) fn parse(text: &'t str, path: &str) -> Result<Self, SpecError> {
        let fault = |tag: &str, reason| SpecError::Template {
            path: path.to_owned(),
            tag: format!("`{}`", shorten(tag)),
            reason,
        };
        let mut parts = Vec::new();
        let mut open: Vec<OpenSection<'t>> = Vec::new();
        let mut rest = text;
        while let Some(start) = rest.find("{{") {
            if start > 0 {
                parts.push(Part::Text(&rest[..start]));
            }
            rest = &rest[start..];
            let (tag, after) = cut_tag(rest).ok_or_else(|| fault(rest, "is never closed"))?;
            rest = after;

            let inner = &tag[2..tag.len() - 2];
            let (kind, name) = match inner.chars().next() {
                Some('{') => (' ', inner[1..].strip_suffix('}').unwrap_or(inner)),
                Some(kind @ ('&' | '#' | '^' | '/' | '!' | '>' | '=')) => (kind, &inner[1..]),
                _ => (' ', inner),
            };
            let name = name.trim();
            match kind {
                '!' => continue,
                '>' => return Err(fault(tag, "is a partial; specs have none")),
                '=' => return Err(fault(tag, "sets other delimiters; specs keep to braces")),
                _ if !is_name(name) => {
                    return Err(fault(tag, "needs a name of letters, digits, `_`, `-` and `.`"));
                }
                '#' | '^' if open.len() == MAX_SECTIONS => {
                    return Err(fault(tag, "is a section in too many others"));
                }
                '#' | '^' => {
                    let before = std::mem::take(&mut parts);
                    open.push(OpenSection { tag, name, inverted: kind == '^', before });
                }
                '/' => match open.pop() {
                    Some(section) if section.name == name => {
                        let OpenSection { name, inverted, before, .. } = section;
                        let body = std::mem::replace(&mut parts, before);
                        parts.push(Part::Section { name, inverted, body });
                    }
                    _ => return Err(fault(tag, "ends a section that was not the last to begin")),
                },
                _ => parts.push(Part::Variable(name)),
            }
        }
        if let Some(section) = open.pop() {
            return Err(fault(section.tag, "begins a section that never ends"));
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest));
        }
        Ok(Self(parts))
    }

    /// Puts the values of `configuration` in place.
    pub(super) fn render(
        &self,
        configuration: &Value,
        path: &str,
        allowance: &mut Allowance,
    ) -> Result<String, SpecError> {
        let mut rendering = Rendering { path, allowance, scopes: vec![configuration], output: String::new() };
        rendering.parts(&self.0)?;
        Ok(rendering.output)
    }
}

/// The tag that `text` begins with, and what follows it.
fn cut_tag(text: &str) -> Option<(&str, &str)> {
    let mut end = text.find("}}")? + 2;
    if text.starts_with("{{{") && text[end..].starts_with('}') {
        end += 1;
    }
    Some(text.split_at(end))
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
}

struct Rendering<'s, 'a> {
    path: &'s str,
    allowance: &'a mut Allowance,
    /// What names are looked up in, innermost last.
    scopes: Vec<&'s Value>,
    output: String,
}

impl<'s> Rendering<'s, '_> {
    fn parts(&mut self, parts: &[Part<'_>]) -> Result<(), SpecError> {
        for part in parts {
            match part {
                Part::Text(text) => self.write(text)?,
                Part::Variable(name) => {
                    let value = self.lookup(name).ok_or_else(|| SpecError::MissingVariable {
                        variable: shorten(name),
                        path: self.path.to_owned(),
                    })?;
                    let text = self.text_of(name, value)?;
                    self.write(&text)?;
                }
                Part::Section { name, inverted, body } => {
                    self.section(self.lookup(name).unwrap_or(&Value::Null), *inverted, body)?;
                }
            }
        }
        Ok(())
    }

    fn section(&mut self, value: &'s Value, inverted: bool, body: &[Part<'_>]) -> Result<(), SpecError> {
        match value {
            _ if inverted => {
                if !is_truthy(value) {
                    self.parts(body)?;
                }
                Ok(())
            }
            Value::Array(items) => items.iter().try_for_each(|item| self.within(item, body)),
            value => self.within(value, body),
        }
    }

    /// Renders `body` for one value; for a falsy one nothing comes out, also in lists.
    fn within(&mut self, value: &'s Value, body: &[Part<'_>]) -> Result<(), SpecError> {
        // Sections of long lists in sections cost time even where nothing is
        // written, so each round is paid for.
        self.pay(1)?;
        if is_truthy(value) {
            self.scopes.push(value);
            self.parts(body)?;
            self.scopes.pop();
        }
        Ok(())
    }

    fn write(&mut self, text: &str) -> Result<(), SpecError> {
        self.pay(text.len() + 1)?;
        self.output.push_str(text);
        Ok(())
    }

    fn pay(&mut self, bytes: usize) -> Result<(), SpecError> {
        self.allowance.grow(bytes, || self.path.to_owned())
    }

    /// What `name` means in the innermost scope that knows all parts of it.
    fn lookup(&self, name: &str) -> Option<&'s Value> {
        if name == "." {
            return self.scopes.last().copied();
        }
        self.scopes.iter().rev().find_map(|scope| {
            name.split('.').try_fold(*scope, |value, part| match value {
                Value::Object(map) => map.get(part),
                Value::Array(items) => items.get(part.parse::<usize>().ok()?),
                _ => None,
            })
        })
    }

    fn text_of(&self, name: &str, value: &Value) -> Result<String, SpecError> {
        let not_a_word = |reason| SpecError::Template {
            path: self.path.to_owned(),
            tag: format!("{{{{ {} }}}}", shorten(name)),
            reason,
        };
        match value {
            Value::Null => Ok(String::new()),
            Value::Bool(true) => Ok("True".to_owned()),
            Value::Bool(false) => Ok("False".to_owned()),
            Value::Number(number) => Ok(python::number(number)),
            Value::String(text) => Ok(text.clone()),
            Value::Array(_) => Err(not_a_word("stands for a list; a section can walk it")),
            Value::Object(_) => Err(not_a_word("stands for a mapping; name one of its fields")),
        }
    }
}

/// What Python takes for true.
fn is_truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}
