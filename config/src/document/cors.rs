//! Which pages of other origins may call from a browser.

use std::time::Duration;

use crate::reader::Placed;
use crate::setting::{AllOr, DAY, Flag, HeaderName, Method, OriginPattern, Span};
use crate::snapshot::Origin;
use crate::table::settings;

settings! {
    /// Which pages of other origins may call from a browser, and what they may read (the CORS protocol of the Fetch
    /// standard). Preflights are answered by the gateway, before credentials and limits. It is no protection of the
    /// service: who is no browser is not held by it.
    pub struct Cors {
        /// The origins whose pages are let in, as browsers send them: `https://app.example.com`, with its port where
        /// that is not the scheme's own. `*.` stands for any one label: `https://*.example.com`. `*` alone lets in
        /// every page of the web.
        origins: Placed<Option<Vec<Placed<Origin>>>> as Placed<AllOr<Placed<OriginPattern>, 256>>, required;
        /// The methods that pages may use; `*` is whichever they ask for and a route takes.
        methods: Option<Vec<String>> as AllOr<Method, 32>, default("*");
        /// The headers that pages may send besides those that every page may; `*` is whichever they ask for,
        /// `Authorization` too.
        headers: Option<Vec<String>> as AllOr<HeaderName, 256>, default("*");
        /// The headers of an answer that pages may read besides those that every page may. `*` is all of them, which
        /// browsers take only where there are no `credentials`.
        exposed_headers: Placed<Option<Vec<String>>> as Placed<AllOr<HeaderName, 256>>, default("[]");
        /// Whether pages may call with the cookies and the HTTP authentication of their visitor. Whoever controls one
        /// of the origins then acts as any visitor of it.
        credentials: Placed<bool> as Placed<Flag>, default("false");
        /// How long a browser may go by the answer to a preflight instead of asking again; a change here takes as long
        /// to reach it. Chromium holds it for two hours at most. `0s` has it ask each time.
        max_age: Duration as Span<0, { DAY }>, default("10m");
    }
}
