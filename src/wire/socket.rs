//! What a connection asks of its socket: bytes in, bytes out, and that the runtime learns when it must wait.
//!
//! The calls go to the system without the C library's detour through a point at which a thread could be cancelled.

use std::io::{self, IoSlice};

use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, recv, send, sendmsg};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// Reads once. A read that does not fill its room has drained the socket (epoll(7), question 9): what the runtime knows of its
/// readiness is taken back at once, which saves the read that would say so.
///
/// # Errors
/// What the system says; [`io::ErrorKind::WouldBlock`] when nothing is there, and the runtime tells when that changes.
pub(super) fn read(stream: &TcpStream, room: &mut [u8]) -> io::Result<usize> {
    let mut count = 0;
    let filled = stream.try_io(Interest::READABLE, || {
        count = recv(stream, &mut *room, RecvFlags::empty())?.0;
        if count == room.len() || count == 0 { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
    });
    match filled {
        Err(error) if count == 0 => Err(error),
        Ok(()) | Err(_) => Ok(count),
    }
}

/// Reads once, whatever the runtime knows of the socket, and leaves that as it is.
///
/// # Errors
/// What the system says; [`io::ErrorKind::WouldBlock`] when nothing is there.
pub(super) fn read_at_once(stream: &TcpStream, room: &mut [u8]) -> io::Result<usize> {
    Ok(recv(stream, room, RecvFlags::empty())?.0)
}

/// Sends once, as much as the system takes.
///
/// # Errors
/// What the system says; [`io::ErrorKind::WouldBlock`] when it takes nothing, and the runtime tells when that changes.
pub(super) fn write(stream: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    writing(stream, || Ok(send(stream, bytes, SendFlags::NOSIGNAL)?))
}

/// As [`write`], of several pieces: as a message, since a vectored write goes through the checks of files first. What is beyond the
/// system's bound of pieces waits for the next call.
///
/// # Errors
/// As [`write`].
pub(super) fn write_vectored(stream: &TcpStream, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
    // IOV_MAX (sendmsg(2), EMSGSIZE).
    const PIECES: usize = 1_024;
    let pieces = &pieces[..pieces.len().min(PIECES)];
    writing(stream, || Ok(sendmsg(stream, pieces, &mut SendAncillaryBuffer::default(), SendFlags::NOSIGNAL)?))
}

/// Tried before the runtime is asked: mostly there is room, and whoever writes to many connections in one turn would otherwise be told
/// to wait by the runtime, which counts how often a task asks. Where there is none it is tried once more as the runtime wants it.
fn writing(stream: &TcpStream, write: impl Fn() -> io::Result<usize>) -> io::Result<usize> {
    match write() {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => stream.try_io(Interest::WRITABLE, write),
        written => written,
    }
}
