//! Tells the protocols of one port apart by the first bytes of a connection.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::pulse::Pulse;

/// What a client begins an HTTP/2 connection with (RFC 9113, section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What is spoken on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spoken {
    /// HTTP/1.0 or HTTP/1.1.
    Http1,
    /// HTTP/2, known beforehand.
    Http2,
}

/// A connection whose first bytes were looked at: they are read once more.
pub struct Prefixed {
    prefix: [u8; PREFACE.len()],
    len: usize,
    read: usize,
    stream: TcpStream,
    pulse: Arc<Pulse>,
}

impl Prefixed {
    /// Reads until it is clear what is spoken. Waits as long as the client does: the caller bounds it.
    ///
    /// # Errors
    /// When the connection breaks, or ends before its first byte.
    pub async fn tell(mut stream: TcpStream, pulse: Arc<Pulse>) -> io::Result<(Self, Spoken)> {
        let mut prefix = [0; PREFACE.len()];
        let mut len = 0;
        let spoken = loop {
            let read = stream.read(&mut prefix[len..]).await?;
            if read == 0 && len == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            len += read;
            pulse.read();
            if prefix[..len] != PREFACE[..len] || read == 0 {
                break Spoken::Http1;
            }
            if len == PREFACE.len() {
                break Spoken::Http2;
            }
        };
        if spoken == Spoken::Http2 {
            pulse.framed();
        }
        Ok((Self { prefix, len, read: 0, stream, pulse }, spoken))
    }
}

impl Prefixed {
    fn note(&self, written: &Poll<io::Result<usize>>) {
        match written {
            Poll::Pending => self.pulse.write_waits(),
            Poll::Ready(_) => self.pulse.wrote(),
        }
    }
}

impl AsyncRead for Prefixed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.read < self.len {
            let count = buffer.remaining().min(self.len - self.read);
            let (from, to) = (self.read, self.read + count);
            buffer.put_slice(&self.prefix[from..to]);
            self.read = to;
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.pulse.read();
        }
        read
    }
}

impl AsyncWrite for Prefixed {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.note(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.note(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;
    use crate::listener::pulse::testing::pulse;

    async fn told(parts: &[&[u8]]) -> (Spoken, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        let telling = async {
            let (mut stream, spoken) = Prefixed::tell(server, pulse()).await.unwrap();
            let mut all = Vec::new();
            stream.read_to_end(&mut all).await.unwrap();
            (spoken, all)
        };
        let sending = async {
            for part in parts {
                client.write_all(part).await.unwrap();
                tokio::task::yield_now().await;
            }
            client.shutdown().await.unwrap();
        };
        futures_util::join!(telling, sending).0
    }

    #[actix_rt::test]
    async fn the_first_bytes_tell_and_none_is_lost() {
        assert_eq!(told(&[b"GET / HTTP/1.1\r\n\r\n"]).await, (Spoken::Http1, b"GET / HTTP/1.1\r\n\r\n".to_vec()));
        assert_eq!(told(&[b"P", b"OST / HTTP/1.1\r\n\r\n"]).await.0, Spoken::Http1);
        assert_eq!(
            told(&[b"PRI * HT", b"TP/2.0\r\n\r\nSM\r\n\r\n", b"x"]).await,
            (Spoken::Http2, [&PREFACE[..], b"x"].concat())
        );
        assert_eq!(told(&[b"PRI"]).await, (Spoken::Http1, b"PRI".to_vec()));
    }
}
