//! Objects that cannot be removed for a time.

use std::sync::Arc;

use http::HeaderMap;
use time::OffsetDateTime;
use time::format_description::well_known::{Rfc2822, Rfc3339};

use super::Store;
use crate::CloudError;
use crate::wire::{Call, Last};

/// Who may end a lock before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LockMode {
    /// Those with a special permission. Azure: an unlocked policy.
    Governance,
    /// Nobody. Azure: a locked policy.
    Compliance,
}

/// What keeps an object from being removed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lock {
    /// Of the retention, if there is one.
    pub mode: Option<LockMode>,
    /// The end of the retention.
    pub until: Option<OffsetDateTime>,
    /// Whether it is held until somebody lifts that.
    pub legal_hold: bool,
}

impl Lock {
    /// Whether it keeps the object at that time.
    pub fn holds_at(&self, now: OffsetDateTime) -> bool {
        self.legal_hold
            || self.until.is_some_and(|until| until > now)
            || (self.mode.is_some() && self.until.is_none())
    }

    fn of(headers: &HeaderMap) -> Option<Self> {
        let get = |names: [&str; 2]| {
            names.iter().find_map(|name| headers.get(*name)).and_then(|value| value.to_str().ok())
        };
        let mode = get(["x-amz-object-lock-mode", "x-ms-immutability-policy-mode"]);
        let mode = mode.map(|mode| match mode.to_ascii_lowercase().as_str() {
            "governance" | "unlocked" => LockMode::Governance,
            // One that is not known is taken for the stronger.
            _ => LockMode::Compliance,
        });
        let until = get(["x-amz-object-lock-retain-until-date", "x-ms-immutability-policy-until-date"]);
        let until = until.and_then(|text| {
            OffsetDateTime::parse(text, &Rfc3339).or_else(|_| OffsetDateTime::parse(text, &Rfc2822)).ok()
        });
        let hold = get(["x-amz-object-lock-legal-hold", "x-ms-legal-hold"]);
        let legal_hold =
            hold.is_some_and(|hold| hold.eq_ignore_ascii_case("on") || hold.eq_ignore_ascii_case("true"));
        (mode.is_some() || until.is_some() || legal_hold).then_some(Self { mode, until, legal_hold })
    }
}

impl Store {
    /// What keeps an object from being removed; `None` when nothing does, or the caller may not know.
    ///
    /// # Errors
    /// [`CloudError::NotFound`] when it is not there; others when that is not known.
    pub fn lock_of(&self, key: &str) -> Result<Option<Lock>, CloudError> {
        let mut call = Arc::<Call>::default();
        if self.head_once(&call, key).is_err() {
            // This says why, unless it has come meanwhile.
            self.head(key)?;
            call = Arc::default();
            self.head_once(&call, key)?;
        }
        match call.last() {
            Last::Success(headers) => Ok(Lock::of(&headers)),
            _ => Ok(None),
        }
    }
}
