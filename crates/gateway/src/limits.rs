//! Limits of the system on the process, and each listener's share of them.

use crate::config::Config;

/// Files and sockets that are kept for everything but connections from outside: sockets of media, encoders,
/// webhooks, files.
const OWN_FILES: u64 = 128;

/// Connections of an HTTP listener beyond its limit: those that are told so, or ask for health.
const HTTP_RESERVE: usize = 80;

/// A listener with fewer connections than this is worth a warning.
const FEW: usize = 1024;

/// Raises the number of files and sockets that may be open from what the system gives to every process
/// to the most it allows this one, and returns it. Many systems begin with 1024, so that old programs work;
/// each publisher, each HTTP connection and each viewer over TCP is one.
pub fn raise_open_files() -> u64 {
    rlimit::increase_nofile_limit(u64::MAX).unwrap_or_else(|error| {
        tracing::warn!(%error, "the limit of open files cannot be raised");
        u64::MAX
    })
}

/// Most connections of each listener. Where one gets less than the configuration wants, nobody has more than half of
/// it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connections {
    /// Of each that speaks HTTP.
    pub http: usize,
    /// Those of one address.
    pub http_per_ip: usize,
    /// Those on which players listen for events, which no newcomer can make give way: half at most.
    pub event_streams: usize,
    /// Those of one address, half at most of what there is for all and of what it has.
    pub event_streams_per_ip: usize,
    /// Of RTMP and RTMPS together.
    pub rtmp: usize,
    /// Those of one address.
    pub rtmp_per_ip: usize,
    /// To servers that streams are pulled from.
    pub pulls: usize,
    /// Those to one server.
    pub pulls_per_origin: usize,
    /// Of viewers over TCP.
    pub ice_tcp: usize,
    /// Those of one address.
    pub ice_tcp_per_ip: usize,
    /// The most that any of them has, where that is less than one wants.
    share: Option<usize>,
}

impl Connections {
    /// Returns what the configuration wants, or where that is more than `open_files` allows, for each listener
    /// its share: none can then take from the others what they need.
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

    /// Says that there are fewer than the configuration wants, if so.
    pub fn tell(&self) {
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
                "the system allows fewer open files than the limits of connections add up to, and each \
                 listener gets its share: raise the limit (LimitNOFILE of systemd, ulimits of a container)"
            ),
            Some(_) => tracing::info!(
                http,
                rtmp,
                pulls,
                ice_tcp,
                "each listener gets its share of the open files that the system allows"
            ),
        }
    }
}

/// Returns half of a number of connections, and one at least.
fn half(count: usize) -> usize {
    (count / 2).max(1)
}

/// Returns the most that each may have so that all together have no more than `available`: those that want less
/// leave the rest to the others. Nobody gets nothing.
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
    fn afterwards_as_many_files_may_be_open_as_the_system_allows() {
        let raised = raise_open_files();
        let (soft, hard) = rlimit::Resource::NOFILE.get().unwrap();
        assert_eq!((soft, raised), (hard, hard));
    }

    #[test]
    fn listeners_get_what_they_want_where_there_is_enough() {
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
    fn nobody_has_more_than_half_where_files_are_few() {
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
        // What the configuration says of one address holds as long as there is enough.
        let mut config = Config::default();
        config.requests.max_connections = 10;
        config.requests.max_connections_per_ip = 10;
        let enough = Connections::within(1 << 20, &config);
        assert_eq!(enough.http_per_ip, 10);
        assert_eq!((enough.event_streams, enough.event_streams_per_ip), (5, 2));
    }

    #[test]
    fn who_wants_little_gets_it_and_the_rest_is_shared() {
        assert_eq!(share(100, &[20, 30, 50]), usize::MAX);
        assert_eq!(share(100, &[10, 500, 400, 20]), 35);
        assert_eq!(share(100, &[usize::MAX, 1]), 99);
        assert_eq!(share(0, &[5]), 1);
    }

    #[test]
    fn all_listeners_together_never_need_more_files_than_there_are() {
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
