//! The slot of a key in a Redis Cluster.

const SLOTS: u16 = 16384;

/// The slot that a key or a channel is in. Between braces stands the part that decides.
pub(super) fn of(key: &str) -> u16 {
    crc16(tag(key).as_bytes()) % SLOTS
}

fn tag(key: &str) -> &str {
    let tagged = key.split_once('{').and_then(|(_, rest)| rest.split_once('}'));
    tagged.map(|(tag, _)| tag).filter(|tag| !tag.is_empty()).unwrap_or(key)
}

/// CRC-16/XMODEM, as the specification of Redis Cluster names it.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            let shifted = crc << 1;
            if crc & 0x8000 == 0 { shifted } else { shifted ^ 0x1021 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_redis() {
        // The first is the specification's own, the rest are what CLUSTER KEYSLOT says.
        assert_eq!(crc16(b"123456789"), 0x31c3);
        for (key, slot) in [("foo", 12182), ("{foo}:bar", 12182), ("a{foo}b{c}", 12182), ("", 0)] {
            assert_eq!(of(key), slot, "{key}");
        }
        for (key, same) in [("a{}b", "a{}b"), ("a{b", "a{b"), ("a{}{b}", "a{}{b}")] {
            assert_eq!(tag(key), same, "an empty tag is none");
        }
    }
}
