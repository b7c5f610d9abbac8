//! The line that a runner reads.

use echo_runner::LaunchDocument;

pub(crate) fn run(line: &[u8]) -> bool {
    // The runner reads lines of text, so there is nothing to parse in others.
    let Ok(line) = str::from_utf8(line) else { return false };
    match LaunchDocument::parse(line) {
        Ok(document) => {
            assert_eq!(document.version, 1);
            let _ = document.behaviour();
            true
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            false
        }
    }
}
