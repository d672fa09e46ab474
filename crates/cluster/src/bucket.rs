//! The bucket of JetStream with the entries of the arbiter.

use std::time::Duration;

use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::stream::{InfoError, LastRawMessageErrorKind};
use async_nats::jetstream::{self, ErrorCode, kv};
use tracing::debug;

/// Timeout of the arbiter.
pub(crate) const TIMEOUT: Duration = Duration::from_millis(500);

/// Time after which the marker of a removed entry is deleted, so that the bucket does not grow with
/// every name that was ever used.
pub(crate) const MARKER_LIFETIME: Duration = Duration::from_secs(60);

/// Replicas of the entries, if the servers form a cluster.
pub(crate) const REPLICAS: usize = 3;

/// Finds the bucket, or creates it.
pub(crate) async fn bucket_of(
    context: &jetstream::Context,
    bucket: &str,
    replicas: usize,
) -> Result<kv::Store, async_nats::Error> {
    let config = kv::Config {
        bucket: bucket.to_owned(),
        description: "Owners of streams".to_owned(),
        history: 1,
        max_value_size: 1 << 10,
        num_replicas: replicas,
        limit_markers: Some(MARKER_LIFETIME),
        ..kv::Config::default()
    };
    if let Ok(store) = context.get_key_value(bucket).await {
        // There was one server when it was created. It serves as it is, too.
        if store.stream.cached_info().config.num_replicas < replicas
            && let Err(error) = context.update_key_value(config).await
        {
            debug!(bucket, %error, "the arbiter has fewer copies than the cluster has servers");
        }
        return Ok(store);
    }
    match context.create_key_value(config).await {
        Ok(store) => Ok(store),
        // Another node may have created it in the meantime.
        Err(error) => match context.get_key_value(bucket).await {
            Ok(store) => Ok(store),
            Err(_) => Err(error.into()),
        },
    }
}

/// Returns whether an error says that the bucket does not exist.
pub(crate) fn has_no_bucket(kind: &LastRawMessageErrorKind) -> bool {
    match kind {
        LastRawMessageErrorKind::JetStream(error) => {
            error.error_code() == ErrorCode::STREAM_NOT_FOUND
        }
        _ => false,
    }
}

/// Returns whether the description of the bucket cannot be read because it does not exist.
pub(crate) fn is_missing(error: &InfoError) -> bool {
    let source = std::error::Error::source(error);
    let source = source.and_then(|source| source.downcast_ref::<jetstream::Error>());
    source.is_some_and(|error| error.error_code() == ErrorCode::STREAM_NOT_FOUND)
}

/// Returns whether an error says that no stream receives what was written.
pub(crate) fn is_unheard(error: &jetstream::context::PublishError) -> bool {
    error.kind() == PublishErrorKind::StreamNotFound
}
