//! What a server says in its log while it recovers. It runs with `LC_ALL=C` and `lc_messages=C`.

use walfile::Lsn;

/// How far recovery came.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Recovery {
    /// `redo starts at`.
    pub(super) started: Option<Lsn>,
    /// `consistent recovery state reached at`.
    pub(super) consistent: Option<Lsn>,
    /// `redo done at`: the last record replayed.
    pub(super) done: Option<Lsn>,
    /// `last completed transaction was at log time`.
    pub(super) last_transaction: Option<String>,
    /// `recovery stopping before …`, `recovery stopping after …`.
    pub(super) stopped: Option<String>,
    /// `selected new timeline ID`.
    pub(super) timeline: Option<u32>,
}

impl Recovery {
    /// From the whole log.
    pub(super) fn read(log: &str) -> Self {
        let mut recovery = Self::default();
        for line in log.lines() {
            let Some((_, text)) = line.split_once("LOG:  ") else { continue };
            let after = |words: &str| text.strip_prefix(words).map(str::trim);
            // `0/30000A0 system usage: CPU …` since release 15
            let lsn = |words: &str| after(words)?.split_whitespace().next()?.parse().ok();
            recovery.started = recovery.started.or_else(|| lsn("redo starts at "));
            recovery.consistent =
                recovery.consistent.or_else(|| lsn("consistent recovery state reached at "));
            recovery.done = lsn("redo done at ").or(recovery.done);
            if let Some(time) = after("last completed transaction was at log time ") {
                recovery.last_transaction = Some(time.to_owned());
            }
            if text.starts_with("recovery stopping ") {
                recovery.stopped = Some(text.to_owned());
            }
            if let Some(timeline) = after("selected new timeline ID: ") {
                recovery.timeline = timeline.parse().ok();
            }
        }
        recovery
    }
}

/// The reason a server gave up, and the end of its log.
pub(super) fn last_words(log: &str) -> (String, Vec<String>) {
    let lines: Vec<&str> = log.lines().filter(|line| !line.trim().is_empty()).collect();
    let fatal =
        lines.iter().rev().find(|line| ["FATAL:  ", "PANIC:  "].iter().any(|word| line.contains(word)));
    let reason = fatal.or(lines.last()).map_or_else(
        || "it wrote no log".to_owned(),
        |line| match ["FATAL:  ", "PANIC:  "].iter().find_map(|word| line.split_once(word)) {
            Some((_, text)) => text.to_owned(),
            None => (*line).to_owned(),
        },
    );
    let tail = lines.iter().rev().take(20).rev().map(|line| (*line).to_owned()).collect();
    (reason, tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "2026-11-21 12:00:00 UTC [7] LOG:  starting point-in-time recovery to WAL location (LSN) \"0/4000000\"\n\
        2026-11-21 12:00:00 UTC [7] LOG:  redo starts at 0/2000028\n\
        2026-11-21 12:00:00 UTC [7] LOG:  consistent recovery state reached at 0/2000138\n\
        2026-11-21 12:00:01 UTC [7] LOG:  recovery stopping after WAL location (LSN) \"0/4000000\"\n\
        2026-11-21 12:00:01 UTC [7] LOG:  redo done at 0/3FFFFB0 system usage: CPU: user: 0.00 s\n\
        2026-11-21 12:00:01 UTC [7] LOG:  last completed transaction was at log time 2026-11-21 11:00:00.5+00\n\
        2026-11-21 12:00:01 UTC [7] LOG:  selected new timeline ID: 2\n";

    #[test]
    fn a_recovery_is_read_from_its_log() {
        let recovery = Recovery::read(LOG);
        assert_eq!(recovery.consistent, Some("0/2000138".parse().unwrap()));
        assert_eq!(recovery.done, Some("0/3FFFFB0".parse().unwrap()));
        assert_eq!(recovery.last_transaction.as_deref(), Some("2026-11-21 11:00:00.5+00"));
        assert_eq!(recovery.timeline, Some(2));
        assert!(recovery.stopped.unwrap().contains("0/4000000"));
    }

    #[test]
    fn the_reason_is_the_last_fatal_line() {
        let log = "x LOG:  starting\nx FATAL:  recovery ended before configured recovery target was reached\n\
                   x LOG:  startup process (PID 9) exited with exit code 1\n";
        let (reason, tail) = last_words(log);
        assert_eq!(reason, "recovery ended before configured recovery target was reached");
        assert_eq!(tail.len(), 3);
        assert_eq!(last_words("").0, "it wrote no log");
    }
}
