//! The memory of the machine (proc(5), cgroups(7)). On other systems than Linux nothing is known.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// The mount point of control groups.
const CGROUPS: &str = "/sys/fs/cgroup";

/// The memory that the process could use at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Available {
    pub(crate) bytes: usize,
    /// It is a limit of a control group: of systemd or of a container.
    pub(crate) is_container: bool,
}

impl fmt::Display for Available {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let megabytes = self.bytes >> 20;
        if self.is_container {
            write!(
                f,
                "the {megabytes} MiB that the control group (systemd, container) allows"
            )
        } else {
            write!(f, "the {megabytes} MiB of this machine")
        }
    }
}

/// Returns the memory of the machine, or the lowest limit of the control groups that the process is
/// in, if that is lower.
pub(crate) fn available() -> Option<Available> {
    let machine = total(&fs::read_to_string("/proc/meminfo").ok()?)?;
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let files = limit_files(&own).into_iter();
    let limits = files.filter_map(|file| limit(&fs::read_to_string(file).ok()?));
    Some(lowest(machine, limits))
}

fn lowest(machine: usize, limits: impl Iterator<Item = usize>) -> Available {
    match limits.min() {
        Some(bytes) if bytes < machine => Available {
            bytes,
            is_container: true,
        },
        _ => Available {
            bytes: machine,
            is_container: false,
        },
    }
}

/// Parses the memory of the machine in `/proc/meminfo`.
fn total(meminfo: &str) -> Option<usize> {
    let mut lines = meminfo.lines();
    let line = lines.find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kilobytes: usize = line.split_whitespace().next()?.parse().ok()?;
    kilobytes.checked_mul(1024)
}

/// Parses the limit of a control group; `None` for no limit.
fn limit(text: &str) -> Option<usize> {
    text.trim().parse().ok()
}

/// Returns the files with the limits of the control groups in `/proc/self/cgroup`, of version 1 and
/// 2, from the innermost to the root. In a container the root is the group of the container.
fn limit_files(own: &str) -> Vec<PathBuf> {
    let groups = own.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        let is_memory = controllers.split(',').any(|name| name == "memory");
        let (root, file) = match controllers {
            "" => (CGROUPS.to_owned(), "memory.max"),
            _ if is_memory => (format!("{CGROUPS}/memory"), "memory.limit_in_bytes"),
            _ => return None,
        };
        let path = Path::new(path.trim_start_matches('/'));
        let group = Path::new(&root).join(path);
        let depth = path.components().count() + 1;
        let groups = group.ancestors().take(depth);
        Some(groups.map(|group| group.join(file)).collect::<Vec<_>>())
    });
    groups.flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_those_of_the_group_and_of_those_around_it() {
        let version2 = "0::/system.slice/distributary.service\n";
        assert_eq!(
            limit_files(version2),
            [
                "/sys/fs/cgroup/system.slice/distributary.service/memory.max",
                "/sys/fs/cgroup/system.slice/memory.max",
                "/sys/fs/cgroup/memory.max",
            ]
            .map(PathBuf::from)
        );
        let version1 = "12:cpu,cpuacct:/docker/a\n5:memory:/docker/a\n";
        assert_eq!(
            limit_files(version1),
            [
                "/sys/fs/cgroup/memory/docker/a/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/docker/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            ]
            .map(PathBuf::from)
        );
        let container = [PathBuf::from("/sys/fs/cgroup/memory.max")];
        assert_eq!(limit_files("0::/\n"), container);
    }

    #[test]
    fn lowest_limit_counts() {
        let of = |limits: &[&str]| {
            let lowest = lowest(1000, limits.iter().filter_map(|text| limit(text)));
            (lowest.bytes, lowest.is_container)
        };
        assert_eq!(of(&["max\n", "500\n", "700\n"]), (500, true));
        // Version 1 has a very large number for no limit.
        assert_eq!(of(&["9223372036854771712\n"]), (1000, false));
        assert_eq!(of(&["max\n"]), (1000, false));
        assert_eq!(of(&[]), (1000, false));
    }

    #[test]
    fn memory_of_the_machine_is_parsed() {
        let meminfo = "MemTotal:       16384 kB\nMemFree:        1 kB\n";
        assert_eq!(total(meminfo), Some(16 << 20));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_machine_is_described() {
        assert!(available().unwrap().bytes > 1 << 20);
    }
}
