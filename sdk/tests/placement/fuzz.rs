//! Whatever a policy's functions leave behind, it costs that call at most.

use std::fmt::Write as _;

use guildhall::placement::PlaceError;
use proptest::prelude::*;

use crate::{host, made, request, service};

/// Where the answer lies, and where lists and texts that it points to may lie.
const ANSWER: u32 = 8192;
const ANSWER_BYTES: usize = 128;

/// Words of an answer: small numbers, addresses of something, and anything.
fn word() -> impl Strategy<Value = u32> {
    prop_oneof![
        4 => 0..4_u32,
        4 => prop::sample::select(vec![512_u32, 513, 517, 521, 524, 3008, 3032, ANSWER, ANSWER + 8, ANSWER + 40]),
        2 => any::<u32>(),
        1 => Just(u32::MAX),
    ]
}

/// A policy that answers the agent `bad` with these words.
fn answering(words: &[u32]) -> made::Policy {
    let mut data = String::new();
    for word in words {
        for byte in word.to_le_bytes() {
            let _ = write!(data, "\\{byte:02x}");
        }
    }
    let module = format!("(data (i32.const {ANSWER}) \"{data}\")");
    let policy = made::Policy::bad_place(&format!("(return (i32.const {ANSWER}))"));
    made::Policy { module: module.leak(), ..policy }
}

proptest! {
    #[test]
    fn any_answer_costs_one_decision_at_most(words in prop::collection::vec(word(), ANSWER_BYTES / 4)) {
        let service = service(&answering(&words));
        for _ in 0..2 {
            match service.place(&request("bad")) {
                Ok(decision) => {
                    let named = decision.others.iter().map(|other| (&other.host, other.score));
                    for (named, score) in named.chain([(&decision.host, decision.score)]) {
                        prop_assert!(["a", "b", "c"].contains(&named.as_str()), "{named}");
                        prop_assert!(!score.is_nan());
                    }
                    prop_assert!(decision.others.len() < 16);
                }
                Err(PlaceError::Refused { refusal, .. }) => {
                    prop_assert!(refusal.reason.len() <= 4096 && refusal.rejections.len() <= 64);
                }
                Err(PlaceError::Policy(_)) => {}
                Err(other) => return Err(TestCaseError::fail(other.to_string())),
            }
            prop_assert_eq!(service.place(&request("good")).unwrap().host, host("a"));
        }
    }

    /// Nor do a component's own bytes matter, changed at any place.
    #[test]
    fn a_damaged_component_is_refused_or_behaves(flips in prop::collection::vec((any::<prop::sample::Index>(), 0..8_u8), 1..4)) {
        let mut bytes = made::Policy::default().component();
        for (at, bit) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        let artifact = crate::artifact("damaged", bytes);
        let Ok(policy) = guildhall::placement::Policy::load(&artifact, &guildhall::placement::CompiledCache::off()) else {
            return Ok(());
        };
        let Ok(service) = guildhall::placement::PlacementService::new(policy, &serde_json::json!({}), Default::default()) else {
            return Ok(());
        };
        service.observe(["a", "b", "c"].map(crate::join));
        if let Ok(decision) = service.place(&request("good")) {
            prop_assert!(["a", "b", "c"].contains(&decision.host.as_str()));
        }
    }
}
