//! The core types every protocol, policy and actor meets at.
