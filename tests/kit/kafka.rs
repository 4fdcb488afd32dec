//! Brokers for tests: librdkafka's mock cluster, a real Apache Kafka, and a foreign client to speak with either.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use portolan_kafka::mock::Cluster;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::foreign_part;
use super::upstream::Reserved;
use super::wait::{PATIENCE, Watched};

/// A broker that a test can take away and give back. What runs against one runs against the other.
pub trait Kafka {
    /// Where clients connect.
    fn bootstrap(&self) -> String;

    /// Takes it away at once, as if its machine had died.
    fn down(&mut self);

    /// Gives it back; returns when it serves.
    fn up(&mut self);
}

/// The mock cluster.
pub struct MockKafka(Cluster);

impl MockKafka {
    /// A cluster with these topics and their numbers of partitions.
    pub fn start(topics: &[(&str, i32)]) -> Self {
        Self(Cluster::start(topics).expect("the mock cluster starts"))
    }
}

impl Kafka for MockKafka {
    fn bootstrap(&self) -> String {
        self.0.bootstrap().into()
    }

    fn down(&mut self) {
        self.0.down();
    }

    fn up(&mut self) {
        self.0.up();
    }
}

/// One Apache Kafka. It is killed when it is dropped, and with the process of the tests however that ends.
pub struct RealKafka {
    process: Option<Child>,
    said: Watched<Vec<String>>,
    // Of its clients, and of its controller.
    ports: [Reserved; 2],
    topics: Vec<String>,
    folder: TempDir,
    turn: Option<Turn>,
}

/// A broker of a test's own: one at a time, since each takes 175 MB and most of a core while it starts.
struct Turn;

static TAKEN: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());

impl Turn {
    fn wait() -> Self {
        let taken = TAKEN.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = TAKEN.1.wait_while(taken, |taken| *taken).unwrap_or_else(PoisonError::into_inner);
        *taken = true;
        Self
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *TAKEN.0.lock().unwrap_or_else(PoisonError::into_inner) = false;
        TAKEN.1.notify_one();
    }
}

/// The broker that tests share which leave it in peace and have topics of their own. It ends with the process of the tests.
static SHARED: LazyLock<Mutex<RealKafka>> = LazyLock::new(|| Mutex::new(RealKafka::begin(None)));

impl RealKafka {
    /// A broker of the test's own, with these topics and their numbers of partitions, ready to serve them.
    pub fn start(topics: &[(&str, i32)]) -> Self {
        let mut kafka = Self::begin(Some(Turn::wait()));
        for (topic, partitions) in topics {
            kafka.create_topic(topic, *partitions);
        }
        kafka
    }

    /// The broker that is shared. Whoever uses it makes topics of a name that no other test has, and lets it live.
    pub fn shared() -> MutexGuard<'static, Self> {
        SHARED.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(turn: Option<Turn>) -> Self {
        let folder = tempfile::tempdir().expect("there is room for a folder");
        // Kafka must be told its ports before it has them, and has none while it is down.
        let ports = [(); 2].map(|()| Reserved::for_another_process());
        configure(folder.path(), ports.each_ref().map(|port| port.address().port()));
        let mut kafka = Self { process: None, said: Watched::default(), ports, topics: Vec::new(), folder, turn };
        kafka.format();
        kafka.process = Some(kafka.spawn());
        kafka.wait_until_ready();
        kafka
    }

    /// Makes a topic and waits until it can be read.
    pub fn create_topic(&mut self, topic: &str, partitions: i32) {
        let topics = [NewTopic::new(topic, partitions, TopicReplication::Fixed(1))];
        let made = block_on(self.admin().create_topics(&topics, &AdminOptions::new())).expect("the broker answers");
        made.into_iter().for_each(|made| drop(made.expect("the topic can be made")));
        self.topics.push(topic.into());
        self.wait_until_ready();
    }

    /// Adds partitions to a topic.
    pub fn grow_topic(&self, topic: &str, partitions: usize) {
        let grown = NewPartitions::new(topic, partitions);
        let made =
            block_on(self.admin().create_partitions([&grown], &AdminOptions::new())).expect("the broker answers");
        made.into_iter().for_each(|made| drop(made.expect("the topic can grow")));
    }

    /// Deletes a topic with all it holds.
    pub fn delete_topic(&mut self, topic: &str) {
        let deleted = block_on(self.admin().delete_topics(&[topic], &AdminOptions::new())).expect("the broker answers");
        deleted.into_iter().for_each(|deleted| drop(deleted.expect("the topic can be deleted")));
        self.topics.retain(|known| known != topic);
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.config().create().expect("a client can be made")
    }

    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", self.bootstrap())
            .set("reconnect.backoff.max.ms", "200")
            .set_log_level(RDKafkaLogLevel::Emerg);
        config
    }

    fn format(&self) {
        // Sixteen bytes; every broker of the tests is a cluster of its own in a folder of its own.
        let mut format = self.java("kafka.tools.StorageTool");
        let output = format.args(["format", "-t", "cG9ydG9sYW4tdGVzdHMtMQ", "-c"]).arg(self.properties()).output();
        let output = output.expect("the test command installs java");
        assert!(
            output.status.success(),
            "the folder of Kafka was not formatted: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    fn spawn(&self) -> Child {
        // Held by a lifeline: when the process of the tests is gone, however it went, the shell's child reads the end of its
        // input and kills what the shell has become. The folder of the shared broker goes with it, since nobody drops that.
        const LIFELINE: &str = r#"exec 3<&0; { read -r _; kill -9 $$; [ -z "$0" ] || rm -rf "$0"; } <&3 >/dev/null 2>&1 & exec 3<&- </dev/null "$@""#;
        let shared = if self.turn.is_none() { self.folder.path().as_os_str() } else { OsStr::new("") };
        let java = self.java("kafka.Kafka");
        let mut kafka = Command::new("sh");
        kafka.args([OsStr::new("-c"), OsStr::new(LIFELINE), shared, java.get_program()]).args(java.get_args());
        kafka.arg(self.properties()).current_dir(self.folder.path());
        kafka.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = kafka.spawn().expect("the test command installs java");
        let (stderr, said) = (process.stderr.take().expect("piped"), self.said.clone());
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                said.change(|said| said.push(line));
            }
        });
        process
    }

    fn java(&self, class: &str) -> Command {
        let jars = foreign_part("PORTOLAN_TEST_KAFKA_JARS");
        let logging = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kafka/log4j2.properties");
        let mut java = Command::new("java");
        java.args(["-Xmx256m", "-Xms128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
            .arg(format!("-Dlog4j2.configurationFile={}", logging.display()))
            .args(["-cp", &format!("{jars}/*"), class])
            .current_dir(self.folder.path());
        java
    }

    fn properties(&self) -> PathBuf {
        self.folder.path().join("server.properties")
    }

    /// Ready is when it names a leader for every partition of every topic: an open port is not enough.
    fn wait_until_ready(&mut self) {
        let client: BaseConsumer = self.config().create().expect("a client can be made");
        // Starting takes some three seconds, four more after a kill; a busy machine may take a multiple.
        #[expect(clippy::disallowed_methods, reason = "the broker has a clock of its own")]
        let now = Instant::now;
        let began = now();
        while now().duration_since(began) < Duration::from_secs(120) {
            if let Some(ended) =
                self.process.as_mut().and_then(|process| process.try_wait().expect("the process is ours"))
            {
                panic!("Kafka ended with {ended}: {}", self.said.read(|said| said.join("\n")));
            }
            if self.serves(&client) {
                return;
            }
            thread::park_timeout(Duration::from_millis(50));
        }
        panic!("Kafka does not serve {:?}: {}", self.topics, self.said.read(|said| said.join("\n")));
    }

    fn serves(&self, client: &BaseConsumer) -> bool {
        let Ok(metadata) = client.fetch_metadata(None, Duration::from_millis(500)) else { return false };
        self.topics.iter().all(|topic| {
            metadata.topics().iter().any(|found| {
                let led =
                    found.partitions().iter().all(|partition| partition.leader() >= 0 && partition.error().is_none());
                found.name() == topic && found.error().is_none() && !found.partitions().is_empty() && led
            })
        })
    }

    fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            // Both fail only when it has ended already.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

impl Kafka for RealKafka {
    fn bootstrap(&self) -> String {
        self.ports[0].address().to_string()
    }

    fn down(&mut self) {
        self.kill();
    }

    fn up(&mut self) {
        self.process = Some(self.spawn());
        self.wait_until_ready();
    }
}

impl Drop for RealKafka {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Writes the configuration of a broker.
fn configure(folder: &Path, [port, controller]: [u16; 2]) {
    let template = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kafka/server.properties.template");
    let template = fs::read_to_string(template).expect("the template is part of the tree");
    let data = folder.join("data");
    let properties = template
        .replace("@PORT@", &port.to_string())
        .replace("@CONTROLLER_PORT@", &controller.to_string())
        .replace("@DATA@", &data.display().to_string());
    fs::create_dir(&data).expect("the folder can be written");
    fs::write(folder.join("server.properties"), properties).expect("the folder can be written");
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("there is room for a runtime")
        .block_on(future)
}

/// A Kafka client that is not ours: confluent-kafka for Python, in a process of its own.
pub struct ForeignKafka {
    process: Child,
    commands: Option<ChildStdin>,
    answers: Receiver<String>,
}

impl ForeignKafka {
    /// A client of this cluster.
    pub fn connect(bootstrap: &str) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kit/foreign_kafka.py");
        let mut process = Command::new(foreign_part("PORTOLAN_TEST_PYTHON"))
            .arg(script)
            .arg(bootstrap)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the test command installs python");
        let stdout = process.stdout.take().expect("piped");
        let (tell, answers) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if tell.send(line).is_err() {
                    return;
                }
            }
        });
        Self { commands: process.stdin.take(), process, answers }
    }

    /// Produces a record; gives partition and offset.
    pub fn produce(&mut self, topic: &str, key: Option<&str>, value: &str) -> (i64, i64) {
        let placed = self.ask(&json!({ "do": "produce", "topic": topic, "key": key, "value": value }));
        (placed["partition"].as_i64().expect("a number"), placed["offset"].as_i64().expect("a number"))
    }

    /// Produces a tombstone.
    pub fn produce_tombstone(&mut self, topic: &str, key: &str) {
        self.ask(&json!({ "do": "produce", "topic": topic, "key": key, "value": null }));
    }

    /// Produces a record with all it can have: `key`, `value`, `headers` as pairs, `partition`.
    pub fn produce_with(&mut self, topic: &str, mut record: Value) -> Value {
        record["do"] = json!("produce");
        record["topic"] = json!(topic);
        self.ask(&record)
    }

    /// Reads records of a partition from an offset on: `offset`, `key`, `value`, `headers` of each.
    pub fn read(&mut self, topic: &str, partition: i64, offset: i64, count: usize) -> Vec<Value> {
        let command = json!({ "do": "read", "topic": topic, "partition": partition, "offset": offset, "count": count });
        self.ask(&command).as_array().expect("a list of records").clone()
    }

    fn ask(&mut self, command: &Value) -> Value {
        let commands = self.commands.as_mut().expect("open until it is dropped");
        writeln!(commands, "{command}").expect("the foreign client runs");
        let answer = self.answers.recv_timeout(2 * PATIENCE);
        let answer = answer.unwrap_or_else(|error| panic!("the foreign client does not answer {command}: {error}"));
        let mut answer: Value = serde_json::from_str(&answer).expect("an answer is JSON");
        if let Some(error) = answer.get("error") {
            panic!("the foreign client could not do {command}: {error}");
        }
        answer["ok"].take()
    }
}

impl Drop for ForeignKafka {
    fn drop(&mut self) {
        // It ends with its input; killing makes sure of it.
        drop(self.commands.take());
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
