//! YAML text to a value, as PyYAML's safe loader builds it.
//!
//! The parser gives events; this module makes values of them and keeps the
//! bounds: nesting, growth by aliases, one document. [`scalar`] knows what a plain
//! word means, [`mapping`] what `<<` does.

mod mapping;
mod scalar;

use std::{borrow::Cow, collections::HashMap};

use saphyr_parser::{Event, Parser, ScalarStyle, Span, StrInput, Tag};
use serde_json::Value;

use self::mapping::{Key, Pairs};
use super::{
    document::{Allowance, Document, MAX_DEPTH},
    error::{SpecError, shorten},
    include::Files,
    location::{Location, Reference},
};

/// Reads a whole YAML document, with the files it includes.
pub(super) fn read(
    document: &Document<'_>,
    files: &mut Files,
    allowance: &mut Allowance,
) -> Result<Value, SpecError> {
    read_at(0, document, files, allowance)
}

fn read_at(
    depth: usize,
    document: &Document<'_>,
    files: &mut Files,
    allowance: &mut Allowance,
) -> Result<Value, SpecError> {
    let parser = Parser::new_from_str(document.text());
    Composer { document, files, allowance, parser, depth, anchors: HashMap::new() }.document()
}

const NO_SUCH_TAG: &str = "is a tag that specs do not know";

struct Composer<'d, 's> {
    document: &'d Document<'d>,
    files: &'s mut Files,
    allowance: &'s mut Allowance,
    parser: Parser<'d, StrInput<'d>>,
    depth: usize,
    anchors: HashMap<usize, Anchored>,
}

/// A value that aliases may repeat.
struct Anchored {
    value: Value,
    size: Size,
}

impl<'d> Composer<'d, '_> {
    fn document(mut self) -> Result<Value, SpecError> {
        let mut value = None;
        loop {
            let (event, at) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(value.unwrap_or(Value::Null)),
                Event::StreamStart | Event::DocumentEnd | Event::Nothing => {}
                Event::DocumentStart(_) if value.is_some() => {
                    return Err(self.unsupported(at, "---", "begins a second document; a spec is one"));
                }
                Event::DocumentStart(_) => {
                    let (event, at) = self.next()?;
                    value = Some(self.value(event, at)?);
                }
                _ => return Err(self.malformed(at, "content outside of a document")),
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'d>, Location), SpecError> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => Ok((event, self.location(span))),
            Some(Err(error)) => {
                let at = self.document.at(error.marker().line(), error.marker().col() + 1);
                Err(self.malformed(at, error.info()))
            }
            None => Ok((Event::StreamEnd, self.document.at(1, 1))),
        }
    }

    fn value(&mut self, event: Event<'d>, at: Location) -> Result<Value, SpecError> {
        let (anchor, value) = match event {
            Event::Alias(anchor) => return self.alias(anchor, at),
            Event::Scalar(text, style, anchor, tag) => (anchor, self.scalar(text, style, tag, &at)?),
            Event::SequenceStart(anchor, tag) => (anchor, self.sequence(tag, &at)?),
            Event::MappingStart(anchor, tag) => (anchor, self.mapping(tag, &at)?),
            _ => return Err(self.malformed(at, "expected a value")),
        };
        if anchor != 0 {
            self.keep(anchor, &value, &at)?;
        }
        Ok(value)
    }

    fn scalar(
        &mut self,
        text: Cow<'d, str>,
        style: ScalarStyle,
        tag: Option<Cow<'_, Tag>>,
        at: &Location,
    ) -> Result<Value, SpecError> {
        let tag = tag.as_deref().map(tag_name);
        let value = match tag.as_deref() {
            Some("!include") => return self.include(text.into_owned(), at),
            Some("!code") => self.code(text.into_owned(), at)?,
            tag => {
                let value = match tag {
                    // PyYAML reads what stands after a lone `!` as if it were plain.
                    Some("!") => scalar::plain(&text),
                    Some(tag) => scalar::tagged(tag, &text),
                    None if style == ScalarStyle::Plain => scalar::plain(&text),
                    None => Ok(Value::String(text.clone().into_owned())),
                };
                value.map_err(|reason| {
                    let culprit = tag.filter(|_| reason == NO_SUCH_TAG).unwrap_or(&text);
                    self.unsupported(at.clone(), culprit, reason)
                })?
            }
        };
        self.pay(Size::of_one(&value).bytes, at)?;
        Ok(value)
    }

    fn sequence(&mut self, tag: Option<Cow<'_, Tag>>, at: &Location) -> Result<Value, SpecError> {
        self.expect_tag(tag, "!!seq", at)?;
        self.descend(at)?;
        let mut items = Vec::new();
        loop {
            let (event, at) = self.next()?;
            if event == Event::SequenceEnd {
                break;
            }
            items.push(self.value(event, at)?);
        }
        self.depth -= 1;
        Ok(Value::Array(items))
    }

    fn mapping(&mut self, tag: Option<Cow<'_, Tag>>, at: &Location) -> Result<Value, SpecError> {
        self.expect_tag(tag, "!!map", at)?;
        self.descend(at)?;
        let mut pairs = Pairs::default();
        loop {
            let (event, at) = self.next()?;
            if event == Event::MappingEnd {
                break;
            }
            let key = match &event {
                Event::Scalar(text, ScalarStyle::Plain, _, None) if text == "<<" => Key::Merge,
                _ => {
                    let key = self.value(event, at.clone())?;
                    Key::of(key).map_err(|reason| self.unsupported(at.clone(), "this key", reason))?
                }
            };
            let (event, at) = self.next()?;
            let value = self.value(event, at.clone())?;
            pairs.add(key, value).map_err(|reason| self.unsupported(at, "<<", reason))?;
        }
        self.depth -= 1;
        Ok(Value::Object(pairs.into_map()))
    }

    fn include(&mut self, target: String, at: &Location) -> Result<Value, SpecError> {
        let reference = Reference::new("!include", target, at.clone());
        self.descend(at)?;
        let document = self.files.open(&reference, self.allowance)?;
        let value = read_at(self.depth, &document, self.files, self.allowance)?;
        self.files.close();
        self.depth -= 1;
        Ok(value)
    }

    fn code(&mut self, target: String, at: &Location) -> Result<Value, SpecError> {
        let reference = Reference::new("!code", target, at.clone());
        self.files.code(&reference, self.allowance).map(Value::String)
    }

    /// Keeps a value for its aliases. The copy is paid for, so anchors inside of
    /// anchors cannot multiply what is held in memory.
    fn keep(&mut self, anchor: usize, value: &Value, at: &Location) -> Result<(), SpecError> {
        let size = Size::of(value);
        self.pay(size.bytes, at)?;
        self.anchors.insert(anchor, Anchored { value: value.clone(), size });
        Ok(())
    }

    fn alias(&mut self, anchor: usize, at: Location) -> Result<Value, SpecError> {
        let Some(Anchored { value, size }) = self.anchors.get(&anchor) else {
            return Err(self.unsupported(at, "this alias", "stands inside of what it repeats"));
        };
        if self.depth + size.levels > MAX_DEPTH {
            return Err(SpecError::TooDeep { at });
        }
        self.allowance.grow(size.bytes, || at.to_string())?;
        Ok(value.clone())
    }

    fn descend(&mut self, at: &Location) -> Result<(), SpecError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(SpecError::TooDeep { at: at.clone() });
        }
        self.pay(Size::CONTAINER, at)
    }

    fn pay(&mut self, bytes: usize, at: &Location) -> Result<(), SpecError> {
        self.allowance.grow(bytes, || at.to_string())
    }

    fn expect_tag(&self, tag: Option<Cow<'_, Tag>>, wanted: &str, at: &Location) -> Result<(), SpecError> {
        match tag.as_deref().map(tag_name) {
            Some(name) if name != wanted && name != "!" => {
                let reason = match name.as_str() {
                    "!include" | "!code" => "takes the name of a file",
                    _ => NO_SUCH_TAG,
                };
                Err(self.unsupported(at.clone(), &name, reason))
            }
            _ => Ok(()),
        }
    }

    fn location(&self, span: Span) -> Location {
        self.document.at(span.start.line(), span.start.col() + 1)
    }

    fn malformed(&self, at: Location, reason: &str) -> SpecError {
        SpecError::Malformed { format: "YAML", at, reason: reason.to_owned() }
    }

    fn unsupported(&self, at: Location, value: &str, reason: &'static str) -> SpecError {
        SpecError::Unsupported { at, value: shorten(value), reason }
    }
}

/// The tag as people write it, whichever of YAML's ways was used.
fn tag_name(tag: &Tag) -> String {
    let full = format!("{}{}", tag.handle, tag.suffix);
    match full.strip_prefix("tag:yaml.org,2002:") {
        Some(name) => format!("!!{name}"),
        None => full,
    }
}

/// What a value weighs: about how many bytes of JSON, and how many levels of
/// lists and mappings.
struct Size {
    bytes: usize,
    levels: usize,
}

impl Size {
    /// Brackets and a comma.
    const CONTAINER: usize = 3;

    fn of_one(value: &Value) -> Self {
        let bytes = match value {
            Value::String(text) => text.len() + 3,
            Value::Array(_) | Value::Object(_) => Self::CONTAINER,
            _ => 5,
        };
        Self { bytes, levels: 0 }
    }

    fn of(value: &Value) -> Self {
        let inside = match value {
            Value::Array(items) => items.iter().map(Self::of).reduce(Self::beside),
            Value::Object(map) => map
                .iter()
                .map(|(key, value)| {
                    let size = Self::of(value);
                    Self { bytes: size.bytes + key.len() + 3, ..size }
                })
                .reduce(Self::beside),
            _ => return Self::of_one(value),
        };
        let inside = inside.unwrap_or(Self { bytes: 0, levels: 0 });
        Self { bytes: inside.bytes + Self::CONTAINER, levels: inside.levels + 1 }
    }

    fn beside(self, other: Self) -> Self {
        Self { bytes: self.bytes + other.bytes, levels: self.levels.max(other.levels) }
    }
}
