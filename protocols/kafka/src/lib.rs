//! Kafka as a broker behind the gateway's event channels.
