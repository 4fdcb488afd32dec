//! What of an upstream's answers is kept from callers.

use crate::reader::Placed;
use crate::setting::{List, NamePattern};
use crate::snapshot::HeaderPattern;
use crate::table::{choices, settings};

settings! {
    /// What of an upstream's answers is kept from callers: headers that tell what it is made of, and by choice the
    /// bodies of its errors.
    pub struct Sanitise {
        /// Headers taken out besides those of the list in `docs/policies.md`; `*` at the end stands for any rest of the
        /// name.
        remove: Vec<HeaderPattern> as List<NamePattern, 0, 256>, default("[]");
        /// Headers of that list which callers get all the same.
        keep: Vec<Placed<HeaderPattern>> as List<Placed<NamePattern>, 0, 256>, default("[]");
        /// Errors of the upstream in whose place callers get a fault of the gateway, `upstream_error`: it has the
        /// status, and nothing else of what the upstream said but `Allow`, `Retry-After` and `WWW-Authenticate`.
        replace_errors: ReplaceErrors as ReplaceErrors, default("none");
    }
}

choices! {
    /// Which errors of an upstream are replaced.
    pub enum ReplaceErrors {
        /// Bodies of errors pass as they are.
        None = "none",
        /// Those with status 500 and above.
        Server = "server",
        /// Those with status 400 and above.
        All = "all",
    }
}
