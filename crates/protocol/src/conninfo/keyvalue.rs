//! The form `keyword = value`, `conninfo_parse` of libpq.

use super::{ConnInfo, ConnInfoError, MASK};

/// C's `isspace` in the C locale; not Unicode's.
pub(super) fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\x0b' | '\x0c' | '\r')
}

pub(super) fn parse(into: &mut ConnInfo, text: &str) -> Result<(), ConnInfoError> {
    let mut rest = text.trim_start_matches(is_space);
    let mut after_password = false;
    while !rest.is_empty() {
        let end = rest.find(|c| c == '=' || is_space(c)).unwrap_or(rest.len());
        let (name, tail) = rest.split_at(end);
        let Some(value) = tail.trim_start_matches(is_space).strip_prefix('=') else {
            // The usual cause is an unquoted blank in the value before, which may be the password.
            let after = if after_password { MASK } else { name };
            return Err(ConnInfoError::MissingEquals { after: after.to_owned() });
        };
        let value = value.trim_start_matches(is_space);
        let (value, tail) = match value.strip_prefix('\'') {
            Some(quoted) => take_value(quoted, |c| c == '\'').ok_or(ConnInfoError::UnterminatedQuote)?,
            None => take_value(value, is_space).unwrap_or_else(|| (unescape(value), "")),
        };
        into.set(name, value)?;
        after_password = super::keyword::is_secret(name);
        rest = tail.trim_start_matches(is_space);
    }
    Ok(())
}

/// The unescaped text up to an end character that no backslash protects, and what follows that character.
fn take_value(text: &str, is_end: impl Fn(char) -> bool) -> Option<(String, &str)> {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        if !escaped && is_end(c) {
            let (value, tail) = text.split_at(at);
            return Some((unescape(value), tail.get(c.len_utf8()..).unwrap_or_default()));
        }
        escaped = !escaped && c == '\\';
    }
    None
}

/// Drops each backslash and keeps the character after it; a last lone backslash vanishes, as in libpq.
fn unescape(text: &str) -> String {
    let mut value = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        value.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    value
}

/// Appends a value so that [`parse`] and libpq read it back unchanged.
pub(super) fn quote_into(text: &mut String, value: &str) {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | ':' | '@' | '+');
    if !value.is_empty() && value.chars().all(plain) {
        text.push_str(value);
        return;
    }
    text.push('\'');
    for c in value.chars() {
        if matches!(c, '\'' | '\\') {
            text.push('\\');
        }
        text.push(c);
    }
    text.push('\'');
}
