//! Keeping passwords out of what is shown.

/// `text` with every password replaced by `*REDACTED*`, as Barman shows its lines: `password=…`, bare or quoted,
/// and the password of a `postgresql://` address.
///
/// ```
/// use tapster_manager::config::mask_passwords;
/// assert_eq!(mask_passwords("host=a password='p w' user=b"), "host=a password=*REDACTED* user=b");
/// assert_eq!(mask_passwords("postgresql://me:secret@host/db"), "postgresql://me:*REDACTED*@host/db");
/// ```
pub fn mask_passwords(text: &str) -> String {
    const MASK: &str = "*REDACTED*";
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((skipped, secret)) = next_secret(rest) {
        out.push_str(skipped);
        out.push_str(MASK);
        rest = rest.get(skipped.len().saturating_add(secret)..).unwrap_or_default();
    }
    out.push_str(rest);
    out
}

/// What precedes the next password in `text`, and the password's length.
fn next_secret(text: &str) -> Option<(&str, usize)> {
    let keyword = find_keyword(text).and_then(|start| {
        let secret = secret_length(text.get(start..)?);
        Some((start, secret))
    });
    let address = find_address(text);
    let (start, length) = match (keyword, address) {
        (Some(a), Some(b)) => a.min(b),
        (a, b) => a.or(b)?,
    };
    Some((text.get(..start)?, length))
}

/// Where the value of the first `password = value` starts.
fn find_keyword(text: &str) -> Option<usize> {
    let lower = text.to_ascii_lowercase();
    let mut from = 0;
    loop {
        let end = lower.get(from..)?.find("password")?.checked_add(from)?.checked_add("password".len())?;
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

fn secret_length(value: &str) -> usize {
    let quote = value.chars().next().filter(|c| matches!(c, '\'' | '"'));
    let Some(quote) = quote else { return value.find(char::is_whitespace).unwrap_or(value.len()) };
    let mut escaped = false;
    for (at, c) in value.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at.saturating_add(1),
            _ => {}
        }
    }
    value.len()
}

/// Where the password of the first `postgresql://user:password@` starts, and its length.
fn find_address(text: &str) -> Option<(usize, usize)> {
    let mut from = 0;
    loop {
        let start = text.get(from..)?.find("://")?.checked_add(from)?.checked_add(3)?;
        let scheme = text.get(..start.saturating_sub(3))?;
        let tail = text.get(start..)?;
        let authority =
            tail.get(..tail.find(|c: char| c.is_whitespace() || c == '?').unwrap_or(tail.len()))?;
        if (scheme.ends_with("postgresql") || scheme.ends_with("postgres"))
            && let Some((credentials, _)) = authority.rsplit_once('@')
            && let Some((user, password)) = credentials.split_once(':')
            && password != "*REDACTED*"
        {
            return Some((start.saturating_add(user.len()).saturating_add(1), password.len()));
        }
        from = start;
    }
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
}
