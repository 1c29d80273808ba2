//! What a backup is stored as: files, or archives, compressed here or by the server (`backup_compression…`).

use tapster_copy::archive::ArchiveCompression;
use tapster_protocol::ServerCompression;
use thiserror::Error;

use crate::config::ServerConfig;

/// `backup_compression…` as it cannot be obeyed.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("{problem}")]
#[non_exhaustive]
pub struct FormError {
    /// What contradicts what, in Barman's words.
    pub problem: String,
}

/// What a backup is stored as.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Form {
    /// Files; with compression only on their way from the server.
    Plain(Option<ServerCompression>),
    /// Archives that are compressed here, and the word for that in the record.
    Archives(ArchiveCompression, Word),
    /// Archives as the server compresses them.
    FromServer(ServerCompression, Word),
}

/// `compression` in the record.
pub(super) type Word = &'static str;

const PACKED: [Word; 3] = ["gzip", "lz4", "zstd"];

impl Form {
    /// Barman's rules, but those of `pg_basebackup`: all compression on this side works with any server.
    pub(super) fn of(config: &ServerConfig) -> Result<Self, FormError> {
        let refuse = |problem: String| Err(FormError { problem });
        let Some(name) = config.backup_compression.as_deref().filter(|name| !name.is_empty()) else {
            return Ok(Self::Plain(None));
        };
        let level = config.backup_compression_level;
        let is_plain = config.backup_compression_format.as_deref() == Some("plain");
        let location = config.backup_compression_location.as_deref();
        let at_server = location == Some("server");
        if is_plain && !at_server {
            return refuse(format!(
                "backup_compression_format plain is not compatible with backup_compression_location {}",
                location.unwrap_or("None")
            ));
        }
        if config.backup_compression_workers.is_some() && name != "zstd" {
            return refuse(format!("backup_compression_workers is not compatible with compression {name}"));
        }
        let range = match name {
            "gzip" => -1..=9,
            "lz4" => 0..=12,
            "zstd" => -131_072..=22,
            _ => 0..=0,
        };
        if let Some(level) = level.filter(|level| !range.contains(level)) {
            return refuse(format!(
                "backup_compression_level {level} unsupported by compression algorithm. {name} expects a compression \
                 level between {} and {}",
                range.start(),
                range.end()
            ));
        }
        if name == "gzip" && level == Some(0) {
            return refuse(
                "backup_compression_level 0 unsupported by compression algorithm gzip: if you need to create an archive \
                 not compressed, you should set backup_compression = none"
                    .to_owned(),
            );
        }
        let Some(word) = PACKED.into_iter().find(|word| *word == name) else {
            return if name == "none" {
                Ok(if is_plain {
                    Self::Plain(None)
                } else {
                    Self::Archives(ArchiveCompression::None, "none")
                })
            } else {
                refuse(format!("unknown backup_compression '{name}'"))
            };
        };
        if at_server {
            let compression = Self::server(word, config);
            return Ok(if is_plain {
                Self::Plain(Some(compression))
            } else {
                Self::FromServer(compression, word)
            });
        }
        Ok(Self::Archives(Self::here(word, config), word))
    }

    fn here(word: Word, config: &ServerConfig) -> ArchiveCompression {
        let level = config.backup_compression_level;
        match word {
            "gzip" => {
                ArchiveCompression::Gzip(level.and_then(|level| u32::try_from(level).ok()).unwrap_or(6))
            }
            // There is one level.
            "lz4" => ArchiveCompression::Lz4,
            _ => {
                let cores = std::thread::available_parallelism().map_or(1, usize::from).min(16);
                let workers = u32::try_from(cores).unwrap_or(1);
                ArchiveCompression::Zstd {
                    // Zero means the usual one.
                    level: level
                        .and_then(|level| i32::try_from(level).ok())
                        .filter(|level| *level != 0)
                        .unwrap_or(3),
                    workers: config.backup_compression_workers.unwrap_or(workers),
                }
            }
        }
    }

    fn server(word: Word, config: &ServerConfig) -> ServerCompression {
        let level = config.backup_compression_level.filter(|level| !(word == "gzip" && *level == -1));
        let level = level.map(|level| format!("level={level}"));
        let workers = config.backup_compression_workers.map(|workers| format!("workers={workers}"));
        let detail: Vec<String> = level.into_iter().chain(workers).collect();
        ServerCompression {
            algorithm: word.to_owned(),
            detail: (!detail.is_empty()).then(|| detail.join(",")),
        }
    }

    /// What the server is to do.
    pub(super) const fn server_compression(&self) -> Option<&ServerCompression> {
        match self {
            Self::Plain(compression) => compression.as_ref(),
            Self::Archives(..) => None,
            Self::FromServer(compression, _) => Some(compression),
        }
    }

    /// What the record says.
    pub(super) const fn word(&self) -> Option<Word> {
        match self {
            Self::Plain(_) => None,
            Self::Archives(_, word) | Self::FromServer(_, word) => Some(*word),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, ConfigSources};

    #[expect(clippy::disallowed_methods, reason = "a test's own files")]
    fn form(extra: &str) -> Result<Form, FormError> {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("tapster.conf");
        let text = format!(
            "[barman]\nbarman_home = {}\n[main]\nconninfo = host=none\nbackup_method = postgres\n\
             streaming_archiver = on\nslot_name = x\n{extra}",
            home.path().display()
        );
        std::fs::write(&path, text).unwrap();
        Form::of(&Config::load(&ConfigSources::file(path)).unwrap().servers["main"])
    }

    #[test]
    fn as_barman_reads_its_keys() {
        assert_eq!(form("").unwrap(), Form::Plain(None));
        let none = form("backup_compression = none\n").unwrap();
        assert_eq!(none, Form::Archives(ArchiveCompression::None, "none"));
        let gzip = "backup_compression = gzip\n";
        assert_eq!(form(gzip).unwrap(), Form::Archives(ArchiveCompression::Gzip(6), "gzip"));
        let weak = form(&format!("{gzip}backup_compression_level = 1\n")).unwrap();
        assert_eq!(weak, Form::Archives(ArchiveCompression::Gzip(1), "gzip"));
        let zstd = form(
            "backup_compression = zstd\nbackup_compression_location = server\nbackup_compression_level = 5\n\
             backup_compression_workers = 3\n",
        )
        .unwrap();
        let detail = Some("level=5,workers=3".to_owned());
        let asked = ServerCompression { algorithm: "zstd".to_owned(), detail };
        assert_eq!(zstd.server_compression(), Some(&asked));
        assert_eq!(zstd.word(), Some("zstd"));
        let plain =
            form(&format!("{gzip}backup_compression_location = server\nbackup_compression_format = plain\n"))
                .unwrap();
        assert!(matches!(&plain, Form::Plain(Some(_))));
        assert_eq!(plain.word(), None);
        for (bad, says) in [
            ("backup_compression_format = plain\n", "format plain is not compatible"),
            ("backup_compression_level = 0\n", "backup_compression = none"),
            ("backup_compression_level = 10\n", "between -1 and 9"),
            ("backup_compression_workers = 2\n", "not compatible with compression gzip"),
        ] {
            let problem = form(&format!("{gzip}{bad}")).unwrap_err().problem;
            assert!(problem.contains(says), "{problem}");
        }
    }
}
