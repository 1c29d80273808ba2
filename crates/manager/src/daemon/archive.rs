//! Archiving as soon as something waits.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use walfile::WalName;

use super::observer::Relay;
use super::task::{Step, TELL_AGAIN, TaskState};
use super::{Shared, lock};
use crate::event::Event;
use crate::{ArchiveOptions, Server};

/// How often the queues are looked at: two `stat`s, however long they are.
const LOOK: Duration = Duration::from_secs(1);

/// How often they are listed although nothing seems to have changed, for file systems that tell late.
const LIST: Duration = Duration::from_secs(60);

/// Archives until stopped.
pub(super) fn run(server: &Server, task: &TaskState, shared: &Shared) {
    let left = Mutex::new(Left::default());
    let hook = |event: &Event| match event {
        Event::LeftInQueue { wal, .. } => lock(&left).is_news(*wal),
        _ => true,
    };
    let relay = Relay { server: server.name(), to: &*shared.observer, hook: &hook };
    let context = relay.context(task);
    let dirs = [server.layout().streaming.as_path(), server.layout().incoming.as_path()];
    let mut queues = Queues::default();
    let options = ArchiveOptions::default();
    task.run(server.name(), &*shared.observer, || {
        let now = dirs.map(stamp);
        if !queues.are_due(now) {
            return Step::Again(LOOK);
        }
        let archived = server.archive_wal(&options, &context);
        lock(&left).ran();
        match archived {
            Ok(report) => {
                let more =
                    report.sources.iter().any(|source| source.run_size < source.found && source.archived > 0);
                let unsettled = report.sources.iter().any(|source| !source.others.is_empty());
                queues.ran(now, more || unsettled);
                Step::Again(if more { Duration::ZERO } else { LOOK })
            }
            // Whoever else archives takes what is there; what comes after is for us.
            Err(error) if error.is_busy() => Step::Again(LOOK),
            Err(error) => {
                queues.ran(now, true);
                Step::Failed(error.into())
            }
        }
    });
}

/// The files that were left in a queue, which is told now and then and not at each look, when they were told of, and whether the
/// run that goes on has come across them.
#[derive(Default)]
struct Left(HashMap<WalName, (Instant, bool)>);

impl Left {
    fn is_news(&mut self, wal: WalName) -> bool {
        let told = self.0.get(&wal).map(|(at, _)| *at).filter(|at| at.elapsed() < TELL_AGAIN);
        self.0.insert(wal, (told.unwrap_or_else(Instant::now), true));
        told.is_none()
    }

    /// A run is over: what it did not come across is gone, and would be news.
    fn ran(&mut self) {
        self.0.retain(|_, (_, seen)| std::mem::take(seen));
    }
}

/// When a directory changed last: files came or went.
type Stamp = Option<(u64, i64, i64)>;

fn stamp(dir: &Path) -> Stamp {
    dir.metadata().ok().map(|metadata| (metadata.ino(), metadata.mtime(), metadata.mtime_nsec()))
}

/// Whether the queues are worth listing.
#[derive(Default)]
struct Queues {
    seen: Option<[Stamp; 2]>,
    listed: Option<Instant>,
    /// A file system's clock stands still for some milliseconds, in which a directory may change twice: after a change it is
    /// listed once more.
    again: bool,
}

impl Queues {
    fn are_due(&self, now: [Stamp; 2]) -> bool {
        self.again || self.seen != Some(now) || self.listed.is_none_or(|at| at.elapsed() >= LIST)
    }

    /// They were listed; `before` is how they looked when that began.
    fn ran(&mut self, before: [Stamp; 2], unfinished: bool) {
        self.again = unfinished || self.seen != Some(before);
        self.seen = Some(before);
        self.listed = Some(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_stays_is_told_once_and_again_when_it_was_gone() {
        let (one, other) = ("000000010000000000000001", "000000010000000000000002");
        let wal = |name: &str| -> WalName { name.parse().unwrap() };
        let mut left = Left::default();
        assert!(left.is_news(wal(one)));
        left.ran();
        assert!(!left.is_news(wal(one)) && left.is_news(wal(other)));
        left.ran();
        assert!(!left.is_news(wal(other)));
        left.ran();
        assert!(left.is_news(wal(one)) && !left.is_news(wal(other)));
    }

    #[test]
    fn a_queue_is_listed_when_it_changed_and_once_more() {
        let dir = tempfile::tempdir().unwrap();
        let look = || [stamp(dir.path()), stamp(&dir.path().join("missing"))];
        let mut queues = Queues::default();
        let runs = |queues: &mut Queues| {
            let mut count = 0;
            while queues.are_due(look()) {
                queues.ran(look(), false);
                count += 1;
            }
            count
        };
        assert_eq!(runs(&mut queues), 2);
        assert_eq!(runs(&mut queues), 0);
        // Wait for the file system's clock.
        let before = look();
        while look() == before {
            std::fs::File::create(dir.path().join("f")).unwrap();
            std::fs::remove_file(dir.path().join("f")).unwrap();
        }
        assert_eq!(runs(&mut queues), 2);
        queues.ran(look(), true);
        assert!(queues.are_due(look()));
    }
}
