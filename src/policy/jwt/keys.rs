//! Reads the key sets that a snapshot names.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use portolan_config::snapshot::{IdentityKind, Snapshot};
use portolan_config::{Diagnostic, Diagnostics};
use portolan_identity::KeySet;

/// The key sets of a snapshot.
pub struct KeySets {
    /// By the name of the identity.
    sets: HashMap<Arc<str>, Arc<KeySet>>,
    /// What was passed over.
    pub warnings: Diagnostics,
}

impl KeySets {
    /// The key set of an identity of kind `jwt`.
    pub fn of(&self, identity: &str) -> Arc<KeySet> {
        self.sets.get(identity).expect("the key sets were read from the snapshot that has the identity").clone()
    }

    /// Every identity of kind `jwt` with its key set.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<KeySet>)> {
        self.sets.iter()
    }
}

/// Reads the key sets of all identities, each file once.
///
/// # Errors
/// Every problem of all of them, with its place in the file.
pub fn read(snapshot: &Snapshot) -> Result<KeySets, Diagnostics> {
    let (mut problems, mut warnings) = (Diagnostics::new(), Diagnostics::new());
    let mut known: HashMap<&Path, Option<Arc<KeySet>>> = HashMap::new();
    let mut sets = HashMap::new();
    for identity in snapshot.identities.values() {
        let IdentityKind::Jwt(jwt) = &identity.kind else { continue };
        let source = &jwt.jwks;
        let keys = known.entry(&source.path).or_insert_with(|| match KeySet::read(source.text.as_bytes()) {
            Ok((keys, notes)) => {
                for note in notes {
                    warnings.push(Diagnostic::warning(&source.place(0, 0, note.path), note.message));
                }
                Some(Arc::new(keys))
            }
            Err(notes) => {
                for note in notes {
                    problems.push(Diagnostic::error(&source.place(0, 0, note.path), note.message));
                }
                None
            }
        });
        if let Some(keys) = keys {
            sets.insert(identity.name.clone(), keys.clone());
        }
    }
    if problems.has_errors() { Err(problems) } else { Ok(KeySets { sets, warnings }) }
}
