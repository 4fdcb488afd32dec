//! What is kept from callers: a header that passes anyway need not be let pass.

use super::Resolver;
use crate::document;
use crate::reader::Placed;
use crate::snapshot::{HeaderPattern, ReplaceErrors, Sanitise};

impl Resolver<'_> {
    /// What is written of an API or route; the list alone where nothing is, and nothing where it is `off`.
    pub(super) fn sanitise(&mut self, written: Option<Placed<Option<document::Sanitise>>>) -> Option<Sanitise> {
        let Some(Placed { value: written, .. }) = written else {
            return Some(Sanitise { remove: Vec::new(), keep: Vec::new(), replace_errors: ReplaceErrors::None });
        };
        let document::Sanitise { remove, keep, replace_errors } = written?;
        let removed: Vec<_> =
            Sanitise::LIST.iter().map(|text| HeaderPattern::of(text)).chain(remove.iter().cloned()).collect();
        for Placed { value: kept, place } in &keep {
            let told = *kept == HeaderPattern::of("");
            if !told && !removed.iter().any(|removed| removed.meets(kept)) {
                self.error(place, format!("`{kept}` is not taken out"), "leave it out here");
            }
        }
        let keep = keep.into_iter().map(|kept| kept.value).collect();
        Some(Sanitise { remove, keep, replace_errors })
    }
}
