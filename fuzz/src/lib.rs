//! What is fuzzed: each target takes bytes as they may come from a peer, a process, a
//! file or a store, and panics when Guildhall breaks a promise about them. `main.rs`
//! runs one under libFuzzer (`make fuzz`); `tests/corpus.rs` gives all of them the
//! inputs in `corpus/`.

mod guild;
mod launch_document;
mod notify;
mod records;
mod requests;

/// One thing that is fuzzed.
#[derive(Debug)]
pub struct Target {
    /// Its name, and that of its folder in `corpus/`.
    pub name: &'static str,
    /// Takes an input; answers whether it made sense. Panics when there is a bug.
    pub run: fn(&[u8]) -> bool,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "requests", run: requests::run },
    Target { name: "launch_document", run: launch_document::run },
    Target { name: "notify", run: notify::run },
    Target { name: "guild_yaml", run: guild::yaml },
    Target { name: "guild_json", run: guild::json },
    Target { name: "records", run: records::run },
];
