//! Says whether there is room: connections of a listener and of an address, bytes held in memory, open files.
//!
//! Nothing here refuses what is under way. Near a bound of the process the gateway *sheds*: the driver answers new requests with
//! 503 and closes, until enough was given back. Between the mark at which that begins and the one at which it ends lies a tenth
//! of the bound, so that it does not come and go with every request; each change is logged once.
//!
//! A request looks at one flag ([`Admission::shed`]) and charges its worker's [`Account`], which asks the shared count only for
//! a slice at a time: no lock, and no line of memory that two cores write for every request.

mod account;
mod addresses;
mod gauge;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use portolan_config::snapshot::Listener;

pub use account::{Account, Charge, Memory};
use addresses::Addresses;
use gauge::Gauge;
pub use gauge::Level;

/// What the process may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Bytes of heads and bodies held in memory.
    pub memory: usize,
    /// Open connections to clients and upstreams.
    pub files: usize,
}

/// What is scarce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scarce {
    /// The memory budget is nearly used.
    Memory,
    /// The file descriptors are nearly used.
    Files,
}

impl fmt::Display for Scarce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory => "memory",
            Self::Files => "file descriptors",
        })
    }
}

/// Why a connection is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The listener has all connections that it may have.
    Listener,
    /// The client's address has all connections that it may have.
    Address,
    /// No file descriptor is left for it.
    Files,
    /// It does not begin as its listener wants it: its PROXY header is missing, broken, or of one who is not trusted.
    Header,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Listener => "the listener has all its connections",
            Self::Address => "the address has all its connections",
            Self::Files => "no file descriptor is left",
            Self::Header => "it does not begin with a PROXY header that can be believed",
        })
    }
}

impl std::error::Error for Refused {}

/// What the process has and uses. One for all workers and listeners.
#[derive(Debug)]
pub struct Admission {
    memory: Gauge,
    files: Gauge,
    requests_shed: AtomicU64,
    slice: usize,
}

impl Admission {
    /// The admission of a process of so many workers.
    pub fn new(budget: Budget, workers: usize) -> Arc<Self> {
        Arc::new(Self {
            memory: Gauge::new(Scarce::Memory, budget.memory),
            files: Gauge::new(Scarce::Files, budget.files),
            requests_shed: AtomicU64::new(0),
            slice: account::slice(budget.memory, workers),
        })
    }

    /// Changes the budget: what is used beyond it stays, and nothing new is let in until it is given back.
    pub fn set(&self, budget: Budget) {
        self.memory.set(budget.memory);
        self.files.set(budget.files);
    }

    /// What is scarce now: new requests get 503. Two loads, and lines that are seldom written.
    pub fn shed(&self) -> Option<Scarce> {
        if self.memory.is_scarce() {
            Some(Scarce::Memory)
        } else if self.files.is_scarce() {
            Some(Scarce::Files)
        } else {
            None
        }
    }

    /// Counts a request that was answered with 503 because of [`Admission::shed`].
    pub fn count_shed(&self) {
        self.requests_shed.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes bytes of memory that are held for long, or by whichever thread comes to drop them. Never refuses.
    pub fn memory_for(self: &Arc<Self>, bytes: usize) -> Memory {
        Memory::take(self.clone(), bytes)
    }

    /// The account of one worker.
    pub fn account(self: &Arc<Self>) -> Account {
        Account::new(self.clone(), self.slice)
    }

    /// Takes a file descriptor for a connection to an upstream.
    ///
    /// # Errors
    /// [`Refused::Files`].
    pub fn file(self: &Arc<Self>) -> Result<File, Refused> {
        if !self.files.try_take(1) {
            return Err(Refused::Files);
        }
        Ok(File { admission: self.clone() })
    }

    /// The door of a listener, closed beyond what its settings allow.
    pub fn door(self: &Arc<Self>, listener: &Listener) -> Door {
        Door(Arc::new(Counts {
            admission: self.clone(),
            max: listener.max_connections,
            open: AtomicUsize::new(0),
            addresses: listener.max_connections_per_address.map(Addresses::new),
            refused: [const { AtomicU64::new(0) }; 4],
        }))
    }

    /// How much of the memory budget is used: a slice per worker more than what is charged.
    pub fn memory(&self) -> Level {
        self.memory.level()
    }

    /// How many connections to clients and upstreams are open.
    pub fn files(&self) -> Level {
        self.files.level()
    }

    /// Requests that were answered with 503 because something was scarce.
    pub fn requests_shed(&self) -> u64 {
        self.requests_shed.load(Ordering::Relaxed)
    }
}

/// A file descriptor in use; dropping it gives it back.
#[derive(Debug)]
pub struct File {
    admission: Arc<Admission>,
}

impl Drop for File {
    fn drop(&mut self) {
        self.admission.files.give(1);
    }
}

/// Where connections of one listener enter, on whichever worker. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Door(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    admission: Arc<Admission>,
    max: usize,
    open: AtomicUsize,
    addresses: Option<Addresses>,
    refused: [AtomicU64; 4],
}

impl Door {
    /// Lets a connection in that was just accepted, before it is known whose it is.
    ///
    /// # Errors
    /// [`Refused::Listener`] and [`Refused::Files`]: it is to be closed.
    pub fn enter(&self) -> Result<Entered, Refused> {
        let counts = &self.0;
        if !counts.admission.files.try_take(1) {
            return Err(counts.refuse(Refused::Files));
        }
        let taken = counts
            .open
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |open| (open < counts.max).then_some(open + 1));
        if taken.is_err() {
            counts.admission.files.give(1);
            return Err(counts.refuse(Refused::Listener));
        }
        Ok(Entered { door: self.clone(), address: None })
    }

    /// Open connections.
    pub fn open(&self) -> usize {
        self.0.open.load(Ordering::Relaxed)
    }

    /// How many connections were refused for this.
    pub fn refused(&self, why: Refused) -> u64 {
        self.0.refused[why as usize].load(Ordering::Relaxed)
    }

    /// Addresses that are counted now.
    pub fn addresses(&self) -> usize {
        self.0.addresses.as_ref().map_or(0, Addresses::len)
    }
}

impl Counts {
    fn refuse(&self, why: Refused) -> Refused {
        self.refused[why as usize].fetch_add(1, Ordering::Relaxed);
        why
    }
}

/// A connection that was let in; dropping it makes room for the next.
#[derive(Debug)]
pub struct Entered {
    door: Door,
    address: Option<IpAddr>,
}

impl Entered {
    /// Counts the connection for its client's address, once that is known: at once, or behind the PROXY header. A connection
    /// of a trusted proxy without such a header carries many clients and is counted for none.
    ///
    /// # Errors
    /// [`Refused::Address`]: it is to be closed.
    pub fn belongs_to(&mut self, address: IpAddr) -> Result<(), Refused> {
        let Some(addresses) = &self.door.0.addresses else { return Ok(()) };
        if let Some(before) = self.address.take() {
            addresses.leave(before);
        }
        if !addresses.enter(address) {
            return Err(self.door.0.refuse(Refused::Address));
        }
        self.address = Some(address);
        Ok(())
    }

    /// Says that the connection is closed because of its PROXY header.
    pub fn begins_wrongly(&self) -> Refused {
        self.door.0.refuse(Refused::Header)
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        if let (Some(address), Some(addresses)) = (self.address, &self.door.0.addresses) {
            addresses.leave(address);
        }
        self.door.0.open.fetch_sub(1, Ordering::Relaxed);
        self.door.0.admission.files.give(1);
    }
}
