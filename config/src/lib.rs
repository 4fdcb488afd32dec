//! Configuration: documents, diagnostics and snapshots.
