//! Some of many values, in order.

use serde::Serialize;

/// Points of a curve of values in their order, the first and the last included.
const POINTS: usize = 201;

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Quantiles {
    pub(super) p50: f64,
    pub(super) p99: f64,
    pub(super) max: f64,
}

/// Values and how often each is, in order.
#[derive(Debug)]
pub(super) struct Sorted<'a>(pub(super) &'a [(f64, u64)]);

impl Sorted<'_> {
    /// None of no values.
    pub(super) fn quantiles(&self) -> Option<Quantiles> {
        let [p50, p99, max] = self.pick([0.5, 0.99, 1.0].into_iter()).try_into().ok()?;
        Some(Quantiles { p50, p99, max })
    }

    /// So many values, evenly from the least to the largest by their place in the order.
    pub(super) fn curve(&self) -> Vec<f64> {
        self.pick((0..POINTS).map(|point| point as f64 / (POINTS - 1) as f64))
    }

    /// For each share, which must not fall, the least value that so many are at most.
    fn pick(&self, shares: impl Iterator<Item = f64>) -> Vec<f64> {
        let all: u64 = self.0.iter().map(|(_, times)| times).sum();
        let (mut at, mut seen) = (0, 0);
        let pick = |share: f64| {
            let wanted = ((all as f64 * share).ceil() as u64).clamp(1, all.max(1));
            while at < self.0.len() && seen + self.0[at].1 < wanted {
                seen += self.0[at].1;
                at += 1;
            }
            self.0.get(at).map(|(value, _)| *value)
        };
        shares.filter_map(pick).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_values_are_at_most_the_middle_one() {
        assert_eq!(Sorted(&[]).quantiles(), None);
        assert!(Sorted(&[]).curve().is_empty());
        let quantiles = |values: &[(f64, u64)]| {
            let Quantiles { p50, p99, max } = Sorted(values).quantiles().unwrap();
            [p50, p99, max]
        };
        assert_eq!(quantiles(&[(7.0, 1)]), [7.0; 3]);
        assert_eq!(quantiles(&[(1.0, 1), (2.0, 1), (3.0, 1)]), [2.0, 3.0, 3.0]);
        assert_eq!(quantiles(&[(0.0, 98), (1.0, 1), (9.0, 1)]), [0.0, 1.0, 9.0]);
        assert_eq!(quantiles(&[(0.0, 50), (1.0, 50)]), [0.0, 1.0, 1.0]);
        let curve = Sorted(&[(0.0, 100), (1.0, 100)]).curve();
        assert_eq!((curve.len(), curve[0], curve[100], curve[101], curve[200]), (201, 0.0, 0.0, 1.0, 1.0));
    }
}
