//! One request on one connection, up to the head of its response.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};

use portolan_exchange::exchange::Exchange;
use portolan_exchange::protocol::Interim;
use portolan_exchange::{Body, Method, Moment, Request};
use portolan_http1::{self as http1, Asked, Limits, ResponseHead, ResponseReader};

use super::upload::{Broken, Upload};
use crate::wire::{Link, buffers};

/// A request on its way, and the response it waits for.
pub struct Call<'a> {
    /// The connection.
    pub link: &'a Rc<Link>,
    /// The body, or what is still to come of it.
    pub upload: Upload,
    asked: Asked,
    limits: &'a Limits,
    interim: Option<Rc<dyn Interim>>,
    reader: ResponseReader,
    timing: Timing,
    looked_at: usize,
    heard: bool,
    interims: usize,
}

// Heads before the answer's own: services send one or two, and one that sends them for ever never answers.
const INTERIMS: usize = 32;

/// Until when what must have happened.
#[derive(Clone, Copy)]
pub struct Timing {
    /// The head of the response, whatever comes before it.
    pub limit: Moment,
    /// The head of the response, from the end of the request on.
    pub first_byte: std::time::Duration,
    /// The upstream taking something of the request.
    pub write: std::time::Duration,
}

/// Why there is no response.
#[derive(Debug)]
pub enum Failed {
    /// The connection closed before the first byte of a response.
    NoAnswer(&'static str),
    /// It closed within the head of a response.
    CutOff,
    /// What came is no response.
    NotHttp(&'static str),
    /// The request's own body failed.
    Body(portolan_exchange::BodyError),
    /// The request's own body panicked.
    Panicked(String),
    /// The service takes nothing of the request.
    Stalled,
    /// The time was over.
    Late,
}

impl<'a> Call<'a> {
    /// Queues the request on this connection.
    pub fn begin(
        link: &'a Rc<Link>,
        request: &Request,
        body: Body,
        exchange: &Exchange,
        limits: &'a Limits,
        timing: Timing,
    ) -> Self {
        let mut upload = Upload::new(body, &request.method, timing.write);
        let mut head = buffers::head();
        http1::write_request(&mut head, &request.method, &request.target, &request.fields, upload.framing());
        link.queue_head(head);
        upload.queue_whole(link);
        let asked = Asked { head: request.method == Method::Head, upgrade: request.upgrade.is_some() };
        let interim = exchange.interim.clone();
        let mut call = Self {
            link,
            upload,
            asked,
            limits,
            interim,
            reader: ResponseReader::new(),
            timing,
            looked_at: 0,
            heard: false,
            interims: 0,
        };
        link.reading.set(timing.limit);
        if call.upload.has_arrived() {
            call.expect_head();
            link.defer();
        }
        call
    }

    /// Waits for the head of the response. Dropping the future leaves the connection in the middle of a message: it is of no
    /// further use.
    pub async fn head(&mut self) -> Result<ResponseHead, Failed> {
        let head = poll_fn(|context| self.poll_head(context)).await;
        self.link.reading.clear();
        head
    }

    // The time for the first byte runs from the end of the request: an upload may take longer than an answer.
    fn expect_head(&mut self) {
        let late = self.link.reading.now().after(self.timing.first_byte);
        self.link.reading.set(late.min(self.timing.limit));
    }

    fn poll_head(&mut self, context: &mut Context<'_>) -> Poll<Result<ResponseHead, Failed>> {
        if let Poll::Ready(Err(failed)) = self.poll_upload(context) {
            return Poll::Ready(Err(failed));
        }
        loop {
            match self.look() {
                Ok(Some(head)) => return Poll::Ready(Ok(head)),
                Ok(None) => {}
                Err(failed) => return Poll::Ready(Err(failed)),
            }
            match self.link.poll_fill(context) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(self.closed("closed by the service"))),
                Poll::Ready(Err(_)) => return Poll::Ready(Err(self.closed("reset by the service"))),
                Poll::Ready(Ok(_)) => self.heard = true,
                Poll::Pending => {
                    self.link.inflow_mut().cool();
                    return self.link.reading.poll(context).map(|()| Err(Failed::Late));
                }
            }
        }
    }

    fn poll_upload(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        if self.upload.has_arrived() {
            // Queued whole: it leaves with the turn, and only trouble is news. An answer may be there in spite of it.
            let _ = self.link.poll_trouble(context);
            return Poll::Pending;
        }
        let sent = self.upload.poll(self.link, context);
        if self.upload.has_arrived() {
            self.expect_head();
        }
        match sent {
            Poll::Ready(Err(Broken::Source(error))) => Poll::Ready(Err(Failed::Body(error))),
            Poll::Ready(Err(Broken::Panicked(panic))) => Poll::Ready(Err(Failed::Panicked(panic))),
            Poll::Ready(Err(Broken::Stalled)) => Poll::Ready(Err(Failed::Stalled)),
            // It may have answered before it closed.
            Poll::Ready(Ok(()) | Err(Broken::Refused)) | Poll::Pending => Poll::Pending,
        }
    }

    /// Looks for a head in what is here; interim ones are handed on.
    fn look(&mut self) -> Result<Option<ResponseHead>, Failed> {
        loop {
            let mut inflow = self.link.inflow_mut();
            if inflow.len() == self.looked_at {
                return Ok(None);
            }
            self.looked_at = inflow.len();
            let read = self.reader.read(inflow.bytes(), self.limits, self.asked);
            let Some((head, consumed)) = read.map_err(|refusal| Failed::NotHttp(refusal.sentence()))? else {
                return Ok(None);
            };
            inflow.consume(consumed);
            self.looked_at = 0;
            if !(100..200).contains(&head.status) || head.status == 101 {
                return Ok(Some(head));
            }
            self.interims += 1;
            if self.interims > INTERIMS {
                return Err(Failed::NotHttp("more interim answers than are taken"));
            }
            if let Some(interim) = &self.interim {
                let mut fields = head.fields;
                crate::wire::strip_hop(&mut fields, crate::wire::Upgrades::Strip);
                interim.send(head.status, &fields);
            }
        }
    }

    fn closed(&self, how: &'static str) -> Failed {
        if self.heard { Failed::CutOff } else { Failed::NoAnswer(how) }
    }
}
