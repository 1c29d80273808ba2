//! The kinds of values, and how each is read.

use std::collections::BTreeSet;
use std::fmt;

use time::Duration;

use super::place::BucketAddress;

/// What the values of a key look like.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each is named after the one key, or the form, whose values it has")]
pub enum Kind {
    Text,
    Bool,
    Int,
    Interval,
    Size,
    AbsolutePath,
    PathOrUrl,
    List,
    SlotName,
    CompressionLevel,
    BackupOptions,
    RecoveryOptions,
    Compression,
    BackupMethod,
    BackupCompression,
    BackupCompressionFormat,
    BackupCompressionLocation,
    CreateSlot,
    ReuseBackup,
    StagingLocation,
    AwsEncryption,
    CombineMode,
    Encryption,
}

/// A value as resolved for one key.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// Not set, or explicitly unset.
    Unset,
    /// `true` or `false`.
    Bool(bool),
    /// A number; sizes are in bytes.
    Int(i64),
    /// Text, words and paths.
    Text(String),
    /// A length of time.
    Interval(Duration),
    /// Comma-separated words, in order.
    List(Vec<String>),
    /// `name:rate` pairs, in order.
    Rates(Vec<(String, i64)>),
    /// A set of options.
    Options(BTreeSet<String>),
}

/// The plain text of a value: empty when unset, sets joined by commas, intervals as `93 days`.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unset => Ok(()),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "{value}"),
            Self::Text(value) => f.write_str(value),
            Self::Interval(value) => {
                let (count, unit) = match value.whole_days() {
                    days if Duration::days(days) == *value => (days, "day"),
                    _ => (value.whole_hours(), "hour"),
                };
                write!(f, "{count} {unit}{}", if count == 1 { "" } else { "s" })
            }
            Self::List(words) => f.write_str(&words.join(",")),
            Self::Rates(rates) => {
                let rates = rates.iter().map(|(name, rate)| format!("{name}:{rate}"));
                f.write_str(&rates.collect::<Vec<_>>().join(" "))
            }
            Self::Options(words) => {
                f.write_str(&words.iter().map(String::as_str).collect::<Vec<_>>().join(","))
            }
        }
    }
}

/// Words that one kind of value chooses from.
struct Choice {
    words: &'static [&'static str],
    /// Whether the case matters.
    exact: bool,
    refuse: fn(&str) -> String,
}

const COMPRESSIONS: &[&str] =
    &["gzip", "bzip2", "pygzip", "pybzip2", "pigz", "xz", "zstd", "lz4", "snappy", "custom"];

impl Kind {
    fn choice(self) -> Option<Choice> {
        let choice = |words, refuse| Some(Choice { words, exact: false, refuse });
        match self {
            // The empty word is a compression: none.
            Self::Compression => choice(
                &["", "gzip", "bzip2", "pygzip", "pybzip2", "pigz", "xz", "zstd", "lz4", "snappy", "custom"],
                |v| {
                    format!(
                        "Invalid value: '{}' (must be one in: {})",
                        v.to_lowercase(),
                        COMPRESSIONS.join(", ")
                    )
                },
            ),
            Self::BackupMethod => {
                choice(&["rsync", "postgres", "local-rsync", "snapshot", "local-to-cloud"], |_| {
                    "Invalid value (must be one in: 'rsync', 'postgres', 'local-rsync', 'snapshot', \
                     'local-to-cloud')"
                        .to_owned()
                })
            }
            Self::BackupCompression => choice(&["gzip", "lz4", "zstd", "none"], |v| {
                format!("Invalid value '{v}'(must be one in: ['gzip', 'lz4', 'zstd', 'none'])")
            }),
            Self::BackupCompressionFormat => {
                choice(&["plain", "tar"], |_| "Invalid value (must be either `plain` or `tar`)".to_owned())
            }
            Self::BackupCompressionLocation => choice(&["client", "server"], |_| {
                "Invalid value (must be either `client` or `server`)".to_owned()
            }),
            Self::CreateSlot => {
                choice(&["manual", "auto"], |_| "Invalid value (use 'manual' or 'auto')".to_owned())
            }
            Self::ReuseBackup => {
                choice(&["copy", "link", "off"], |_| "Invalid value (use 'copy', 'link' or 'off')".to_owned())
            }
            Self::StagingLocation => {
                choice(&["local", "remote"], |v| format!("Invalid value: {v} (options are: local, remote)"))
            }
            Self::CombineMode => choice(&["copy", "link", "clone", "copy-file-range"], |v| {
                format!(
                    "Invalid value: {} (options are: copy, link, clone, copy-file-range)",
                    v.to_lowercase()
                )
            }),
            Self::Encryption => choice(&["none", "gpg"], |v| {
                format!("Invalid encryption value '{}'. Allowed values are: none, gpg.", v.to_lowercase())
            }),
            Self::AwsEncryption => Some(Choice {
                words: &["AES256", "aws:kms"],
                exact: true,
                refuse: |v| format!("Invalid value '{v}' (must be one in: ['AES256', 'aws:kms'])"),
            }),
            _ => None,
        }
    }

    /// The words a value is one of, the preferred spelling of each; empty for kinds that do not choose.
    pub fn words(self) -> &'static [&'static str] {
        self.choice().map_or(&[], |choice| choice.words)
    }

    /// Reads a value of this kind. `Ok(None)` means that the next level decides.
    pub(super) fn parse(self, text: &str, key: &str, section: &str) -> Result<Option<Value>, String> {
        if let Some(Choice { words, exact, refuse }) = self.choice() {
            let word = if exact { text.to_owned() } else { text.to_lowercase() };
            if !words.contains(&word.as_str()) {
                return Err(refuse(text));
            }
            let next_level = self == Self::Encryption && word == "none";
            return Ok((!next_level).then_some(Value::Text(word)));
        }
        let text_value = || Ok(Some(Value::Text(text.to_owned())));
        match self {
            Self::Bool => match text.to_lowercase().as_str() {
                "true" | "t" | "yes" | "1" | "on" => Ok(Some(Value::Bool(true))),
                "false" | "f" | "no" | "0" | "off" => Ok(Some(Value::Bool(false))),
                _ => {
                    Err("Invalid boolean representation (must be one in: true|t|yes|1|on | false|f|no|0|off)"
                        .to_owned())
                }
            },
            Self::Int => match integer(text) {
                Some(number) => Ok(Some(Value::Int(number))),
                None => Err(format!("invalid literal for int() with base 10: {}", quoted(text))),
            },
            Self::Interval if text.is_empty() => Ok(None),
            Self::Interval => match interval(text) {
                Some(length) => Ok(Some(Value::Interval(length))),
                None => Err(format!("Invalid value for a time interval {text}")),
            },
            Self::Size if text.is_empty() => Ok(None),
            Self::Size => match size(text) {
                Some(bytes) => Ok(Some(Value::Int(bytes))),
                None => Err(format!("Invalid value for a number {text}")),
            },
            Self::AbsolutePath if text.starts_with('/') => text_value(),
            Self::AbsolutePath => Err(format!("Invalid value : '{text}' (must be an absolute path)")),
            Self::PathOrUrl if text.contains("://") && BucketAddress::parse(text).is_none() => {
                Err("The URL is not compatible with any of the supported cloud providers".to_owned())
            }
            Self::List => {
                let words: Vec<String> = text.split(',').map(str::to_owned).collect();
                if words.iter().any(String::is_empty) {
                    let quoted: Vec<String> = words.iter().map(|w| quoted(w)).collect();
                    return Err(format!("[{}]", quoted.join(", ")));
                }
                Ok(Some(Value::List(words)))
            }
            Self::SlotName => {
                let name = text.to_lowercase();
                let fits = |b: u8| b.is_ascii_digit() || b.is_ascii_lowercase() || b == b'_';
                if name.is_empty() || !name.bytes().all(fits) {
                    return Err(
                        "Replication slot names may only contain lower case letters, numbers, and the \
                                underscore character."
                            .to_owned(),
                    );
                }
                Ok(Some(Value::Text(name)))
            }
            Self::CompressionLevel => {
                let level = text.to_lowercase();
                let digits = level.strip_prefix('-').unwrap_or(&level);
                if !digits.is_empty()
                    && digits.bytes().all(|b| b.is_ascii_digit())
                    && let Ok(number) = level.parse()
                {
                    return Ok(Some(Value::Int(number)));
                }
                if matches!(level.as_str(), "" | "low" | "medium" | "high") {
                    return Ok(Some(Value::Text(level)));
                }
                Err(format!(
                    "Invalid value: '{level}' (must be one in [low, medium, high] or an acceptable integer)"
                ))
            }
            Self::BackupOptions => options(
                text,
                &["concurrent_backup", "exclusive_backup", "external_configuration"],
                key,
                section,
            ),
            Self::RecoveryOptions => options(text, &["get-wal", "delta-restore"], key, section),
            _ => text_value(),
        }
    }
}

/// Text in quotes as Python shows it.
fn quoted(text: &str) -> String {
    let inner = text.replace('\\', "\\\\").replace('\n', "\\n");
    match (text.contains('\''), text.contains('"')) {
        (true, false) => format!("\"{inner}\""),
        (true, true) => format!("'{}'", inner.replace('\'', "\\'")),
        _ => format!("'{inner}'"),
    }
}

/// A whole number as Python reads one: blanks around, a sign, and single underscores between digits.
pub(super) fn integer(text: &str) -> Option<i64> {
    let text = text.trim();
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let well_formed =
        digits.split('_').all(|group| !group.is_empty() && group.bytes().all(|b| b.is_ascii_digit()));
    well_formed.then(|| text.replace('_', "").parse().ok()).flatten()
}

fn interval(text: &str) -> Option<Duration> {
    let mut words = text.split_whitespace();
    let (count, unit) = (words.next()?, words.next()?.to_lowercase());
    if words.next().is_some() || !count.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let hours = match unit.strip_suffix('s').unwrap_or(&unit) {
        "hour" => 1,
        "day" => 24,
        "week" => 24 * 7,
        "month" => 24 * 31,
        _ => return None,
    };
    // A thousand million hours is what Python's intervals hold, near enough.
    let hours = count.parse::<i64>().ok()?.checked_mul(hours).filter(|h| *h <= 24_000_000_000)?;
    Some(Duration::hours(hours))
}

fn size(text: &str) -> Option<i64> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at_checked(split)?;
    let factor: i64 = match unit.trim_start() {
        "" if unit.is_empty() => 1,
        "k" => 1000,
        "Ki" => 1 << 10,
        "M" => 1_000_000,
        "Mi" => 1 << 20,
        "G" => 1_000_000_000,
        "Gi" => 1 << 30,
        "T" => 1_000_000_000_000,
        "Ti" => 1 << 40,
        _ => return None,
    };
    digits.parse::<i64>().ok()?.checked_mul(factor)
}

fn options(text: &str, known: &[&str], key: &str, section: &str) -> Result<Option<Value>, String> {
    let refuse = |option: &str, reason: &str| {
        Err(format!("Invalid configuration value '{option}' for key {key} in [{section}] section: {reason}"))
    };
    let mut set = BTreeSet::new();
    if text.is_empty() {
        return Ok(Some(Value::Options(set)));
    }
    for word in text.to_lowercase().split(',').map(str::trim) {
        if !known.contains(&word) {
            return refuse(word, "Unknown option");
        }
        set.insert(word.to_owned());
    }
    if set.contains("exclusive_backup") && set.contains("concurrent_backup") {
        let reason =
            "cannot contain both 'exclusive_backup' and 'concurrent_backup'.Configuration directive ignored.";
        return refuse("exclusive_backup", reason);
    }
    Ok(Some(Value::Options(set)))
}
