//! Memory that was freed, given back to the system.
//!
//! The C library keeps what is freed for what comes next, and several threads keep it apart from each
//! other: a gateway that a thousand viewers have left would stay as large as with them, although nearly
//! all of it is free.

use std::time::Duration;

use distributary_egress::engine::Engine;
use distributary_hub::Hub;

/// How often it is looked whether many have left.
const INTERVAL: Duration = Duration::from_secs(2);

/// Fewer sessions and streams than this are not worth it, unless they were the last.
const MANY: usize = 64;

/// Gives back what is free each time many viewers or streams have gone, for as long as it is polled.
pub(crate) async fn give_back(hub: Hub, engine: Engine) {
    let mut tide = Tide::default();
    let mut interval = tokio::time::interval(INTERVAL);
    loop {
        interval.tick().await;
        if tide.has_gone_out(engine.sessions() + hub.streams().len()) {
            // Some milliseconds with the lock of one thread's share of the memory after the other.
            let _ = tokio::task::spawn_blocking(trim).await;
        }
    }
}

/// How many there are, and how many there were.
#[derive(Debug, Default)]
struct Tide {
    high: usize,
    last: usize,
}

impl Tide {
    /// Notes how many there are now. `true`: many have gone, and no more of them are going.
    fn has_gone_out(&mut self, count: usize) -> bool {
        let is_going = count < self.last;
        self.last = count;
        self.high = self.high.max(count);
        let gone = self.high - count;
        let is_worth_it = gone >= MANY || (gone > 0 && count == 0);
        if is_going || !is_worth_it {
            return false;
        }
        self.high = count;
        true
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(
    unsafe_code,
    reason = "the C library has this function, and Rust's has none"
)]
fn trim() {
    // SAFETY: it may be called at any time from any thread (malloc_trim(3): MT-Safe), takes a number of
    // bytes to keep, and touches no memory that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn trim() {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether memory is given back after each of these counts.
    fn given_back(counts: &[usize]) -> Vec<bool> {
        let mut tide = Tide::default();
        let counts = counts.iter();
        counts.map(|count| tide.has_gone_out(*count)).collect()
    }

    #[test]
    fn memory_is_given_back_once_when_many_have_left_and_no_more_leave() {
        assert_eq!(
            given_back(&[10, 900, 500, 30, 30, 30]),
            [false, false, false, false, true, false]
        );
    }

    #[test]
    fn it_is_given_back_when_the_last_one_has_left() {
        assert_eq!(
            given_back(&[0, 2, 0, 0, 0]),
            [false, false, false, true, false]
        );
    }

    #[test]
    fn viewers_who_come_and_go_one_by_one_do_not_count_until_they_are_many() {
        let mut tide = Tide::default();
        let count = 500;
        assert!((0..20).all(|turn| !tide.has_gone_out(count - turn % 3)));
        assert!(!tide.has_gone_out(count - MANY + 1));
        assert!(!tide.has_gone_out(count - MANY));
        assert!(tide.has_gone_out(count - MANY));
    }

    /// Bytes of memory that this process has.
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    fn resident() -> usize {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kilobytes = line.unwrap().split_whitespace().nth(1).unwrap();
        kilobytes.parse::<usize>().unwrap() * 1024
    }

    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[test]
    fn free_memory_between_what_is_in_use_goes_back_to_the_system() {
        const PIECE: usize = 10_000;
        const PIECES: usize = 20_000;
        let mut pieces: Vec<Option<Vec<u8>>> = (0..PIECES).map(|_| Some(vec![1; PIECE])).collect();
        for (at, piece) in pieces.iter_mut().enumerate() {
            if at % 100 != 99 {
                *piece = None;
            }
        }
        let before = resident();
        trim();
        let given_back = before.saturating_sub(resident());
        // Nearly all of it; other tests of this process may have taken some meanwhile.
        assert!(given_back > PIECE * PIECES / 2, "{given_back} bytes");
    }
}
