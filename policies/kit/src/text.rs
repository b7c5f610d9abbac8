//! Texts put together from pieces.
//!
//! `format!` brings code along that is as large as a small policy; this brings none that
//! a policy does not use.

use alloc::{borrow::Cow, string::String};

/// Something that a text is put together from, by [`text!`](crate::text).
pub trait Piece {
    /// Adds it to a text.
    fn add_to(&self, text: &mut String);
}

/// Puts a text together from pieces: texts and whole numbers.
///
/// ```
/// assert_eq!(guildhall_policy::text!("slot ", 7_u32, " of ", 10_u64), "slot 7 of 10");
/// ```
#[macro_export]
macro_rules! text {
    ($($piece:expr),+ $(,)?) => {{
        let mut text = $crate::rt::String::new();
        $($crate::Piece::add_to(&$piece, &mut text);)+
        text
    }};
}

impl Piece for str {
    fn add_to(&self, text: &mut String) {
        text.push_str(self);
    }
}

impl Piece for String {
    fn add_to(&self, text: &mut String) {
        text.push_str(self);
    }
}

impl Piece for Cow<'_, str> {
    fn add_to(&self, text: &mut String) {
        text.push_str(self);
    }
}

impl<P: Piece + ?Sized> Piece for &P {
    fn add_to(&self, text: &mut String) {
        (**self).add_to(text);
    }
}

impl Piece for u64 {
    fn add_to(&self, text: &mut String) {
        let mut power = 1;
        while *self / power >= 10 {
            power *= 10;
        }
        while power > 0 {
            text.push(char::from(b'0' + (*self / power % 10) as u8));
            power /= 10;
        }
    }
}

impl Piece for u32 {
    fn add_to(&self, text: &mut String) {
        u64::from(*self).add_to(text);
    }
}

impl Piece for usize {
    fn add_to(&self, text: &mut String) {
        (*self as u64).add_to(text);
    }
}

#[cfg(test)]
mod tests {
    use std::format;

    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_number_is_written_as_format_writes_it(number: u64, small in 0..1000_u32) {
            prop_assert_eq!(text!(number, "/", small), format!("{number}/{small}"));
        }
    }

    #[test]
    fn the_edges() {
        assert_eq!(text!(0_u64, " ", 9_u64, " ", 10_u64, " ", u64::MAX), "0 9 10 18446744073709551615");
    }
}
