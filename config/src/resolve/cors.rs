//! CORS: what would let in everybody with somebody else's credentials is told.

use super::Resolver;
use crate::diagnostic::Place;
use crate::document::{self, HeaderRules};
use crate::reader::Placed;
use crate::snapshot::{Cors, Origin};

impl Resolver<'_> {
    /// The rules of a listener, API or route; `headers` are those that change its answers.
    pub(super) fn cors(&mut self, cors: Option<Placed<document::Cors>>, headers: Option<&HeaderRules>) -> Option<Cors> {
        let Placed { value: cors, place } = cors?;
        self.contradicts_headers(&place, headers);
        let document::Cors { origins, methods, headers, exposed_headers, credentials, max_age } = cors;
        if credentials.value && origins.value.is_none() {
            let message = "`*` with `credentials` would let every page of the web act as its visitor";
            self.error(&credentials.place, message, "name the origins, or leave `credentials` out");
        }
        if credentials.value && exposed_headers.value.is_none() {
            let message = "with `credentials` browsers take `*` for a header of that name";
            self.error(&exposed_headers.place, message, "name the headers");
        }
        let origins = self.origins(origins, credentials.value);
        let exposed_headers = exposed_headers.value;
        // Whole seconds are what goes on the wire.
        let max_age = std::time::Duration::from_secs(max_age.as_secs());
        Some(Cors { origins, methods, headers, exposed_headers, credentials: credentials.value, max_age })
    }

    fn origins(&mut self, origins: Placed<Option<Vec<Placed<Origin>>>>, credentials: bool) -> Option<Vec<Origin>> {
        let Placed { value: origins, place } = origins;
        let origins = origins?;
        if origins.is_empty() && !self.is_told(&place) {
            self.error(&place, "no origin is let in", "name origins, or leave `cors` out");
        }
        let mut known: Vec<Origin> = Vec::new();
        for Placed { value: origin, place } in origins {
            let told = origin == Origin::Exact(String::new());
            if !told && known.contains(&origin) {
                self.error(&place, format!("`{origin}` stands twice"), "name each origin once");
            }
            if credentials && is_open_to_change(&origin) {
                let sentence = "pages over `http` can be changed on their way, and then act with credentials";
                self.warn(&place, sentence, "serve them over `https`");
            }
            known.push(origin);
        }
        Some(known)
    }

    /// Whether something was told of a place already.
    fn is_told(&self, place: &Place) -> bool {
        self.diagnostics.iter().any(|told| told.path.starts_with(&*place.path))
    }

    /// A header rule for what CORS writes would silently do nothing.
    fn contradicts_headers(&mut self, place: &Place, headers: Option<&HeaderRules>) {
        let edits = headers.map(|headers| &headers.response);
        let written = edits.into_iter().flat_map(|edits| edits.set.iter().chain(&edits.add));
        let clash = written.map(|(name, _)| name).find(|name| name.starts_with("access-control-"));
        if let Some(name) = clash {
            let message = format!("`headers` writes `{name}`, which `cors` replaces");
            self.error(place, message, "keep one of the two");
        }
    }
}

/// Whether pages of an origin travel in the clear, beyond this machine.
fn is_open_to_change(origin: &Origin) -> bool {
    let text = origin.to_string();
    let Some(host) = text.strip_prefix("http://") else { return false };
    let host = match host.rfind(':') {
        Some(colon) if !host.ends_with(']') => &host[..colon],
        _ => host,
    };
    let is_loopback =
        host == "localhost" || host.ends_with(".localhost") || host.starts_with("127.") || host == "[::1]";
    !is_loopback
}
