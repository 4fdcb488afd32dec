//! The other end of bodies and futures: whether they still live, and what was read of them.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::{Body, BodyError, BodyStream, Frame, Size};

/// Watches what is made by it. Clones watch the same.
#[derive(Debug, Clone, Default)]
pub struct Watch(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    held: AtomicUsize,
    read: AtomicUsize,
}

impl Watch {
    /// How many of its bodies and futures somebody still holds.
    pub fn held(&self) -> usize {
        self.0.held.load(Ordering::Relaxed)
    }

    /// How many bytes were read of its bodies.
    pub fn read(&self) -> usize {
        self.0.read.load(Ordering::Relaxed)
    }

    /// An answer that never comes.
    pub fn never<T: 'static>(&self) -> BoxFuture<'static, T> {
        let held = Held::of(self);
        Box::pin(async move {
            let _held = held;
            std::future::pending().await
        })
    }

    /// A body of pieces of so many bytes, ready at once, and never an end.
    pub fn endless(&self, piece: usize) -> Body {
        self.body(Rest::Endless(Bytes::from(vec![b' '; piece])))
    }

    /// A body that gives nothing and does not end.
    pub fn stuck(&self) -> Body {
        self.body(Rest::Stuck)
    }

    /// A body of these frames, ready at once, that says this of its size.
    pub fn frames(&self, frames: Vec<Result<Frame, BodyError>>, size: Size) -> Body {
        self.body(Rest::Frames(frames.into(), size))
    }

    fn body(&self, rest: Rest) -> Body {
        Body::stream(Watched { held: Held::of(self), rest })
    }
}

/// Counts for as long as it lives.
struct Held(Watch);

impl Held {
    fn of(watch: &Watch) -> Self {
        watch.0.held.fetch_add(1, Ordering::Relaxed);
        Self(watch.clone())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.0.held.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Watched {
    held: Held,
    rest: Rest,
}

enum Rest {
    Endless(Bytes),
    Stuck,
    Frames(VecDeque<Result<Frame, BodyError>>, Size),
}

impl BodyStream for Watched {
    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        let frame = match &mut self.rest {
            Rest::Endless(piece) => Some(Ok(Frame::Data(piece.clone()))),
            Rest::Stuck => return Poll::Pending,
            Rest::Frames(frames, _) => frames.pop_front(),
        };
        if let Some(Ok(Frame::Data(data))) = &frame {
            self.held.0.0.read.fetch_add(data.len(), Ordering::Relaxed);
        }
        Poll::Ready(frame)
    }

    fn size(&self) -> Size {
        match &self.rest {
            Rest::Endless(_) | Rest::Stuck => Size::Unknown,
            Rest::Frames(_, size) => *size,
        }
    }
}
