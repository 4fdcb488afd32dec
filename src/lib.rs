//! The gateway: listeners, pipeline, policies, upstream calls, admin and the command line.
