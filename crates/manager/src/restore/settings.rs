//! The configuration files of a restored cluster: what must not act as it did on the old server.
//!
//! Follows Barman 3.19 (`recovery_executor`): `archive_command` is replaced by `false`, old recovery targets are
//! commented out, settings that point outside the cluster are reported, and the original stays as `<file>.origin`.
//! Unlike Barman, line numbers are those an editor shows for the new file (Barman counts from zero, and changes in the original
//! file), and PostgreSQL 15's `archive_library` is emptied too: a restored copy must not archive into the place of the original.

/// A setting that was changed or needs a look.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SettingAt {
    /// File name relative to the data directory.
    pub file: String,
    /// Line in the new file, counted from 1.
    pub line: usize,
    /// Setting name.
    pub key: String,
    /// Value as written; `None` for a line that is a comment now.
    pub value: Option<String>,
}

/// What [`neutralise`] made of a configuration file.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Neutralised {
    /// The new content.
    pub content: Vec<u8>,
    /// Settings that were replaced.
    pub changes: Vec<SettingAt>,
    /// Settings the operator must review.
    pub warnings: Vec<SettingAt>,
}

/// What the marker of a disabled line looks like; Barman's own, so that its users find it.
const MARKER: &str = "#BARMAN#";

const RECOVERY_TARGETS: [&str; 8] = [
    "recovery_target",
    "recovery_target_action",
    "recovery_target_inclusive",
    "recovery_target_lsn",
    "recovery_target_name",
    "recovery_target_time",
    "recovery_target_timeline",
    "recovery_target_xid",
];

const DANGEROUS: [&str; 14] = [
    "config_file",
    "data_directory",
    "external_pid_file",
    "hba_file",
    "ident_file",
    "include",
    "include_dir",
    "include_if_exists",
    "ssl_ca_file",
    "ssl_cert_file",
    "ssl_crl_file",
    "ssl_key_file",
    "unix_socket_directories",
    "unix_socket_directory",
];

/// Replaces what would harm when the restored cluster starts. `file` is only used in the report.
pub fn neutralise(file: &str, original: &[u8]) -> Neutralised {
    let mut result =
        Neutralised { content: Vec::with_capacity(original.len() + 64), ..Neutralised::default() };
    let mut line_number = 0;
    for line in original.split_inclusive(|byte| *byte == b'\n') {
        line_number += 1;
        let Some((key, value)) = setting(line) else {
            result.content.extend_from_slice(line);
            continue;
        };
        let at = |line, value: Option<&str>| SettingAt {
            file: file.to_owned(),
            line,
            key: key.clone(),
            value: value.map(str::to_owned),
        };
        let name = key.to_ascii_lowercase();
        let replacement = match name.as_str() {
            "archive_command" => Some("false"),
            "archive_library" => Some("''"),
            _ => None,
        };
        if let Some(replacement) = replacement {
            disable(&mut result.content, line);
            line_number += 1;
            result.content.extend_from_slice(format!("{key} = {replacement}\n").as_bytes());
            result.changes.push(at(line_number, Some(replacement)));
        } else if RECOVERY_TARGETS.contains(&name.as_str()) {
            disable(&mut result.content, line);
            result.changes.push(at(line_number, None));
        } else {
            if DANGEROUS.contains(&name.as_str()) {
                result.warnings.push(at(line_number, Some(&value)));
            }
            result.content.extend_from_slice(line);
        }
    }
    result
}

fn disable(content: &mut Vec<u8>, line: &[u8]) {
    content.extend_from_slice(MARKER.as_bytes());
    content.extend_from_slice(line);
    if !line.ends_with(b"\n") {
        content.push(b'\n');
    }
}

/// `key = value`, `key value` or `key=value`; comments and blank lines are none.
fn setting(line: &[u8]) -> Option<(String, String)> {
    let text = String::from_utf8_lossy(line);
    let text = text.trim();
    let end = text.find(|c: char| c.is_whitespace() || c == '=').unwrap_or(text.len());
    let (key, rest) = text.split_at_checked(end)?;
    if key.is_empty() || key.starts_with('#') {
        return None;
    }
    let rest = rest.trim_start();
    Some((key.to_owned(), rest.strip_prefix('=').unwrap_or(rest).trim().to_owned()))
}

/// A setting's value as a quoted literal of PostgreSQL's configuration files.
pub fn quote(value: &str) -> String {
    format!("'{}'", value.replace('\\', "\\\\").replace('\'', "''"))
}

/// Appends `lines` to a configuration file, on lines of their own.
pub fn append(content: &mut Vec<u8>, lines: &[String]) {
    if content.last().is_some_and(|last| *last != b'\n') {
        content.push(b'\n');
    }
    for line in lines {
        content.extend_from_slice(line.as_bytes());
        content.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neutralises_what_would_act_on_the_old_server() {
        let text = b"# archive_command = 'x'\nport = 5432\narchive_command = 'cp %p /a'\n\
                     \tArchive_Library 'basic_archive'\nrecovery_target_time='x'\n  unix_socket_directories = '/s' # c\nhba_file='/h'";
        let result = neutralise("postgresql.conf", text);
        assert_eq!(
            String::from_utf8(result.content).unwrap(),
            "# archive_command = 'x'\nport = 5432\n#BARMAN#archive_command = 'cp %p /a'\narchive_command = false\n\
             #BARMAN#\tArchive_Library 'basic_archive'\nArchive_Library = ''\n#BARMAN#recovery_target_time='x'\n\
             \x20 unix_socket_directories = '/s' # c\nhba_file='/h'"
        );
        let changed: Vec<_> = result.changes.iter().map(|c| (c.line, c.key.as_str())).collect();
        assert_eq!(changed, [(4, "archive_command"), (6, "Archive_Library"), (7, "recovery_target_time")]);
        assert_eq!(result.changes[2].value, None);
        let warned: Vec<_> = result.warnings.iter().map(|w| (w.line, w.key.as_str())).collect();
        assert_eq!(warned, [(8, "unix_socket_directories"), (9, "hba_file")]);
    }

    #[test]
    fn other_bytes_stay_as_they_are() {
        let text = b"log_line_prefix = '\xe9 %m'\r\n\n\n#end";
        assert_eq!(neutralise("f", text).content, text);
    }

    #[test]
    fn a_last_line_without_newline_is_disabled_whole() {
        let result = neutralise("f", b"archive_command = 'x'");
        assert_eq!(result.content, b"#BARMAN#archive_command = 'x'\narchive_command = false\n");
    }

    #[test]
    fn quoting() {
        assert_eq!(quote("a'b\\c"), "'a''b\\\\c'");
        let mut content = b"x = 1".to_vec();
        append(&mut content, &["y = 2".to_owned()]);
        assert_eq!(content, b"x = 1\ny = 2\n");
    }
}
