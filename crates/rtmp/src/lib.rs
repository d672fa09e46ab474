//! RTMP ingest: a sans-IO session and the server that drives it.
