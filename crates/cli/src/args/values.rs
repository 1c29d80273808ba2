//! Value parsers of Barman's options; the errors are the ends of `argument --jobs/-j: …`.

/// Python's `int()` of an option: blanks and a sign are fine.
fn integer(text: &str) -> Option<i64> {
    text.trim().parse().ok()
}

/// `0` or more.
pub(crate) fn non_negative(text: &str) -> Result<u64, String> {
    integer(text)
        .and_then(|value| u64::try_from(value).ok())
        .ok_or_else(|| format!("'{text}' is not a valid non negative integer"))
}

/// `1` or more.
pub(crate) fn positive(text: &str) -> Result<u64, String> {
    let value = integer(text).ok_or_else(|| format!("'{text}' is not a valid input"))?;
    u64::try_from(value)
        .ok()
        .filter(|value| *value > 0)
        .ok_or_else(|| format!("'{text}' is not a valid positive integer"))
}

/// Any integer.
pub(crate) fn int(text: &str) -> Result<i64, String> {
    integer(text).ok_or_else(|| format!("invalid int value: '{text}'"))
}

/// `--target-tli`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum TargetTli {
    /// The timeline of the backup.
    Current,
    /// The newest timeline in the archive.
    Latest,
    /// This one.
    Number(u32),
}

/// `current`, `latest` or a number from 1.
pub(crate) fn target_tli(text: &str) -> Result<TargetTli, String> {
    match text {
        "current" => Ok(TargetTli::Current),
        "latest" => Ok(TargetTli::Latest),
        _ => u32::try_from(positive(text)?)
            .map(TargetTli::Number)
            .map_err(|_| format!("'{text}' is not a valid positive integer")),
    }
}

/// `--target-action`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum TargetAction {
    /// Wait for `pg_wal_replay_resume`.
    Pause,
    /// Stop the server.
    Shutdown,
    /// Open for writes.
    Promote,
}

impl TargetAction {
    /// The value of `recovery_target_action`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Shutdown => "shutdown",
            Self::Promote => "promote",
        }
    }
}

/// `pause`, `shutdown` or `promote`.
pub(crate) fn target_action(text: &str) -> Result<TargetAction, String> {
    [TargetAction::Pause, TargetAction::Shutdown, TargetAction::Promote]
        .into_iter()
        .find(|action| action.as_str() == text)
        .ok_or_else(|| format!("'{text}' is not a valid recovery target action"))
}

/// A name for a backup: not empty, not an id, not one of the words that select a backup.
pub(crate) fn backup_name(text: &str) -> Result<String, String> {
    const RESERVED: [&str; 8] =
        ["latest", "last", "oldest", "first", "last-failed", "latest-full", "last-full", "auto"];
    let is_id = text.len() == 15
        && text.bytes().enumerate().all(|(at, b)| if at == 8 { b == b'T' } else { b.is_ascii_digit() });
    if text.is_empty() {
        Err("Backup name cannot be empty".to_owned())
    } else if is_id {
        Err(format!("Backup name '{text}' is not allowed: backup ID"))
    } else if RESERVED.contains(&text) {
        Err(format!("Backup name '{text}' is not allowed: reserved word"))
    } else {
        Ok(text.to_owned())
    }
}

/// A size with `k`, `Ki`, `M`, `Mi`, `G`, `Gi`, `T` or `Ti`.
pub(crate) fn si_size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match text.strip_prefix(digits).unwrap_or_default() {
        "" => Some(1),
        "k" => Some(1000),
        "Ki" => Some(1 << 10),
        "M" => Some(1_000_000),
        "Mi" => Some(1 << 20),
        "G" => Some(1_000_000_000),
        "Gi" => Some(1 << 30),
        "T" => Some(1_000_000_000_000),
        "Ti" => Some(1_u64 << 40),
        _ => None,
    };
    factor
        .and_then(|factor| digits.trim_end().parse::<u64>().ok()?.checked_mul(factor))
        .ok_or_else(|| format!("invalid size: '{text}'"))
}

/// A level for a compression: a word or an integer.
pub(crate) fn compression_level(text: &str) -> Result<String, String> {
    let lower = text.to_ascii_lowercase();
    if ["low", "medium", "high"].contains(&lower.as_str()) || integer(&lower).is_some() {
        Ok(lower)
    } else {
        Err(format!("invalid compression level: '{text}' (low, medium, high or an integer)"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_checked_in_barmans_words() {
        assert_eq!(positive(" 3 "), Ok(3));
        assert_eq!(positive("0"), Err("'0' is not a valid positive integer".to_owned()));
        assert_eq!(positive("x"), Err("'x' is not a valid input".to_owned()));
        assert_eq!(non_negative("-1"), Err("'-1' is not a valid non negative integer".to_owned()));
        assert_eq!(non_negative("0"), Ok(0));
    }

    #[test]
    fn names_that_would_select_something_else_are_refused() {
        assert_eq!(backup_name("before-upgrade").as_deref(), Ok("before-upgrade"));
        for name in ["", "latest", "auto", "20261121T000542"] {
            assert!(backup_name(name).is_err(), "{name}");
        }
        assert!(backup_name("20261121T00054é").is_ok());
    }

    #[test]
    fn sizes_and_timelines() {
        assert_eq!(si_size("30Gi"), Ok(30 << 30));
        assert_eq!(si_size("5k"), Ok(5000));
        assert!(si_size("5x").is_err() && si_size("").is_err() && si_size("99999999999Ti").is_err());
        assert_eq!(target_tli("latest"), Ok(TargetTli::Latest));
        assert_eq!(target_tli("7"), Ok(TargetTli::Number(7)));
        assert!(target_tli("0").is_err() && target_tli("4294967296").is_err());
        assert_eq!(target_action("promote").map(TargetAction::as_str), Ok("promote"));
    }
}
