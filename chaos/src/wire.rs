//! What becomes of a packet: the rules of the network, between any two addresses and in
//! each direction apart.
//!
//! The network is this program: each namespace's only interface is a TUN device whose
//! other end is here (see [`network`](super::network)). So a packet can be dropped,
//! delayed or lost one way only, by address, and without any module of the kernel.

use std::{collections::BTreeMap, net::Ipv4Addr, time::Duration};

use rand::{RngExt, SeedableRng, rngs::StdRng};

/// What is done to packets of one direction between two addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Treatment {
    /// Nothing arrives.
    pub(crate) cut: bool,
    /// How much later a packet arrives.
    pub(crate) delay: Duration,
    /// The share of packets that do not arrive, 0 to 1.
    pub(crate) loss: f64,
}

impl Treatment {
    /// Nothing arrives.
    pub(crate) const CUT: Self = Self { cut: true, delay: Duration::ZERO, loss: 0.0 };
}

/// What becomes of one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It arrives at once.
    Now,
    /// It arrives so much later.
    Later(Duration),
    /// It does not arrive.
    Never,
}

/// The rules in force: several faults may each have some.
#[derive(Debug)]
pub(crate) struct Rules {
    treatments: BTreeMap<(Ipv4Addr, Ipv4Addr), Vec<(u64, Treatment)>>,
    next: u64,
    random: StdRng,
}

/// Names what was [added](Rules::add) together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RuleId(u64);

impl Rules {
    /// No rules: every packet arrives at once.
    pub(crate) fn new(seed: u64) -> Self {
        Self { treatments: BTreeMap::new(), next: 0, random: StdRng::seed_from_u64(seed) }
    }

    /// Treats packets so from the first to the second address of each pair.
    pub(crate) fn add(&mut self, pairs: &[(Ipv4Addr, Ipv4Addr)], treatment: Treatment) -> RuleId {
        let id = self.next;
        self.next += 1;
        for pair in pairs {
            self.treatments.entry(*pair).or_default().push((id, treatment));
        }
        RuleId(id)
    }

    /// Takes rules back.
    pub(crate) fn remove(&mut self, id: RuleId) {
        self.treatments.retain(|_, treatments| {
            treatments.retain(|(of, _)| *of != id.0);
            !treatments.is_empty()
        });
    }

    /// Decides on one packet.
    pub(crate) fn fate(&mut self, from: Ipv4Addr, to: Ipv4Addr) -> Fate {
        let Some(treatments) = self.treatments.get(&(from, to)) else { return Fate::Now };
        let mut delay = Duration::ZERO;
        for (_, treatment) in treatments {
            if treatment.cut || treatment.loss > 0.0 && self.random.random_bool(treatment.loss) {
                return Fate::Never;
            }
            delay += treatment.delay;
        }
        if delay.is_zero() { Fate::Now } else { Fate::Later(delay) }
    }
}

/// Every pair of one address of each list, from the first list to the second.
pub(crate) fn one_way(from: &[Ipv4Addr], to: &[Ipv4Addr]) -> Vec<(Ipv4Addr, Ipv4Addr)> {
    from.iter().flat_map(|a| to.iter().map(move |b| (*a, *b))).filter(|(a, b)| a != b).collect()
}

/// Every pair of one address of each list, in both directions.
pub(crate) fn both_ways(one: &[Ipv4Addr], other: &[Ipv4Addr]) -> Vec<(Ipv4Addr, Ipv4Addr)> {
    let mut pairs = one_way(one, other);
    pairs.extend(one_way(other, one));
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
    const B: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
    const C: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 3);

    #[test]
    fn a_cut_may_be_one_way_and_is_healed_alone() {
        let mut rules = Rules::new(1);
        let first = rules.add(&one_way(&[A], &[B, C]), Treatment::CUT);
        let second = rules.add(&both_ways(&[A], &[B]), Treatment::CUT);
        let fates = |rules: &mut Rules| {
            [(A, B), (B, A), (A, C), (C, A)].map(|(from, to)| rules.fate(from, to) == Fate::Now)
        };
        assert_eq!(fates(&mut rules), [false, false, false, true]);
        rules.remove(first);
        assert_eq!(fates(&mut rules), [false, false, true, true]);
        rules.remove(second);
        assert_eq!(fates(&mut rules), [true; 4]);
    }

    #[test]
    fn delays_add_up_and_losses_are_shares() {
        let mut rules = Rules::new(1);
        let delay = Treatment { delay: Duration::from_millis(30), ..Treatment::default() };
        rules.add(&[(A, B)], delay);
        rules.add(&[(A, B)], delay);
        rules.add(&[(B, A)], Treatment { loss: 0.3, ..Treatment::default() });
        assert_eq!(rules.fate(A, B), Fate::Later(Duration::from_millis(60)));
        let lost = (0..10_000).filter(|_| rules.fate(B, A) == Fate::Never).count();
        assert!((2_500..3_500).contains(&lost), "{lost}");
    }
}
