//! The zone of this process, as `pg_waldump` shows times in it: local time, and what `date +%Z` calls it.

use std::path::{Path, PathBuf};

use time::{OffsetDateTime, UtcOffset};
use walfile::rmgr::{LocalTime, TimeZone};

/// Where the zones are.
const ZONES: &str = "/usr/share/zoneinfo";

/// Seconds between two offsets that have a name here: no zone has had others for a century.
const STEP: i32 = 15 * 60;
const DAY: i32 = 24 * 3600;

/// The zone of this process.
#[derive(Debug)]
pub(crate) struct LocalZone {
    /// The names of its standard time and its summer time.
    names: Vec<(i32, String)>,
}

impl LocalZone {
    /// The zone of the environment's `TZ`, which the offsets follow too, or of the system. Where the names of its times are not found, the offset is
    /// the name, such as `+05`.
    pub(crate) fn new(variable: Option<&str>) -> Self {
        let rule = match variable {
            Some(name) => rule_of(name),
            None => rule_in(Path::new("/etc/localtime")),
        };
        let mut names = rule.as_deref().map(names_in).unwrap_or_default();
        names.extend(
            (-DAY..=DAY).step_by(STEP.unsigned_abs() as usize).map(|offset| (offset, number(offset))),
        );
        Self { names }
    }

    fn name(&self, offset: i32) -> &str {
        let found = self.names.iter().find(|(known, _)| *known == offset);
        found.map_or("???", |(_, name)| name.as_str())
    }
}

impl TimeZone for LocalZone {
    fn at(&self, unix_seconds: i64) -> LocalTime<'_> {
        let time = OffsetDateTime::from_unix_timestamp(unix_seconds);
        let offset = time.ok().and_then(|time| UtcOffset::local_offset_at(time).ok());
        let offset = offset.unwrap_or(UtcOffset::UTC).whole_seconds();
        LocalTime { offset, name: self.name(offset) }
    }
}

/// The rule in POSIX's form, for what `TZ` says: the name of a file, or the rule itself.
fn rule_of(name: &str) -> Option<String> {
    let path = name.strip_prefix(':').unwrap_or(name);
    let file: PathBuf = Path::new(ZONES).join(path);
    match rule_in(&file) {
        Some(rule) if !path.is_empty() => Some(rule),
        _ => Some(name.to_owned()).filter(|name| !name.is_empty() && !name.starts_with(':')),
    }
}

/// The rule that holds from now on: the last line of a zone's file.
fn rule_in(file: &Path) -> Option<String> {
    const LARGEST: u64 = 1 << 20;
    if !file.is_file() || file.metadata().ok()?.len() > LARGEST {
        return None;
    }
    let content = std::fs::read(file).ok().filter(|content| content.starts_with(b"TZif"))?;
    let line = content.strip_suffix(b"\n")?.rsplit(|byte| *byte == b'\n').next()?;
    String::from_utf8(line.to_vec()).ok()
}

/// `CET-1CEST,M3.5.0,M10.5.0/3`: CET is an hour ahead, CEST another one.
fn names_in(rule: &str) -> Vec<(i32, String)> {
    let zone = rule.split(',').next().unwrap_or_default();
    let Some((standard, rest)) = name_in(zone) else { return Vec::new() };
    let Some((behind, rest)) = offset_in(rest) else { return Vec::new() };
    let mut names = vec![(-behind, standard)];
    if let Some((summer, rest)) = name_in(rest) {
        let offset = offset_in(rest).map_or(3600 - behind, |(behind, _)| -behind);
        names.push((offset, summer));
    }
    names
}

/// `CET`, or `+05` in angle brackets; and what follows it.
fn name_in(text: &str) -> Option<(String, &str)> {
    let (name, rest) = match text.strip_prefix('<') {
        Some(text) => text.split_once('>')?,
        None => text.split_at(text.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(text.len())),
    };
    (!name.is_empty() && name.len() <= 16).then(|| (name.to_owned(), rest))
}

/// `-5:30`: seconds, in POSIX's sense west of Greenwich; and what follows it.
fn offset_in(text: &str) -> Option<(i32, &str)> {
    let is_part = |c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | ':');
    let (offset, rest) = text.split_at(text.find(|c| !is_part(c)).unwrap_or(text.len()));
    let (sign, digits) = match offset.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, offset.strip_prefix('+').unwrap_or(offset)),
    };
    let parts = digits.split(':').map(|part| part.parse::<i32>().ok().filter(|part| *part < 168));
    let parts: Option<Vec<i32>> = parts.collect();
    let seconds = parts?.iter().zip([3600, 60, 1]).map(|(part, unit)| part * unit).sum::<i32>();
    Some((sign * seconds, rest))
}

/// `+05`, `-03:30`, `UTC`.
fn number(offset: i32) -> String {
    if offset == 0 {
        return "UTC".to_owned();
    }
    let sign = if offset < 0 { '-' } else { '+' };
    let minutes = offset.abs() / 60;
    match minutes % 60 {
        0 => format!("{sign}{:02}", minutes / 60),
        rest => format!("{sign}{:02}:{rest:02}", minutes / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_rules() {
        let names = |rule| {
            let names = names_in(rule);
            names.into_iter().map(|(offset, name)| format!("{name} {offset}")).collect::<Vec<_>>().join(", ")
        };
        assert_eq!(names("CET-1CEST,M3.5.0,M10.5.0/3"), "CET 3600, CEST 7200");
        assert_eq!(names("EST5EDT"), "EST -18000, EDT -14400");
        assert_eq!(names("<+0530>-5:30"), "+0530 19800");
        assert_eq!(names("IST-1GMT0,M10.5.0,M3.5.0/1"), "IST 3600, GMT 0");
        for rule in ["", "5", "CET", "<CET", "CET-x", "CET-999999999999"] {
            assert_eq!(names(rule), "", "{rule}");
        }
        assert_eq!(
            (number(-12_600), number(0), number(20_700)),
            ("-03:30".into(), "UTC".into(), "+05:45".into())
        );
    }
}
