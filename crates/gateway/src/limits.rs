//! What the system lets the process have.

/// Raises the number of files and sockets that may be open from what the system gives to every process
/// to the most it allows this one. Many systems begin with 1024, so that old programs work; each publisher,
/// each HTTP connection and each viewer over TCP is one.
pub fn raise_open_files() {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) => tracing::debug!(limit, "open files"),
        // The limits of the configuration may then be more than can be had: connections wait.
        Err(error) => tracing::warn!(%error, "the limit of open files stays as it is"),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn afterwards_as_many_files_may_be_open_as_the_system_allows() {
        raise_open_files();
        let (soft, hard) = rlimit::Resource::NOFILE.get().unwrap();
        assert_eq!(soft, hard);
    }
}
