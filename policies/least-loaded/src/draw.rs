//! Positions that are drawn for an agent: the same in every engine, and like chance.

/// Positions below a bound, without an end (SplitMix64).
#[derive(Clone, Debug)]
pub(crate) struct Draws {
    state: u64,
    bound: u64,
}

impl Draws {
    pub(crate) fn new(seed: u64, bound: usize) -> Self {
        Self { state: seed, bound: bound as u64 }
    }
}

impl Iterator for Draws {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        // The high half of a product maps it to the bound without a division.
        Some((((mixed >> 32) * self.bound) >> 32) as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_position_is_drawn_about_as_often() {
        let mut drawn = [0; 10];
        for agent in 0..1000 {
            Draws::new(agent, 10).take(10).for_each(|at| drawn[at] += 1);
        }
        assert!(drawn.iter().all(|times| (850..1150).contains(times)), "{drawn:?}");
    }
}
