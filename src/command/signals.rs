//! What the system tells the process.

use std::io;
use std::sync::mpsc::{Receiver, TrySendError, sync_channel};

use tokio::signal::unix::{SignalKind, signal};

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGHUP: read the configuration anew.
    Reload,
    /// SIGINT or SIGTERM: end in good order.
    End,
}

/// Signals as they come. A second request to end, while the first is carried out, ends the process at once.
pub struct Signals(Receiver<Signal>);

impl Signals {
    /// Listens from now on, on a thread of its own.
    ///
    /// # Errors
    /// When the system does not let us.
    pub fn listen() -> io::Result<Self> {
        // Signals of one kind are as good as one of them; more than these wait for nobody.
        let (tell, told) = sync_channel(16);
        let (ready, started) = sync_channel(1);
        std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => return drop(ready.send(Err(error))),
            };
            runtime.block_on(async move {
                let streams = (|| {
                    Ok::<_, io::Error>((
                        signal(SignalKind::hangup())?,
                        signal(SignalKind::interrupt())?,
                        signal(SignalKind::terminate())?,
                    ))
                })();
                let (mut hangup, mut interrupt, mut terminate) = match streams {
                    Ok(streams) => streams,
                    Err(error) => return drop(ready.send(Err(error))),
                };
                let _ = ready.send(Ok(()));
                let mut ending = false;
                loop {
                    let signal = tokio::select! {
                        _ = hangup.recv() => Signal::Reload,
                        _ = interrupt.recv() => Signal::End,
                        _ = terminate.recv() => Signal::End,
                    };
                    if signal == Signal::End && std::mem::replace(&mut ending, true) {
                        // Who asks twice does not want to wait.
                        std::process::exit(130);
                    }
                    if let Err(TrySendError::Disconnected(_)) = tell.try_send(signal) {
                        return;
                    }
                }
            });
        })?;
        started.recv().map_err(io::Error::other)??;
        Ok(Self(told))
    }

    /// Waits for the next signal.
    pub fn next(&self) -> Signal {
        // The thread that tells lives as long as the process; without it there is nothing left to wait for.
        self.0.recv().unwrap_or(Signal::End)
    }
}
