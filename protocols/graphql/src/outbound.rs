//! GraphQL towards a GraphQL service: the request goes on as it came, byte for byte.

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use portolan_exchange::protocol::Reply;
use portolan_exchange::{
    Answer, Body, Exchange, Fault, FaultKind, LocalBoxFuture, Method, Outbound, Request, Response, Target, Upstream,
    Worker,
};

/// Sends what a GraphQL client sent to a GraphQL service, under the path the service has it.
pub struct GraphQlOutbound {
    upstream: Arc<dyn Upstream>,
    target: Target,
}

impl GraphQlOutbound {
    /// To this path of a service.
    pub fn new(upstream: Arc<dyn Upstream>, path: &str) -> GraphQlOutbound {
        GraphQlOutbound { upstream, target: Target::new(path) }
    }
}

impl fmt::Debug for GraphQlOutbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GraphQlOutbound").field("upstream", self.upstream.name()).field("target", &self.target).finish()
    }
}

/// A page in the place of an answer tells a GraphQL client nothing: it is told in an error instead. What the service says
/// to the caller itself, a redirect or a challenge, goes through in its own words.
fn check_media(response: &Response) -> Result<(), Fault> {
    let media = response.fields.get_str("content-type").unwrap_or_default();
    let essence = media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_json = essence == "application/json" || essence.ends_with("+json");
    // Answers that come in parts, as `@defer` has them.
    let is_in_parts = essence == "multipart/mixed" || essence == "text/event-stream";
    let is_for_the_caller = (300..500).contains(&response.status);
    if essence.is_empty() || is_json || is_in_parts || is_for_the_caller {
        return Ok(());
    }
    Err(Fault::new(FaultKind::UpstreamBroken, "the service did not answer with JSON")
        .because(format!("status {} with `{media}`", response.status)))
}

impl Outbound for GraphQlOutbound {
    fn protocol(&self) -> &'static str {
        "graphql"
    }

    fn call<'a>(&'a self, worker: &'a Rc<Worker>, exchange: &'a mut Exchange) -> LocalBoxFuture<'a, Answer> {
        Box::pin(async move {
            // The exchange keeps its own request: policies look at its head on the way back.
            let mut request = Request::new(Method::Post, self.target.clone());
            request.fields = exchange.request.fields.clone();
            request.authority = exchange.request.authority.clone();
            request.version = exchange.request.version;
            request.body = match &mut exchange.request.body {
                Body::Empty => Body::Empty,
                Body::Whole(bytes) => Body::Whole(bytes.clone()),
                // Behind an inbound that looks into nothing.
                streaming @ Body::Stream(_) => std::mem::take(streaming),
            };
            let response = self.upstream.send(worker, exchange, request).await?;
            check_media(&response)?;
            Ok(Reply::through(response))
        })
    }
}
