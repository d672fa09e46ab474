//! Resources of the process, as the system reports them (proc(5)). On other systems than Linux
//! nothing is known.

use std::fs;
use std::time::Duration;

use serde::Serialize;

/// Clock ticks per second in `/proc`: `USER_HZ`, which is 100 on every architecture that Rust
/// supports.
const TICKS_PER_SECOND: u64 = 100;

/// Resources of the process.
#[derive(Serialize)]
pub(super) struct ProcessStatus {
    /// CPU time in the last second, in percent of one core.
    cpu_percent: Option<u16>,
    /// Cores that it may use.
    cores: Option<usize>,
    /// Resident memory.
    pub(super) memory_bytes: Option<u64>,
    /// Open file descriptors, and how many there may be.
    pub(super) open_files: Option<usize>,
    pub(super) max_open_files: Option<u64>,
}

impl ProcessStatus {
    /// Reads the current values; the CPU time is measured elsewhere.
    pub(super) fn read(cpu_percent: Option<u16>) -> Self {
        Self {
            cpu_percent,
            cores: std::thread::available_parallelism().ok().map(usize::from),
            memory_bytes: resident_memory().map(|bytes| bytes as u64),
            open_files: fs::read_dir("/proc/self/fd").ok().map(Iterator::count),
            max_open_files: max_open_files(),
        }
    }
}

/// Returns the CPU time of the process so far.
pub fn cpu_time() -> Option<Duration> {
    ticks(&fs::read_to_string("/proc/self/stat").ok()?, OWN)
}

/// Returns the CPU time of the process with this id so far; `None` when it has ended.
pub(super) fn cpu_time_of(id: u32) -> Option<Duration> {
    ticks(&fs::read_to_string(format!("/proc/{id}/stat")).ok()?, OWN)
}

/// Returns the CPU time of all child processes so far: of those that have ended, and of those that
/// run now, whose ids `running` returns. It never becomes less.
pub(super) fn cpu_time_of_children(running: impl Fn() -> Vec<u32>) -> Option<Duration> {
    let ended = || ticks(&fs::read_to_string("/proc/self/stat").ok()?, ENDED_CHILDREN);
    loop {
        let before = ended()?;
        let of_running = running().into_iter().filter_map(cpu_time_of);
        let sum = before + of_running.sum::<Duration>();
        // A process that has ended meanwhile is in neither, or in both.
        if ended()? == before {
            return Some(sum);
        }
    }
}

/// Places of user and system time in `/proc/{id}/stat`, counted from the field after the name: of the
/// process itself, and of those of its children that have ended and were waited for.
const OWN: usize = 11;
const ENDED_CHILDREN: usize = 13;

/// Returns the user and system time at this place in the text of `/proc/{id}/stat`. The name of the
/// program, in parentheses, may contain spaces.
fn ticks(stat: &str, place: usize) -> Option<Duration> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(place);
    let [user, system] = [fields.next()?, fields.next()?].map(str::parse::<u64>);
    let millis = (user.ok()? + system.ok()?) * 1000 / TICKS_PER_SECOND;
    Some(Duration::from_millis(millis))
}

/// Returns the resident memory of the process, in bytes.
pub fn resident_memory() -> Option<usize> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: usize = line.split_whitespace().next()?.parse().ok()?;
    kilobytes.checked_mul(1024)
}

fn max_open_files() -> Option<u64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let mut lines = limits.lines();
    let line = lines.find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_the_sum_of_user_and_system_time() {
        let stat = "7 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 250 50 70 30 20";
        assert_eq!(ticks(stat, OWN), Some(Duration::from_secs(3)));
        assert_eq!(ticks(stat, ENDED_CHILDREN), Some(Duration::from_secs(1)));
        assert_eq!(ticks("7 (a) S 1", OWN), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn own_process_is_described() {
        let status = ProcessStatus::read(None);
        assert!(status.memory_bytes > Some(1 << 20));
        assert!(status.open_files >= Some(3));
        assert!(status.max_open_files >= status.open_files.map(|files| files as u64));
        assert!(cpu_time().is_some() && cpu_time_of(std::process::id()).is_some());
        // Any process will do for one that runs.
        let own = || vec![std::process::id()];
        let with_own = cpu_time_of_children(own).unwrap();
        assert!(with_own >= cpu_time_of_children(Vec::new).unwrap());
    }
}
