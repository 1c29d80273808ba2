//! PostgreSQL's client programs on this host.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use crate::probe;

/// One program, as `--version` describes it. It is not there when `path` is `None`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct ClientProgram {
    /// Where it was found, in `path_prefix` or `PATH`.
    pub path: Option<PathBuf>,
    /// Its version, such as `15.20`.
    pub version: Option<String>,
    /// Whether it is not older than the server; unknown when one of the versions is.
    pub compatible: Option<bool>,
}

/// Where it is, and below that what it says.
const SCRIPT: &str = r#"for name do if found=$(command -v "$name"); then echo "$found"; exec "$found" --version; fi; done; exit 1"#;

impl ClientProgram {
    /// The first of `names` that is there; `major` is the server's version.
    pub(super) fn find(
        names: &[&str],
        path_prefix: Option<&str>,
        major: Option<u32>,
        stop: &AtomicBool,
    ) -> Self {
        let Some(answer) = probe::ask_shell(SCRIPT, names, path_prefix, stop) else { return Self::default() };
        let (path, version) = answer.split_once('\n').unwrap_or((&answer, ""));
        let version = version_in(version);
        let own = version.as_deref().and_then(major_in);
        Self {
            path: Some(PathBuf::from(path)),
            version,
            compatible: own.zip(major).map(|(own, server)| server <= own),
        }
    }
}

/// The version in `pg_basebackup (PostgreSQL) 15.20 (Debian 15.20-0+deb12u1)`.
fn version_in(text: &str) -> Option<String> {
    let mut plain = String::new();
    let mut depth = 0_u32;
    for c in text.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            c if depth == 0 => plain.push(c),
            _ => {}
        }
    }
    let version = plain.split_whitespace().nth(1)?;
    let digits = version.bytes().take_while(u8::is_ascii_digit).count();
    (digits > 0 && version.len() > digits && version.len() <= 32).then(|| version.to_owned())
}

fn major_in(version: &str) -> Option<u32> {
    version.get(..version.bytes().take_while(u8::is_ascii_digit).count())?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_in_what_programs_say() {
        for (text, version) in [
            ("pg_basebackup (PostgreSQL) 15.20 (Debian 15.20-0+deb12u1)\n", Some("15.20")),
            ("pg_basebackup (PostgreSQL) 19devel\n", Some("19devel")),
            ("pg_receivexlog (PostgreSQL) 9.6.24", Some("9.6.24")),
            ("pg_basebackup 15", None),
            ("pg_basebackup", None),
            ("", None),
            ("x ((", None),
        ] {
            assert_eq!(version_in(text).as_deref(), version, "{text}");
        }
        assert_eq!((major_in("15.20"), major_in("19devel"), major_in("x")), (Some(15), Some(19), None));
    }

    #[test]
    fn a_program_that_is_not_there() {
        let stop = AtomicBool::new(false);
        let none = ClientProgram::find(&["tapster-no-such-program"], Some("/nowhere"), Some(15), &stop);
        assert_eq!(none, ClientProgram::default());
    }
}
