//! The log file, in Barman's line format.

use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use time::OffsetDateTime;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Metadata, Subscriber, span};

use crate::format::timestamp::log_time;
use crate::output::{PRINTED, mask_passwords};

/// Barman's default `log_format`.
pub(crate) const DEFAULT_FORMAT: &str = "%(asctime)s [%(process)s] %(name)s %(levelname)s: %(message)s";

/// `log_level` of the configuration or `--log-level`: a Python level name in any case, or its number. `None` when it
/// is neither (Barman then warns and takes INFO).
pub(crate) fn parse_level(text: &str) -> Option<LevelFilter> {
    let number = match text.trim().to_ascii_uppercase().as_str() {
        "NOTSET" => 0,
        "DEBUG" => 10,
        "INFO" => 20,
        "WARNING" | "WARN" => 30,
        "ERROR" => 40,
        "CRITICAL" | "FATAL" => 50,
        other => other.parse::<i64>().ok()?,
    };
    Some(match number {
        ..=10 => LevelFilter::DEBUG,
        11..=20 => LevelFilter::INFO,
        21..=30 => LevelFilter::WARN,
        31..=40 => LevelFilter::ERROR,
        _ => LevelFilter::OFF,
    })
}

/// Starts logging for the rest of the process: to `log_file` (appended, its directory created), or to stderr when
/// there is none or it cannot be opened, in which case the reason is returned for a warning.
pub(crate) fn start(log_file: Option<&Path>, level: LevelFilter, format: &str) -> Option<String> {
    let mut problem = None;
    let file = log_file.and_then(|path| match open(path) {
        Ok(file) => Some(file),
        Err(error) => {
            problem = Some(format!("cannot open log file {}: {error}; logging to stderr", path.display()));
            None
        }
    });
    let log = Log::new(file, level, format);
    if let (Some(path), Some(file)) = (log_file, &log.file) {
        let _ = OPENED.set(LogFile { path: path.to_owned(), file: Arc::clone(file) });
    }
    // A second start in one process cannot happen, and the first one would stay in force.
    let _ = tracing::subscriber::set_global_default(log);
    problem
}

/// The log file of this process.
static OPENED: OnceLock<LogFile> = OnceLock::new();

struct LogFile {
    path: PathBuf,
    file: Arc<Mutex<File>>,
}

impl LogFile {
    fn reopen(&self) -> io::Result<()> {
        let file = open(&self.path)?;
        *self.file.lock().unwrap_or_else(PoisonError::into_inner) = file;
        Ok(())
    }
}

/// Opens the log file again, because the one that is open may have been renamed by whoever rotates logs. Returns why that failed;
/// the old one is then still in use.
pub(crate) fn reopen() -> Option<String> {
    let opened = OPENED.get()?;
    opened
        .reopen()
        .err()
        .map(|error| format!("cannot open log file {} again: {error}", opened.path.display()))
}

fn open(path: &Path) -> io::Result<File> {
    if let Some(directory) = path.parent() {
        DirBuilder::new().recursive(true).create(directory)?;
    }
    OpenOptions::new().append(true).create(true).open(path)
}

/// A subscriber that writes one line per event. Spans are not used by this workspace's libraries; they cost nothing.
struct Log {
    file: Option<Arc<Mutex<File>>>,
    level: LevelFilter,
    format: String,
    process: String,
}

impl Log {
    fn new(file: Option<File>, level: LevelFilter, format: &str) -> Self {
        Self {
            file: file.map(|file| Arc::new(Mutex::new(file))),
            level,
            format: format.to_owned(),
            process: std::process::id().to_string(),
        }
    }

    fn line(&self, time: OffsetDateTime, target: &str, level: Level, message: &str) -> String {
        let level = match level {
            Level::ERROR => "ERROR",
            Level::WARN => "WARNING",
            Level::INFO => "INFO",
            _ => "DEBUG",
        };
        let name = target.replace("::", ".");
        let mut line = String::with_capacity(message.len() + 80);
        let mut rest = self.format.as_str();
        while let Some((before, after)) = rest.split_once("%(") {
            line.push_str(before);
            // Every conversion of a text is `s`; Python's numeric ones (`%(process)d`) print the same digits.
            let Some((key, tail)) = after.split_once(')') else {
                line.push_str("%(");
                rest = after;
                break;
            };
            match key {
                "asctime" => line.push_str(&log_time(time)),
                "process" => line.push_str(&self.process),
                "name" | "module" => line.push_str(&name),
                "levelname" => line.push_str(level),
                "message" => line.push_str(message),
                _ => {}
            }
            rest = tail.strip_prefix(['s', 'd']).unwrap_or(tail);
        }
        line.push_str(rest);
        let mut line = mask_passwords(&line);
        line.push('\n');
        line
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // Without a file the log shares stderr with the console, where the message already stands.
        *metadata.level() <= self.level && (self.file.is_some() || metadata.target() != PRINTED)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level)
    }

    fn event(&self, event: &Event<'_>) {
        let mut text = EventText::default();
        event.record(&mut text);
        let now = OffsetDateTime::now_local().unwrap_or_else(|_| OffsetDateTime::now_utc());
        let line = self.line(now, event.metadata().target(), *event.metadata().level(), &text.0);
        // A log that cannot be written must not stop a backup.
        let _ = match &self.file {
            Some(file) => file.lock().unwrap_or_else(PoisonError::into_inner).write_all(line.as_bytes()),
            None => io::stderr().write_all(line.as_bytes()),
        };
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// The message and then `name=value` for each further field.
#[derive(Default)]
struct EventText(String);

impl EventText {
    fn push(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        if field.name() == "message" {
            self.0.insert_str(0, &value.to_string());
        } else {
            self.0.push_str(&format!(" {}={value}", field.name()));
        }
    }
}

impl Visit for EventText {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.push(field, format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.push(field, format_args!("{value}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn levels_are_pythons_names_and_numbers() {
        for (text, level) in [
            ("debug", Some(LevelFilter::DEBUG)),
            ("INFO", Some(LevelFilter::INFO)),
            ("Warning", Some(LevelFilter::WARN)),
            ("40", Some(LevelFilter::ERROR)),
            ("CRITICAL", Some(LevelFilter::OFF)),
            ("NOTSET", Some(LevelFilter::DEBUG)),
            ("loud", None),
        ] {
            assert_eq!(parse_level(text), level, "{text}");
        }
    }

    #[test]
    fn lines_follow_the_format_and_hide_passwords() {
        let mut log = Log::new(None, LevelFilter::INFO, DEFAULT_FORMAT);
        log.process = "7".to_owned();
        let time = datetime!(2026-11-21 00:13:30.534 UTC);
        assert_eq!(
            log.line(time, "tapster_manager::backup", Level::WARN, "password=x"),
            "2026-11-21 00:13:30,534 [7] tapster_manager.backup WARNING: password=*REDACTED*\n"
        );
        log.format = "%(levelname)s|%(nonsense)s|%(process)d %(broken".to_owned();
        assert_eq!(log.line(time, "x", Level::INFO, "m"), "INFO||7 %(broken\n");
    }

    #[test]
    fn events_reach_the_file_with_their_fields() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sub/barman.log");
        let log = Log::new(Some(open(&path).unwrap()), LevelFilter::INFO, "%(levelname)s %(message)s");
        tracing::subscriber::with_default(log, || {
            tracing::info!(size = 3, name = "x", "done {}", 1);
            tracing::debug!("not this");
        });
        assert_eq!(std::fs::read_to_string(path).unwrap(), "INFO done 1 size=3 name=x\n");
    }

    #[test]
    fn a_log_that_was_rotated_is_made_anew() {
        let directory = tempfile::tempdir().unwrap();
        let (path, old) = (directory.path().join("barman.log"), directory.path().join("barman.log.1"));
        let log = Log::new(Some(open(&path).unwrap()), LevelFilter::INFO, "%(message)s");
        let opened = LogFile { path: path.clone(), file: Arc::clone(log.file.as_ref().unwrap()) };
        tracing::subscriber::with_default(log, || {
            tracing::info!("before");
            let mut rotate = std::process::Command::new("mv");
            assert!(rotate.args([&path, &old]).status().unwrap().success());
            tracing::info!("still there");
            opened.reopen().unwrap();
            tracing::info!("after");
        });
        assert_eq!(std::fs::read_to_string(old).unwrap(), "before\nstill there\n");
        assert_eq!(std::fs::read_to_string(path).unwrap(), "after\n");
    }
}
