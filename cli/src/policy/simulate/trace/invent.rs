//! Agents that nobody recorded.

use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};

use super::{
    super::{
        options::{Arrivals, Fleet, Invented, Sizes},
        seconds,
    },
    Read, Roll, Size, Trace,
};

/// Agents of one guild that come at once.
const BURST: usize = 50;

/// Agents of a guild, where they do not come at once.
const GUILD: usize = 8;

/// A day, and how much its rate goes up and down.
const DAY: f64 = 3600.0;
const SWING: f64 = 0.8;

/// Exponent of the heavy tails: the mean is finite, the variance is not.
const PARETO: f64 = 1.5;

/// CPUs that an agent asks for in the mean, and GiB for each CPU.
const CPUS: f64 = 0.5;
const GIB_A_CPU: f64 = 2.0;

/// Sizes are multiples of that many CPUs, as people write them.
const STEP: f64 = 0.05;

pub(super) fn invent(invented: &Invented, fleet: &Fleet, seed: u64) -> anyhow::Result<Trace> {
    let mut chance = StdRng::seed_from_u64(seed);
    let mut roll = Roll::default();
    // No agent is larger than half of the smallest host: it could be placed nowhere.
    let smallest = if fleet.mixed { 0.5 } else { 1.0 };
    let largest = (fleet.cpus / 2.0).min(fleet.memory / 2.0 / GIB_A_CPU) * smallest;
    let warm = if invented.warm { (invented.rate * invented.stay).round() as usize } else { 0 };
    let mut now = 0.0;
    for nth in 0..warm + invented.agents {
        let is_there = nth < warm;
        if !is_there {
            now += gap(invented, nth - warm, now, &mut chance);
        }
        let stays = match (invented.heavy_tail, is_there) {
            (false, _) => exponential(&mut chance, invented.stay),
            (true, false) => pareto(&mut chance, invented.stay),
            (true, true) => rest_of_pareto(&mut chance, invented.stay),
        };
        let cpus = match invented.sizes {
            Sizes::None => 0.0,
            Sizes::Even => CPUS,
            Sizes::Heavy => ((pareto(&mut chance, CPUS) / STEP).ceil() * STEP).min(largest),
        };
        let guild = match invented.arrivals {
            Arrivals::Bursts if !is_there => warm / GUILD + 1 + (nth - warm) / BURST,
            _ => nth / GUILD,
        };
        roll.add(Read {
            guild: &format!("guild-{guild}"),
            agent: &format!("agent-{nth}"),
            class: "",
            arrives: seconds(now),
            stays: seconds(stays),
            size: Size::new(cpus, cpus * GIB_A_CPU),
        })?;
    }
    Ok(Trace { warm, ..roll.finish() })
}

/// Seconds from the agent before to the `nth`.
fn gap(invented: &Invented, nth: usize, now: f64, chance: &mut StdRng) -> f64 {
    match invented.arrivals {
        Arrivals::Poisson => exponential(chance, 1.0 / invented.rate),
        Arrivals::Bursts if nth.is_multiple_of(BURST) => exponential(chance, BURST as f64 / invented.rate),
        Arrivals::Bursts => 0.0,
        Arrivals::Diurnal => {
            let hour = (now / DAY * std::f64::consts::TAU).sin();
            exponential(chance, 1.0 / (invented.rate * (1.0 + SWING * hour)))
        }
    }
}

/// A time with this mean, of what happens by chance at any moment.
pub(in super::super) fn exponential(chance: &mut impl Rng, mean: f64) -> f64 {
    -mean * (1.0 - chance.random::<f64>()).ln()
}

fn pareto(chance: &mut impl Rng, mean: f64) -> f64 {
    let least = mean * (PARETO - 1.0) / PARETO;
    least / (1.0 - chance.random::<f64>()).powf(1.0 / PARETO)
}

/// What is left of such a time for those who are met at any moment: long stays are met
/// more often. The inverse of its distribution, which is flat up to the least time and has
/// a heavier tail than the times themselves.
fn rest_of_pareto(chance: &mut impl Rng, mean: f64) -> f64 {
    let least = mean * (PARETO - 1.0) / PARETO;
    let left: f64 = 1.0 - chance.random::<f64>();
    match left > 1.0 / PARETO {
        true => (1.0 - left) * mean,
        false => least * (PARETO * left).powf(-1.0 / (PARETO - 1.0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Half of those who are met at a moment have more left than this.
    #[test]
    fn the_rest_of_a_long_stay_is_long() {
        let mut chance = StdRng::seed_from_u64(1);
        let mut rests: Vec<f64> = (0..10_001).map(|_| rest_of_pareto(&mut chance, 300.0)).collect();
        rests.sort_by(f64::total_cmp);
        // P(rest > x) = (least / x)^0.5 / 1.5 is a half at x = least * (4 / 3)^2.
        let wanted = 100.0 * 16.0 / 9.0;
        assert!((rests[5000] / wanted - 1.0).abs() < 0.05, "{} {wanted}", rests[5000]);
        // And P(rest < x) = x / mean up to the least stay.
        let below = rests.iter().filter(|rest| **rest < 50.0).count();
        assert!((1500..1850).contains(&below), "{below}");
    }
}
