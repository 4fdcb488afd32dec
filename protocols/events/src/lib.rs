//! Events: AsyncAPI channels over WebSocket sessions and HTTP publishing.
