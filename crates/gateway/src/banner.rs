//! The output at startup: the addresses, and what to enter where.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use distributary_auth::Method;
use distributary_whep::admin::PublicAddresses;
use qrcode::render::unicode::Dense1x2;

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
    /// The authorization methods for publishers and viewers.
    pub access: AccessMethods,
}

/// The authorization methods for publishers and viewers. Displays them in a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccessMethods {
    /// That for publishers.
    pub publish: Method,
    /// That for viewers.
    pub play: Method,
}

impl fmt::Display for AccessMethods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { publish, play } = *self;
        match (publish, play) {
            (Method::Open, Method::Open) => f.write_str(
                "everybody who reaches these addresses can publish and watch: see [auth]",
            ),
            (publish, play) => write!(f, "publishing {}, watching {}", need(publish), need(play)),
        }
    }
}

/// Returns what an authorization method asks for, in words.
fn need(method: Method) -> &'static str {
    match method {
        Method::Open => "is open to everybody",
        Method::Keys => "needs a key of [[auth.key]]",
        Method::Jwt => "needs a token ([auth.jwt])",
        Method::Webhook => "needs the permission of [auth.webhook]",
    }
}

/// Returns the query string with which a client shows what a method asks for.
fn query(method: Method) -> &'static str {
    match method {
        Method::Keys => "?key=KEY",
        Method::Jwt => "?token=TOKEN",
        Method::Open | Method::Webhook => "",
    }
}

/// The addresses, and what to enter where to publish and watch: one screen, no line over 100
/// columns.
#[derive(Clone, Debug)]
pub struct Banner(pub Addresses);

/// Width of a line, in columns.
const WIDTH: usize = 100;

impl fmt::Display for Banner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addresses = &self.0;
        writeln!(f, "Distributary {}\n", env!("CARGO_PKG_VERSION"))?;
        addresses.write_listeners(f)?;
        addresses.write_links(f)
    }
}

impl Addresses {
    /// Writes the listeners, one per line.
    fn write_listeners(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listeners = [
            ("RTMP", Some(self.rtmp), ""),
            ("RTMPS", self.rtmps, ""),
            ("HTTP", Some(self.http), ""),
            ("HTTPS", self.https, ""),
            ("Admin", self.admin, ""),
            ("Admin", self.admin_https, " (HTTPS)"),
        ];
        for (name, address, note) in listeners {
            if let Some(address) = address {
                writeln!(f, "{name:<8}{address}{note}")?;
            }
        }
        let protocols = if self.webrtc_tcp {
            "UDP and TCP"
        } else {
            "UDP"
        };
        let mut line = format!("WebRTC  {} ({protocols}), announced as", self.webrtc);
        for (at, address) in self.candidates.iter().enumerate() {
            let comma = if at + 1 < self.candidates.len() {
                ","
            } else {
                ""
            };
            let word = format!(" {address}{comma}");
            if line.len() + word.len() > WIDTH {
                writeln!(f, "{line}")?;
                line = " ".repeat(7);
            }
            line.push_str(&word);
        }
        writeln!(f, "{line}\n")
    }

    /// Writes what to enter into an encoder, and the pages to open.
    fn write_links(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rtmp, http) = (nearest(self.rtmp), nearest(self.http));
        let public = self.public();
        let (publish, play) = (query(self.access.publish), query(self.access.play));
        writeln!(f, "OBS        Settings, Stream, service Custom")?;
        writeln!(f, "           Server      {}live", public.rtmp)?;
        writeln!(f, "           Stream key  test{publish}")?;
        writeln!(
            f,
            "ffmpeg     ffmpeg -re -stream_loop -1 -i video.mp4 -c:v libx264 -tune zerolatency -g 60 \\"
        )?;
        writeln!(f, "             -pix_fmt yuv420p -c:a aac -f flv \\")?;
        writeln!(f, "             'rtmp://{rtmp}/live/test{publish}'")?;
        writeln!(f, "Watch      http://{http}/live/test{play}")?;
        if let Some(link) = self.link("test") {
            writeln!(f, "  others   {link}{play}")?;
        }
        writeln!(f, "WHEP       http://{http}/whep/live/test{play}")?;
        if self.demo {
            writeln!(f, "Demo       http://{http}/live/demo{play}")?;
            if let Some(link) = self.link("demo") {
                writeln!(f, "  others   {link}{play}")?;
            }
        }
        if let Some(admin) = self.admin {
            writeln!(f, "Dashboard  http://{}/", nearest(admin))?;
        }
        writeln!(f, "Access     {}", self.access)?;
        writeln!(f)
    }

    /// Returns the URLs for others, of the encrypted listeners where there are some. They lead to this
    /// machine if only it reaches a listener.
    pub fn public(&self) -> PublicAddresses {
        let best = |address| elsewhere(address, &self.candidates).unwrap_or(nearest(address));
        let http = match self.https {
            Some(https) => format!("https://{}", best(https)),
            None => format!("http://{}", best(self.http)),
        };
        let rtmp = match self.rtmps {
            Some(rtmps) => format!("rtmps://{}/", best(rtmps)),
            None => format!("rtmp://{}/", best(self.rtmp)),
        };
        PublicAddresses {
            watch: format!("{http}/"),
            whep: format!("{http}/whep/"),
            rtmp,
        }
    }

    /// Returns the page at which others watch a stream; `None` if only this machine reaches the gateway.
    fn link(&self, stream: &str) -> Option<String> {
        elsewhere(self.https.unwrap_or(self.http), &self.candidates)?;
        Some(format!("{}live/{stream}", self.public().watch))
    }
}

/// The page at which others watch, as a QR code for a phone.
#[derive(Clone, Debug)]
pub struct QrCode(pub Addresses);

impl fmt::Display for QrCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stream = if self.0.demo { "demo" } else { "test" };
        let Some(link) = self.0.link(stream) else {
            return writeln!(
                f,
                "No QR code: only this machine reaches the address {}.\n",
                self.0.https.unwrap_or(self.0.http)
            );
        };
        let link = format!("{link}{}", query(self.0.access.play));
        // A link is far shorter than the largest code.
        if let Ok(code) = qrcode::QrCode::new(&link) {
            // Terminals are dark, and readers expect dark modules on a light ground.
            let image = code
                .render::<Dense1x2>()
                .dark_color(Dense1x2::Light)
                .light_color(Dense1x2::Dark)
                .build();
            writeln!(f, "{image}\n{link}\n")?;
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

/// Returns the address at which other machines reach a listener on `address`, IPv4 if there is one;
/// `None` if they do not.
fn elsewhere(address: SocketAddr, announced: &[IpAddr]) -> Option<SocketAddr> {
    let ip = if address.ip().is_unspecified() {
        let serves = |ip: &&IpAddr| !ip.is_loopback() && (address.is_ipv6() || ip.is_ipv4());
        let mut others = announced.iter().filter(serves);
        let first = others.clone().next();
        *others.find(|ip| ip.is_ipv4()).or(first)?
    } else {
        Some(address.ip()).filter(|ip| !ip.is_loopback())?
    };
    Some((ip, address.port()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(candidates: &[&str]) -> Addresses {
        let address = |text: &str| text.parse().unwrap();
        Addresses {
            rtmp: address("[::]:1935"),
            rtmps: None,
            http: address("[::]:8080"),
            https: None,
            admin: Some(address("127.0.0.1:8180")),
            admin_https: None,
            webrtc: address("[::]:8189"),
            webrtc_tcp: true,
            candidates: candidates.iter().map(|ip| ip.parse().unwrap()).collect(),
            demo: false,
            access: AccessMethods::default(),
        }
    }

    #[test]
    fn start_fits_on_one_screen() {
        let text = Banner(addresses(&["192.168.1.5", "2001:db8::5"])).to_string();
        let (version, rest) = text.split_once("\n\n").unwrap();
        assert!(version.starts_with("Distributary "));
        assert_eq!(
            rest,
            "RTMP    [::]:1935\n\
             HTTP    [::]:8080\n\
             Admin   127.0.0.1:8180\n\
             WebRTC  [::]:8189 (UDP and TCP), announced as 192.168.1.5, 2001:db8::5\n\
             \n\
             OBS        Settings, Stream, service Custom\n\
             \x20          Server      rtmp://192.168.1.5:1935/live\n\
             \x20          Stream key  test\n\
             ffmpeg     ffmpeg -re -stream_loop -1 -i video.mp4 -c:v libx264 -tune zerolatency -g 60 \\\n\
             \x20            -pix_fmt yuv420p -c:a aac -f flv \\\n\
             \x20            'rtmp://127.0.0.1:1935/live/test'\n\
             Watch      http://127.0.0.1:8080/live/test\n\
             \x20 others   http://192.168.1.5:8080/live/test\n\
             WHEP       http://127.0.0.1:8080/whep/live/test\n\
             Dashboard  http://127.0.0.1:8180/\n\
             Access     everybody who reaches these addresses can publish and watch: see [auth]\n\
             \n"
        );
    }

    #[test]
    fn no_line_is_longer_than_100_columns() {
        let long = "2001:db8:1234:5678:9abc:def0:1234:5678";
        let addresses = Addresses {
            rtmp: format!("[{long}]:19350").parse().unwrap(),
            rtmps: Some(format!("[{long}]:19360").parse().unwrap()),
            http: format!("[{long}]:18080").parse().unwrap(),
            https: Some("[::]:8443".parse().unwrap()),
            admin_https: Some("[::]:8543".parse().unwrap()),
            demo: true,
            access: AccessMethods {
                publish: Method::Webhook,
                play: Method::Jwt,
            },
            ..addresses(&[long; 5])
        };
        let text = Banner(addresses.clone()).to_string();
        let lengths = text.lines().map(|line| line.chars().count());
        assert!(lengths.max().unwrap() <= WIDTH, "{text}");
        assert_eq!(text.matches(&format!("{long},")).count(), 4, "{text}");
        assert!(text.lines().count() <= 30, "{text}");
        let code = QrCode(addresses).to_string();
        let lines = code.lines();
        assert!(lines.clone().count() < 40);
        assert!(
            lines.clone().all(|line| line.chars().count() <= WIDTH),
            "{code}"
        );
        assert!(
            code.contains(&format!("\nhttps://[{long}]:8443/live/demo?token=TOKEN\n")),
            "{code}"
        );
    }

    #[test]
    fn commands_have_the_key_that_is_needed() {
        let keyed = Addresses {
            demo: true,
            access: AccessMethods {
                publish: Method::Keys,
                play: Method::Jwt,
            },
            ..addresses(&["192.168.1.5"])
        };
        let text = Banner(keyed).to_string();
        for line in [
            "           Stream key  test?key=KEY\n",
            "             'rtmp://127.0.0.1:1935/live/test?key=KEY'\n",
            "Watch      http://127.0.0.1:8080/live/test?token=TOKEN\n",
            "  others   http://192.168.1.5:8080/live/test?token=TOKEN\n",
            "WHEP       http://127.0.0.1:8080/whep/live/test?token=TOKEN\n",
            "Demo       http://127.0.0.1:8080/live/demo?token=TOKEN\n",
            "  others   http://192.168.1.5:8080/live/demo?token=TOKEN\n",
            "Access     publishing needs a key of [[auth.key]], watching needs a token ([auth.jwt])\n",
        ] {
            assert!(text.contains(line), "{line:?} is missing in:\n{text}");
        }
    }

    #[test]
    fn links_for_others_are_those_of_the_api() {
        let encrypted = Addresses {
            http: "127.0.0.1:8080".parse().unwrap(),
            rtmps: Some("[::]:1936".parse().unwrap()),
            https: Some("[::]:8443".parse().unwrap()),
            ..addresses(&["192.168.1.5"])
        };
        let public = encrypted.public();
        let text = Banner(encrypted.clone()).to_string();
        let server = format!("Server      {}live\n", public.rtmp);
        assert!(server.contains("rtmps://192.168.1.5:1936/live"), "{server}");
        assert!(text.contains(&server), "{text}");
        let link = format!("{}live/test", public.watch);
        assert_eq!(link, "https://192.168.1.5:8443/live/test");
        assert!(text.contains(&format!("  others   {link}\n")), "{text}");
        let code = QrCode(encrypted).to_string();
        assert!(code.ends_with(&format!("\n{link}\n\n")), "{code}");
    }

    #[test]
    fn gateway_on_loopback_has_no_link_for_others() {
        let alone = Addresses {
            http: "127.0.0.1:8080".parse().unwrap(),
            ..addresses(&["192.168.1.5"])
        };
        for addresses in [alone, addresses(&["127.0.0.1", "::1"])] {
            let text = Banner(addresses.clone()).to_string();
            assert!(!text.contains("others"), "{text}");
            let code = QrCode(addresses).to_string();
            assert!(code.starts_with("No QR code: "), "{code}");
        }
    }

    #[test]
    fn public_addresses_are_announced_and_encrypted_where_possible() {
        let plain = addresses(&["192.0.2.7"]);
        let encrypted = Addresses {
            rtmps: Some("[::]:1936".parse().unwrap()),
            https: Some("[::]:8443".parse().unwrap()),
            ..plain.clone()
        };
        let alone = addresses(&["127.0.0.1"]);
        for (addresses, http, rtmp) in [
            (plain, "http://192.0.2.7:8080", "rtmp://192.0.2.7:1935/"),
            (
                encrypted,
                "https://192.0.2.7:8443",
                "rtmps://192.0.2.7:1936/",
            ),
            (alone, "http://127.0.0.1:8080", "rtmp://127.0.0.1:1935/"),
        ] {
            let public = addresses.public();
            assert_eq!(public.watch, format!("{http}/"));
            assert_eq!(public.whep, format!("{http}/whep/"));
            assert_eq!(public.rtmp, rtmp);
        }
    }

    #[test]
    fn address_for_others_is_ipv4_if_there_is_one() {
        let found = |address: &str, announced: &[&str]| {
            let announced: Vec<_> = announced.iter().map(|ip| ip.parse().unwrap()).collect();
            elsewhere(address.parse().unwrap(), &announced).map(|found| found.to_string())
        };
        let both = ["2001:db8::5", "192.0.2.5"];
        assert_eq!(found("[::]:80", &both).as_deref(), Some("192.0.2.5:80"));
        assert_eq!(
            found("[::]:80", &both[..1]).as_deref(),
            Some("[2001:db8::5]:80")
        );
        assert_eq!(found("0.0.0.0:80", &both[..1]), None);
        assert_eq!(
            found("192.0.2.9:80", &both).as_deref(),
            Some("192.0.2.9:80")
        );
    }
}
