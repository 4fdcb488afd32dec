//! REST: operations from OpenAPI documents, and requests checked against them.
