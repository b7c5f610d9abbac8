//! What must hold in every world, what must be possible, and looking at all of them.

use std::time::Instant;

use serde::Serialize;
use stateright::{Checker, Expectation, HasDiscoveries, Model, Property};

use crate::{
    action::{Action, describe},
    configuration::Configuration,
    protocol,
    registry::Lease,
    world::World,
};

impl Model for Configuration {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        self.placements
            .iter()
            .map(|placement| World::new(placement, self))
            .map(|world| world.settled(self))
            .collect()
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        protocol::actions(world, self, actions);
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        protocol::step(world, self, action)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let seen = SOMETIMES.iter().filter(|(name, _)| self.sometimes.contains(name));
        let always = ALWAYS.iter().map(|(name, holds)| Property::always(name, *holds));
        always.chain(seen.map(|(name, happens)| Property::sometimes(name, *happens))).collect()
    }
}

type Condition = fn(&Configuration, &World) -> bool;

/// What must hold in every world.
const ALWAYS: &[(&str, Condition)] = &[
    ("one live incarnation", |to, world| (0..to.agents).all(|agent| world.incarnations(agent) <= 1)),
    ("epochs grow", |_, world| !world.epoch_did_not_grow),
    ("no stale write is accepted", |_, world| !world.stale_write_accepted),
    ("nothing is lost", |to, world| {
        (0..to.agents).all(|agent| world.started[agent] == 0 || world.is_cared_for(agent))
    }),
];

/// What must be possible.
const SOMETIMES: &[(&str, Condition)] = &[
    // Each agent began on a host of its own, and is not handed over.
    ("a takeover", |to, world| {
        let buried = world.registry.leases.contains(&Lease::Buried);
        let both = |host: &crate::host::Host| (0..to.agents).all(|agent| host.agents[agent].runs());
        to.agents == 2 && !to.hand_overs && buried && world.hosts.iter().any(both)
    }),
    ("an outage longer than a lease is survived", |_, world| {
        world.hosts.iter().all(|host| host.cut || !host.up)
            && world.hosts.iter().any(|host| {
                host.tenure > 0 && host.has_processes() && world.registry.lease(host.lease).is_overdue()
            })
    }),
    ("a host that is cut off alone stops its agents", |_, world| {
        let cut = |host: &&crate::host::Host| host.up && host.cut;
        world.hosts.iter().filter(cut).count() == 1
            && world.hosts.iter().any(|host| {
                cut(&host) && !host.paused && host.agents.iter().any(|a| !a.runs() && a.epoch().is_some())
            })
    }),
    ("the fence stops the agents of a paused host", |_, world| {
        world.hosts.iter().any(|host| {
            host.paused && host.tenure == 0 && host.agents.iter().any(|a| !a.runs() && a.epoch().is_some())
        })
    }),
    ("an overdue lease is renewed", |_, world| {
        world.registry.leases.iter().any(|lease| matches!(lease, Lease::Live { revived: true, .. }))
    }),
];

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// How many different worlds there are.
    pub states: usize,
    /// How many steps the longest way to one of them has, at least.
    pub depth: usize,
    /// How long it took.
    pub seconds: f64,
    /// What must hold and what must be possible, and whether it does and is.
    pub properties: Vec<(&'static str, bool)>,
    /// The steps to a world in which something does not hold.
    #[serde(skip)]
    pub counterexample: Option<String>,
}

impl Outcome {
    /// What must hold and did not in some world.
    pub fn broken(&self) -> Vec<&'static str> {
        let must = |name: &str| ALWAYS.iter().any(|(always, _)| *always == name);
        let broken = self.properties.iter().filter(|(name, met)| !met && must(name));
        broken.map(|(name, _)| *name).collect()
    }

    /// Whether all that must hold holds, and all that must be possible is.
    pub fn holds(&self) -> bool {
        self.properties.iter().all(|(_, met)| *met)
    }
}

/// Looks at every world that can come about, or, where something is done wrong, until
/// something does not hold.
pub fn check(configuration: Configuration, threads: usize) -> Outcome {
    let begin = Instant::now();
    let properties = configuration.properties();
    let checker = configuration.clone().checker().threads(threads);
    let checker = match configuration.rules.flaw {
        None => checker,
        Some(_) => checker.finish_when(HasDiscoveries::AnyFailures),
    };
    let checker = checker.spawn_bfs().join();
    let found = checker.discoveries();
    let properties: Vec<_> = properties
        .iter()
        .map(|p| (p.name, p.expectation == Expectation::Sometimes, found.get(p.name)))
        .collect();
    let counterexample = properties.iter().find(|(_, sometimes, path)| !sometimes && path.is_some());
    let counterexample = counterexample.and_then(|(name, _, path)| {
        let steps = (*path)?.clone().into_vec();
        let steps = steps.iter().filter_map(|(world, action)| Some(describe(action.as_ref()?, world)));
        Some(format!("not {name}:\n  {}", steps.collect::<Vec<_>>().join("\n  ")))
    });
    Outcome {
        states: checker.unique_state_count(),
        depth: checker.max_depth(),
        seconds: begin.elapsed().as_secs_f64(),
        properties: properties
            .iter()
            .map(|(name, sometimes, path)| (*name, path.is_some() == *sometimes))
            .collect(),
        counterexample,
    }
}
