//! The policy contract on the wire, in each version that was released.
//!
//! | file | version |
//! | --- | --- |
//! | `v0_1.rs` | 0.1: `configure`, `observe`, `place` |
//! | `v0_2.rs` | 0.2, today's: resources and standing of hosts, ordered answers; guilds, scoring, rebalancing, a schema |
//!
//! A component is run by the newest version that it exports. What an old version cannot
//! say is left out on its way in, and what it does not answer takes its plain value on
//! the way out: so the service knows today's words alone.

mod v0_1;
mod v0_2;

use wasmtime::{
    Store,
    component::{Component, InstancePre, types::ComponentItem},
};

use crate::ids::HostId;

use super::{
    settings::Settings,
    types::{Candidate, FleetChange, Needs, PlacementRequest, Refusal},
};

pub(super) use v0_2::{GuildAnswer, GuildQuestion, Scores, WireMove, WirePlaced};

/// What `place` answers: hosts, the best first, or a refusal.
pub(super) type Answer = Result<Vec<WireChoice>, Refusal>;

/// A host as a policy names it: nobody has yet looked whether it may be chosen.
pub(super) struct WireChoice {
    pub(super) host: String,
    pub(super) score: f64,
    pub(super) reason: String,
}

/// A change of the fleet, borrowed from the table or from the caller.
#[derive(Clone, Copy)]
pub(super) enum Change<'a> {
    Upsert(&'a Candidate),
    Remove(&'a HostId),
}

impl<'a> From<&'a FleetChange> for Change<'a> {
    fn from(change: &'a FleetChange) -> Self {
        match change {
            FleetChange::Upsert(candidate) => Self::Upsert(candidate),
            FleetChange::Remove(host) => Self::Remove(host),
        }
    }
}

/// A component, linked, and which functions of the contract it has.
pub(super) enum Ready<S: 'static> {
    V0_1(Box<v0_1::PlacementPre<S>>),
    V0_2(Box<v0_2::Ready<S>>),
}

/// A live instance.
pub(super) enum Exports {
    V0_1(v0_1::Placement),
    V0_2(v0_2::Exports),
}

impl<S: Send + 'static> Ready<S> {
    pub(super) fn new(component: &Component, linked: InstancePre<S>) -> wasmtime::Result<Self> {
        let engine = component.engine();
        let is_old = component.component_type().exports(engine).any(|(name, item)| {
            name == v0_1::POLICY && matches!(item.ty, ComponentItem::ComponentInstance(_))
        });
        Ok(match is_old {
            true => Self::V0_1(Box::new(v0_1::PlacementPre::new(linked)?)),
            false => Self::V0_2(Box::new(v0_2::Ready::new(component, linked)?)),
        })
    }

    /// The version of the contract that it is written against.
    pub(super) fn contract(&self) -> &'static str {
        match self {
            Self::V0_1(_) => v0_1::CONTRACT,
            Self::V0_2(_) => v0_2::CONTRACT,
        }
    }

    /// The optional interfaces that it exports, by name.
    pub(super) fn interfaces(&self) -> Vec<&'static str> {
        match self {
            Self::V0_1(_) => Vec::new(),
            Self::V0_2(ready) => ready.interfaces(),
        }
    }

    pub(super) fn instantiate(&self, store: &mut Store<S>) -> wasmtime::Result<Exports> {
        Ok(match self {
            Self::V0_1(ready) => Exports::V0_1(ready.instantiate(store)?),
            Self::V0_2(ready) => Exports::V0_2(ready.instantiate(store)?),
        })
    }
}

impl Exports {
    /// The JSON Schema of its settings; `None` when it has none.
    pub(super) fn schema<S: Send>(&self, store: &mut Store<S>) -> wasmtime::Result<Option<String>> {
        match self {
            Self::V0_1(_) => Ok(None),
            Self::V0_2(exports) => exports.schema(store),
        }
    }

    pub(super) fn configure<S: Send>(
        &self,
        store: &mut Store<S>,
        settings: &Settings,
    ) -> wasmtime::Result<Result<Needs, String>> {
        match self {
            Self::V0_1(exports) => exports.configure(store, settings.json()),
            Self::V0_2(exports) => exports.configure(store, settings),
        }
    }

    pub(super) fn observe<S: Send>(
        &self,
        store: &mut Store<S>,
        changes: &[Change<'_>],
    ) -> wasmtime::Result<()> {
        match self {
            Self::V0_1(exports) => exports.observe(store, changes),
            Self::V0_2(exports) => exports.observe(store, changes),
        }
    }

    /// Asks for a host. Of what the policy did not ask for, the request has none.
    pub(super) fn place<S: Send>(
        &self,
        store: &mut Store<S>,
        request: &PlacementRequest,
        needs: Needs,
    ) -> wasmtime::Result<Answer> {
        match self {
            Self::V0_1(exports) => exports.place(store, request, needs),
            Self::V0_2(exports) => exports.place(store, request, needs),
        }
    }

    /// Asks for hosts for a guild; `None` when it places single agents only.
    pub(super) fn place_guild<S: Send>(
        &self,
        store: &mut Store<S>,
        question: &GuildQuestion<'_>,
    ) -> wasmtime::Result<Option<GuildAnswer>> {
        match self {
            Self::V0_1(_) => Ok(None),
            Self::V0_2(exports) => exports.place_guild(store, question),
        }
    }

    /// Asks what it says of so many hosts from a position on; `None` when it judges no
    /// single hosts.
    pub(super) fn score<S: Send>(
        &self,
        store: &mut Store<S>,
        request: &PlacementRequest,
        needs: Needs,
        first: u32,
        count: u32,
    ) -> wasmtime::Result<Option<Scores>> {
        match self {
            Self::V0_1(_) => Ok(None),
            Self::V0_2(exports) => exports.score(store, request, needs, first, count),
        }
    }

    /// Tells it where the agent goes that it was last asked about.
    pub(super) fn chosen<S: Send>(&self, store: &mut Store<S>, host: &HostId) -> wasmtime::Result<()> {
        match self {
            Self::V0_1(_) => Ok(()),
            Self::V0_2(exports) => exports.chosen(store, host),
        }
    }

    /// Asks which of these agents to move; `None` when it moves none.
    pub(super) fn propose_moves<S: Send>(
        &self,
        store: &mut Store<S>,
        placed: &[WirePlaced<'_>],
        most: u32,
    ) -> wasmtime::Result<Option<Vec<WireMove>>> {
        match self {
            Self::V0_1(_) => Ok(None),
            Self::V0_2(exports) => exports.propose_moves(store, placed, most),
        }
    }
}

/// Whole milliseconds; what does not fit is as good as for ever.
fn milliseconds(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
