//! Bugs that are there on purpose, so that the chaos suite can show that it finds them.
//! Compiled in only with the feature `planted-bugs`, and then chosen by the variable
//! `GUILDHALL_PLANTED_BUG`.

/// Whether this bug is planted.
pub fn is_planted(bug: &str) -> bool {
    cfg!(feature = "planted-bugs") && std::env::var("GUILDHALL_PLANTED_BUG").is_ok_and(|chosen| chosen == bug)
}

/// An agent's script, which with the bug `ignore-stale-epochs` takes writes of any epoch.
pub(crate) fn script(text: &str) -> std::borrow::Cow<'_, str> {
    match is_planted("ignore-stale-epochs") {
        true => text.replace("if found ~= epoch then", "if false then").into(),
        false => text.into(),
    }
}
