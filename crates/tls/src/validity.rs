//! The time in which a certificate is valid.

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use openssl::asn1::{Asn1Time, Asn1TimeRef};
use openssl::error::ErrorStack;
use openssl::x509::X509Ref;

const DAY: i64 = 24 * 60 * 60;

/// Time before its end at which a certificate is warned about, in seconds. Clients that renew
/// certificates do so earlier.
const NOTICE: i64 = 14 * DAY;

/// The validity of the certificate in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The file.
    pub file: PathBuf,
    /// The first second in which it is valid, since 1970.
    begin: i64,
    /// The last second in which it is valid, since 1970.
    end: i64,
    /// Both as text.
    text: [String; 2],
}

impl Validity {
    pub(crate) fn new(file: PathBuf, certificate: &X509Ref) -> Result<Self, ErrorStack> {
        let (begin, end) = (certificate.not_before(), certificate.not_after());
        Ok(Self {
            file,
            begin: seconds(begin)?,
            end: seconds(end)?,
            text: [begin.to_string(), end.to_string()],
        })
    }

    /// Returns the time at which the certificate expires, in seconds since 1970.
    pub fn end(&self) -> i64 {
        self.end
    }

    /// Returns the time at which the certificate expires, as text.
    pub fn until(&self) -> &str {
        &self.text[1]
    }

    /// Returns a warning if the certificate is not valid at `now`, or not for much longer.
    pub fn warning(&self, now: SystemTime) -> Option<String> {
        let since = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let now = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
        let (file, [begin, end]) = (self.file.display(), &self.text);
        let left = self.end.saturating_sub(now);
        if now < self.begin {
            Some(format!(
                "{file}: the certificate is not valid before {begin}"
            ))
        } else if left < 0 {
            Some(format!(
                "{file}: the certificate has expired on {end}: clients refuse it, renew it"
            ))
        } else if left < NOTICE {
            Some(format!(
                "{file}: the certificate expires on {end}, in {} days: renew it",
                left / DAY
            ))
        } else {
            None
        }
    }
}

fn seconds(time: &Asn1TimeRef) -> Result<i64, ErrorStack> {
    let since = Asn1Time::from_unix(0)?.diff(time)?;
    Ok(i64::from(since.days) * DAY + i64::from(since.secs))
}
