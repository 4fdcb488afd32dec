//! A bare loop of writes: what the kernel asks for one message to many sockets, and nothing else.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use clap::Args;

use crate::failure::{Result, While};

/// What it writes.
#[derive(Args)]
pub struct Bare {
    /// Bytes of each frame, its head and content.
    #[arg(long)]
    frame: usize,
}

impl Bare {
    /// Says its address. The first connection controls: it tells how many sockets to accept, and each further byte writes
    /// a frame to each of them. Ends with that connection.
    pub fn run(self) -> Result<()> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).while_doing("cannot listen on the loopback")?;
        let address = listener.local_addr().while_doing("cannot tell the address listened on")?;
        crate::report(&address.to_string());

        let accept = || listener.accept().map(|(stream, _)| stream).while_doing("cannot accept a connection");
        let mut control = accept()?;
        let mut count = [0; 4];
        control.read_exact(&mut count).while_doing("cannot read how many sockets there will be")?;
        let mut sockets = (0..u32::from_be_bytes(count)).map(|_| accept()).collect::<Result<Vec<TcpStream>>>()?;
        for socket in &sockets {
            socket.set_nodelay(true).while_doing("cannot set TCP_NODELAY")?;
        }
        let frame = frame(self.frame);
        let mut wake = [0];
        while let Ok(1) = control.read(&mut wake) {
            for socket in &mut sockets {
                socket.write_all(&frame).while_doing("cannot write a frame")?;
            }
        }
        Ok(())
    }
}

/// A text frame of `length` bytes in all (RFC 6455, section 5.2): from 130 bytes on its head has four.
fn frame(length: usize) -> Vec<u8> {
    let content = u16::try_from(length - 4).expect("a frame of a few hundred bytes");
    let mut frame = vec![0x81, 126];
    frame.extend(content.to_be_bytes());
    frame.resize(length, b'x');
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_says_the_length_of_its_content() {
        let frame = frame(204);
        assert_eq!((frame.len(), &frame[..5]), (204, [0x81, 126, 0, 200, b'x'].as_slice()));
    }
}
