//! How an agent misbehaves: `properties.echo` of its spec.

use serde::Deserialize;

/// Faults of one agent. The default has none.
///
/// ```
/// use echo_runner::{Behaviour, OnStart};
///
/// let behaviour: Behaviour = serde_json::from_str(r#"{"on_start": "exit:3", "ignore_sigterm": true}"#)?;
/// assert_eq!(behaviour.on_start, Some(OnStart::Exit(3)));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Behaviour {
    /// What goes wrong at the start.
    pub on_start: Option<OnStart>,
    /// Goes on when it gets SIGTERM.
    pub ignore_sigterm: bool,
    /// Writes so many bytes to standard error before it is ready.
    pub stderr_bytes: u64,
    /// Starts so many children that ignore SIGTERM and hold its standard output.
    pub fork_children: u32,
    /// Says `READY=1` so many milliseconds late.
    pub ready_after_ms: u64,
}

/// What goes wrong at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
#[non_exhaustive]
pub enum OnStart {
    /// `exit:CODE`: exits before it is ready.
    Exit(u8),
    /// `crash`: dies of a signal before it is ready.
    Crash,
    /// `never_ready`: works, but never says so.
    NeverReady,
    /// `exit_after_ready:CODE`: exits as soon as it is ready.
    ExitAfterReady(u8),
    /// `crash_after_ready`: dies of a signal as soon as it is ready.
    CrashAfterReady,
    /// `hang_after_ready`: does nothing any more as soon as it is ready.
    HangAfterReady,
}

impl TryFrom<String> for OnStart {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (word, code) = text.split_once(':').unwrap_or((&text, ""));
        let exit_code = || code.parse().map_err(|_| format!("{code:?} is not an exit code, 0 to 255"));
        match word {
            "exit" => Ok(Self::Exit(exit_code()?)),
            "exit_after_ready" => Ok(Self::ExitAfterReady(exit_code()?)),
            "crash" => Ok(Self::Crash),
            "never_ready" => Ok(Self::NeverReady),
            "crash_after_ready" => Ok(Self::CrashAfterReady),
            "hang_after_ready" => Ok(Self::HangAfterReady),
            _ => Err(format!("echo.on_start: {text:?} is not known")),
        }
    }
}
