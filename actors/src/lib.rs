//! Supervised actors: owners of state that changes over time.
