//! The gateway from outside: real sockets, fake upstreams that record, foreign clients, real brokers.
//!
//! One binary, so that it links once. [`kit`] has the parts, each module below it a noun of what is tested.
//! `PORTOLAN_TEST_WAITING=1` makes every policy wait: the whole suite passes both ways.

#![allow(clippy::unwrap_used, reason = "all of it is tests, their helpers too")]

mod actors;
mod admin;
mod brokers;
mod commands;
mod configuration;
mod events;
mod exchange;
mod graphql;
mod identity;
mod kit;
mod pages;
mod panics;
mod rest;
mod wire;
