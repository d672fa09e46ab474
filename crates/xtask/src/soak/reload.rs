//! A configuration that changes at each reload.

use std::path::PathBuf;
use std::process::Command;

use crate::load::{LoadError, io_error, succeed};

/// The file, and the number of reloads.
pub(super) struct Reloads {
    path: PathBuf,
    count: u32,
}

impl Reloads {
    /// Writes the first configuration.
    pub(super) fn new(path: PathBuf) -> Result<Self, LoadError> {
        let reloads = Self { path, count: 0 };
        reloads.write()?;
        Ok(reloads)
    }

    pub(super) fn path(&self) -> &PathBuf {
        &self.path
    }

    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// Writes another configuration, and lets the gateway read it.
    pub(super) fn reload(&mut self, pid: u32) -> Result<(), LoadError> {
        self.count += 1;
        self.write()?;
        succeed(Command::new("kill").args(["-HUP", &pid.to_string()]))
    }

    fn write(&self) -> Result<(), LoadError> {
        std::fs::write(&self.path, configuration(self.count))
            .map_err(io_error("the gateway's configuration"))
    }
}

/// Returns the configuration after a number of reloads: keys of several sections change each time.
fn configuration(reloads: u32) -> String {
    let changed = 10_000 + reloads % 2;
    format!(
        "rtmp = \"127.0.0.1:0\"\nhttp = \"127.0.0.1:0\"\nwebrtc = \"127.0.0.1:0\"\n\
         admin = \"127.0.0.1:0\"\nlog_format = \"json\"\n\
         # All clients have one address, and no line may be missing.\n\
         log_lines_per_minute = 0\n\
         # Encoders would take the processors from the swarm, whose viewers would then need more of them.\n\
         [transcode]\ncommand = \"\"\n\
         [viewers]\nmax = {changed}\n\
         [requests]\nmax_posts_per_minute = {changed}\n\
         [limits]\nmemory_per_publisher = \"{}MiB\"\n\
         [whep]\nallowed_origins = [\"https://{changed}.example.org\"]\n",
        256 + reloads % 2
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reload_changes_the_file() {
        assert_ne!(configuration(0), configuration(1));
        assert_ne!(configuration(1), configuration(2));
        assert_eq!(configuration(0), configuration(2));
    }
}
