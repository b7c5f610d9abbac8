//! Whether and when an agent whose process ended is started again.
//!
//! Pure: time and chance come in as arguments. What it decides is carried out by
//! the agent's task.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

/// Which ends of its process an agent is started again after.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    /// After every end.
    Always,
    /// After every end but exit code 0.
    #[default]
    OnFailure,
    /// After none.
    Never,
}

/// How fast and how often agents are started again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RestartLimits {
    /// Wait before the first restart; doubles from one restart to the next.
    pub first_delay: Duration,
    /// Longest wait, before jitter.
    pub max_delay: Duration,
    /// Share of the wait by which chance makes it longer or shorter, 0.0 to 1.0.
    /// Agents that ended together so do not start together.
    pub jitter: f64,
    /// An agent that was ready this long is healthy: the count begins anew.
    pub healthy_after: Duration,
    /// Restarts without health in between, after which the agent has failed.
    pub limit: u32,
}

impl Default for RestartLimits {
    fn default() -> Self {
        Self {
            first_delay: Duration::from_secs(1),
            max_delay: Duration::from_secs(30),
            jitter: 0.25,
            healthy_after: Duration::from_secs(60),
            limit: 10,
        }
    }
}

/// What to do about an end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    /// Start it again after this long.
    Restart(Duration),
    /// It has done what it was for.
    Finished,
    /// It has failed for good.
    Failed(Failure),
}

/// Why an agent is not started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Its policy is [`RestartPolicy::Never`].
    PolicySaysNever,
    /// It was restarted this often without becoming healthy.
    LimitReached(u32),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PolicySaysNever => f.write_str("its restart policy is never"),
            Self::LimitReached(limit) => write!(f, "restarted {limit} times without becoming healthy"),
        }
    }
}

/// The restarts of one agent so far.
#[derive(Clone, Copy, Debug)]
pub struct Restarts {
    policy: RestartPolicy,
    limits: RestartLimits,
    unhealthy: u32,
}

impl Restarts {
    /// Of an agent that was never restarted.
    pub fn new(policy: RestartPolicy, limits: RestartLimits) -> Self {
        Self { policy, limits, unhealthy: 0 }
    }

    /// Decides about an end. `success` says that the process exited with code 0
    /// without being made to, `ready_for` how long it had been ready (zero when it
    /// never was), and `chance` is drawn from 0.0..1.0.
    pub fn ended(&mut self, success: bool, ready_for: Duration, chance: f64) -> Verdict {
        match self.policy {
            RestartPolicy::OnFailure | RestartPolicy::Never if success => return Verdict::Finished,
            RestartPolicy::Never => return Verdict::Failed(Failure::PolicySaysNever),
            RestartPolicy::Always | RestartPolicy::OnFailure => {}
        }
        if ready_for >= self.limits.healthy_after {
            self.unhealthy = 0;
        }
        if self.unhealthy >= self.limits.limit {
            return Verdict::Failed(Failure::LimitReached(self.limits.limit));
        }
        let delay = self.delay(chance);
        self.unhealthy += 1;
        Verdict::Restart(delay)
    }

    fn delay(&self, chance: f64) -> Duration {
        let doubled = 2u32.saturating_pow(self.unhealthy);
        let delay = self.limits.first_delay.saturating_mul(doubled).min(self.limits.max_delay);
        let jitter = self.limits.jitter.clamp(0.0, 1.0) * (2.0 * chance.clamp(0.0, 1.0) - 1.0);
        delay.mul_f64(1.0 + jitter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn policies() -> impl Strategy<Value = RestartPolicy> {
        prop_oneof![Just(RestartPolicy::Always), Just(RestartPolicy::OnFailure), Just(RestartPolicy::Never)]
    }

    #[test]
    fn waits_double_up_to_the_longest_and_end_at_the_limit() {
        let mut restarts = Restarts::new(RestartPolicy::OnFailure, RestartLimits::default());
        let verdicts = std::array::from_fn::<_, 11, _>(|_| restarts.ended(false, Duration::ZERO, 0.5));
        let seconds = |s| Verdict::Restart(Duration::from_secs(s));
        assert_eq!(verdicts[..10], [1, 2, 4, 8, 16, 30, 30, 30, 30, 30].map(seconds));
        assert_eq!(verdicts[10], Verdict::Failed(Failure::LimitReached(10)));
    }

    #[test]
    fn health_forgives() {
        let mut restarts = Restarts::new(RestartPolicy::Always, RestartLimits::default());
        for _ in 0..10 {
            restarts.ended(false, Duration::from_secs(59), 0.5);
        }
        assert_eq!(
            restarts.ended(true, Duration::from_secs(60), 0.5),
            Verdict::Restart(Duration::from_secs(1))
        );
    }

    proptest! {
        /// Any history, judged against the rules written a second time.
        #[test]
        fn every_history_follows_the_rules(
            policy in policies(),
            history in prop::collection::vec((any::<bool>(), 0u64..120, 0.0f64..1.0), 1..60),
        ) {
            let limits = RestartLimits::default();
            let mut restarts = Restarts::new(policy, limits);
            let mut in_a_row = 0;
            for (success, ready_for, chance) in history {
                if ready_for >= 60 {
                    in_a_row = 0;
                }
                match restarts.ended(success, Duration::from_secs(ready_for), chance) {
                    Verdict::Restart(delay) => {
                        prop_assert!(policy != RestartPolicy::Never);
                        prop_assert!(policy == RestartPolicy::Always || !success);
                        prop_assert!(in_a_row < limits.limit);
                        let plain = Duration::from_secs(1 << in_a_row.min(5)).min(limits.max_delay);
                        prop_assert!(delay >= plain.mul_f64(0.75) && delay <= plain.mul_f64(1.25));
                        in_a_row += 1;
                    }
                    Verdict::Finished => {
                        prop_assert!(success && policy != RestartPolicy::Always);
                        break;
                    }
                    Verdict::Failed(Failure::PolicySaysNever) => {
                        prop_assert!(!success && policy == RestartPolicy::Never);
                        break;
                    }
                    Verdict::Failed(Failure::LimitReached(_)) => {
                        prop_assert_eq!(in_a_row, limits.limit);
                        prop_assert!(policy != RestartPolicy::Never && ready_for < 60);
                        break;
                    }
                }
            }
        }
    }
}
