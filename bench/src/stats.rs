//! Percentiles, and two things measured in turns.

use std::time::Duration;

use anyhow::Result;

/// How long one thing took, each time it was done.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sample(Vec<Duration>);

impl Sample {
    pub(crate) fn push(&mut self, took: Duration) {
        self.0.push(took);
    }

    /// The time that `percent` of all did not exceed, in microseconds: the nearest
    /// rank, so it is one that was measured. NaN when nothing was.
    pub(crate) fn percentile_us(&self, percent: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let rank = (sorted.len() as f64 * percent / 100.0).ceil() as usize;
        sorted.get(rank.max(1) - 1).map_or(f64::NAN, |took| took.as_secs_f64() * 1e6)
    }

    /// The one in the middle, in microseconds.
    pub(crate) fn p50_us(&self) -> f64 {
        self.percentile_us(50.0)
    }

    /// In microseconds.
    pub(crate) fn p99_us(&self) -> f64 {
        self.percentile_us(99.0)
    }
}

/// What two things measured, round by round.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rounds {
    a: Vec<f64>,
    b: Vec<f64>,
}

impl Rounds {
    pub(crate) fn a(&self) -> f64 {
        median(self.a.clone())
    }

    pub(crate) fn b(&self) -> f64 {
        median(self.b.clone())
    }

    /// The median of each round's `a / b`: what slows the machine for a round or
    /// longer slows both.
    pub(crate) fn ratio(&self) -> f64 {
        median(self.a.iter().zip(&self.b).map(|(a, b)| a / b).collect())
    }
}

/// Measures `a` and `b` in turns. Each is told the number of the round; round 0
/// warms up and does not count.
pub(crate) async fn in_turns(
    rounds: usize,
    mut a: impl AsyncFnMut(usize) -> Result<f64>,
    mut b: impl AsyncFnMut(usize) -> Result<f64>,
) -> Result<Rounds> {
    let mut measured = Rounds::default();
    a(0).await?;
    b(0).await?;
    for round in 1..=rounds {
        measured.a.push(a(round).await?);
        measured.b.push(b(round).await?);
    }
    Ok(measured)
}

/// The middle one, or the mean of the two in the middle; NaN of nothing.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    match (values.len() / 2, values.len() % 2) {
        (0, 0) => f64::NAN,
        (half, 0) => (values[half - 1] + values[half]) / 2.0,
        (half, _) => values[half],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let mut sample = Sample::default();
        assert!(sample.p50_us().is_nan());
        for us in (1..=200).rev() {
            sample.push(Duration::from_micros(us));
        }
        for (percent, wanted) in [(0.0, 1.0), (0.5, 1.0), (50.0, 100.0), (99.0, 198.0), (100.0, 200.0)] {
            let found = sample.percentile_us(percent);
            assert!((found - wanted).abs() < 1e-6, "{percent}: {found}");
        }
    }

    #[test]
    fn a_slow_round_does_not_move_the_ratio() {
        let rounds = Rounds { a: vec![1.0, 100.0, 3.0], b: vec![2.0, 200.0, 6.0] };
        assert_eq!((rounds.a(), rounds.b(), rounds.ratio()), (3.0, 6.0, 0.5));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(Vec::new()).is_nan());
    }

    #[tokio::test]
    async fn the_first_round_only_warms_up() -> Result<()> {
        let rounds = in_turns(2, async |round| Ok(round as f64), async |_| Ok(1.0)).await?;
        assert_eq!(rounds.a, [1.0, 2.0]);
        assert_eq!(rounds.b, [1.0, 1.0]);
        Ok(())
    }
}
