//! A panic ends the exchange it happens in, and nothing else.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::Poll;

/// Runs the future in this slot, where it stands: a large one is not moved. A panic in it drops it and gives the panic's text.
pub async fn guarded<F: Future>(mut slot: Pin<&mut Option<F>>) -> Result<F::Output, String> {
    poll_fn(|context| {
        let future = slot.as_mut().as_pin_mut().expect("a future is not polled after it ended");
        // What the future shares with others are views, cells and tables that hold after every statement.
        match catch_unwind(AssertUnwindSafe(|| future.poll(context))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Err(panic) => {
                if catch_unwind(AssertUnwindSafe(|| slot.set(None))).is_err() {
                    tracing::error!("a panic while what had panicked was dropped");
                }
                Poll::Ready(Err(text(panic.as_ref())))
            }
        }
    })
    .await
}

/// What a panic said.
pub fn text(panic: &(dyn std::any::Any + Send)) -> String {
    if let Some(text) = panic.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text.clone()
    } else {
        "a panic without a text".to_owned()
    }
}
