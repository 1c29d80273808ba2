use tapster_retention::{Candidate, Keep, Status};
use time::{Duration, OffsetDateTime, macros::datetime};

pub const NOW: OffsetDateTime = datetime!(2026-11-21 12:00 UTC);

#[derive(Clone, Debug)]
pub struct Backup {
    pub id: String,
    pub end: Option<OffsetDateTime>,
    pub done: bool,
    pub keep: Option<Keep>,
    pub parent: Option<String>,
    pub failed: Option<OffsetDateTime>,
}

impl Backup {
    pub fn aged(days: i64) -> Self {
        let end = NOW - Duration::days(days);
        Self { id: id(days), end: Some(end), done: true, keep: None, parent: None, failed: None }
    }
    pub fn failed(self) -> Self {
        Self { done: false, ..self }
    }
    pub fn kept(self, keep: Keep) -> Self {
        Self { keep: Some(keep), ..self }
    }
    pub fn child_of(self, days: i64) -> Self {
        Self { parent: Some(id(days)), ..self }
    }
}

/// Greater ids for younger backups.
pub fn id(days: i64) -> String {
    format!("{:08}", 10_000_000 - days)
}

impl Candidate for Backup {
    fn id(&self) -> &str {
        &self.id
    }
    fn end_time(&self) -> Option<OffsetDateTime> {
        self.end
    }
    fn is_done(&self) -> bool {
        self.done
    }
    fn keep(&self) -> Option<Keep> {
        self.keep
    }
    fn parent_id(&self) -> Option<&str> {
        self.parent.as_deref()
    }
    fn failed_at(&self) -> Option<OffsetDateTime> {
        self.failed
    }
}

pub fn statuses(policy: &str, minimum: u32, backups: &[Backup]) -> Vec<Status> {
    let policy = policy.parse().unwrap();
    tapster_retention::evaluate(&policy, minimum, backups, NOW).iter().map(|v| v.status).collect()
}
