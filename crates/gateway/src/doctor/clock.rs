//! The clock: tokens, TURN credentials and certificates depend on it.

use std::time::{Duration, SystemTime};

use distributary_whep::admin::Finding;

const CHECK: &str = "clock";

/// A time before this version was made, in seconds since 1970: January 2026.
const PAST: Duration = Duration::from_secs(1_767_225_600);

/// The state of the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clock {
    /// A time service keeps it.
    Synchronized,
    /// No time service keeps it.
    Free,
    /// The system does not say whether a time service keeps it.
    Unknown,
    /// It is in the past.
    Wrong,
}

#[expect(clippy::disallowed_methods, reason = "the clock is examined")]
pub(super) fn state() -> Clock {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    if since.unwrap_or_default() < PAST {
        return Clock::Wrong;
    }
    match is_synchronized() {
        Some(true) => Clock::Synchronized,
        Some(false) => Clock::Free,
        None => Clock::Unknown,
    }
}

/// Returns whether the kernel considers its clock as synchronized.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "the C library has this function, Rust has none")]
fn is_synchronized() -> Option<bool> {
    // SAFETY: timex is plain data, for which zeros are valid: they request nothing but a reading.
    let mut timex: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: adjtimex(2) reads and writes the structure, which is valid and exclusively borrowed.
    let state = unsafe { libc::adjtimex(&raw mut timex) };
    (state >= 0).then_some(state != libc::TIME_ERROR)
}

#[cfg(not(target_os = "linux"))]
fn is_synchronized() -> Option<bool> {
    None
}

pub(super) fn findings(clock: Clock) -> Vec<Finding> {
    let advice = "Start a time service, such as systemd-timesyncd or chrony: tokens, TURN credentials and \
                  certificates are checked against the clock.";
    vec![match clock {
        Clock::Synchronized => Finding::ok(CHECK, "a time service keeps the clock"),
        Clock::Unknown => Finding::ok(
            CHECK,
            "the system does not say whether a time service keeps the clock",
        ),
        Clock::Free => Finding::warning(CHECK, "no time service keeps the clock").advise(advice),
        Clock::Wrong => Finding::error(CHECK, "the clock is years behind").advise(advice),
    }]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::text;

    #[test]
    fn clock_that_nobody_keeps_is_a_warning() {
        assert_eq!(
            text(&findings(Clock::Synchronized)),
            "ok       clock         a time service keeps the clock\n"
        );
        assert_eq!(
            text(&findings(Clock::Free)),
            "warning  clock         no time service keeps the clock\n\
             \x20                       Start a time service, such as systemd-timesyncd or chrony: tokens, TURN\n\
             \x20                       credentials and certificates are checked against the clock.\n"
        );
        assert!(
            text(&findings(Clock::Wrong))
                .starts_with("error    clock         the clock is years behind\n")
        );
        assert_ne!(state(), Clock::Wrong);
    }
}
