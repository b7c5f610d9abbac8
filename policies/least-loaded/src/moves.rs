//! Which agents would be better on another host.

use alloc::vec::Vec;

use guildhall_policy::{Fleet, Move, Placed, Standing, percent, text};

use crate::Weights;

/// How much less loaded a host must be for a move to be worth its while: an agent that
/// moves is away for a moment.
const WORTH_WHILE: f64 = 0.1;

/// Moves agents from the most to the least loaded host, one at a time, until no move is
/// worth its while.
#[cold]
pub(crate) fn propose(weights: &Weights, fleet: &Fleet, placed: &[Placed], most: usize) -> Vec<Move> {
    // Beyond what each host reported: what these moves bring it, and take from it.
    let mut moved: Vec<i64> = alloc::vec![0; fleet.len()];
    let mut agents_of: Vec<Vec<usize>> = alloc::vec![Vec::new(); fleet.len()];
    for (agent, placed) in placed.iter().enumerate() {
        if let Some(at) = fleet.position(&placed.host) {
            agents_of[at].push(agent);
        }
    }
    let load = |at: usize, moved: i64| weights.share(&fleet[at], moved);
    let mut moves = Vec::new();
    while moves.len() < most {
        let loads = (0..fleet.len()).map(|at| (at, load(at, moved[at])));
        let from = loads.clone().filter(|(at, _)| !agents_of[*at].is_empty()).max_by(by_load);
        let open = |(at, _): &(usize, f64)| {
            fleet[*at].standing == Standing::Open && weights.load(&fleet[*at], added(moved[*at])).is_some()
        };
        let to = loads.filter(open).min_by(by_load);
        let (Some((from, most_loaded)), Some((to, _))) = (from, to) else { break };
        if from == to || most_loaded - load(to, moved[to] + 1) < WORTH_WHILE {
            break;
        }
        let Some(agent) = agents_of[from].pop() else { break };
        let least_loaded = load(to, moved[to]);
        let reason =
            text!("from a load of ", percent(most_loaded), " % to one of ", percent(least_loaded), " %");
        moves.push(Move::new(agent, &fleet[to], reason));
        moved[from] -= 1;
        moved[to] += 1;
    }
    moves
}

fn added(moved: i64) -> u32 {
    u32::try_from(moved.max(0)).unwrap_or(u32::MAX)
}

fn by_load(one: &(usize, f64), other: &(usize, f64)) -> core::cmp::Ordering {
    one.1.total_cmp(&other.1)
}
