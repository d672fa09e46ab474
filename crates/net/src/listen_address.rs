//! Listen addresses in the configuration.

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::str::FromStr;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// `host:port`, or a port on all interfaces (`[::]`). The host is an address or a name, the port
/// may be 0 for one that the system chooses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenAddress {
    host: String,
    port: u16,
}

/// An address to listen on, or the empty text for none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OptionalAddress(pub Option<ListenAddress>);

/// The error for a text that is neither `host:port` nor a port.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected host:port or a port, such as 127.0.0.1:8080 or 8080, instead of {0:?}")]
pub struct AddressError(String);

/// The host of an address that is only a port: all interfaces.
const ALL_INTERFACES: &str = "[::]";

impl ListenAddress {
    /// Returns the host: an address without brackets, or a name.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the port; 0 for one that the system chooses.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Resolves the address. `[::]` becomes `0.0.0.0` if the system has no IPv6, so that the
    /// defaults work everywhere.
    ///
    /// # Errors
    /// When the host is a name that cannot be resolved.
    pub fn resolve(&self) -> io::Result<SocketAddr> {
        let address = (self.host.as_str(), self.port)
            .to_socket_addrs()?
            .next()
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the name has no address"))?;
        if address.ip() == Ipv6Addr::UNSPECIFIED && !has_ipv6() {
            return Ok((Ipv4Addr::UNSPECIFIED, self.port).into());
        }
        Ok(address)
    }
}

/// Returns whether the system can use IPv6 at all.
fn has_ipv6() -> bool {
    UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).is_ok()
}

impl From<SocketAddr> for ListenAddress {
    fn from(address: SocketAddr) -> Self {
        Self {
            host: address.ip().to_string(),
            port: address.port(),
        }
    }
}

impl FromStr for ListenAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let refuse = || AddressError(text.to_owned());
        let (host, port) = match text.rsplit_once(':') {
            None | Some(("", _)) => (ALL_INTERFACES, text.trim_start_matches(':')),
            Some(parts) => parts,
        };
        // The parser of numbers accepts a sign.
        if port.starts_with('+') {
            return Err(refuse());
        }
        let port = port.parse().map_err(|_| refuse())?;
        let bracketed = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        let is_valid = match bracketed {
            Some(address) => address.parse::<Ipv6Addr>().is_ok(),
            None => !host.is_empty() && !host.contains([':', '[', ']', '/', ' ']),
        };
        if !is_valid {
            return Err(refuse());
        }
        let host = bracketed.unwrap_or(host).to_owned();
        Ok(Self { host, port })
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') {
            write!(f, "[{host}]:{port}")
        } else {
            write!(f, "{host}:{port}")
        }
    }
}

impl FromStr for OptionalAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let address = (!text.is_empty()).then(|| text.parse()).transpose()?;
        Ok(Self(address))
    }
}

impl fmt::Display for OptionalAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_ref().map_or(Ok(()), |address| address.fmt(f))
    }
}

impl Serialize for ListenAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for OptionalAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ListenAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AddressVisitor(PhantomData))
    }
}

impl<'de> Deserialize<'de> for OptionalAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AddressVisitor(PhantomData))
    }
}

/// Reads an address from a text, or a port from a number.
struct AddressVisitor<T>(PhantomData<T>);

impl<T: FromStr<Err = AddressError>> Visitor<'_> for AddressVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("host:port or a port")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_i64<E: Error>(self, port: i64) -> Result<T, E> {
        self.visit_str(&port.to_string())
    }

    fn visit_u64<E: Error>(self, port: u64) -> Result<T, E> {
        self.visit_str(&port.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_names_survive_parsing_and_printing() {
        for text in ["[::]:1935", "0.0.0.0:8080", "127.0.0.1:0", "localhost:8189"] {
            let address: ListenAddress = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
        }
    }

    #[test]
    fn text_without_host_and_port_is_refused() {
        for text in [
            "",
            ":",
            "::8080",
            "+8080",
            "localhost",
            "::1:80",
            "[::1",
            "[x]:1",
            "a b:1",
            "h:65536",
            "h:-1",
            "-1",
            "65536",
            "http://h:1",
        ] {
            let error = text.parse::<ListenAddress>().unwrap_err();
            assert!(error.to_string().contains("host:port"), "{text}");
        }
    }

    #[test]
    fn port_alone_means_all_interfaces() {
        for text in ["8080", ":8080"] {
            let address: ListenAddress = text.parse().unwrap();
            assert_eq!(address.to_string(), "[::]:8080");
        }
        let from_json = |text: &str| serde_json::from_str::<OptionalAddress>(text);
        for text in ["8080", "\"8080\"", "\"[::]:8080\""] {
            assert_eq!(from_json(text).unwrap().to_string(), "[::]:8080");
        }
        for text in ["-1", "65536", "true", "1.5"] {
            let error = from_json(text).unwrap_err().to_string();
            assert!(error.contains("host:port or a port"), "{error}");
        }
    }

    #[test]
    fn optional_address_is_empty_or_valid() {
        assert_eq!("".parse::<OptionalAddress>().unwrap().0, None);
        let some: OptionalAddress = "[::]:1936".parse().unwrap();
        assert_eq!(some.to_string(), "[::]:1936");
        assert!("x".parse::<OptionalAddress>().is_err());
    }

    #[test]
    fn numeric_address_resolves_to_itself() {
        let resolve = |text: &str| text.parse::<ListenAddress>().unwrap().resolve();
        assert_eq!(
            resolve("127.0.0.1:81").unwrap(),
            "127.0.0.1:81".parse().unwrap()
        );
        assert!(resolve("[::]:82").unwrap().ip().is_unspecified());
        assert!(resolve("localhost:83").unwrap().ip().is_loopback());
    }
}
