//! try
use guildhall_model::*;
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let n: u8 = a[1].parse().unwrap();
    let regs: u8 = a[2].parse().unwrap();
    let f = &a[3];
    let sym = !a.contains(&"nosym".to_string());
    let flaw = a.iter().find_map(|x| x.strip_prefix("flaw=")).map(|x| <Flaw as clap::ValueEnum>::from_str(x, true).unwrap());
    let has = |c: char| f.contains(c);
    let c = Configuration { name: "x", covers: "", agents: if has('1') {1} else {2}, placements: if has('1') {&[&[0]]} else if has('2') { &[&[0,1]] } else {&[&[0, 0], &[0, 1]]}, joined: has('j'), registrations: regs,
        faults: Faults { cuts: has('c'), outages: has('o'), losses: has('l'), partitions: has('q'), pauses: has('p'), crashes: has('k'), late_renewals: has('R'), late_promises: has('P'), late_burials: has('B'), late_claims: has('C') },
        faults_at_most: n, late: 1, hand_overs: has('h'), writes: has('w'), resting_clocks: !has('r'), drift: !has('d'), idle_burials: has('i'), rules: Rules { lease: if has('5') {5} else {4}, flaw }, symmetric: sym,
        sometimes: &["a takeover", "an outage longer than a lease is survived", "a host that is cut off alone stops its agents", "the fence stops the agents of a paused host", "an overdue lease is renewed"] };
    let o = check(c, 2);
    println!("{} states depth {} {:.1}s {:?}\n{}", o.states, o.depth, o.seconds, o.properties, o.counterexample.unwrap_or_default());
}
