//! The machine that the results are from: without it they mean nothing.

use std::fs;

/// One line: processor, cores, kernel, load.
pub(crate) fn describe(cores: usize) -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let processor = read("/proc/cpuinfo");
    let processor = field(&processor, "model name").unwrap_or("unknown processor");
    let kernel = read("/proc/sys/kernel/osrelease");
    let load = read("/proc/loadavg");
    let load = load.split_whitespace().next().unwrap_or("?");
    format!(
        "{processor}, {cores} cores, Linux {}, load average {load} at the end; gateway, publisher and \
         viewers on this machine over loopback",
        kernel.trim()
    )
}

/// Returns the first value of a key in `key : value` lines.
fn field<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == key).then(|| value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_has_a_name() {
        let text = "processor\t: 0\nmodel name\t: A Processor\nflags\t: a b\n";
        assert_eq!(field(text, "model name"), Some("A Processor"));
        assert_eq!(field(text, "vendor"), None);
    }
}
