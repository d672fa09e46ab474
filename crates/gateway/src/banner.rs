//! The output at startup: the addresses, and commands to copy.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The addresses of a running gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// The RTMP address.
    pub rtmp: SocketAddr,
    /// The RTMPS address, if enabled.
    pub rtmps: Option<SocketAddr>,
    /// The HTTP address of WHEP, the public API and the pages.
    pub http: SocketAddr,
    /// The HTTPS address of the same, if enabled.
    pub https: Option<SocketAddr>,
    /// The address of the admin API, if enabled.
    pub admin: Option<SocketAddr>,
    /// The HTTPS address of the admin API, if enabled.
    pub admin_https: Option<SocketAddr>,
    /// The address from which media is sent.
    pub webrtc: SocketAddr,
    /// Viewers may also connect over TCP.
    pub webrtc_tcp: bool,
    /// The addresses that are announced to viewers.
    pub candidates: Vec<IpAddr>,
    /// The built-in clip is published.
    pub demo: bool,
}

/// The addresses, and commands to publish and watch.
#[derive(Clone, Debug)]
pub struct Banner(pub Addresses);

impl fmt::Display for Banner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Addresses {
            rtmp,
            rtmps,
            http,
            https,
            admin,
            admin_https,
            webrtc,
            webrtc_tcp,
            candidates,
            demo,
        } = &self.0;
        let announced: Vec<_> = candidates.iter().map(IpAddr::to_string).collect();
        writeln!(f, "Distributary {}\n", env!("CARGO_PKG_VERSION"))?;
        writeln!(f, "RTMP    {rtmp}")?;
        if let Some(rtmps) = rtmps {
            writeln!(f, "RTMPS   {rtmps}")?;
        }
        writeln!(f, "HTTP    {http}")?;
        if let Some(https) = https {
            writeln!(f, "HTTPS   {https}")?;
        }
        if let Some(admin) = admin {
            writeln!(f, "Admin   {admin}")?;
        }
        if let Some(admin) = admin_https {
            writeln!(f, "Admin   {admin} (HTTPS)")?;
        }
        writeln!(
            f,
            "WebRTC  {webrtc} ({}), announced as {}\n",
            if *webrtc_tcp { "UDP and TCP" } else { "UDP" },
            announced.join(", ")
        )?;

        let (rtmp, http) = (nearest(*rtmp), nearest(*http));
        writeln!(
            f,
            "Publish with ffmpeg, or in OBS with the service Custom, the server"
        )?;
        writeln!(f, "rtmp://{rtmp}/live and the stream key test:")?;
        writeln!(
            f,
            "  ffmpeg -re -stream_loop -1 -i video.mp4 -c:v libx264 -tune zerolatency -g 60 \
             -pix_fmt yuv420p -c:a aac -f flv rtmp://{rtmp}/live/test\n"
        )?;
        writeln!(
            f,
            "Watch in a browser, or by curl with an offer of your own:"
        )?;
        writeln!(f, "  http://{http}/live/test")?;
        writeln!(
            f,
            "  curl -i -X POST -H 'Content-Type: application/sdp' --data-binary @offer.sdp \
             http://{http}/whep/live/test\n"
        )?;
        if *demo {
            writeln!(f, "The demo plays at http://{http}/live/demo\n")?;
        }
        Ok(())
    }
}

/// Returns the address at which this machine reaches a listener on `address`.
fn nearest(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        // The unspecified IPv6 address accepts IPv4 too.
        ip if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        ip => ip,
    };
    (ip, address.port()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv6Addr;

    fn banner(rtmp: &str, http: &str, demo: bool) -> String {
        Banner(Addresses {
            rtmp: rtmp.parse().unwrap(),
            rtmps: None,
            http: http.parse().unwrap(),
            https: None,
            admin: Some("127.0.0.1:8180".parse().unwrap()),
            admin_https: None,
            webrtc: "[::]:8189".parse().unwrap(),
            webrtc_tcp: true,
            candidates: vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
            demo,
        })
        .to_string()
    }

    #[test]
    fn every_address_begins_a_line() {
        let text = banner("[::]:1935", "[::]:8080", false);
        for line in [
            "RTMP    [::]:1935",
            "HTTP    [::]:8080",
            "Admin   127.0.0.1:8180",
            "WebRTC  [::]:8189 (UDP and TCP)",
        ] {
            assert!(text.lines().any(|l| l.starts_with(line)), "{text}");
        }
        assert!(text.contains("announced as 127.0.0.1, ::1\n"), "{text}");
    }

    #[test]
    fn printed_commands_work_on_this_machine() {
        let text = banner("[::]:1935", "0.0.0.0:40001", false);
        assert!(text.contains("-f flv rtmp://127.0.0.1:1935/live/test\n"));
        assert!(text.contains("  http://127.0.0.1:40001/live/test\n"));
        assert!(text.contains("@offer.sdp http://127.0.0.1:40001/whep/live/test\n"));
        assert!(!text.contains("demo"));

        let text = banner("[::1]:1935", "192.0.2.2:80", true);
        assert!(text.contains("rtmp://[::1]:1935/live/test\n"));
        assert!(text.contains("http://192.0.2.2:80/live/demo\n"));
    }
}
