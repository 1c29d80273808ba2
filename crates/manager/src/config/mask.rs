//! Keeping passwords out of what is shown.

const MASK: &str = "*REDACTED*";

/// What the text is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Within {
    /// A setting: a connection string, or a command.
    Setting,
    /// A line that may quote one.
    Line,
}

/// `text` with every password replaced by `*REDACTED*`, as Barman shows its settings: `password=…`, bare or quoted,
/// and the password of a `postgresql://` address. A backslash takes the next character along, as with libpq.
///
/// ```
/// use tapster_manager::config::mask_passwords;
/// assert_eq!(mask_passwords("host=a password='p w' user=b"), "host=a password=*REDACTED* user=b");
/// assert_eq!(mask_passwords("postgresql://me:secret@host/db"), "postgresql://me:*REDACTED*@host/db");
/// ```
pub fn mask_passwords(text: &str) -> String {
    mask(text, Within::Setting)
}

/// As [`mask_passwords`] for a line of any text, in which a connection string may stand in quotes: they stay.
///
/// ```
/// use tapster_manager::config::mask_passwords_in_line;
/// assert_eq!(mask_passwords_in_line(r#"bad: "password=x" is"#), r#"bad: "password=*REDACTED*" is"#);
/// ```
pub fn mask_passwords_in_line(text: &str) -> String {
    mask(text, Within::Line)
}

fn mask(text: &str, within: Within) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((skipped, secret)) = next_secret(rest, within) {
        out.push_str(skipped);
        out.push_str(MASK);
        rest = rest.get(skipped.len().saturating_add(secret)..).unwrap_or_default();
    }
    out.push_str(rest);
    out
}

/// What precedes the next password in `text`, and the password's length.
fn next_secret(text: &str, within: Within) -> Option<(&str, usize)> {
    let keyword = find_keyword(text).and_then(|start| {
        let secret = secret_length(text.get(start..)?, within);
        Some((start, secret))
    });
    let address = find_address(text, within);
    let (start, length) = match (keyword, address) {
        (Some(a), Some(b)) => a.min(b),
        (a, b) => a.or(b)?,
    };
    Some((text.get(..start)?, length))
}

/// Where the value of the first `password = value` starts.
fn find_keyword(text: &str) -> Option<usize> {
    const KEYWORD: &str = "password";
    let bytes = text.as_bytes();
    let mut from = 0;
    loop {
        let at = bytes
            .get(from..)?
            .windows(KEYWORD.len())
            .position(|w| w.eq_ignore_ascii_case(KEYWORD.as_bytes()))?;
        let end = from.checked_add(at)?.checked_add(KEYWORD.len())?;
        let tail = text.get(end..)?;
        if let Some(value) = tail.trim_start().strip_prefix('=') {
            let value = value.trim_start_matches([' ', '\t']);
            if !value.is_empty() {
                return text.len().checked_sub(value.len());
            }
        }
        from = end;
    }
}

fn secret_length(value: &str, within: Within) -> usize {
    // In a line, a later double quote is the end of what is quoted.
    let quote = value.chars().next().filter(|c| matches!(c, '\'' | '"'));
    let mut escaped = false;
    for (at, c) in value.char_indices().skip(usize::from(quote.is_some())) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if quote == Some(c) => return at.saturating_add(1),
            _ if quote.is_some() => {}
            '\'' | '"' if within == Within::Line => return at,
            c if c.is_whitespace() => return at,
            _ => {}
        }
    }
    value.len()
}

/// Where the password of the first `postgresql://user:password@` starts, and its length.
fn find_address(text: &str, within: Within) -> Option<(usize, usize)> {
    let mut from = 0;
    loop {
        let start = text.get(from..)?.find("://")?.checked_add(from)?.checked_add(3)?;
        let scheme = text.get(..start.saturating_sub(3))?;
        let tail = text.get(start..)?;
        let authority = authority(tail, within);
        if (scheme.ends_with("postgresql") || scheme.ends_with("postgres"))
            && let Some((credentials, _)) = authority.rsplit_once('@')
            && let Some((user, password)) = credentials.split_once(':')
            && password != MASK
        {
            return Some((start.saturating_add(user.len()).saturating_add(1), password.len()));
        }
        from = start;
    }
}

/// The user, password and host that an address begins with. In a line, a quote ends it, unless it is one of the password's: then an
/// `@` follows. One that has come before may be of the password, too, but not when it goes on as after something quoted.
fn authority(tail: &str, within: Within) -> &str {
    let is_end = |c: char| c.is_whitespace() || c == '?';
    let whole = tail.get(..tail.find(is_end).unwrap_or(tail.len())).unwrap_or_default();
    let (first, last) = (whole.find('@'), whole.rfind('@'));
    let closes = |at: usize| {
        let is_last = last.is_none_or(|last| last < at);
        let after = whole.get(at.saturating_add(1)..).unwrap_or_default();
        is_last
            || (first.is_some_and(|first| first < at)
                && after.starts_with([',', ';', ':', ')', ']', '}', '>']))
    };
    let mut quotes = whole.match_indices(['\'', '"']).map(|(at, _)| at);
    let end = quotes.find(|at| within == Within::Line && closes(*at));
    end.and_then(|end| whole.get(..end)).unwrap_or(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_each_form() {
        for (text, masked) in [
            ("no secret", "no secret"),
            ("password=x", "password=*REDACTED*"),
            ("PASSWORD = x user=y", "PASSWORD = *REDACTED* user=y"),
            (r"password='a\' b' x password=c", "password=*REDACTED* x password=*REDACTED*"),
            ("password='open", "password=*REDACTED*"),
            (r"password=se\ cret user=u", "password=*REDACTED* user=u"),
            (r"password=se\\ user=u", "password=*REDACTED* user=u"),
            ("password=it's", "password=*REDACTED*"),
            ("PGPASSWORD=x psql", "PGPASSWORD=*REDACTED* psql"),
            ("postgresql://u:it's@h", "postgresql://u:*REDACTED*@h"),
            ("password= ", "password= "),
            ("password", "password"),
            ("postgres://u:p:q@h/d?password=z", "postgres://u:*REDACTED*@h/d?password=*REDACTED*"),
            ("postgresql://u@h http://u:p@h", "postgresql://u@h http://u:p@h"),
            (
                "postgresql://u:p@é/x postgresql://v:w@h",
                "postgresql://u:*REDACTED*@é/x postgresql://v:*REDACTED*@h",
            ),
        ] {
            assert_eq!(mask_passwords(text), masked, "{text}");
        }
    }

    #[test]
    fn what_quotes_a_connection_string_stays() {
        for (text, masked) in [
            ("host=a password=secret port=1", "host=a password=*REDACTED* port=1"),
            (r"password='it\'s so' x", "password=*REDACTED* x"),
            (r"password=se\ cret x", "password=*REDACTED* x"),
            ("password='open end", "password=*REDACTED*"),
            ("sslpassword=x password = y z", "sslpassword=*REDACTED* password = *REDACTED* z"),
            ("conninfo \"password=x\" bad", "conninfo \"password=*REDACTED*\" bad"),
            ("\"password=*REDACTED*\"", "\"password=*REDACTED*\""),
            ("password authentication failed", "password authentication failed"),
            ("postgresql://u:p@h:5432/db?x=1", "postgresql://u:*REDACTED*@h:5432/db?x=1"),
            (
                "\"postgres://u:p:q@h\" and postgresql://h/db",
                "\"postgres://u:*REDACTED*@h\" and postgresql://h/db",
            ),
            ("postgresql://u@h https://a:b@c", "postgresql://u@h https://a:b@c"),
            ("PGPASSWORD=\"s3cret\" psql", "PGPASSWORD=*REDACTED* psql"),
            (r#"password="s3\"cr et" x"#, "password=*REDACTED* x"),
            ("password=\"open end", "password=*REDACTED*"),
            ("at postgresql://u:it's@h, port", "at postgresql://u:*REDACTED*@h, port"),
            ("'postgresql://u:it's@h/db' x", "'postgresql://u:*REDACTED*@h/db' x"),
            ("postgresql://u:p@ss\"w'@h", "postgresql://u:*REDACTED*@h"),
            (
                r#"{"dsn":"postgresql://u:p@h/db","mail":"a@b"}"#,
                r#"{"dsn":"postgresql://u:*REDACTED*@h/db","mail":"a@b"}"#,
            ),
            ("", ""),
        ] {
            assert_eq!(mask_passwords_in_line(text), masked, "{text}");
        }
    }
}
