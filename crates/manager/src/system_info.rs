//! What system a host is: its release, kernel, and the rsync and ssh on it.

use std::sync::atomic::AtomicBool;

use crate::probe;

/// A host, as `diagnose` describes it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct SystemInfo {
    /// What `lsb_release -a` says, or what the release files of the distribution say.
    pub release: String,
    /// `uname -a`.
    pub kernel: String,
    /// The first line of `rsync --version`; empty without rsync.
    pub rsync: String,
    /// `ssh -V`; empty without ssh.
    pub ssh: String,
}

/// Prints the four, each followed by a line with nothing but a record separator (U+001E). For any POSIX shell.
const SCRIPT: &str = r#"if r=$(lsb_release -a 2>/dev/null); then printf '%s\n' "$r";
elif [ -f /etc/lsb-release ]; then echo "Ubuntu Linux $(cat /etc/lsb-release)";
elif [ -f /etc/debian_version ]; then echo "Debian GNU/Linux $(cat /etc/debian_version)";
elif [ -f /etc/redhat-release ]; then echo "RedHat Linux $(cat /etc/redhat-release)";
else sw_vers 2>/dev/null || sed -n 's/^PRETTY_NAME=//p' /etc/os-release 2>/dev/null; fi; printf '\036\n';
uname -a; printf '\036\n'; rsync --version 2>/dev/null | head -n 1; printf '\036\n'; ssh -V 2>&1; printf '\036\n'; exit 0"#;

impl SystemInfo {
    /// This host; `None` when it cannot be asked.
    pub fn local(stop: &AtomicBool) -> Option<Self> {
        Self::parse(&probe::ask_shell(SCRIPT, &[], None, stop)?)
    }

    /// The host that `ssh`, a command and its options, leads to.
    pub(crate) fn remote(ssh: &[String], stop: &AtomicBool) -> Option<Self> {
        Self::parse(&probe::ask_host(ssh, SCRIPT, stop)?)
    }

    /// A host may say something before (a message of the day in a profile); what is missing leaves the answer worthless.
    fn parse(answer: &str) -> Option<Self> {
        let mut parts = answer.split("\u{1e}\n").map(|part| part.trim_end().to_owned());
        let mut part = || parts.next();
        let (release, kernel, rsync, ssh) = (part()?, part()?, part()?, part()?);
        part()?;
        let ssh = if ssh.contains("not found") { String::new() } else { ssh };
        Some(Self { release, kernel, rsync, ssh })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_and_one_over_a_shell() {
        let stop = AtomicBool::new(false);
        let info = SystemInfo::local(&stop).unwrap();
        assert!(info.kernel.starts_with("Linux ") && !info.release.is_empty(), "{info:?}");
        let shell = ["sh".to_owned(), "-c".to_owned()];
        assert_eq!(SystemInfo::remote(&shell, &stop), Some(info));
        assert_eq!(SystemInfo::remote(&["true".to_owned()], &stop), None);
    }
}
