//! A machine: the host process on it, the agents' processes, and the fence.

use crate::{
    flaws::{Flaw, Rules},
    registry::{AGENTS, Epoch, LEASES, LeaseId, Leases},
};

/// What a host has of one agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Holding {
    /// Nothing.
    #[default]
    Nothing,
    /// It ran the agent under this epoch, and knows it.
    Held(Epoch),
    /// Its claim has been granted under this epoch. It has not heard so yet, or has not
    /// started the process yet.
    Granted(Epoch),
    /// A process of the agent runs here.
    Running(Epoch),
}

impl Holding {
    /// Whether there is a process.
    pub fn runs(self) -> bool {
        matches!(self, Self::Running(_))
    }

    /// The epoch, if it has anything.
    pub fn epoch(self) -> Option<Epoch> {
        match self {
            Self::Nothing => None,
            Self::Held(epoch) | Self::Granted(epoch) | Self::Running(epoch) => Some(epoch),
        }
    }

    /// With another epoch.
    pub fn with_epoch(self, epoch: Epoch) -> Self {
        match self {
            Self::Nothing => Self::Nothing,
            Self::Held(_) => Self::Held(epoch),
            Self::Granted(_) => Self::Granted(epoch),
            Self::Running(_) => Self::Running(epoch),
        }
    }
}

/// What a council member has told the holder of a lease, or its buriers, and for how many
/// more ticks of its own clock that binds it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pledge {
    /// Nothing that binds it.
    #[default]
    None,
    /// "I do not vote for your burial."
    Promise(u8),
    /// "I promise nothing to that holder."
    Vote(u8),
}

/// A machine with its host process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Host {
    /// There is a host process.
    pub up: bool,
    /// The host process is stopped. Its clock and its fence go on.
    pub paused: bool,
    /// The host process can't reach the registry.
    pub cut: bool,
    /// The lease that this process, or the one before it, registered under.
    pub lease: LeaseId,
    /// For how many more ticks of its clock there may be agents here.
    pub tenure: u8,
    /// The view that the host process uses.
    pub view: Leases,
    /// By agent.
    pub agents: [Holding; AGENTS],
    /// By lease, what this process has told others.
    pub pledges: [Pledge; LEASES],
}

impl Host {
    /// A machine whose host process has not been started yet.
    pub fn off(lease: LeaseId) -> Self {
        Self {
            up: false,
            paused: false,
            cut: false,
            lease,
            tenure: 0,
            view: Leases::default(),
            agents: Default::default(),
            pledges: Default::default(),
        }
    }

    /// Whether the host process does anything.
    pub fn acts(&self) -> bool {
        self.up && !self.paused
    }

    /// Whether the host process and the registry can talk.
    pub fn reaches_registry(&self) -> bool {
        self.acts() && !self.cut
    }

    /// Whether there is a process of any agent.
    pub fn has_processes(&self) -> bool {
        self.agents.iter().any(|agent| agent.runs())
    }

    /// Whether it has, or may have, anything to run: what a tenure is for.
    pub fn is_idle(&self) -> bool {
        self.agents.iter().all(|agent| *agent == Holding::Nothing)
    }

    /// Whether this member would promise to the holder of this lease.
    pub fn would_promise(&self, to: LeaseId, rules: Rules) -> bool {
        let voted = matches!(self.pledges[to.index()], Pledge::Vote(_));
        self.acts() && self.lease != to && self.cut && (!voted || rules.has(Flaw::VotesDoNotBind))
    }

    /// It promises.
    pub fn promise(&mut self, to: LeaseId, rules: Rules) {
        self.pledges[to.index()] = Pledge::Promise(rules.lease);
    }

    /// Whether this member would vote for the burial of this lease.
    pub fn would_vote(&self, against: LeaseId, rules: Rules) -> bool {
        let promised = matches!(self.pledges[against.index()], Pledge::Promise(_));
        self.acts() && self.lease != against && (!promised || rules.has(Flaw::PromisesDoNotBind))
    }

    /// It votes.
    pub fn vote(&mut self, against: LeaseId, rules: Rules) {
        self.pledges[against.index()] = Pledge::Vote(rules.lease);
    }

    /// The machine's clock ticks, and the fence looks at it.
    pub fn tick(&mut self, rules: Rules) {
        self.tenure = self.tenure.saturating_sub(1);
        for pledge in &mut self.pledges {
            *pledge = match *pledge {
                Pledge::Promise(left) if left > 1 => Pledge::Promise(left - 1),
                Pledge::Vote(left) if left > 1 => Pledge::Vote(left - 1),
                _ => Pledge::None,
            };
        }
        self.fence(rules);
    }

    /// Ends all agents when the tenure is over.
    pub fn fence(&mut self, rules: Rules) {
        let asleep = match rules.flaw {
            Some(Flaw::NoFence) => true,
            Some(Flaw::FenceInTheHost) => !self.acts(),
            _ => false,
        };
        if self.tenure > 0 || asleep {
            return;
        }
        for agent in &mut self.agents {
            if let Holding::Running(epoch) = *agent {
                // A host process that is gone remembers nothing.
                *agent = if self.up { Holding::Held(epoch) } else { Holding::Nothing };
            }
        }
    }

    /// The host process ends. What it ran ends too, now or a little later (see
    /// [`Host::reap`]), and at the latest at the end of the tenure.
    pub fn crash(&mut self) {
        self.up = false;
        self.paused = false;
        self.cut = false;
        self.view = Leases::default();
        self.pledges = Default::default();
        for agent in &mut self.agents {
            if !agent.runs() {
                *agent = Holding::Nothing;
            }
        }
        if !self.has_processes() {
            self.tenure = 0;
        }
    }

    /// What a crashed host process left behind ends.
    pub fn reap(&mut self) {
        self.agents = Default::default();
        self.tenure = 0;
    }
}
