//! The names that certificates carry, and patterns of them.

use std::fmt;

use rustls::pki_types::CertificateDer;

/// Names as an operator writes them: `*` stands for any run of characters.
#[derive(Clone, PartialEq, Eq)]
pub struct NamePattern(String);

impl NamePattern {
    /// A pattern such as `spiffe://guildhall/host` or `*.agents.example.org`.
    pub fn new(pattern: impl Into<String>) -> Self {
        Self(pattern.into())
    }

    /// Whether the whole name is as the pattern says.
    pub fn matches(&self, name: &str) -> bool {
        let mut parts = self.0.split('*');
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = name.strip_prefix(first) else { return false };
        let mut parts: Vec<_> = parts.collect();
        let Some(last) = parts.pop() else { return rest.is_empty() };
        for part in parts {
            match rest.find(part) {
                Some(at) => rest = &rest[at + part.len()..],
                None => return false,
            }
        }
        rest.ends_with(last)
    }
}

impl fmt::Debug for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The URIs and DNS names for which a certificate was issued; none when it cannot be read.
pub fn names_of(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok(parsed) = webpki::EndEntityCert::try_from(certificate) else { return Vec::new() };
    parsed.valid_uri_names().chain(parsed.valid_dns_names()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_any_run_of_characters() {
        for (pattern, name, matches) in [
            ("spiffe://guildhall/host", "spiffe://guildhall/host", true),
            ("spiffe://guildhall/host", "spiffe://guildhall/host2", false),
            ("spiffe://guildhall/host", "spiffe://guildhall/hos", false),
            ("*.example.org", "a.example.org", true),
            ("*.example.org", "example.org", false),
            ("spiffe://*/host/*", "spiffe://x/host/1", true),
            ("spiffe://*/host/*", "spiffe://x/engine/1", false),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(NamePattern::new(pattern).matches(name), matches, "{pattern} {name}");
        }
    }
}
