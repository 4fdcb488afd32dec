//! A Kafka cluster inside this process, for the demo and for tests: librdkafka's mock, which speaks the protocol over TCP.
//!
//! It keeps the last 5 MB of each partition in memory and forgets all when it ends. Other processes can connect. It is not
//! Kafka: topics cannot be administered over the wire, and transactions are pretended.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rdkafka::error::KafkaError;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

type Mock = MockCluster<'static, DefaultProducerContext>;
type Command = Box<dyn FnOnce(&Mock) + Send>;

/// All brokers of the cluster, in the mock's numbering.
const ALL: i32 = -1;

/// A cluster of one broker, which ends when this is dropped.
pub struct Cluster {
    bootstrap: String,
    // Present until it is dropped: closing the channel ends the thread.
    commands: Option<Sender<Command>>,
    // The mock may not change threads, so it lives on one of its own.
    thread: Option<JoinHandle<()>>,
}

impl Cluster {
    /// Starts a cluster on a free port of the loopback, with these topics and their numbers of partitions.
    ///
    /// # Errors
    /// When it has no memory, thread or port, or a topic cannot be made.
    pub fn start(topics: &[(&str, i32)]) -> io::Result<Self> {
        let (commands, received) = channel::<Command>();
        let (started, ready) = channel();
        let thread = thread::Builder::new().name("kafka-mock".into()).spawn(move || serve(&started, &received))?;
        let bootstrap = ready.recv().map_err(io::Error::other)?.map_err(io::Error::other)?;
        let cluster = Self { bootstrap, commands: Some(commands), thread: Some(thread) };
        for (topic, partitions) in topics {
            cluster.create_topic(topic, *partitions)?;
        }
        Ok(cluster)
    }

    /// Where clients connect, as `host:port`.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// Makes a topic.
    ///
    /// # Errors
    /// When there is one of this name already, or the name is none.
    pub fn create_topic(&self, topic: &str, partitions: i32) -> io::Result<()> {
        let topic = topic.to_owned();
        self.ask(move |mock| mock.create_topic(&topic, partitions, 1)).map_err(io::Error::other)
    }

    /// Closes all connections and refuses new ones, until [`Cluster::up`]. What was published is kept.
    pub fn down(&self) {
        self.ask(|mock| mock.broker_down(ALL)).expect("the mock cluster has a broker");
    }

    /// Accepts connections again.
    pub fn up(&self) {
        self.ask(|mock| mock.broker_up(ALL)).expect("the mock cluster has a broker");
    }

    /// Answers every request only after this time, rounded to milliseconds.
    pub fn round_trip_time(&self, time: Duration) {
        self.ask(move |mock| mock.broker_round_trip_time(ALL, time)).expect("the mock cluster has a broker");
    }

    fn ask<T: Send + 'static>(&self, question: impl FnOnce(&Mock) -> T + Send + 'static) -> T {
        let (answer, answered) = channel();
        let command: Command = Box::new(move |mock| {
            // Whoever asked waits right below.
            let _ = answer.send(question(mock));
        });
        self.commands
            .as_ref()
            .expect("the channel is open until the cluster is dropped")
            .send(command)
            .expect("the thread runs until the channel is closed");
        answered.recv().expect("the thread answers every command")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.commands.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the mock's thread was reported where it happened.
            let _ = thread.join();
        }
    }
}

fn serve(started: &Sender<Result<String, KafkaError>>, commands: &Receiver<Command>) {
    let mock = match MockCluster::new(1) {
        Ok(mock) => mock,
        Err(error) => {
            let _ = started.send(Err(error));
            return;
        }
    };
    let _ = started.send(Ok(mock.bootstrap_servers()));
    for command in commands {
        command(&mock);
    }
}
