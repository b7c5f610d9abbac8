//! Why a host did not do what it was asked: a reason for programs, a message for
//! people, details for both.

use std::{collections::BTreeMap, fmt};

use crate::ids::{Epoch, HostId};

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// The one list of reasons. Over gRPC each is a `google.rpc.ErrorInfo` whose
        /// reason is the name in capitals; `agent_host.proto` says which status
        /// code goes with it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum FaultReason {
            $($(#[$doc])* $variant,)*
        }

        impl FaultReason {
            /// Every reason there is.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name on the wire, such as `CAPACITY_EXHAUSTED`.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The reason of that name on the wire.
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|reason| reason.as_str() == name)
            }
        }
    };
}

reasons! {
    /// The launch cannot be used; the message names the field.
    InvalidLaunch = "INVALID_LAUNCH",
    /// The operator's runner table has no runner of that name.
    UnknownRunner = "UNKNOWN_RUNNER",
    /// No runner of the table takes this class.
    NoRunnerForClass = "NO_RUNNER_FOR_CLASS",
    /// The host is full.
    CapacityExhausted = "CAPACITY_EXHAUSTED",
    /// The host takes no new agents.
    Draining = "DRAINING",
    /// The identity is taken: see [`Fault::holder`].
    AlreadyRunning = "ALREADY_RUNNING",
    /// The runner ended before it was ready.
    StartFailed = "START_FAILED",
    /// The runner was not ready in time.
    StartTimeout = "START_TIMEOUT",
    /// There is no such agent on this host.
    AgentNotFound = "AGENT_NOT_FOUND",
    /// The host cannot reach the registry.
    RegistryUnavailable = "REGISTRY_UNAVAILABLE",
    /// The policy chose no host; the message is its reason.
    PlacementRefused = "PLACEMENT_REFUSED",
    /// The policy trapped, took too long or answered nonsense.
    PolicyFailed = "POLICY_FAILED",
    /// The host could not be reached.
    HostUnreachable = "HOST_UNREACHABLE",
    /// The agent was stopped while it started, or the caller went away.
    StartCancelled = "START_CANCELLED",
    /// The call took too long.
    TimedOut = "TIMED_OUT",
    /// The registry, or the host's lease, is not settled; after a while it will be.
    NotSettled = "NOT_SETTLED",
    /// The host has too many calls under way.
    Overloaded = "OVERLOADED",
    /// Something else; the host's log has more.
    Internal = "INTERNAL_ERROR",
}

impl FaultReason {
    /// Whether another host may well do what this one did not.
    pub fn another_host_may(self) -> bool {
        matches!(
            self,
            Self::CapacityExhausted
                | Self::Draining
                | Self::RegistryUnavailable
                | Self::HostUnreachable
                | Self::Overloaded
        )
    }
}

impl fmt::Display for FaultReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The detail that says after how many milliseconds to try again; also told as a
/// `google.rpc.RetryInfo`.
pub const RETRY_AFTER_MS: &str = "retry_after_ms";

/// Why a host did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// For programs.
    pub reason: FaultReason,
    /// For people.
    pub message: String,
    /// Named values that go with the reason: `agent_host.proto` lists them.
    pub details: BTreeMap<String, String>,
}

/// Who holds an identity that was claimed in vain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The host it runs on.
    pub host: HostId,
    /// Its incarnation.
    pub epoch: Epoch,
    /// The request that made it.
    pub request_id: String,
}

impl Fault {
    /// A fault without details.
    pub fn new(reason: FaultReason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), details: BTreeMap::new() }
    }

    /// Adds a named value.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.details.insert(name.to_owned(), value.to_string());
        self
    }

    /// Adds who holds the identity.
    #[must_use]
    pub fn with_holder(self, holder: &Holder) -> Self {
        self.with("host", &holder.host).with("epoch", holder.epoch).with("request_id", &holder.request_id)
    }

    /// Who holds the identity, when the reason is [`FaultReason::AlreadyRunning`].
    pub fn holder(&self) -> Option<Holder> {
        if self.reason != FaultReason::AlreadyRunning {
            return None;
        }
        Some(Holder {
            host: HostId::new(self.details.get("host")?).ok()?,
            epoch: Epoch(self.details.get("epoch")?.parse().ok()?),
            request_id: self.details.get("request_id").cloned().unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_there_and_back() {
        for reason in FaultReason::ALL {
            assert_eq!(FaultReason::from_name(reason.as_str()), Some(*reason));
        }
        assert_eq!(FaultReason::from_name("NO_SUCH_REASON"), None);
    }

    #[test]
    fn a_holder_goes_there_and_back() {
        let holder =
            Holder { host: HostId::new("host-1").unwrap(), epoch: Epoch(7), request_id: "r1".to_owned() };
        let fault = Fault::new(FaultReason::AlreadyRunning, "taken").with_holder(&holder);
        assert_eq!(fault.holder(), Some(holder));
        assert_eq!(Fault::new(FaultReason::Draining, "draining").holder(), None);
    }
}
