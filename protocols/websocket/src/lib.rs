//! The WebSocket framing of RFC 6455, free of IO.
