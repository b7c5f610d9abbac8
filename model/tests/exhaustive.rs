//! Every configuration holds in every world, and every flaw is noticed.

use clap::ValueEnum;
use guildhall_model::{Configuration, Flaw, check};

#[test]
fn the_protocol_holds() {
    for configuration in Configuration::ALL {
        let name = configuration.name;
        let outcome = check(configuration, 2);
        assert!(outcome.holds(), "{name}: {outcome:#?}");
    }
}

#[test]
fn planted_flaws_are_noticed() {
    for &flaw in Flaw::value_variants() {
        let outcome = check(Configuration::with_flaw(flaw), 2);
        assert!(outcome.counterexample.is_some(), "{flaw:?} went unnoticed in {} states", outcome.states);
    }
}
