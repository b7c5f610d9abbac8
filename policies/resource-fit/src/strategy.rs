//! What operators may set: which of the hosts that fit is the best.

use alloc::string::String;

use guildhall_policy::{InvalidSettings, Settings};

use crate::{ask::Ask, room::Room};

/// What a host costs that cannot have the agent.
pub(crate) const NO_FIT: f32 = f32::INFINITY;

/// What it costs at least that a host does not say what it has: more than any other.
pub(crate) const UNKNOWN: f32 = 2.0;

/// How hosts are compared: the one that costs least gets the agent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Strategy {
    /// The fullest host that fits, not the emptiest.
    pub(crate) pack: bool,
    /// A host that does not say what it has never gets an agent.
    pub(crate) refuse_unknown: bool,
}

impl Strategy {
    pub(crate) fn read(settings: &mut Settings<'_>) -> Result<Self, InvalidSettings> {
        Ok(Self {
            pack: is_second(settings, "strategy", ["spread", "pack"])?,
            refuse_unknown: is_second(settings, "unknown", ["allow", "refuse"])?,
        })
    }

    /// What it costs to place the agent on the host: from 0 to 1, and [`UNKNOWN`] more
    /// when the host does not say what it has.
    pub(crate) fn cost(&self, room: &Room, ask: &Ask<'_>) -> f32 {
        match room.share_after(ask) {
            None => NO_FIT,
            Some(_) if !room.is_known() && self.refuse_unknown => NO_FIT,
            Some(share) if !room.is_known() => UNKNOWN + self.of_share(share),
            Some(share) => self.of_share(share),
        }
    }

    /// How good that is, from 0 to 1.
    pub(crate) fn score(cost: f32) -> f32 {
        (1.0 - cost).max(0.0)
    }

    /// What it costs that this is the host's dominant share.
    pub(crate) fn of_share(&self, share: f32) -> f32 {
        if self.pack { 1.0 - share } else { share }
    }

    /// The cheaper of two shares.
    pub(crate) fn cheaper(&self, one: f32, other: f32) -> f32 {
        if self.pack { one.max(other) } else { one.min(other) }
    }

    /// The share that is dearer than all others.
    pub(crate) fn dearest(&self) -> f32 {
        if self.pack { 0.0 } else { f32::INFINITY }
    }
}

fn is_second(settings: &mut Settings<'_>, field: &str, values: [&str; 2]) -> Result<bool, InvalidSettings> {
    let [first, second] = values;
    match settings.text(field)? {
        Some(value) if value == second => Ok(true),
        Some(value) if value != first => Err(settings.invalid(field, must_be(values))),
        _ => Ok(false),
    }
}

fn must_be([first, second]: [&str; 2]) -> String {
    alloc::format!("must be {first} or {second}")
}
