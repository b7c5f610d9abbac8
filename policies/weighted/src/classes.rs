//! Numbers for the classes that hosts have warm runners of.

use alloc::{borrow::ToOwned, string::String, vec::Vec};

/// Classes that get a bit of their own; all others share the last one.
const OWN_BITS: usize = 63;

/// The bit of the classes without one of their own.
pub(crate) const OTHERS: u64 = 1 << OWN_BITS;

/// Classes, each with a bit.
#[derive(Clone, Debug, Default)]
pub(crate) struct Classes {
    known: Vec<String>,
}

impl Classes {
    /// The bit of this class, its own as long as there are any.
    pub(crate) fn bit(&mut self, class: &str) -> u64 {
        if self.find(class) == 0 {
            self.known.push(class.to_owned());
        }
        self.find(class)
    }

    /// The bit of this class; 0 when no host ever had a runner of it.
    pub(crate) fn find(&self, class: &str) -> u64 {
        match self.known.iter().position(|known| known == class) {
            Some(nth) => 1 << nth,
            None if self.known.len() < OWN_BITS => 0,
            None => OTHERS,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_classes_have_bits_of_their_own_and_the_rest_share_one() {
        let mut classes = Classes::default();
        assert_eq!(classes.find("a"), 0);
        let bits: Vec<u64> = (0..70).map(|class| classes.bit(&format!("class {class}"))).collect();
        for (nth, bit) in bits.into_iter().enumerate() {
            assert_eq!(bit, if nth < OWN_BITS { 1 << nth } else { OTHERS });
            assert_eq!(classes.find(&format!("class {nth}")), bit);
        }
        assert_eq!((classes.bit("class 0"), classes.known.len()), (1, OWN_BITS));
    }
}
