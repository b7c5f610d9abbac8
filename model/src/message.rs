//! What takes its time.
//!
//! Most exchanges in the model happen at once: asked, carried out and answered between two
//! ticks. That is when the protocol has the least room. Those that do not are here, step
//! by step; a configuration says how many there may be at the same time. Each may be lost
//! at every step.

use crate::registry::{Epoch, HOSTS, LeaseId, Leases};

/// An exchange that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Message {
    /// A renewal that has not been carried out.
    Renew {
        /// Whose.
        lease: LeaseId,
        /// The view that the holder said it has.
        said: Leases,
        /// Ticks of the holder's clock since it asked; none when it waits no longer.
        age: Option<u8>,
    },
    /// The answer to a renewal.
    Renewed {
        /// Whose.
        lease: LeaseId,
        /// The view it shall have.
        view: Leases,
        /// Ticks of the holder's clock since it asked.
        age: u8,
    },
    /// A holder collects promises.
    Promises {
        /// Whose tenure they are for.
        lease: LeaseId,
        /// The council that was asked.
        council: Leases,
        /// Ticks of the holder's clock since it asked.
        age: u8,
        /// Who has promised, but was not heard yet.
        given: Leases,
        /// Who was heard.
        heard: Leases,
    },
    /// Somebody collects votes, or has asked the registry for the burial.
    Burial {
        /// Of which lease.
        lease: LeaseId,
        /// Ticks of the registry's clock since it said that the lease is overdue.
        age: u8,
        /// Who has voted.
        votes: Leases,
    },
    /// A claim that has not been carried out.
    Claim {
        /// Under which lease.
        lease: LeaseId,
        /// Of which agent.
        agent: usize,
        /// The epoch that the caller knows.
        known: Epoch,
        /// Whether it is an adoption.
        adoption: bool,
    },
    /// An agent's write that has not been carried out.
    Write {
        /// Of which agent.
        agent: usize,
        /// Of the process that wrote.
        epoch: Epoch,
    },
}

impl Message {
    /// Whose exchange it is, where a host waits for its end.
    pub fn holder(&self) -> Option<LeaseId> {
        match self {
            Self::Renew { lease, .. }
            | Self::Renewed { lease, .. }
            | Self::Promises { lease, .. }
            | Self::Claim { lease, .. } => Some(*lease),
            Self::Burial { .. } | Self::Write { .. } => None,
        }
    }

    /// The agent whose epoch it holds.
    pub fn epoch(&mut self) -> Option<(usize, &mut Epoch)> {
        match self {
            Self::Claim { agent, known, .. } => Some((*agent, known)),
            Self::Write { agent, epoch } => Some((*agent, epoch)),
            _ => None,
        }
    }

    /// The same message when host `h` is called `hosts[h]`, and agents likewise.
    pub fn renamed(mut self, hosts: &[usize; HOSTS], agents: &[usize]) -> Self {
        match &mut self {
            Self::Renew { lease, said, .. } => {
                *lease = lease.renamed(hosts);
                *said = said.renamed(hosts);
            }
            Self::Renewed { lease, view, .. } => {
                *lease = lease.renamed(hosts);
                *view = view.renamed(hosts);
            }
            Self::Promises { lease, council, given, heard, .. } => {
                *lease = lease.renamed(hosts);
                for leases in [council, given, heard] {
                    *leases = leases.renamed(hosts);
                }
            }
            Self::Burial { lease, votes, .. } => {
                *lease = lease.renamed(hosts);
                *votes = votes.renamed(hosts);
            }
            Self::Claim { lease, agent, .. } => {
                *lease = lease.renamed(hosts);
                *agent = agents[*agent];
            }
            Self::Write { agent, .. } => *agent = agents[*agent],
        }
        self
    }
}
