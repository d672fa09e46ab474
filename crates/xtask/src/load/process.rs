//! Resources that a process holds: `/proc` of Linux.

use std::fs;

/// Threads whose children are looked for.
const MAX_PARENTS: usize = 64;

/// Resources that a process holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sample {
    /// Resident memory in bytes.
    pub(crate) resident: u64,
    pub(crate) threads: u64,
    pub(crate) descriptors: u64,
    /// Resident memory of its children, in bytes.
    pub(crate) of_children: u64,
}

impl Sample {
    /// Returns the process now; `None` when it has ended.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let mut sample = Self::parse(&status)?;
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd"));
        sample.descriptors = descriptors.map_or(0, Iterator::count) as u64;
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
        for task in tasks.take(MAX_PARENTS).flatten() {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            for child in children.split_whitespace() {
                let status = fs::read_to_string(format!("/proc/{child}/status"));
                let child = status.ok().and_then(|status| Self::parse(&status));
                sample.of_children += child.unwrap_or_default().resident;
            }
        }
        Some(sample)
    }

    /// Memory and threads of a `status` (`proc_pid_status(5)`); a process that is only waited for
    /// has none.
    fn parse(status: &str) -> Option<Self> {
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        };
        Some(Self {
            resident: field("VmRSS:")? * 1024,
            threads: field("Threads:")?,
            ..Self::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_has_memory_and_threads_while_the_process_runs() {
        let status = "Name:\tgateway\nState:\tS\nVmRSS:\t    2048 kB\nThreads:\t4\n";
        let expected = Sample {
            resident: 2 << 20,
            threads: 4,
            ..Sample::default()
        };
        assert_eq!(Sample::parse(status), Some(expected));
        let ended = "Name:\tgateway\nState:\tZ (zombie)\nThreads:\t1\n";
        assert_eq!(Sample::parse(ended), None);
    }

    #[test]
    fn this_process_holds_something() {
        let sample = Sample::of(std::process::id()).unwrap();
        assert!(sample.resident > 100_000 && sample.threads > 0 && sample.descriptors > 2);
    }
}
