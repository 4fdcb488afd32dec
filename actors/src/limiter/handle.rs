//! What the request path holds of the limits: buckets in memory, each one atomic number.

use std::fmt;
use std::hash::{BuildHasher, DefaultHasher, Hasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use papaya::HashMap;
use portolan_exchange::Moment;
use portolan_exchange::limits::{
    Bucket, Draw, Found, Held, Level, PerDraw, Quota, Refused, Reservation, Reserve, Store,
};
use serde_json::{Value, json};

use super::Settings;
use super::machine::{Drawn, Rate};
use crate::supervision::Supervised;

/// The limits of this gateway: a store in memory, and the actor that clears away the buckets nobody needs.
#[derive(Debug)]
pub struct Limiter {
    pub(super) store: Arc<MemoryStore>,
    pub(super) _actor: Supervised,
}

impl Limiter {
    /// The buckets, for whoever draws on them.
    pub fn store(&self) -> &Arc<MemoryStore> {
        &self.store
    }
}

impl Store for Limiter {
    fn reserve(&self, draws: &[Draw<'_>], now: Moment) -> Reserve {
        self.store.reserve(draws, now)
    }

    fn draw(&self, draw: &Draw<'_>, now: Moment) -> Option<Result<Level, Refused>> {
        Store::draw(&*self.store, draw, now)
    }
}

/// Buckets in memory. A bucket that was never drawn upon, or that is full again, takes no room for longer than a sweep.
///
/// The number of buckets is bounded. While it is reached, and until a sweep has made room, keys that have no bucket yet share
/// 1,024 buckets by their hash: memory stays bounded, those who have a bucket notice nothing, newcomers are limited
/// together rather than not at all or altogether refused.
pub struct MemoryStore {
    buckets: HashMap<Box<str>, Arc<Cell>, Names>,
    count: AtomicUsize,
    bound: usize,
    crowd: Box<[Arc<Cell>]>,
    // Seeded by chance: nobody can choose whom to share a bucket with.
    chance: RandomState,
    // The bound was reached since the last sweep.
    is_tight: AtomicBool,
    refused: AtomicU64,
    crowded: AtomicU64,
    evicted: AtomicU64,
}

/// Buckets shared by keys that came when there was no room. A power of two; 8 KiB of memory.
const CROWD: usize = 1_024;

impl MemoryStore {
    /// No bucket yet.
    pub fn new(settings: Settings) -> Arc<Self> {
        Arc::new(Self {
            buckets: HashMap::with_hasher(Names::default()),
            count: AtomicUsize::new(0),
            bound: settings.keys,
            crowd: (0..CROWD).map(|_| Arc::new(Cell::full())).collect(),
            chance: RandomState::new(),
            is_tight: AtomicBool::new(false),
            refused: AtomicU64::new(0),
            crowded: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
        })
    }

    /// How many buckets there are.
    pub fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many reservations were refused since the start.
    pub fn refused_total(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// How many draws had to share a bucket since the start, because the bound was reached.
    pub fn crowded_total(&self) -> u64 {
        self.crowded.load(Ordering::Relaxed)
    }

    /// A bucket as it stands, without drawing; full when nobody drew on it.
    pub fn level(&self, key: &str, quota: Quota, now: Moment) -> Level {
        Rate::of(quota).level(self.full_at(key), now)
    }

    /// Takes out the buckets that are full and that no reservation holds: a new one is as full. Returns how many. Takes time
    /// in proportion to the number of buckets, and stops nobody from drawing.
    pub fn sweep(&self, now: Moment) -> usize {
        let buckets = self.buckets.pin();
        let mut evicted = 0;
        for (key, cell) in &buckets {
            if cell.bury(now) {
                self.take_out(&buckets, key, cell);
                evicted += 1;
            }
        }
        self.evicted.fetch_add(evicted as u64, Ordering::Relaxed);
        evicted
    }

    /// Whether the bound was reached since this was last asked.
    pub(super) fn was_tight(&self) -> bool {
        self.is_tight.swap(false, Ordering::AcqRel)
    }

    pub(super) fn describe(&self) -> Value {
        json!({
            "buckets": self.len(),
            "bound": self.bound,
            "evicted": self.evicted.load(Ordering::Relaxed),
            "refused": self.refused_total(),
            "crowded": self.crowded_total(),
        })
    }

    fn take_out(&self, buckets: &Pinned<'_>, key: &str, cell: &Arc<Cell>) {
        // Whoever meets a buried bucket takes it out; it is counted once.
        if let Ok(Some(_)) = buckets.remove_if(key, |_, known| Arc::ptr_eq(known, cell)) {
            self.count.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// The bucket to draw upon: where it was found last, else by its key, put in now if it is missing.
    fn cell(&self, draw: &Draw<'_>) -> Arc<Cell> {
        draw.found.and_then(Found::bucket).unwrap_or_else(|| self.search(draw))
    }

    // Apart: most buckets were found before.
    #[inline(never)]
    fn search(&self, draw: &Draw<'_>) -> Arc<Cell> {
        let buckets = self.buckets.pin();
        let known = buckets.get(draw.key).cloned();
        match known.or_else(|| self.put_in(&buckets, draw.key)) {
            Some(cell) => {
                if let Some(found) = draw.found {
                    found.note(&cell);
                }
                cell
            }
            // Not noted: it is left as soon as there is room.
            None => {
                self.is_tight.store(true, Ordering::Release);
                self.crowded.fetch_add(1, Ordering::Relaxed);
                let place = self.chance.hash_one(draw.key) as usize % CROWD;
                self.crowd[place].clone()
            }
        }
    }

    /// A new bucket of this key; `None` where there is no room.
    fn put_in(&self, buckets: &Pinned<'_>, key: &str) -> Option<Arc<Cell>> {
        if self.count.fetch_add(1, Ordering::AcqRel) >= self.bound {
            self.count.fetch_sub(1, Ordering::AcqRel);
            return None;
        }
        match buckets.try_insert(key.into(), Arc::new(Cell::full())) {
            Ok(cell) => Some(cell.clone()),
            Err(occupied) => {
                self.count.fetch_sub(1, Ordering::AcqRel);
                Some(occupied.current.clone())
            }
        }
    }

    /// Draws on one bucket, or says what is missing.
    fn draw_upon(&self, draw: &Draw<'_>, now: Moment) -> Result<(Arc<Cell>, Level), Short> {
        let rate = Rate::of(draw.quota);
        let mut cell = self.cell(draw);
        loop {
            match cell.draw(rate, draw.cost, now) {
                Some(Drawn::Made(full_at)) => return Ok((cell, rate.level(full_at, now))),
                Some(Drawn::Short(wait)) => return Err(Short { wait: Some(wait) }),
                Some(Drawn::Never) => return Err(Short { wait: None }),
                None => {
                    self.take_out(&self.buckets.pin(), draw.key, &cell);
                    cell = self.search(draw);
                }
            }
        }
    }

    /// Which draw would have to wait longest, without drawing and without putting a bucket in.
    fn shortest(&self, draws: &[Draw<'_>], now: Moment) -> Option<(usize, Short)> {
        let mut longest: Option<(usize, Short)> = None;
        for (index, draw) in draws.iter().enumerate() {
            let full_at = match draw.found.and_then(Found::bucket::<Cell>) {
                Some(cell) => cell.full_at(),
                None => self.full_at(draw.key),
            };
            let short = match Rate::of(draw.quota).draw(full_at, draw.cost, now) {
                Drawn::Made(_) => continue,
                Drawn::Short(wait) => Short { wait: Some(wait) },
                Drawn::Never => Short { wait: None },
            };
            if longest.is_none_or(|(_, known)| short.is_longer_than(known)) {
                longest = Some((index, short));
            }
        }
        longest
    }

    /// When the bucket of a key is full; long since where nobody drew on it.
    fn full_at(&self, key: &str) -> Moment {
        self.buckets.pin().get(key).map_or(Moment::default(), |cell| cell.full_at())
    }

    fn refuse(&self, draws: &[Draw<'_>], (index, short): (usize, Short), now: Moment) -> Refused {
        self.refused.fetch_add(1, Ordering::Relaxed);
        let levels = draws.iter().map(|draw| self.level(draw.key, draw.quota, now)).collect();
        Refused { index, retry_after: short.wait, levels }
    }
}

impl Store for MemoryStore {
    fn reserve(&self, draws: &[Draw<'_>], now: Moment) -> Reserve {
        // Looking first keeps a request that will be refused from drawing on its other buckets even for a moment.
        if draws.len() > 1
            && let Some(short) = self.shortest(draws, now)
        {
            return Reserve::Refused(self.refuse(draws, short, now));
        }
        let mut held = PerDraw::<Held>::with_capacity(draws.len());
        let mut levels = PerDraw::with_capacity(draws.len());
        for (index, draw) in draws.iter().enumerate() {
            match self.draw_upon(draw, now) {
                Ok((cell, level)) => {
                    held.push(Held { bucket: cell, quota: draw.quota, cost: draw.cost });
                    levels.push(level);
                }
                Err(short) => {
                    for held in held {
                        held.bucket.refund(held.quota, held.cost);
                    }
                    return Reserve::Refused(self.refuse(draws, (index, short), now));
                }
            }
        }
        Reserve::Reserved(Reservation::new(held, levels))
    }

    fn draw(&self, draw: &Draw<'_>, now: Moment) -> Option<Result<Level, Refused>> {
        let drawn = self.draw_upon(draw, now).map(|(_, level)| level);
        Some(drawn.map_err(|short| self.refuse(std::slice::from_ref(draw), (0, short), now)))
    }
}

type Pinned<'a> = papaya::HashMapRef<'a, Box<str>, Arc<Cell>, Names, papaya::LocalGuard<'a>>;

/// Hashes names of buckets under a key that is drawn by chance: nobody can choose names that are looked for in one place.
#[derive(Default)]
struct Names(RandomState);

struct Name(DefaultHasher);

impl BuildHasher for Names {
    type Hasher = Name;

    fn build_hasher(&self) -> Name {
        Name(self.0.build_hasher())
    }
}

impl Hasher for Name {
    fn finish(&self) -> u64 {
        self.0.finish()
    }

    fn write(&mut self, name: &[u8]) {
        self.0.write(name);
    }

    // What tells the end of one text from the beginning of the next: a name stands alone.
    fn write_u8(&mut self, _: u8) {}
}

/// What a draw lacks: so much time, or more than time can give.
#[derive(Clone, Copy)]
struct Short {
    wait: Option<Duration>,
}

impl Short {
    fn is_longer_than(self, other: Self) -> bool {
        match (self.wait, other.wait) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(this), Some(other)) => this > other,
        }
    }
}

/// A bucket: the moment at which it is full, in nanoseconds of the clock.
struct Cell(AtomicU64);

// The end of time, 584 years on: no bucket is full only then.
const BURIED: u64 = u64::MAX;

impl Cell {
    fn full() -> Self {
        Self(AtomicU64::new(0))
    }

    fn full_at(&self) -> Moment {
        match self.0.load(Ordering::Acquire) {
            // Its successor begins full.
            BURIED => Moment::default(),
            nanos => Moment::from_nanos(nanos),
        }
    }

    /// Draws, or says what is missing; `None` when the bucket was taken out and another is to be found.
    fn draw(&self, rate: Rate, units: u64, now: Moment) -> Option<Drawn> {
        let mut known = self.0.load(Ordering::Acquire);
        loop {
            if known == BURIED {
                return None;
            }
            let drawn = rate.draw(Moment::from_nanos(known), units, now);
            let Drawn::Made(full_at) = drawn else { return Some(drawn) };
            match self.0.compare_exchange_weak(known, alive(full_at), Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Some(drawn),
                Err(changed) => known = changed,
            }
        }
    }

    /// Ends a bucket that is full and that nobody holds. Whether it did.
    fn bury(self: &Arc<Self>, now: Moment) -> bool {
        let known = self.0.load(Ordering::Acquire);
        // A reservation that drew on it before that load holds it, and one that draws after it changes the number.
        let is_idle = known < now.as_nanos() && Arc::strong_count(self) == 1;
        is_idle && self.0.compare_exchange(known, BURIED, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    fn change(&self, change: impl Fn(Moment) -> Moment) {
        let changed = |known| (known != BURIED).then(|| alive(change(Moment::from_nanos(known))));
        // A buried bucket was full, and stays so.
        let _ = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, changed);
    }
}

fn alive(full_at: Moment) -> u64 {
    full_at.as_nanos().min(BURIED - 1)
}

impl Bucket for Cell {
    fn refund(&self, quota: Quota, units: u64) {
        self.change(|full_at| Rate::of(quota).refund(full_at, units));
    }

    fn charge(&self, quota: Quota, units: u64) {
        self.change(|full_at| Rate::of(quota).charge(full_at, units));
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemoryStore({} of {} buckets)", self.len(), self.bound)
    }
}
