//! The result of a check, in Barman's lines.

/// One line of a check.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CheckLine {
    /// What was looked at, in Barman's words, such as `wal_level`.
    pub name: String,
    /// Whether it is as it should be.
    pub ok: bool,
    /// More about it.
    pub hint: Option<String>,
    /// A number for monitoring systems, in bytes.
    pub perfdata: Option<u64>,
    /// Lines that stand below it, indented further; only `configuration` has them.
    pub details: Vec<String>,
}

/// The lines of one server's check, in Barman's order.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct CheckReport {
    /// Server name.
    pub server: String,
    /// Whether the server is active; a failing line of an inactive one does not count.
    pub active: bool,
    /// The lines.
    pub lines: Vec<CheckLine>,
}

/// Lines that do not keep a backup from being taken (Barman's `CheckStrategy` with `NON_CRITICAL_CHECKS`).
const NON_CRITICAL: [&str; 12] = [
    // Not Barman's; a new backup is what heals it.
    "WAL continuity",
    "archiver errors",
    "backup maximum age",
    "backup minimum size",
    "empty incoming directory",
    "empty streaming directory",
    "failed backups",
    "incoming WALs directory",
    "minimum redundancy requirements",
    "PostgreSQL server is standby",
    "streaming WALs directory",
    "wal maximum age",
];

impl CheckReport {
    /// A report without lines.
    pub fn new(server: &str, active: bool) -> Self {
        Self { server: server.to_owned(), active, lines: Vec::new() }
    }

    /// Whether nothing is wrong, or the server is not active.
    pub fn passed(&self) -> bool {
        !self.active || self.lines.iter().all(|line| line.ok)
    }

    /// The lines that keep a backup from being taken.
    pub fn blocking(&self) -> impl Iterator<Item = &CheckLine> {
        self.lines.iter().filter(|line| !line.ok && !NON_CRITICAL.contains(&line.name.as_str()))
    }

    /// The value of the line called `name`.
    pub fn line(&self, name: &str) -> Option<&CheckLine> {
        self.lines.iter().find(|line| line.name == name)
    }

    pub(super) fn push(&mut self, name: impl Into<String>, ok: bool, hint: Option<String>) -> &mut CheckLine {
        let line = CheckLine { name: name.into(), ok, hint, perfdata: None, details: Vec::new() };
        self.lines.push_mut(line)
    }

    pub(super) fn ok(&mut self, name: impl Into<String>) {
        self.push(name, true, None);
    }

    pub(super) fn failed(&mut self, name: impl Into<String>, hint: impl Into<String>) {
        self.push(name, false, Some(hint.into()));
    }
}
