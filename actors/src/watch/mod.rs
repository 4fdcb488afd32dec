//! Watches over configuration files, and tells of each change once it has settled.
//!
//! It looks at the files every half second instead of asking the kernel to be told: that sees writes, renames, links that
//! are swapped and files on a network alike, misses nothing, and costs one system call for each file and look.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix::fut::ActorFutureExt as _;
use actix::{Actor, AsyncContext as _, Context, WrapFuture as _};
use portolan_exchange::Clock;
use tracing::info;

use crate::supervision::{Charge, Control, Kind, Ref, every, lock};

mod handle;
mod machine;

pub use handle::Watch;

use handle::View;
use machine::Decision;

/// How often files are looked at. A change is told when two looks agree: within a second.
pub const LOOK: Duration = Duration::from_millis(500);

impl Watch {
    /// Starts to watch these files, as they look now; the actor is named `watch/SUBJECT`. `changed` is called on the control
    /// thread with the files that changed, once per settled change; it must not block but hand the work on. A file that
    /// vanishes has changed, too.
    pub fn start(
        control: &Control,
        subject: &str,
        files: impl IntoIterator<Item = PathBuf>,
        changed: impl Fn(Vec<PathBuf>) + Send + Sync + 'static,
    ) -> Self {
        let reference = Ref::new();
        let view = Arc::new(View::new(files));
        let described = view.clone();
        let charge = Charge::new(Kind::Watch, subject, move || described.describe());
        let changed: Arc<dyn Fn(Vec<PathBuf>) + Send + Sync> = Arc::new(changed);
        let (clock, watched) = (control.clock().clone(), view.clone());
        let actor = control.spawn(charge, &reference, move || Watcher {
            view: watched.clone(),
            clock: clock.clone(),
            changed: changed.clone(),
            is_looking: false,
        });
        Self { view, _actor: actor }
    }
}

/// The actor: looks, and tells.
struct Watcher {
    view: Arc<View>,
    clock: Clock,
    changed: Arc<dyn Fn(Vec<PathBuf>) + Send + Sync>,
    is_looking: bool,
}

impl Actor for Watcher {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.spawn(every(&self.clock, LOOK, Self::turn));
    }
}

impl Watcher {
    fn turn(&mut self, context: &mut Context<Self>) {
        if self.is_looking {
            return;
        }
        self.is_looking = true;
        let view = self.view.clone();
        // A file on a network that does not answer must not hold up the other actors.
        let look = tokio::task::spawn_blocking(move || {
            let files = view.files();
            let prints = handle::look(files.clone());
            let mut machine = lock(&view.machine);
            // Other files are watched since: this look is of no use.
            let is_of_now = machine.files().eq(&files);
            if is_of_now { machine.observe(prints) } else { Decision::Stay }
        });
        context.spawn(look.into_actor(self).map(|decision, watcher, _| {
            watcher.is_looking = false;
            match decision {
                Ok(decision) => watcher.looked(decision),
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                // The runtime ends.
                Err(_) => {}
            }
        }));
    }

    fn looked(&self, decision: Decision) {
        self.view.looks.fetch_add(1, Ordering::Release);
        if let Decision::Changed(files) = decision {
            self.view.changes.fetch_add(1, Ordering::Relaxed);
            info!(?files, "files changed");
            (self.changed)(files);
        }
    }
}

#[cfg(test)]
mod tests;
