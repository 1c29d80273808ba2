//! `-Z/--compress`: `LEVEL`, or `[{client|server}-]METHOD[:DETAIL]`, checked as PostgreSQL's
//! `common/compression.c` does.

use tapster_copy::archive::ArchiveCompression;
use tapster_protocol::ServerCompression;

use super::super::tree::ReadError;
use super::value_error;

/// A method PostgreSQL knows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Method {
    /// As it is.
    None,
    /// gzip, levels 1 to 9.
    Gzip,
    /// LZ4 frames, levels 1 to 12.
    Lz4,
    /// Zstandard, levels to 22, negative ones too.
    Zstd,
}

impl Method {
    fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    fn levels(self) -> Option<(i32, i32, i32)> {
        match self {
            Self::None => None,
            Self::Gzip => Some((1, 9, -1)),
            Self::Lz4 => Some((1, 12, 0)),
            Self::Zstd => Some((-131_072, 22, 3)),
        }
    }
}

/// Who compresses.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Compress {
    /// We do, after receiving.
    Client(Spec),
    /// The server does; it also judges the details.
    Server {
        /// `gzip`, …
        method: String,
        /// What followed the colon.
        detail: Option<String>,
    },
}

/// A method with its details.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Spec {
    /// The method.
    pub(crate) method: Method,
    /// `None` means the method's default.
    pub(crate) level: Option<i32>,
    /// Threads (zstd).
    pub(crate) workers: Option<u32>,
    /// Long-distance matching (zstd).
    pub(crate) long: bool,
}

impl Spec {
    /// No compression.
    pub(crate) const NONE: Self = Self { method: Method::None, level: None, workers: None, long: false };
}

/// Reads the option's value.
pub(super) fn parse(text: &str) -> Result<Compress, ReadError> {
    // A number alone is what older releases took: a gzip level, 0 for none.
    if let Ok(level) = text.trim().parse::<i32>() {
        let spec = if level == 0 {
            Spec::NONE
        } else {
            Spec { method: Method::Gzip, level: Some(level), ..Spec::NONE }
        };
        return checked(spec).map(Compress::Client);
    }
    let (server, rest) = match (text.strip_prefix("server-"), text.strip_prefix("client-")) {
        (Some(rest), _) => (true, rest),
        (_, Some(rest)) => (false, rest),
        _ => (false, text),
    };
    let (method, detail) =
        rest.split_once(':').map_or((rest, None), |(method, detail)| (method, Some(detail)));
    if server {
        return Ok(Compress::Server { method: method.to_owned(), detail: detail.map(str::to_owned) });
    }
    let method = [Method::None, Method::Gzip, Method::Lz4, Method::Zstd]
        .into_iter()
        .find(|known| known.name().eq_ignore_ascii_case(method))
        .ok_or_else(|| value_error(format!("unrecognized compression algorithm: \"{method}\"")))?;
    let mut spec = Spec { method, ..Spec::NONE };
    if let Some(detail) = detail {
        read_detail(&mut spec, detail)?;
    }
    checked(spec).map(Compress::Client)
}

fn invalid(text: impl std::fmt::Display) -> ReadError {
    value_error(format!("invalid compression specification: {text}"))
}

fn read_detail(spec: &mut Spec, detail: &str) -> Result<(), ReadError> {
    if detail.is_empty() {
        return Err(invalid("found empty string where a compression option was expected"));
    }
    if let Ok(level) = detail.parse() {
        spec.level = Some(level);
        return Ok(());
    }
    for item in detail.split(',') {
        let (keyword, value) = item.split_once('=').map_or((item, None), |(k, v)| (k, Some(v)));
        let integer = || {
            value
                .ok_or_else(|| invalid(format!("compression option \"{keyword}\" requires a value")))?
                .parse::<i32>()
                .map_err(|_| {
                    invalid(format!("value for compression option \"{keyword}\" must be an integer"))
                })
        };
        match keyword {
            "" => return Err(invalid("found empty string where a compression option was expected")),
            "level" => spec.level = Some(integer()?),
            "workers" => {
                let workers = u32::try_from(integer()?)
                    .map_err(|_| invalid("value for compression option \"workers\" must not be negative"))?;
                spec.workers = Some(workers);
            }
            "long" => {
                spec.long = match value.map(str::to_ascii_lowercase).as_deref() {
                    None | Some("yes" | "true" | "on" | "1") => true,
                    Some("no" | "false" | "off" | "0") => false,
                    Some(_) => {
                        return Err(invalid("value for compression option \"long\" must be a Boolean value"));
                    }
                }
            }
            unknown => return Err(invalid(format!("unrecognized compression option: \"{unknown}\""))),
        }
    }
    Ok(())
}

fn checked(spec: Spec) -> Result<Spec, ReadError> {
    let name = spec.method.name();
    match (spec.level, spec.method.levels()) {
        (Some(_), None) => {
            return Err(invalid(format!(
                "compression algorithm \"{name}\" does not accept a compression level"
            )));
        }
        (Some(level), Some((min, max, default))) if !(min..=max).contains(&level) && level != default => {
            return Err(invalid(format!(
                "compression algorithm \"{name}\" expects a compression level between {min} and {max} (default at \
                 {default})"
            )));
        }
        _ => {}
    }
    if spec.method != Method::Zstd && spec.workers.is_some() {
        return Err(invalid(format!("compression algorithm \"{name}\" does not accept a worker count")));
    }
    if spec.method != Method::Zstd && spec.long {
        return Err(invalid(format!("compression algorithm \"{name}\" does not support long-distance mode")));
    }
    Ok(spec)
}

impl Compress {
    /// How archives are written here, and how the server is asked to send them.
    pub(crate) fn for_archives(&self) -> Result<(ArchiveCompression, Option<ServerCompression>), String> {
        let client = |spec: &Spec| {
            Ok(match spec.method {
                Method::None => ArchiveCompression::None,
                Method::Gzip => ArchiveCompression::Gzip(
                    spec.level.and_then(|level| u32::try_from(level).ok()).unwrap_or(6),
                ),
                Method::Lz4 => ArchiveCompression::Lz4,
                Method::Zstd => match spec.level {
                    None | Some(0) => ArchiveCompression::Zstd {
                        level: 3,
                        workers: spec.workers.unwrap_or_else(processors),
                    },
                    Some(level @ 1..) => {
                        ArchiveCompression::Zstd { level, workers: spec.workers.unwrap_or_else(processors) }
                    }
                    Some(_) => return Err("negative compression levels are not supported".to_owned()),
                },
            })
        };
        match self {
            Self::Client(spec) => Ok((client(spec)?, None)),
            Self::Server { method, .. } if method.eq_ignore_ascii_case("none") => {
                Ok((ArchiveCompression::None, None))
            }
            Self::Server { method, detail } => Ok((
                ArchiveCompression::None,
                Some(ServerCompression { algorithm: method.clone(), detail: detail.clone() }),
            )),
        }
    }
}

/// As many threads as zstd is given where nobody says how many; what comes out is one frame all the same.
fn processors() -> u32 {
    std::thread::available_parallelism().map_or(0, |count| u32::try_from(count.get()).unwrap_or(0)).min(16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(text: &str) -> Option<Spec> {
        match parse(text) {
            Ok(Compress::Client(spec)) => Some(spec),
            _ => None,
        }
    }

    #[test]
    fn all_forms_are_read() {
        assert_eq!(client("0"), Some(Spec::NONE));
        assert_eq!(client("none"), Some(Spec::NONE));
        assert_eq!(client("5"), Some(Spec { method: Method::Gzip, level: Some(5), ..Spec::NONE }));
        assert_eq!(
            client("client-GZIP:9"),
            Some(Spec { method: Method::Gzip, level: Some(9), ..Spec::NONE })
        );
        assert_eq!(
            client("zstd:level=-5,workers=4,long"),
            Some(Spec { method: Method::Zstd, level: Some(-5), workers: Some(4), long: true })
        );
        assert_eq!(
            parse("server-foo:bar").ok(),
            Some(Compress::Server { method: "foo".to_owned(), detail: Some("bar".to_owned()) })
        );
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in [
            "foo",
            "10",
            "gzip:0",
            "none:3",
            "lz4:13",
            "gzip:",
            "gzip:level=x",
            "gzip:workers=2",
            "zstd:level",
            "lz4:long",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
