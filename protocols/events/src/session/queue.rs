//! The order of a session's commands: they take effect as they came, and publishes run side by side as long as no order
//! can be lost by it.
//!
//! A subscribe waits for everything before it and holds back everything behind it. Publishes run together, except two of
//! one key to one channel: the second begins when the first has its answer.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::frames::{Command, Deed};

/// Publishes of one session on their way to the broker at a time.
const RUNNING_MAX: usize = 32;

#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: VecDeque<Command>,
    running: BTreeMap<u64, Running>,
    next: u64,
}

#[derive(Debug)]
struct Running {
    id: Option<i64>,
    claim: Claim,
}

/// What a running command keeps others from.
#[derive(Debug, PartialEq, Eq)]
enum Claim {
    Everything,
    Key(String, Bytes),
    Nothing,
}

impl Queue {
    pub(super) fn push(&mut self, command: Command) {
        self.waiting.push_back(command);
    }

    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn running(&self) -> usize {
        self.running.len()
    }

    /// The next command that may begin now, and its number. It runs until [`Queue::finish`].
    pub(super) fn start(&mut self) -> Option<(u64, Command)> {
        let claim = Claim::of(&self.waiting.front()?.deed);
        if !self.has_room_for(&claim) {
            return None;
        }
        let command = self.waiting.pop_front()?;
        self.next += 1;
        self.running.insert(self.next, Running { id: command.id, claim });
        Some((self.next, command))
    }

    /// The command is done; gives its id unless it was forgotten meanwhile.
    pub(super) fn finish(&mut self, number: u64) -> Option<Option<i64>> {
        self.running.remove(&number).map(|running| running.id)
    }

    pub(super) fn clear(&mut self) {
        self.waiting.clear();
        self.running.clear();
    }

    fn has_room_for(&self, claim: &Claim) -> bool {
        let mut claims = self.running.values().map(|running| &running.claim);
        match claim {
            Claim::Everything => self.running.is_empty(),
            _ if self.running.len() >= RUNNING_MAX => false,
            Claim::Key(..) => !claims.any(|other| *other == Claim::Everything || other == claim),
            Claim::Nothing => !claims.any(|other| *other == Claim::Everything),
        }
    }
}

impl Claim {
    fn of(deed: &Deed) -> Self {
        match deed {
            Deed::Connect { .. } | Deed::Subscribe { .. } | Deed::Unsubscribe { .. } => Self::Everything,
            Deed::Publish { channel, publication } => match &publication.key {
                Some(key) => Self::Key(channel.clone(), key.clone()),
                None => Self::Nothing,
            },
            Deed::Ping | Deed::Pong => Self::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames::Publication;

    fn publish(id: i64, channel: &str, key: Option<&'static str>) -> Command {
        let publication = Publication { key: key.map(Bytes::from), ..Publication::default() };
        Command { id: Some(id), deed: Deed::Publish { channel: channel.into(), publication } }
    }

    fn subscribe(id: i64) -> Command {
        Command { id: Some(id), deed: Deed::Subscribe { channel: "a".into() } }
    }

    fn started(queue: &mut Queue) -> Vec<(u64, i64)> {
        std::iter::from_fn(|| queue.start()).map(|(number, command)| (number, command.id.unwrap())).collect()
    }

    #[test]
    fn publishes_run_together_but_not_two_of_one_key_to_one_channel() {
        let mut queue = Queue::default();
        let all = [
            publish(1, "a", Some("x")),
            publish(2, "b", Some("x")),
            publish(3, "a", None),
            publish(4, "a", Some("x")),
            publish(5, "a", None),
        ];
        all.into_iter().for_each(|command| queue.push(command));
        assert_eq!(started(&mut queue), [(1, 1), (2, 2), (3, 3)]);
        queue.finish(2);
        assert_eq!(started(&mut queue), []);
        queue.finish(1);
        assert_eq!(started(&mut queue), [(4, 4), (5, 5)]);
    }

    #[test]
    fn a_subscribe_runs_alone_and_holds_its_place() {
        let mut queue = Queue::default();
        [publish(1, "a", None), subscribe(2), publish(3, "a", None)]
            .into_iter()
            .for_each(|command| queue.push(command));
        assert_eq!(started(&mut queue), [(1, 1)]);
        queue.finish(1);
        assert_eq!(started(&mut queue), [(2, 2)]);
        assert_eq!(queue.finish(2), Some(Some(2)));
        assert_eq!(started(&mut queue), [(3, 3)]);
    }

    #[test]
    fn so_many_run_at_a_time_and_no_more() {
        let mut queue = Queue::default();
        (0..40).for_each(|id| queue.push(publish(id, "a", None)));
        assert_eq!(started(&mut queue).len(), RUNNING_MAX);
        assert_eq!((queue.waiting(), queue.running()), (8, 32));
        queue.clear();
        assert_eq!(queue.finish(1), None);
    }
}
