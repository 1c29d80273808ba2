//! What the processes of one piece of work have in common on the other host.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use super::host::quote;

/// Goes before commands: variables in their environment, by which they and what they start can be found there later, and a
/// condition without which they do nothing.
///
/// ```
/// use std::ffi::OsStr;
/// use tapster_copy::remote::Guard;
/// let guard = Guard::new(&[("MARK", OsStr::new("it's 7"))], "[ -d /srv ]");
/// let command = guard.program("rsync");
/// assert_eq!(command.to_str().unwrap(), r#"env MARK='it'\''s 7' sh -c '[ -d /srv ] && exec rsync "$@"' sh"#);
/// ```
#[derive(Clone, Debug)]
pub struct Guard {
    /// `env` with the variables, as words of a shell.
    environment: Vec<u8>,
    condition: String,
}

impl Guard {
    /// `condition` is a command list of a POSIX shell, which sees the variables. Their names must be such as a shell has.
    pub fn new(variables: &[(&str, &OsStr)], condition: impl Into<String>) -> Self {
        let mut environment = b"env".to_vec();
        for (name, value) in variables {
            environment.push(b' ');
            environment.extend_from_slice(name.as_bytes());
            environment.push(b'=');
            quote(&mut environment, value.as_bytes());
        }
        Self { environment, condition: condition.into() }
    }

    /// A program with it, as words of a shell to which the program's arguments are appended (`rsync --rsync-path`).
    pub fn program(&self, name: &str) -> OsString {
        let mut line = self.environment.clone();
        line.extend_from_slice(b" sh -c ");
        quote(&mut line, format!("{} && exec {name} \"$@\"", self.condition).as_bytes());
        line.extend_from_slice(b" sh");
        OsString::from_vec(line)
    }

    /// The words before `sh -c`, and the script with its condition.
    pub(super) fn around(&self, script: &str) -> (&[u8], String) {
        (&self.environment, format!("{{ {}; }} || exit 1; {script}", self.condition))
    }
}
