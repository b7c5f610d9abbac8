//! Numbers for the values of labels, so that they are compared at once.

use alloc::{borrow::ToOwned, string::String, vec::Vec};

/// The number of no value at all: a host without the label has it.
pub(crate) const NONE: u32 = 0;

/// The number of a value that no host has.
pub(crate) const UNKNOWN: u32 = u32::MAX;

/// Values that were seen, each with its number: from 1 on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Values {
    sorted: Vec<(String, u32)>,
}

impl Values {
    pub(crate) fn len(&self) -> usize {
        self.sorted.len()
    }

    /// The number of this value, a new one when it was not seen before.
    pub(crate) fn number(&mut self, value: Option<&str>) -> u32 {
        let Some(value) = value else { return NONE };
        match self.search(value) {
            Ok(at) => self.sorted[at].1,
            Err(at) => {
                let number = self.sorted.len() as u32 + 1;
                self.sorted.insert(at, (value.to_owned(), number));
                number
            }
        }
    }

    /// The number of this value if any host had it.
    pub(crate) fn find(&self, value: &str) -> u32 {
        self.search(value).map_or(UNKNOWN, |at| self.sorted[at].1)
    }

    fn search(&self, value: &str) -> Result<usize, usize> {
        self.sorted.binary_search_by(|(other, _)| other.as_str().cmp(value))
    }
}
