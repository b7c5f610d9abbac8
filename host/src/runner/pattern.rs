//! Patterns of class names: the name itself, with `*` for any run of characters.
//!
//! Globs, not regular expressions: the dots of a class name mean themselves, and
//! there is one thing to learn. The dot is not special to `*` either.

use std::fmt;

/// Matches whole class names, such as `rustic_ai.*` or `*.EchoAgent`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassPattern(String);

impl ClassPattern {
    /// Reads a pattern: any text is one.
    pub fn new(pattern: impl Into<String>) -> Self {
        Self(pattern.into())
    }

    /// Whether the whole of `class_name` matches. Takes time in proportion to both
    /// lengths.
    pub fn matches(&self, class_name: &str) -> bool {
        let Some((first, others)) = self.0.split_once('*') else { return self.0 == class_name };
        let (middle, last) = others.rsplit_once('*').unwrap_or(("", others));
        let Some(rest) = class_name.strip_prefix(first) else { return false };
        let Some(mut rest) = rest.strip_suffix(last) else { return false };
        // The leftmost find of each part leaves the most room for the next.
        for part in middle.split('*') {
            match rest.split_once(part) {
                Some((_, after)) => rest = after,
                None => return false,
            }
        }
        true
    }
}

impl fmt::Display for ClassPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_any_run_and_all_else_is_itself() {
        for (pattern, class_name, wanted) in [
            ("*", "anything.at.all", true),
            ("*", "", true),
            ("rustic_ai.*", "rustic_ai.core.Echo", true),
            ("rustic_ai.*", "rustic_aiXcore", false),
            ("rustic_ai.*", "x.rustic_ai.core", false),
            ("*.Echo", "a.b.Echo", true),
            ("*.Echo", "a.b.Echo2", false),
            ("a*b*c", "a--b--c", true),
            ("a*b*c", "a--c--b", false),
            ("exact", "exact", true),
            ("exact", "exactly", false),
            ("(a|b)+", "a", false),
            ("a*a", "a", false),
            ("**", "x\ny", true),
        ] {
            assert_eq!(ClassPattern::new(pattern).matches(class_name), wanted, "{pattern} {class_name}");
        }
    }
}
