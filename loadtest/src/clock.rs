//! Real time, which is what a load test measures: the one place that asks the machine for it.

use std::time::{Duration, Instant};

/// The monotonic time now.
#[expect(clippy::disallowed_methods, reason = "real time is the subject here; no worker and no test's clock is near")]
pub fn now() -> Instant {
    Instant::now()
}

/// Blocks this thread, between two looks at a condition of another process.
#[expect(clippy::disallowed_methods, reason = "nothing else runs on this thread, and every loop around it has an end")]
pub fn pause(duration: Duration) {
    std::thread::sleep(duration);
}
