//! Everything the program prints goes through [`Output`]: one place that knows streams, prefixes, colours, `-q`,
//! `-d` and `-f json`, that masks passwords, and that remembers whether an error was shown, which is what the exit
//! code of a Barman command says.
//!
//! All methods take `&self`, so that an observer on another thread prints through the same value.

pub(crate) mod backup_details;
pub(crate) mod backup_list;
pub(crate) mod backup_record;
pub(crate) mod basebackup;
pub(crate) mod check;
#[cfg(feature = "cloud")]
pub(crate) mod cloud_backup;
#[cfg(feature = "cloud")]
pub(crate) mod cloud_receive;
#[cfg(feature = "cloud")]
pub(crate) mod cloud_restore;
pub(crate) mod diagnosis;
pub(crate) mod fact;
mod json;
mod live_facts;
mod progress;
pub(crate) mod replication;
pub(crate) mod report;
pub(crate) mod report_html;
pub(crate) mod restore;
pub(crate) mod server_details;
pub(crate) mod server_status;
pub(crate) mod verification;
pub(crate) mod verify_restore;
pub(crate) mod wal_blocks;
pub(crate) mod wal_errors;
pub(crate) mod wal_find;
pub(crate) mod wal_inspect;
pub(crate) mod wal_verify;

use std::io::{self, IsTerminal as _, Write};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use indicatif::ProgressBar;
use serde_json::{Map, Value};

use crate::failure::{Failure, Kind};

pub(crate) use tapster_manager::config::mask_passwords_in_line as mask_passwords;

/// The tracing target of messages that were also printed; a log on stderr leaves them out.
pub(crate) const PRINTED: &str = "tapster::output";

/// `-f`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, clap::ValueEnum)]
pub(crate) enum Format {
    /// Text for people (and their greps).
    #[default]
    Console,
    /// One JSON object at the end.
    Json,
}

/// `--color`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, clap::ValueEnum)]
pub(crate) enum ColourChoice {
    /// Never.
    Never,
    /// Always.
    Always,
    /// When both streams are terminals.
    #[default]
    Auto,
}

/// Colours Barman uses.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Colour {
    /// Good.
    Green,
    /// Errors.
    Red,
    /// Warnings.
    Yellow,
}

/// How to print.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Settings {
    /// `-f`.
    pub(crate) format: Format,
    /// `-q`.
    pub(crate) quiet: bool,
    /// `-d`.
    pub(crate) debug: bool,
    /// Whether messages carry colours, as [`Settings::new`] decided.
    pub(crate) colour: bool,
    /// Whether a progress bar may be drawn.
    pub(crate) terminal: bool,
}

impl Settings {
    /// Settings for this process's own streams.
    pub(crate) fn new(
        format: Format,
        quiet: bool,
        debug: bool,
        choice: ColourChoice,
        no_color: bool,
    ) -> Self {
        let (out, err) = (io::stdout().is_terminal(), io::stderr().is_terminal());
        let colour = match choice {
            ColourChoice::Always => true,
            ColourChoice::Never => false,
            ColourChoice::Auto => out && err && !no_color,
        };
        Self { format, quiet, debug, colour, terminal: err }
    }
}

struct Sinks {
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
}

/// The program's voice.
pub(crate) struct Output {
    settings: Settings,
    sinks: Mutex<Sinks>,
    json: Mutex<Map<String, Value>>,
    bar: Mutex<Option<ProgressBar>>,
    has_bar: AtomicBool,
    failed: AtomicBool,
    silent: AtomicBool,
    own_json: AtomicBool,
    lines_may_get_lost: AtomicBool,
    exit_code: AtomicU8,
}

impl std::fmt::Debug for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Output").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// A thread that panicked while printing leaves the value usable: there is no invariant a line could break.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Output {
    /// Prints to this process's stdout and stderr.
    pub(crate) fn new(settings: Settings) -> Self {
        Self::with_sinks(settings, Box::new(io::stdout()), Box::new(io::stderr()))
    }

    fn with_sinks(settings: Settings, out: Box<dyn Write + Send>, err: Box<dyn Write + Send>) -> Self {
        Self {
            settings,
            sinks: Mutex::new(Sinks { out, err }),
            json: Mutex::default(),
            bar: Mutex::default(),
            has_bar: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            silent: AtomicBool::new(false),
            own_json: AtomicBool::new(false),
            lines_may_get_lost: AtomicBool::new(false),
            exit_code: AtomicU8::new(1),
        }
    }

    /// Whether results go to [`Self::json_insert`] instead of lines.
    pub(crate) fn is_json(&self) -> bool {
        self.settings.format == Format::Json
    }

    /// From here on only [`Self::raw_line`] prints.
    pub(crate) fn silence(&self) {
        self.silent.store(true, Ordering::Relaxed);
    }

    /// The command writes JSON itself, an object per line, so that none stands at the end.
    pub(crate) fn own_json(&self) {
        self.own_json.store(true, Ordering::Relaxed);
    }

    /// The command's result is no line: one that cannot be printed does not make it fail.
    pub(crate) fn tolerate_lost_lines(&self) {
        self.lines_may_get_lost.store(true, Ordering::Relaxed);
    }

    /// Whether anything went wrong so far.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// A result or progress line: stdout without prefix, or `_INFO`. Not logged. Nothing with `-q`.
    pub(crate) fn line(&self, text: impl AsRef<str>) {
        let text = text.as_ref();
        if self.is_json() {
            self.collect("_INFO", text);
        } else if !self.settings.quiet && !self.silent.load(Ordering::Relaxed) {
            self.write_out(text);
        }
    }

    /// [`Self::line`] that is also logged.
    pub(crate) fn info(&self, text: impl AsRef<str>) {
        tracing::info!(target: PRINTED, "{}", text.as_ref());
        self.line(text);
    }

    /// `DEBUG: …` on stderr or `_DEBUG`, only with `-d`; always logged.
    pub(crate) fn debug(&self, text: impl AsRef<str>) {
        tracing::debug!(target: PRINTED, "{}", text.as_ref());
        if self.settings.debug {
            self.message("DEBUG", None, text.as_ref());
        }
    }

    /// `WARNING: …` on stderr or `_WARNING`; the exit code does not change.
    pub(crate) fn warning(&self, text: impl AsRef<str>) {
        tracing::warn!(target: PRINTED, "{}", text.as_ref());
        self.message("WARNING", Some(Colour::Yellow), text.as_ref());
    }

    /// `ERROR: …` on stderr or `_ERROR`; the program will exit with 1.
    pub(crate) fn error(&self, text: impl AsRef<str>) {
        self.mark_failed();
        self.error_without_failing(text);
    }

    /// `ERROR: …` that leaves the exit code alone.
    pub(crate) fn error_without_failing(&self, text: impl AsRef<str>) {
        tracing::error!(target: PRINTED, "{}", text.as_ref());
        self.message("ERROR", Some(Colour::Red), text.as_ref());
    }

    /// `EXCEPTION: …` for what nobody expected, with Barman's pointer to the log file.
    pub(crate) fn exception(&self, text: impl AsRef<str>) {
        self.mark_failed();
        tracing::error!(target: PRINTED, "{}", text.as_ref());
        let text = format!("{}\nSee log file for more details.", text.as_ref());
        self.message("EXCEPTION", Some(Colour::Red), &text);
    }

    /// The exit code becomes 1 without a message (a failed line of `check`).
    pub(crate) fn mark_failed(&self) {
        self.failed.store(true, Ordering::Relaxed);
    }

    /// Shows why a command ended and takes over its exit code.
    pub(crate) fn failure(&self, failure: &Failure) {
        self.exit_code.store(failure.exit_code, Ordering::Relaxed);
        let text = failure.text();
        match failure.kind {
            Kind::User | Kind::Interrupted => self.error(text),
            Kind::Unexpected => self.exception(text),
            Kind::Usage | Kind::Fatal => {
                self.mark_failed();
                self.write_err(&text);
            }
            Kind::Reported => self.mark_failed(),
        }
    }

    /// Adds a top-level key to the JSON object; nothing on the console.
    pub(crate) fn json_insert(&self, key: impl Into<String>, value: impl Into<Value>) {
        if self.is_json() {
            lock(&self.json).insert(key.into(), value.into());
        }
    }

    /// `text` in `colour` when colours are on.
    pub(crate) fn paint(&self, colour: Colour, text: &str) -> String {
        if !self.settings.colour {
            return text.to_owned();
        }
        let code = match colour {
            Colour::Green => 32,
            Colour::Red => 31,
            Colour::Yellow => 33,
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    /// Text on stdout whatever the format and `-q` (help, version, `--nagios`).
    pub(crate) fn raw_line(&self, text: impl AsRef<str>) {
        self.write_out(text.as_ref());
    }

    /// Text on stderr as it is, not counted as an error (a small tool's own messages).
    pub(crate) fn raw_error_line(&self, text: impl AsRef<str>) {
        self.write_err(text.as_ref());
    }

    /// An unbuffered handle to stdout for a command that sends bytes (`get-wal`); nothing else may go there then.
    ///
    /// # Errors
    /// stdout is closed.
    pub(crate) fn stdout_bytes() -> io::Result<std::fs::File> {
        use std::os::fd::AsFd as _;
        Ok(std::fs::File::from(io::stdout().as_fd().try_clone_to_owned()?))
    }

    /// Starts the progress bar, if this is a terminal and not `-q`.
    pub(crate) fn start_progress(&self, label: &str, total: Option<u64>) {
        if self.settings.terminal && !self.settings.quiet {
            *lock(&self.bar) = Some(progress::start(label, total));
            self.has_bar.store(true, Ordering::Relaxed);
        }
    }

    /// Moves the bar; costs one load when there is none.
    pub(crate) fn progress(&self, done: u64, total: Option<u64>) {
        if self.has_bar.load(Ordering::Relaxed)
            && let Some(bar) = lock(&self.bar).as_ref()
        {
            progress::update(bar, done, total);
        }
    }

    /// Takes the bar away.
    pub(crate) fn stop_progress(&self) {
        self.has_bar.store(false, Ordering::Relaxed);
        if let Some(bar) = lock(&self.bar).take() {
            bar.finish_and_clear();
        }
    }

    /// Ends the run: removes the bar, writes the JSON object, and returns the exit code.
    pub(crate) fn finish(&self) -> u8 {
        self.stop_progress();
        let json = std::mem::take(&mut *lock(&self.json));
        if self.is_json() && !self.settings.quiet && !self.own_json.load(Ordering::Relaxed) {
            self.write(json::dump(&json).as_bytes(), false);
        }
        if self.failed.load(Ordering::Relaxed) { self.exit_code.load(Ordering::Relaxed) } else { 0 }
    }

    fn message(&self, level: &str, colour: Option<Colour>, text: &str) {
        if self.silent.load(Ordering::Relaxed) {
            return;
        }
        if self.is_json() {
            self.collect(&format!("_{level}"), text);
            return;
        }
        let line = format!("{level}: {text}");
        self.write_err(&colour.map_or_else(|| line.clone(), |colour| self.paint(colour, &line)));
    }

    fn collect(&self, field: &str, text: &str) {
        let mut json = lock(&self.json);
        if let Value::Array(messages) = json.entry(field).or_insert_with(|| Value::Array(Vec::new())) {
            messages.push(Value::from(text));
        }
    }

    fn write_out(&self, text: &str) {
        self.write(format!("{}\n", mask_passwords(text)).as_bytes(), false);
    }

    fn write_err(&self, text: &str) {
        self.write(format!("{}\n", mask_passwords(text)).as_bytes(), true);
    }

    /// Writes and flushes. A reader that went away (`| head`) is no error of ours: what follows is dropped.
    /// Any other failure of stdout, where results are, must not look like success. What stderr has is no result, and whether
    /// it tells of a failure was settled before.
    fn write(&self, bytes: &[u8], to_err: bool) {
        let bar = lock(&self.bar);
        let result = match bar.as_ref() {
            Some(bar) => bar.suspend(|| self.write_sink(bytes, to_err)),
            None => self.write_sink(bytes, to_err),
        };
        if let Err(error) = result
            && !to_err
            && !self.lines_may_get_lost.load(Ordering::Relaxed)
            && error.kind() != io::ErrorKind::BrokenPipe
        {
            self.mark_failed();
        }
    }

    fn write_sink(&self, bytes: &[u8], to_err: bool) -> io::Result<()> {
        let mut sinks = lock(&self.sinks);
        let sink = if to_err { &mut sinks.err } else { &mut sinks.out };
        sink.write_all(bytes)?;
        sink.flush()
    }
}

#[cfg(test)]
mod tests;
