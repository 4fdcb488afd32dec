//! The bounds and times of a session.

use std::time::Duration;

use portolan_config::snapshot::FirstFrame;

/// Bounds and times of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Bytes of a message from the client; 64 KiB unless configured.
    pub max_frame: usize,
    /// Subscriptions at a time; 128 unless configured.
    pub max_subscriptions: usize,
    /// Silence of the client after which it is pinged; 25 s unless configured.
    pub ping_interval: Duration,
    /// How long any frame may then take to arrive; 8 s.
    pub pong_timeout: Duration,
    /// Whether a client may say in its first frame who it is; it may not unless configured.
    pub first_frame: FirstFrame,
    /// How long an unidentified client has for its `connect`; 10 s unless configured.
    pub connect_timeout: Duration,
    /// How long a client may take no byte of what waits for it; 30 s.
    pub stall_timeout: Duration,
    /// How long the peer has to answer a close frame; 2 s.
    pub close_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_frame: 64 * 1024,
            max_subscriptions: 128,
            ping_interval: Duration::from_secs(25),
            pong_timeout: Duration::from_secs(8),
            first_frame: FirstFrame::Refused,
            connect_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(30),
            close_timeout: Duration::from_secs(2),
        }
    }
}

impl From<&portolan_config::snapshot::Sessions> for Settings {
    fn from(sessions: &portolan_config::snapshot::Sessions) -> Self {
        Self {
            max_frame: sessions.max_frame,
            max_subscriptions: sessions.max_subscriptions,
            ping_interval: sessions.heartbeat,
            first_frame: sessions.first_frame_credentials,
            connect_timeout: sessions.connect_timeout,
            ..Self::default()
        }
    }
}
