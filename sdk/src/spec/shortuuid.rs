//! Ids in the style of Python's `shortuuid`, which Rustic AI gives to guilds and
//! agents that have none.

use uuid::Uuid;

/// Digits and letters without the ones that look alike (`0`, `1`, `I`, `O`, `l`).
const ALPHABET: &[u8; 57] = b"23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

/// The smallest length that holds 128 bits: 57^22 > 2^128.
const LENGTH: usize = 22;

/// A fresh random id.
pub(super) fn generate() -> String {
    encode(Uuid::new_v4())
}

fn encode(uuid: Uuid) -> String {
    let base = ALPHABET.len() as u128;
    let digit = |place: u32| ALPHABET[(uuid.as_u128() / base.pow(place) % base) as usize];
    (0..LENGTH as u32).rev().map(|place| char::from(digit(place))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodes_as_shortuuid_does() {
        // Taken from Python's shortuuid 1.0.
        for (uuid, short) in [
            ("00000000-0000-0000-0000-000000000000", "2222222222222222222222"),
            ("ffffffff-ffff-ffff-ffff-ffffffffffff", "oZEq7ovRbLq6UnGMPwc8B5"),
            ("3b1f8b40-222c-4a6e-b77e-779d5a94e21c", "CXc85b4rqinB7s5J52TRYb"),
        ] {
            assert_eq!(encode(uuid.parse().unwrap()), short);
        }
    }

    #[test]
    fn no_two_are_alike() {
        let ids: std::collections::HashSet<_> = (0..1000).map(|_| generate()).collect();
        assert_eq!(ids.len(), 1000);
        assert!(ids.iter().all(|id| id.len() == LENGTH && crate::ids::AgentId::new(id).is_ok()));
    }
}
