//! Origins whose pages may use the endpoints.

use axum::http::{HeaderMap, HeaderValue, header};
use serde::{Deserialize, Serialize};

/// Origins whose pages may use the endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub enum AllowedOrigins {
    /// Any origin. The gateway uses no cookies, so the wildcard gives nothing away.
    #[default]
    Any,
    /// These origins, each as browsers send it: `https://www.example`.
    Only(Vec<HeaderValue>),
}

/// The text is not an origin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected * or an origin such as https://www.example, without a path, instead of {0:?}")]
pub struct OriginError(String);

impl AllowedOrigins {
    /// Parses a list of origins, or `*` alone.
    ///
    /// # Errors
    /// Fails when one of them is not what a browser could send (RFC 6454 section 6.1).
    pub fn parse<T: AsRef<str>>(origins: &[T]) -> Result<Self, OriginError> {
        if let [only] = origins
            && only.as_ref() == "*"
        {
            return Ok(Self::Any);
        }
        let origins = origins.iter().map(|origin| {
            let origin = origin.as_ref();
            let is_origin = url::Url::parse(origin)
                .is_ok_and(|url| url.origin().ascii_serialization() == origin);
            let value = HeaderValue::from_str(origin);
            value
                .ok()
                .filter(|_| is_origin)
                .ok_or_else(|| OriginError(origin.to_owned()))
        });
        origins.collect::<Result<_, _>>().map(Self::Only)
    }

    /// Returns the value of `Access-Control-Allow-Origin` for a request with these headers, if any.
    pub(crate) fn allowed(&self, request: &HeaderMap) -> Option<HeaderValue> {
        match self {
            Self::Any => Some(HeaderValue::from_static("*")),
            Self::Only(origins) => {
                let origin = request.get(header::ORIGIN)?;
                origins.contains(origin).then(|| origin.clone())
            }
        }
    }
}

impl TryFrom<Vec<String>> for AllowedOrigins {
    type Error = OriginError;

    fn try_from(origins: Vec<String>) -> Result<Self, OriginError> {
        Self::parse(&origins)
    }
}

impl From<AllowedOrigins> for Vec<String> {
    fn from(origins: AllowedOrigins) -> Self {
        match origins {
            AllowedOrigins::Any => vec!["*".to_owned()],
            AllowedOrigins::Only(origins) => {
                let origins = origins.iter().filter_map(|origin| origin.to_str().ok());
                origins.map(str::to_owned).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_origins_that_browsers_send_are_accepted() {
        assert_eq!(AllowedOrigins::parse(&["*"]), Ok(AllowedOrigins::Any));
        let both = ["https://a.example", "http://b.example:8080"];
        assert!(
            matches!(AllowedOrigins::parse(&both), Ok(AllowedOrigins::Only(list)) if list.len() == 2)
        );
        for origin in [
            "a.example",
            "https://a.example/",
            "https://A.example",
            "null",
            "",
            "https://a:443",
        ] {
            let error = AllowedOrigins::parse(&[origin]).unwrap_err();
            assert_eq!(error, OriginError(origin.to_owned()));
        }
        assert!(AllowedOrigins::parse(&["*", "https://a.example"]).is_err());
    }
}
