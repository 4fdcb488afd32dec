//! One request on one connection, up to the head of its response.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use portolan_config::snapshot::Timeouts;
use portolan_exchange::protocol::Interim;
use portolan_exchange::{Body, BodyError, Method, Moment, Request, Target};
use portolan_http1::connection::Repeat;
use portolan_http1::{self as http1, Asked, Framing, Limits, ResponseHead, ResponseReader};

use super::idle::Connection;
use super::upload::{Broken, Upload};
use crate::wire::buffers;

/// What is read of an upstream's answers at most; heads of services are larger than those of clients now and then.
pub const LIMITS: Limits =
    Limits { line: 8 << 10, field: 32 << 10, head: 64 << 10, fields: 128, chunk_line: 256, trailers: 16 << 10 };

// Heads before the answer's own: services send one or two, and one that sends them for ever never answers.
const INTERIMS: usize = 32;

/// What is asked, of whichever connection.
pub struct Question<'a> {
    /// The request, without its body.
    pub request: &'a Request,
    /// What the service is asked for.
    pub target: &'a Target,
    /// Who is told of heads before the answer's own.
    pub interim: Option<&'a Rc<dyn Interim>>,
    /// How long it may take.
    pub timing: Timing,
}

/// Until when what must have happened.
#[derive(Clone, Copy)]
pub struct Timing {
    /// The head of the response, whatever comes before it.
    pub limit: Moment,
    first_byte: Duration,
    write: Duration,
    deadline: Moment,
}

/// A call whose answer has begun.
pub struct Answered {
    /// The head of the response.
    pub head: ResponseHead,
    /// The connection, on which its content comes.
    pub connection: Connection,
    /// The rest of the request: an answer may be there before its end.
    pub upload: Upload,
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
    Body(BodyError),
    /// The request's own body did what none may, or panicked.
    Faulty(String),
    /// The service takes nothing of the request.
    Stalled,
    /// The service did not answer in its time.
    Late,
    /// The time for the whole exchange was over.
    DeadlineExceeded,
}

impl Timing {
    /// The times of a call that begins now, on behalf of an exchange that may last until its deadline.
    pub fn new(timeouts: &Timeouts, now: Moment, deadline: Moment) -> Self {
        let limit = now.after(timeouts.request).min(deadline);
        Self { limit, first_byte: timeouts.first_byte, write: timeouts.write, deadline }
    }
}

impl Question<'_> {
    /// Asks on this connection and waits for the head of the response. Dropping the future leaves the connection in the middle of a
    /// message, and closes it.
    pub fn ask(&self, connection: Connection, body: Body) -> impl Future<Output = Result<Answered, Failed>> {
        // Begun before there is a future, which would hold its arguments twice.
        let mut call = Call::begin(self, connection, body);
        async move {
            let head = poll_fn(|context| call.poll_head(context)).await?;
            Ok(call.answered(head))
        }
    }

    /// The body for asking once more if this connection gives no answer, where that does no harm and all of it is here.
    pub fn again(&self, connection: &Connection, body: &Body) -> Option<Body> {
        match (connection.calling.repeat(&self.request.method), body) {
            (Repeat::MustNot, _) | (Repeat::May, Body::Stream(_)) => None,
            (Repeat::May, Body::Empty) => Some(Body::Empty),
            (Repeat::May, Body::Whole(bytes)) => Some(Body::Whole(bytes.clone())),
        }
    }
}

/// A request on its way, and the response it waits for.
struct Call<'a> {
    question: &'a Question<'a>,
    connection: Connection,
    upload: Upload,
    // How far the head is read, if that is not to its end; most are here whole at once.
    reader: Option<Box<ResponseReader>>,
    // So much of what is here holds no whole head.
    looked_at: usize,
    interims: usize,
}

impl<'a> Call<'a> {
    /// Queues the request on this connection.
    fn begin(question: &'a Question<'a>, connection: Connection, body: Body) -> Self {
        let Question { request, target, timing, .. } = question;
        let link = &connection.link;
        let mut upload = Upload::new(body, &request.method, timing.write);
        let mut head = buffers::head();
        http1::write_request(&mut head, &request.method, target, &request.fields, upload.framing());
        link.queue_head(head);
        upload.queue_whole(link);
        link.reading.set(timing.limit);
        let call = Self { question, connection, upload, reader: None, looked_at: 0, interims: 0 };
        if call.upload.has_arrived() {
            call.expect_head();
            call.connection.link.defer();
        }
        call
    }

    // The time for the first byte runs from the end of the request: an upload may take longer than an answer.
    fn expect_head(&self) {
        let Timing { limit, first_byte, .. } = self.question.timing;
        let reading = &self.connection.link.reading;
        reading.set(reading.now().after(first_byte).min(limit));
    }

    fn poll_head(&mut self, context: &mut Context<'_>) -> Poll<Result<ResponseHead, Failed>> {
        self.send_on(context)?;
        loop {
            if let Some(head) = self.look()? {
                return Poll::Ready(Ok(head));
            }
            let link = &self.connection.link;
            match link.poll_fill(context) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(self.closed("closed by the service"))),
                Poll::Ready(Err(_)) => return Poll::Ready(Err(self.closed("reset by the service"))),
                Poll::Ready(Ok(_)) => self.connection.calling.heard(),
                Poll::Pending => {
                    link.inflow_mut().cool();
                    ready!(link.reading.poll(context));
                    return Poll::Ready(Err(self.late()));
                }
            }
        }
    }

    /// Sends what is still to come of the request. That the service takes no more of it is no failure: it may have answered.
    fn send_on(&mut self, context: &mut Context<'_>) -> Result<(), Failed> {
        let link = &self.connection.link;
        if self.upload.has_arrived() {
            // Queued whole: it leaves with the turn, and only trouble is news.
            let _ = link.poll_trouble(context);
            return Ok(());
        }
        let sent = self.upload.poll(link, context);
        if self.upload.has_arrived() {
            self.expect_head();
        }
        match sent {
            Poll::Ready(Err(Broken::Source(error))) => Err(Failed::Body(error)),
            Poll::Ready(Err(Broken::Faulty(how))) => Err(Failed::Faulty(how)),
            Poll::Ready(Err(Broken::Stalled)) => Err(Failed::Stalled),
            Poll::Ready(Ok(()) | Err(Broken::Refused)) | Poll::Pending => Ok(()),
        }
    }

    /// Looks for a head in what is here; interim ones are handed on.
    fn look(&mut self) -> Result<Option<ResponseHead>, Failed> {
        let request = self.question.request;
        let asked = Asked { head: request.method == Method::Head, upgrade: request.upgrade.is_some() };
        loop {
            let mut inflow = self.connection.link.inflow_mut();
            if inflow.len() == self.looked_at {
                return Ok(None);
            }
            self.looked_at = inflow.len();
            let mut fresh = ResponseReader::new();
            let reader = self.reader.as_deref_mut().unwrap_or(&mut fresh);
            let read = reader.read(inflow.bytes(), &LIMITS, asked);
            let Some((head, consumed)) = read.map_err(|refusal| Failed::NotHttp(refusal.sentence()))? else {
                self.reader.get_or_insert_with(|| Box::new(fresh));
                return Ok(None);
            };
            inflow.consume(consumed);
            drop(inflow);
            self.looked_at = 0;
            if !head.is_interim() {
                return Ok(Some(head));
            }
            self.pass_on(head)?;
        }
    }

    fn pass_on(&mut self, interim: ResponseHead) -> Result<(), Failed> {
        self.interims += 1;
        if self.interims > INTERIMS {
            return Err(Failed::NotHttp("more interim answers than are taken"));
        }
        if let Some(client) = self.question.interim {
            // What a client may act on before the answer; the rest could tell of the service what answers are not to tell.
            let mut fields = interim.fields;
            fields.retain(|name, _| name.eq_ignore_ascii_case(b"link"));
            client.clone().send(interim.status, &fields);
        }
        Ok(())
    }

    /// The head of the response is here.
    fn answered(self, head: ResponseHead) -> Answered {
        let Self { question, mut connection, upload, .. } = self;
        connection.calling.answered(&head);
        connection.link.reading.clear();
        let is_content_expected = question.request.method != Method::Head;
        debug_assert!(is_content_expected || head.framing == Framing::None, "a HEAD is answered without content");
        Answered { head, connection, upload }
    }

    fn closed(&self, how: &'static str) -> Failed {
        if self.connection.calling.has_heard() { Failed::CutOff } else { Failed::NoAnswer(how) }
    }

    fn late(&self) -> Failed {
        let Timing { limit, deadline, .. } = self.question.timing;
        if !self.upload.has_arrived() {
            // What waits to be taken is the service's doing, and holds the client back.
            let is_held = self.connection.link.waiting() > 0;
            return if is_held { Failed::Stalled } else { Failed::Body(BodyError::Late) };
        }
        let is_over = limit == deadline && self.connection.link.reading.now() >= deadline;
        if is_over { Failed::DeadlineExceeded } else { Failed::Late }
    }
}
