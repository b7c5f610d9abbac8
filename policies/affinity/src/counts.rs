//! How many agents there are in each place.

use alloc::vec::Vec;

/// Agents in each place where there are any: places are numbers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    /// Each place and its agents, by place.
    places: Vec<(u32, u32)>,
    /// Agents in all places.
    pub(crate) all: u32,
}

impl Counts {
    /// Counts an agent in this place.
    pub(crate) fn add(&mut self, place: u32) {
        self.all += 1;
        match self.search(place) {
            Ok(at) => self.places[at].1 += 1,
            Err(at) => self.places.insert(at, (place, 1)),
        }
    }

    /// Agents in this place.
    pub(crate) fn at(&self, place: u32) -> u32 {
        self.search(place).map_or(0, |at| self.places[at].1)
    }

    /// The places where there are agents, and how many.
    pub(crate) fn places(&self) -> &[(u32, u32)] {
        &self.places
    }

    fn search(&self, place: u32) -> Result<usize, usize> {
        self.places.binary_search_by_key(&place, |(place, _)| *place)
    }
}
