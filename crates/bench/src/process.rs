//! The kernel's counters of a process and of the machine: `/proc` of Linux.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

/// Clock ticks in `/proc/PID/stat` per second (`USER_HZ`): part of the kernel's interface, and 100
/// on every architecture in use.
const USER_HZ: u64 = 100;

/// A process at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessUsage {
    /// CPU time in user and kernel mode since its start, of threads that have ended too; in steps
    /// of 10 ms.
    pub cpu: Duration,
    /// Its nice level.
    pub nice: i32,
    /// Resident memory in bytes.
    pub resident: u64,
    /// CPU time by name of the threads that run; several of one name are added up.
    pub threads: BTreeMap<String, Duration>,
}

impl ProcessUsage {
    /// Returns the process `pid` now.
    ///
    /// # Errors
    /// When there is no such process, or the system has no `/proc`.
    pub fn of(pid: u32) -> io::Result<Self> {
        let read = |name: &str| std::fs::read_to_string(format!("/proc/{pid}/{name}"));
        let malformed = || io::Error::other(format!("/proc/{pid} is not in the known form"));
        let (cpu, nice) = parse_stat(&read("stat")?).ok_or_else(malformed)?;
        Ok(Self {
            cpu,
            nice,
            resident: parse_resident(&read("status")?).ok_or_else(malformed)?,
            threads: threads(pid)?,
        })
    }

    /// Returns the CPU time that passed since `earlier`, by thread name, greatest first.
    #[must_use]
    pub fn threads_since(&self, earlier: &Self) -> Vec<(String, Duration)> {
        let mut threads: Vec<_> = self
            .threads
            .iter()
            .map(|(name, cpu)| {
                let before = earlier.threads.get(name).copied().unwrap_or_default();
                (name.clone(), cpu.saturating_sub(before))
            })
            .collect();
        threads.sort_by_key(|(_, cpu)| std::cmp::Reverse(*cpu));
        threads
    }
}

/// Datagrams that came to this machine and were dropped because a socket's receive buffer was full,
/// since it was started: loss that the sender has no part in.
///
/// # Errors
/// When the system has no `/proc/net/snmp`.
pub fn receive_buffer_drops() -> io::Result<u64> {
    let text = std::fs::read_to_string("/proc/net/snmp")?;
    parse_udp_counter(&text, "RcvbufErrors")
        .ok_or_else(|| io::Error::other("/proc/net/snmp has no RcvbufErrors"))
}

/// Processes that ran or wanted to, averaged over the last minute.
///
/// # Errors
/// When the system has no `/proc/loadavg`.
pub fn load_average() -> io::Result<f64> {
    let text = std::fs::read_to_string("/proc/loadavg")?;
    let first = text.split_ascii_whitespace().next();
    first
        .and_then(|first| first.parse().ok())
        .ok_or_else(|| io::Error::other("/proc/loadavg is not in the known form"))
}

fn threads(pid: u32) -> io::Result<BTreeMap<String, Duration>> {
    let mut threads = BTreeMap::new();
    for entry in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let path = entry?.path();
        // A thread may end between the listing and the reading.
        let (Ok(name), Ok(stat)) = (
            std::fs::read_to_string(path.join("comm")),
            std::fs::read_to_string(path.join("stat")),
        ) else {
            continue;
        };
        if let Some((cpu, _)) = parse_stat(&stat) {
            *threads.entry(name.trim_end().to_owned()).or_default() += cpu;
        }
    }
    Ok(threads)
}

/// CPU time and nice level in a `stat` (proc_pid_stat(5)): fields 14, 15 and 19. The second field
/// is the name in parentheses, which may hold both of them and spaces.
fn parse_stat(text: &str) -> Option<(Duration, i32)> {
    let (_, behind_name) = text.rsplit_once(')')?;
    let mut fields = behind_name.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    let nice = fields.nth(3)?.parse().ok()?;
    let ticks = user.checked_add(system)?;
    Some((
        Duration::from_millis(ticks.checked_mul(1000 / USER_HZ)?),
        nice,
    ))
}

/// `VmRSS` of a `status` (proc_pid_status(5)), in bytes.
fn parse_resident(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// Returns a counter of `/proc/net/snmp`, where a line of names is followed by a line of values.
fn parse_udp_counter(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().filter(|line| line.starts_with("Udp:"));
    let names = lines.next()?.split_ascii_whitespace();
    let values = lines.next()?.split_ascii_whitespace();
    let (_, value) = names.zip(values).find(|(other, _)| *other == name)?;
    value.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_parsed_for_any_name_of_the_process() {
        let stat = "4242 (a) b (c)) S 1 4242 4242 0 -1 4194560 9000 0 3 0 \
                    1234 66 0 0 20 -5 12 0 100 1000000 2000 18446744073709551615";
        assert_eq!(parse_stat(stat), Some((Duration::from_millis(13_000), -5)));
        assert_eq!(parse_stat("4242 (x) S 1"), None);
        assert_eq!(parse_stat(""), None);
    }

    #[test]
    fn resident_memory_is_read_in_bytes() {
        let status = "Name:\tgateway\nVmPeak:\t  9000 kB\nVmRSS:\t    2048 kB\nThreads:\t4\n";
        assert_eq!(parse_resident(status), Some(2048 * 1024));
        assert_eq!(parse_resident("Name:\tgateway\n"), None);
    }

    #[test]
    fn counter_is_found_by_name_and_protocol() {
        let snmp = "Tcp: RcvbufErrors InErrs\nTcp: 9 9\n\
                    Udp: InDatagrams RcvbufErrors SndbufErrors\nUdp: 100 7 3\n\
                    UdpLite: InDatagrams RcvbufErrors\nUdpLite: 1 2\n";
        assert_eq!(parse_udp_counter(snmp, "RcvbufErrors"), Some(7));
        assert_eq!(parse_udp_counter(snmp, "Nonsense"), None);
    }

    #[test]
    fn this_process_has_memory_and_threads() {
        let usage = ProcessUsage::of(std::process::id()).unwrap();
        assert!(usage.resident > 100_000);
        assert!(!usage.threads.is_empty());
    }

    #[test]
    fn threads_are_compared_by_name_and_sorted_by_cpu_time() {
        let usage = |threads: &[(&str, u64)]| ProcessUsage {
            threads: threads
                .iter()
                .map(|(name, millis)| ((*name).to_owned(), Duration::from_millis(*millis)))
                .collect(),
            ..ProcessUsage::default()
        };
        let before = usage(&[("http", 50), ("shard", 100)]);
        let after = usage(&[("http", 60), ("shard", 400), ("opus", 20)]);
        let millis = |millis| Duration::from_millis(millis);
        let expected = [
            ("shard".to_owned(), millis(300)),
            ("opus".to_owned(), millis(20)),
            ("http".to_owned(), millis(10)),
        ];
        assert_eq!(after.threads_since(&before), expected);
    }
}
