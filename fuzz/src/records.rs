//! What a registry finds in Redis. The first byte says where the second part of a launch
//! begins, in sixteens, or with 255 that the rest is an entry or a view.

use guildhall::{registry, wire};

pub(crate) fn run(data: &[u8]) -> bool {
    let Some((kind, data)) = data.split_first() else { return false };
    if *kind == u8::MAX {
        // The client of Redis has refused other texts before.
        return str::from_utf8(data).is_ok_and(|text| registry::readable_as(text).contains(&true));
    }
    let (launch, guild_spec) = data.split_at(data.len().min(usize::from(*kind) * 16));
    wire::launch_with_guild(launch, guild_spec).is_ok()
}
