//! A host: what it has, and what is on it.

use std::collections::BTreeSet;

use guildhall::{
    ids::HostId,
    placement::{Candidate, Load, Standing},
};

use super::{options::Fleet, trace::Size};

#[derive(Debug)]
pub(super) struct Host {
    pub(super) id: HostId,
    /// Agents it takes at most.
    capacity: u32,
    has: Size,
    /// What its agents asked for, in all.
    asked: Size,
    pub(super) agents: BTreeSet<usize>,
    pub(super) state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Open,
    /// It is back after a while.
    Dead,
    Draining,
    /// It left the fleet.
    Gone,
}

impl Host {
    /// The `nth` host of the fleet.
    pub(super) fn new(nth: usize, fleet: &Fleet) -> anyhow::Result<Self> {
        let (capacity, share) = match (fleet.mixed, nth % 3) {
            (true, 1) => (fleet.capacity / 2, 0.5),
            (true, 2) => (fleet.capacity.saturating_mul(2), 2.0),
            _ => (fleet.capacity, 1.0),
        };
        Ok(Self {
            id: HostId::new(format!("host-{nth:05}"))?,
            capacity,
            has: Size::new(fleet.cpus * share, fleet.memory * share),
            asked: Size::default(),
            agents: BTreeSet::new(),
            state: State::Open,
        })
    }

    /// Which host of the fleet it is, by its id.
    pub(super) fn nth(id: &HostId) -> Option<usize> {
        id.as_str().strip_prefix("host-")?.parse().ok()
    }

    pub(super) fn capacity(&self) -> u32 {
        self.capacity
    }

    pub(super) fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Whether it can say anything.
    pub(super) fn reports(&self) -> bool {
        matches!(self.state, State::Open | State::Draining)
    }

    /// CPU that nobody asked for, thousandths.
    pub(super) fn free_cpu(&self) -> u64 {
        self.has.cpu_millis.saturating_sub(self.asked.cpu_millis)
    }

    /// Whether it has room for an agent of this size; else what there is too little of.
    pub(super) fn has_room(&self, size: Size) -> Result<(), &'static str> {
        let fits = |has: u64, asked: u64, more: u64| asked.saturating_add(more) <= has;
        match () {
            () if self.agents.len() >= self.capacity as usize => Err("no slot is free"),
            () if !fits(self.has.cpu_millis, self.asked.cpu_millis, size.cpu_millis) => {
                Err("too little CPU is free")
            }
            () if !fits(self.has.memory, self.asked.memory, size.memory) => Err("too little memory is free"),
            () => Ok(()),
        }
    }

    /// Takes an agent, or says why not.
    pub(super) fn accept(&mut self, agent: usize, size: Size) -> Result<(), &'static str> {
        match self.state {
            State::Open => self.has_room(size)?,
            State::Dead => return Err("it was dead"),
            State::Draining | State::Gone => return Err("it was leaving"),
        }
        self.agents.insert(agent);
        self.asked.cpu_millis += size.cpu_millis;
        self.asked.memory += size.memory;
        Ok(())
    }

    pub(super) fn release(&mut self, agent: usize, size: Size) {
        if self.agents.remove(&agent) {
            self.asked.cpu_millis -= size.cpu_millis;
            self.asked.memory -= size.memory;
        }
    }

    /// The share of it that is taken: of its CPU where agents ask for some, else of its slots.
    pub(super) fn load(&self, sized: bool) -> f64 {
        match sized {
            true => self.asked.cpu_millis as f64 / self.has.cpu_millis.max(1) as f64,
            false => self.agents.len() as f64 / f64::from(self.capacity.max(1)),
        }
    }

    /// What it says of itself. Agents use what they asked for, or else their slot's share.
    pub(super) fn report(&self, sized: bool) -> Candidate {
        let running = u32::try_from(self.agents.len()).unwrap_or(u32::MAX);
        let load = self.load(sized).min(1.0);
        let memory_used = match sized {
            true => self.asked.memory,
            false => (load * self.has.memory as f64) as u64,
        };
        Candidate {
            running,
            allocatable: Some(self.has.amounts()),
            requested: self.asked.amounts(),
            load: Load {
                cpu_fraction: load,
                cpu_used_millis: (load * self.has.cpu_millis as f64) as u64,
                memory_used,
                memory_total: self.has.memory,
                ..Load::default()
            },
            standing: if self.state == State::Draining { Standing::Draining } else { Standing::Open },
            ..Candidate::new(self.id.clone(), self.capacity)
        }
    }
}
