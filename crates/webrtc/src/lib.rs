//! One WebRTC viewer as a sans-IO peer, and the UDP engine that drives many.
