//! The broker behind the gateway: librdkafka's mock cluster, in a process of its own.

use std::io::Read;

use clap::Args;
use rdkafka::mocking::MockCluster;

use crate::failure::{Result, While};

/// Which topic it has.
#[derive(Args)]
pub struct Broker {
    /// A topic of one partition.
    #[arg(long)]
    topic: String,
}

impl Broker {
    /// Says where clients connect, and serves until standard input ends.
    pub fn run(self) -> Result<()> {
        let cluster = MockCluster::new(1).while_doing("cannot start librdkafka's mock cluster")?;
        cluster.create_topic(&self.topic, 1, 1).while_doing(&format!("cannot make the topic {}", self.topic))?;
        crate::report(&cluster.bootstrap_servers());
        std::io::stdin().read_to_end(&mut Vec::new()).while_doing("cannot wait for the end")?;
        Ok(())
    }
}
