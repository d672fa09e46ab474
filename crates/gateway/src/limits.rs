//! Limits of the system for the process, and each listener's share of them.

use crate::config::Config;

/// Files and sockets reserved for everything but incoming connections: media sockets, transcoders,
/// webhooks, files.
const OWN_FILES: u64 = 128;

/// Connections of an HTTP listener beyond its limit, for refusals and health checks.
const HTTP_RESERVE: usize = 80;

/// A listener with fewer connections than this gets a warning.
const FEW: usize = 1024;

/// Raises the soft limit of open files to the hard limit, and returns it. Many systems start with
/// 1024; each publisher, each HTTP connection and each viewer over TCP needs one.
pub fn raise_open_files() -> u64 {
    rlimit::increase_nofile_limit(u64::MAX).unwrap_or_else(|error| {
        tracing::warn!(%error, "the limit of open files cannot be raised");
        u64::MAX
    })
}

/// Returns the limit of open files that [`raise_open_files`] would reach.
pub fn open_files() -> u64 {
    rlimit::Resource::NOFILE.get_hard().unwrap_or(u64::MAX)
}

/// Maximum number of connections of each listener. If the system allows fewer than configured, one
/// address has at most half of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connections {
    /// Of each HTTP listener.
    pub http: usize,
    /// Of these, for one address.
    pub http_per_ip: usize,
    /// Of these, for players that listen for events, which cannot be closed for new ones: half at
    /// most.
    pub event_streams: usize,
    /// Of these, for one address: half at most of all event streams and of its connections.
    pub event_streams_per_ip: usize,
    /// Of RTMP and RTMPS together.
    pub rtmp: usize,
    /// Of these, for one address.
    pub rtmp_per_ip: usize,
    /// To servers from which streams are pulled.
    pub pulls: usize,
    /// Of these, to one server.
    pub pulls_per_origin: usize,
    /// Of viewers over TCP.
    pub ice_tcp: usize,
    /// Of these, for one address.
    pub ice_tcp_per_ip: usize,
    /// The largest share, if the system allows fewer than configured.
    share: Option<usize>,
}

impl Connections {
    /// Returns the configured limits, or each listener's share if their sum exceeds `open_files`:
    /// no listener can then use up the files of the others.
    pub fn within(open_files: u64, config: &Config) -> Self {
        let http = [
            true,
            config.https.listen.0.is_some(),
            config.admin.0.is_some(),
            config.admin_https.listen.0.is_some(),
        ];
        let http = http.into_iter().filter(|is_on| *is_on).count();
        let Config {
            requests,
            publishers,
            pulls,
            viewers,
            whep,
            ..
        } = config;
        let max_pulls = if config.pull.is_empty() { 0 } else { pulls.max };
        let max_ice_tcp = if viewers.tcp { viewers.max } else { 0 };
        let mut wanted = vec![requests.max_connections; http];
        wanted.extend([publishers.max_connections, max_pulls, max_ice_tcp]);

        let own = OWN_FILES + (http * HTTP_RESERVE) as u64;
        let available = usize::try_from(open_files.saturating_sub(own)).unwrap_or(usize::MAX);
        let most = share(available, &wanted);
        let http = requests.max_connections.min(most);
        let http_per_ip = requests.max_connections_per_ip.min(half(most));
        let per_origin = match pulls.max_per_origin {
            0 => pulls.max,
            max => max,
        };
        let event_streams = whep.max_event_streams.min(half(http));
        Self {
            http,
            http_per_ip,
            event_streams,
            event_streams_per_ip: half(event_streams.min(http_per_ip)),
            rtmp: publishers.max_connections.min(most),
            rtmp_per_ip: publishers.max_connections_per_ip.min(half(most)),
            pulls: max_pulls.min(most),
            pulls_per_origin: per_origin.min(half(most)),
            ice_tcp: max_ice_tcp.min(most),
            ice_tcp_per_ip: viewers.max_per_ip.min(half(most)),
            share: wanted.iter().any(|wanted| *wanted > most).then_some(most),
        }
    }

    /// Returns the largest number of connections of a listener, if the system allows fewer than
    /// configured.
    pub fn share(&self) -> Option<usize> {
        self.share
    }

    /// Logs it if the limits are lower than configured.
    pub fn log(&self) {
        let Self {
            http,
            rtmp,
            pulls,
            ice_tcp,
            share,
            ..
        } = *self;
        match share {
            None => {}
            Some(share) if share < FEW => tracing::warn!(
                http,
                rtmp,
                pulls,
                ice_tcp,
                "the system allows fewer open files than the sum of the connection limits, so each \
                 listener gets a share: raise the limit (LimitNOFILE of systemd, ulimits of a container)"
            ),
            Some(_) => tracing::debug!(
                http,
                rtmp,
                pulls,
                ice_tcp,
                "maximum number of connections, of the open files that the system allows"
            ),
        }
    }
}

/// Returns half of a number of connections, and one at least.
fn half(count: usize) -> usize {
    (count / 2).max(1)
}

/// Returns the largest share for which all together need no more than `available`: listeners that
/// want less leave the rest to the others. Every share is at least one.
fn share(available: usize, wanted: &[usize]) -> usize {
    let mut wanted = wanted.to_vec();
    wanted.sort_unstable();
    let mut left = available;
    for (at, count) in wanted.iter().enumerate() {
        let share = left / (wanted.len() - at);
        if *count > share {
            return share.max(1);
        }
        left -= count;
    }
    usize::MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn open_files_limit_is_raised_to_the_hard_limit() {
        let raised = raise_open_files();
        let (soft, hard) = rlimit::Resource::NOFILE.get().unwrap();
        assert_eq!((soft, raised), (hard, hard));
    }

    #[test]
    fn configured_limits_apply_if_files_suffice() {
        let config = Config::default();
        let connections = Connections::within(1 << 20, &config);
        assert_eq!(connections.http, config.requests.max_connections);
        let per_ip = config.requests.max_connections_per_ip;
        assert_eq!(connections.http_per_ip, per_ip);
        assert_eq!(connections.event_streams, config.whep.max_event_streams);
        assert_eq!(connections.event_streams_per_ip, per_ip / 2);
        let per_ip = config.publishers.max_connections_per_ip;
        assert_eq!(connections.rtmp_per_ip, per_ip);
        assert_eq!(connections.ice_tcp_per_ip, config.viewers.max_per_ip);
        assert_eq!(connections.pulls_per_origin, config.pulls.max);
        assert_eq!(connections.rtmp, config.publishers.max_connections);
        assert_eq!(connections.ice_tcp, config.viewers.max);
        assert_eq!(Connections::within(u64::MAX, &config), connections);
    }

    #[test]
    fn one_address_has_at_most_half_if_files_are_few() {
        let config: Config =
            toml::from_str("[[pull]]\nmatch = \"live/a\"\nfrom = \"rtmp://b/live/a\"\n").unwrap();
        for open_files in [1024, 4096] {
            let few = Connections::within(open_files, &config);
            assert!(few.http < config.requests.max_connections_per_ip, "{few:?}");
            for (of_one, of_all) in [
                (few.http_per_ip, few.http),
                (few.event_streams, few.http),
                (few.event_streams_per_ip, few.event_streams),
                (few.event_streams_per_ip, few.http_per_ip),
                (few.rtmp_per_ip, few.rtmp),
                (few.pulls_per_origin, few.pulls),
                (few.ice_tcp_per_ip, few.ice_tcp),
            ] {
                assert!((1..=of_all / 2).contains(&of_one), "{few:?}");
            }
        }
        // The configured limits per address apply if files suffice.
        let mut config = Config::default();
        config.requests.max_connections = 10;
        config.requests.max_connections_per_ip = 10;
        let enough = Connections::within(1 << 20, &config);
        assert_eq!(enough.http_per_ip, 10);
        assert_eq!((enough.event_streams, enough.event_streams_per_ip), (5, 2));
    }

    #[test]
    fn small_demands_are_met_and_the_rest_is_shared() {
        assert_eq!(share(100, &[20, 30, 50]), usize::MAX);
        assert_eq!(share(100, &[10, 500, 400, 20]), 35);
        assert_eq!(share(100, &[usize::MAX, 1]), 99);
        assert_eq!(share(0, &[5]), 1);
    }

    #[test]
    fn all_listeners_together_never_exceed_the_open_files() {
        let mut config = Config::default();
        let pull = "[[pull]]\nmatch = \"live/a\"\nfrom = \"rtmp://b/live/a\"\n";
        let pulling: Config = toml::from_str(pull).unwrap();
        config.pull = pulling.pull;
        let listen: distributary_net::OptionalAddress = "127.0.0.1:0".parse().unwrap();
        for https in [false, true] {
            if https {
                config.https.listen = listen.clone();
                config.admin_https.listen = listen.clone();
            }
            for max in [1, 20_000, usize::MAX] {
                config.viewers.max = max;
                for open_files in [1024, 4096, 65_536] {
                    let connections = Connections::within(open_files, &config);
                    let http = if https { 4 } else { 2 };
                    let own = OWN_FILES as usize + http * HTTP_RESERVE;
                    let Connections {
                        rtmp,
                        pulls,
                        ice_tcp,
                        ..
                    } = connections;
                    let sum = http * connections.http + rtmp + pulls + ice_tcp;
                    assert!((own + sum) as u64 <= open_files, "{connections:?}");
                    let all = [connections.http, rtmp, pulls, ice_tcp];
                    assert!(all.iter().all(|count| *count > 0), "{connections:?}");
                }
            }
        }
    }
}
