//! Downloads Flash programs, with which a client answers SWF verification.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use distributary_auth::client::{ClientError, HttpClient};
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::proto::swf::{Swf, SwfError};

/// Maximum size of a file, in bytes, compressed or not. Flash programs have some megabytes.
const MAX_FILE: usize = 32 << 20;

/// Timeout of a download.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Time after which a program is downloaded again, because sites replace it.
const LIFETIME: Duration = Duration::from_secs(10 * 60);

/// Minimum time from a failed download to the next attempt.
const RETRY_INTERVAL: Duration = Duration::from_secs(30);

/// Programs by their URL. A clone is a handle to the same cache. The URLs come from the
/// configuration, which bounds the cache.
#[derive(Clone, Debug, Default)]
pub(crate) struct Programs {
    by_url: Arc<Mutex<HashMap<String, Entry>>>,
    client: Arc<OnceCell<HttpClient>>,
}

#[derive(Clone, Debug)]
struct Entry {
    began: Instant,
    /// The program, `None` if the download failed; empty while it is downloaded.
    program: Arc<OnceCell<Option<Swf>>>,
}

/// The reason why a program cannot be downloaded.
#[derive(Debug, thiserror::Error)]
enum DownloadError {
    #[error("it is not a URL of http or https")]
    Url,
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("the server answers with the status {0}")]
    Status(u16),
    #[error(transparent)]
    Swf(#[from] SwfError),
}

impl Entry {
    fn new() -> Self {
        Self {
            began: Instant::now(),
            program: Arc::default(),
        }
    }

    fn is_stale(&self) -> bool {
        let lifetime = match self.program.get() {
            Some(Some(_)) => LIFETIME,
            Some(None) => RETRY_INTERVAL,
            None => return false,
        };
        self.began.elapsed() >= lifetime
    }
}

impl Programs {
    /// Returns the program at a URL, from the cache or downloaded now. Logs why if there is none.
    pub(crate) async fn get(&self, url: &str) -> Option<Swf> {
        let program = {
            let mut by_url = self.by_url.lock().unwrap_or_else(PoisonError::into_inner);
            let entry = by_url.entry(url.to_owned()).or_insert_with(Entry::new);
            if entry.is_stale() {
                *entry = Entry::new();
            }
            Arc::clone(&entry.program)
        };
        // Concurrent callers wait for the same download.
        *program.get_or_init(|| self.download(url)).await
    }

    async fn download(&self, url: &str) -> Option<Swf> {
        match self.try_download(url).await {
            Ok(swf) => {
                info!(
                    host = host(url),
                    "downloaded the SWF file that the server asks for"
                );
                Some(swf)
            }
            Err(error) => {
                warn!(host = host(url), %error, "SWF verification is not answered: the file cannot be downloaded");
                None
            }
        }
    }

    async fn try_download(&self, url: &str) -> Result<Swf, DownloadError> {
        let uri: http::Uri = url.parse().map_err(|_| DownloadError::Url)?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err(DownloadError::Url);
        }
        let client = async || HttpClient::new(TIMEOUT).with_max_answer(MAX_FILE);
        let client = self.client.get_or_init(client).await;
        let (status, file) = client.get(&uri).await?;
        if !status.is_success() {
            return Err(DownloadError::Status(status.as_u16()));
        }
        // Inflating a large file takes its time.
        let read = spawn_blocking(move || Swf::read(&file[..])).await;
        Ok(read.map_err(|error| SwfError::Io(io::Error::other(error)))??)
    }
}

/// Returns the host of a URL for the log: path and query may hold a secret.
fn host(url: &str) -> Option<String> {
    let uri: http::Uri = url.parse().ok()?;
    uri.authority().map(|authority| authority.host().to_owned())
}
