//! The rules: which backups a policy still needs.

use std::collections::HashMap;
use std::fmt;

use time::OffsetDateTime;

use crate::{Policy, Reason, Status, Verdict, periods};

/// What the policy needs to know of one backup.
pub trait Candidate {
    /// The backup's id, unique in the list. Ids order backups by age, as Barman's `YYYYMMDDTHHMMSS` do.
    fn id(&self) -> &str;
    /// When the backup ended. A finished backup without one is taken to lie inside any window.
    fn end_time(&self) -> Option<OffsetDateTime>;
    /// Whether its status is `DONE`.
    fn is_done(&self) -> bool;
    /// The keep request on it, if any. Only full backups carry one; on an incremental it is ignored.
    fn keep(&self) -> Option<Keep>;
    /// The id of the backup it is an increment of, or `None` for a full one.
    fn parent_id(&self) -> Option<&str>;
    /// When it failed, as far as known, or `None` when it has not.
    fn failed_at(&self) -> Option<OffsetDateTime> {
        None
    }
}

impl<C: Candidate + ?Sized> Candidate for &C {
    fn id(&self) -> &str {
        (**self).id()
    }
    fn end_time(&self) -> Option<OffsetDateTime> {
        (**self).end_time()
    }
    fn is_done(&self) -> bool {
        (**self).is_done()
    }
    fn keep(&self) -> Option<Keep> {
        (**self).keep()
    }
    fn parent_id(&self) -> Option<&str> {
        (**self).parent_id()
    }
    fn failed_at(&self) -> Option<OffsetDateTime> {
        (**self).failed_at()
    }
}

/// A request to keep a backup whatever the policy says.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Keep {
    /// With all WAL after it, so that recovery to any later moment stays possible.
    Full,
    /// With only the WAL that makes it consistent.
    Standalone,
}

impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Full => "full",
            Self::Standalone => "standalone",
        })
    }
}

/// What `policy` says of each backup at the time `now`, in the order of `backups`.
///
/// The rules of Barman 3.19: backups are judged from the newest id to the oldest; a kept backup counts towards
/// the redundancy; an incremental follows the full backup at the root of its chain, whatever its own
/// status; a full backup that is not `DONE` is not judged. The order of `backups` does not matter. Barman's
/// records with status `EMPTY` need not be in the list.
///
/// [`Policy::Periods`], which Barman does not have, judges an incremental by itself: it stays when it is the newest of a
/// period, and then what it builds on stays with it.
pub fn evaluate<B: Candidate>(
    policy: &Policy,
    minimum_redundancy: u32,
    backups: &[B],
    now: OffsetDateTime,
) -> Vec<Verdict> {
    if let Policy::Periods(policy) = policy {
        return periods::judge(policy, minimum_redundancy, backups);
    }
    let mut newest_first: Vec<&B> = backups.iter().filter(|b| b.parent_id().is_none()).collect();
    newest_first.sort_by(|a, b| b.id().cmp(a.id()));
    let rule = match policy.window_start(now) {
        Some(opens) => Rule::Window { opens, minimum: minimum_redundancy, based: false },
        None => Rule::Redundancy {
            required: match policy {
                Policy::Redundancy(count) => (*count).max(minimum_redundancy),
                Policy::RecoveryWindow { .. } | Policy::Periods(_) => minimum_redundancy,
            },
        },
    };
    let mut judge = Judge { rule, counted: 0 };
    let roots: HashMap<&str, Judged> = newest_first.into_iter().map(|b| (b.id(), judge.full(b))).collect();
    let chains = Chains::new(backups);
    backups.iter().map(|b| verdict(b, &roots, &chains)).collect()
}

/// A full backup's verdict, and whether it lies inside the policy were there no keep request.
struct Judged {
    verdict: Verdict,
    inside: bool,
}

enum Rule {
    Redundancy { required: u32 },
    Window { opens: OffsetDateTime, minimum: u32, based: bool },
}

struct Judge {
    rule: Rule,
    /// Backups so far that count towards the redundancy.
    counted: usize,
}

impl Judge {
    /// Judges the next older full backup.
    fn full(&mut self, backup: &impl Candidate) -> Judged {
        if !backup.is_done() {
            return Judged {
                verdict: Verdict { status: Status::None, reason: Reason::NotDone },
                inside: true,
            };
        }
        let own = self.by_policy(backup.end_time());
        self.counted = self.counted.saturating_add(1);
        // Barman measures a kept root by its own end, so the window's base lies outside for this purpose.
        let inside = own.status == Status::Valid && !matches!(own.reason, Reason::WindowBase { .. });
        let verdict = match backup.keep() {
            Some(keep) => Verdict { status: Status::of(keep), reason: Reason::Kept(keep) },
            None => own,
        };
        Judged { verdict, inside }
    }

    /// The verdict without regard to keep requests.
    fn by_policy(&mut self, end_time: Option<OffsetDateTime>) -> Verdict {
        let counted = u32::try_from(self.counted).unwrap_or(u32::MAX);
        let (status, reason) = match &mut self.rule {
            Rule::Redundancy { required } if counted < *required => {
                let position = self.counted.saturating_add(1);
                (Status::Valid, Reason::WithinRedundancy { position, required: *required })
            }
            Rule::Redundancy { required } => {
                (Status::Obsolete, Reason::BeyondRedundancy { required: *required })
            }
            Rule::Window { opens, based, .. } if !*based => {
                *based = end_time.is_some_and(|end| end < *opens);
                let opens = *opens;
                let base = *based;
                (
                    Status::Valid,
                    if base { Reason::WindowBase { opens } } else { Reason::WithinWindow { opens } },
                )
            }
            Rule::Window { minimum, .. } if counted < *minimum => {
                (Status::PotentiallyObsolete, Reason::MinimumRedundancy { minimum: *minimum })
            }
            Rule::Window { opens, .. } => (Status::Obsolete, Reason::OutsideWindow { opens: *opens }),
        };
        Verdict { status, reason }
    }
}

/// What builds on what.
pub(crate) struct Chains<'a> {
    parents: HashMap<&'a str, Option<&'a str>>,
}

impl<'a> Chains<'a> {
    pub(crate) fn new<B: Candidate>(backups: &'a [B]) -> Self {
        Self { parents: backups.iter().map(|b| (b.id(), b.parent_id())).collect() }
    }

    /// The full backup at the root of the chain, or the id at which the chain breaks.
    fn root(&self, backup: &'a impl Candidate) -> Result<&'a str, &'a str> {
        let Some(mut root) = backup.parent_id() else { return Ok(backup.id()) };
        // A chain cannot be longer than the list; a longer one runs in a circle.
        for _ in 0..self.parents.len() {
            match self.parents.get(root) {
                Some(Some(next)) => root = next,
                Some(None) => return Ok(root),
                None => return Err(root),
            }
        }
        Err(root)
    }

    /// Whether it leads to a full backup.
    pub(crate) fn is_whole(&self, backup: &'a impl Candidate) -> bool {
        self.root(backup).is_ok()
    }

    /// The verdict on a backup that no policy can judge.
    pub(crate) fn unjudged(&self, backup: &'a impl Candidate) -> Verdict {
        match self.root(backup) {
            Ok(_) => Verdict { status: Status::None, reason: Reason::NotDone },
            Err(missing) => orphan(missing),
        }
    }
}

fn verdict<'a, B: Candidate>(
    backup: &'a B,
    roots: &HashMap<&'a str, Judged>,
    chains: &Chains<'a>,
) -> Verdict {
    let root = match chains.root(backup) {
        Ok(root) => root,
        Err(missing) => return orphan(missing),
    };
    // Not reachable without it: every full backup was judged.
    let Some(judged) = roots.get(root) else { return orphan(root) };
    if backup.parent_id().is_none() {
        return judged.verdict.clone();
    }
    let status = match judged.verdict.status {
        Status::KeepFull => Status::Valid,
        Status::KeepStandalone if judged.inside => Status::Valid,
        Status::KeepStandalone => Status::Obsolete,
        other => other,
    };
    let reason = Reason::Incremental { root: root.to_owned(), root_status: judged.verdict.status };
    Verdict { status, reason }
}

fn orphan(missing: &str) -> Verdict {
    Verdict { status: Status::None, reason: Reason::Orphan { missing: missing.to_owned() } }
}
