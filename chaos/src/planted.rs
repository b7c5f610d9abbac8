//! Bugs that are put into the product on purpose, to show that the suite finds such bugs.
//!
//! They are compiled in by the feature `planted-bugs` of `guildhall-host` alone, and then
//! switched on by a variable. Each has a schedule that must expose it.

use std::time::Duration;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::nemesis::{Fault, Planned, Round};

/// One planted bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Bug {
    /// A host does not end its agents when its tenure is over.
    NoSelfFence,
    /// Writes under an epoch that is not the current one are carried out.
    IgnoreStaleEpochs,
}

impl Bug {
    /// The variable that switches a bug on.
    pub(crate) const VARIABLE: &str = "GUILDHALL_PLANTED_BUG";

    /// What the variable must say.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::NoSelfFence => "no-self-fence",
            Self::IgnoreStaleEpochs => "ignore-stale-epochs",
        }
    }

    /// A schedule that must expose it: one host after the other, so that one that has no
    /// agents does not let the bug pass.
    pub(crate) fn schedule(self, hosts: usize, lease: Duration) -> Vec<Round> {
        let fault = match self {
            // The host lives and its peers see it, but it cannot renew.
            Self::NoSelfFence => Fault::PartitionHostRedis,
            // The host sleeps until others have its agents, and then goes on.
            Self::IgnoreStaleEpochs => Fault::HostPause,
        };
        let planned = |host| Planned { fault, host, pick: 0, hold: lease * 5, gap: lease };
        (0..hosts.min(3)).map(|host| Round(vec![planned(host)])).collect()
    }
}
