//! Bodies: empty, whole, or polled piece by piece, with a size hint and trailers. They stay on their worker.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};

use crate::Fields;

/// The content of a message.
#[derive(Default)]
pub enum Body {
    /// There is none.
    #[default]
    Empty,
    /// All of it is here.
    Whole(Bytes),
    /// It arrives piece by piece; dropping it tells its source that nobody reads on.
    Stream(Pin<Box<dyn BodyStream>>),
}

/// A source of body pieces. Polled only while there is room for what it gives: not polling is the back-pressure.
pub trait BodyStream {
    /// The next piece, `None` at the end. Trailers come last.
    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>>;

    /// How many bytes of data are still to come.
    fn size(&self) -> Size;
}

/// A piece of a body.
#[derive(Debug)]
pub enum Frame {
    /// Content.
    Data(Bytes),
    /// The trailer section (RFC 9110, section 6.5).
    Trailers(Fields),
}

/// How many bytes a body still has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// Exactly so many.
    Exact(u64),
    /// Not known before its end.
    Unknown,
}

/// Why a body ended before its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BodyError {
    /// Whoever sent it is gone.
    Gone,
    /// It is longer than the bytes allowed.
    TooLarge {
        /// The bound that was passed, in bytes.
        cap: usize,
    },
    /// It did not arrive in time.
    Late,
    /// Its framing was broken; the text is for the log.
    Broken(String),
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => f.write_str("the sender closed the connection"),
            Self::TooLarge { cap } => write!(f, "longer than {cap} bytes"),
            Self::Late => f.write_str("did not arrive in time"),
            Self::Broken(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for BodyError {}

/// A body that was read to its end.
#[derive(Debug, Default)]
pub struct Gathered {
    /// All data.
    pub bytes: Bytes,
    /// The trailers, where there were any.
    pub trailers: Option<Fields>,
}

impl Body {
    /// A body polled from a stream.
    pub fn stream(stream: impl BodyStream + 'static) -> Self {
        Self::Stream(Box::pin(stream))
    }

    /// A whole body; empty bytes give an empty one.
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        if bytes.is_empty() { Self::Empty } else { Self::Whole(bytes) }
    }

    /// How many bytes of data are still to come.
    pub fn size(&self) -> Size {
        match self {
            Self::Empty => Size::Exact(0),
            Self::Whole(bytes) => Size::Exact(bytes.len() as u64),
            Self::Stream(stream) => stream.size(),
        }
    }

    /// The next piece, `None` at the end.
    pub fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        match self {
            Self::Empty => Poll::Ready(None),
            Self::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Self::Empty;
                Poll::Ready(Some(Ok(Frame::Data(bytes))))
            }
            Self::Stream(stream) => stream.as_mut().poll_frame(context),
        }
    }

    /// The next piece, `None` at the end. Cancelling loses nothing.
    pub async fn frame(&mut self) -> Option<Result<Frame, BodyError>> {
        poll_fn(|context| self.poll_frame(context)).await
    }

    /// Reads the body to its end, as long as it has at most `cap` bytes. A declared size above the cap is refused before
    /// a byte is read. Cancelling drops what was read.
    ///
    /// # Errors
    /// [`BodyError::TooLarge`] past the cap, or what the source reports.
    pub async fn collect(mut self, cap: usize) -> Result<Gathered, BodyError> {
        if let Size::Exact(size) = self.size()
            && size > cap as u64
        {
            return Err(BodyError::TooLarge { cap });
        }
        let mut first = Bytes::new();
        let mut joined = BytesMut::new();
        let mut trailers = None;
        while let Some(frame) = self.frame().await {
            match frame? {
                Frame::Data(data) => {
                    if first.len() + joined.len() + data.len() > cap {
                        return Err(BodyError::TooLarge { cap });
                    }
                    // Most bodies arrive in one piece, which is then handed on without a copy.
                    if first.is_empty() && joined.is_empty() {
                        first = data;
                    } else {
                        if joined.is_empty() {
                            joined.extend_from_slice(&std::mem::take(&mut first));
                        }
                        joined.extend_from_slice(&data);
                    }
                }
                Frame::Trailers(fields) => trailers = Some(fields),
            }
        }
        let bytes = if joined.is_empty() { first } else { joined.freeze() };
        Ok(Gathered { bytes, trailers })
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("Empty"),
            Self::Whole(bytes) => write!(f, "Whole({} bytes)", bytes.len()),
            Self::Stream(stream) => write!(f, "Stream({:?})", stream.size()),
        }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::whole(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use futures_util::FutureExt;

    use super::*;

    struct Pieces(VecDeque<Frame>, Size);

    impl BodyStream for Pieces {
        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
            Poll::Ready(self.0.pop_front().map(Ok))
        }

        fn size(&self) -> Size {
            self.1
        }
    }

    fn pieces(parts: &[&'static str], size: Size) -> Body {
        Body::stream(Pieces(parts.iter().map(|part| Frame::Data(Bytes::from_static(part.as_bytes()))).collect(), size))
    }

    #[test]
    fn a_body_is_gathered_up_to_its_cap_and_not_a_byte_beyond() {
        let gathered = pieces(&["ab", "cd", "e"], Size::Unknown).collect(5).now_or_never().unwrap().unwrap();
        assert_eq!(gathered.bytes, "abcde");
        let refused = pieces(&["ab", "cd", "e"], Size::Unknown).collect(4).now_or_never().unwrap();
        assert_eq!(refused.unwrap_err(), BodyError::TooLarge { cap: 4 });
    }

    #[test]
    fn a_declared_size_above_the_cap_is_refused_before_a_byte_is_read() {
        let refused = pieces(&[], Size::Exact(6)).collect(5).now_or_never().unwrap();
        assert_eq!(refused.unwrap_err(), BodyError::TooLarge { cap: 5 });
    }

    #[test]
    fn trailers_are_kept() {
        let mut fields = Fields::new();
        fields.add("grpc-status", "0").unwrap();
        let frames = VecDeque::from([Frame::Data(Bytes::from_static(b"x")), Frame::Trailers(fields.clone())]);
        let gathered = Body::stream(Pieces(frames, Size::Unknown)).collect(9).now_or_never().unwrap().unwrap();
        assert_eq!((gathered.bytes, gathered.trailers), (Bytes::from_static(b"x"), Some(fields)));
    }
}
