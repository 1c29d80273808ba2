//! Passwords never reach a terminal or a log: `password=…` and `postgresql://user:…@` are masked in every line.

const MASK: &str = "*REDACTED*";

/// `text` with each password of a conninfo string or URI replaced.
pub(crate) fn mask_passwords(text: &str) -> String {
    mask_uris(&mask_keywords(text))
}

fn mask_keywords(text: &str) -> String {
    const KEYWORD: &str = "password";
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(KEYWORD) {
        masked.push_str(before);
        masked.push_str(KEYWORD);
        rest = after;
        // libpq allows blanks on both sides of the equals sign.
        let Some(value) = after.trim_start_matches(' ').strip_prefix('=') else { continue };
        let value = if value.starts_with("  ") { value } else { value.strip_prefix(' ').unwrap_or(value) };
        masked.push('=');
        masked.push_str(MASK);
        rest = after_value(value);
    }
    masked.push_str(rest);
    masked
}

/// What follows a conninfo value: a quoted one ends at its quote (or at the end of the text), a bare one at a
/// blank or a quote of the text around it. A backslash takes the next character with it in both.
fn after_value(value: &str) -> &str {
    let quoted = value.strip_prefix('\'');
    let body = quoted.unwrap_or(value);
    let mut escaped = false;
    for (at, c) in body.char_indices() {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if quoted.is_some() {
            if c == '\'' {
                return body.get(at + 1..).unwrap_or_default();
            }
        } else if c.is_whitespace() || c == '\'' || c == '"' {
            return body.get(at..).unwrap_or_default();
        }
    }
    ""
}

fn mask_uris(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        masked.push_str(before);
        masked.push_str("://");
        rest = after;
        if !before.ends_with("postgresql") && !before.ends_with("postgres") {
            continue;
        }
        let end = after
            .find(|c: char| c.is_whitespace() || matches!(c, '/' | '?' | '\'' | '"'))
            .unwrap_or(after.len());
        let authority = after.get(..end).unwrap_or_default();
        let Some((userinfo, host)) = authority.rsplit_once('@') else { continue };
        let Some((user, _)) = userinfo.split_once(':') else { continue };
        masked.push_str(&format!("{user}:{MASK}@{host}"));
        rest = after.get(end..).unwrap_or_default();
    }
    masked.push_str(rest);
    masked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conninfo_and_uri_passwords_disappear() {
        for (text, masked) in [
            ("host=a password=secret port=1", "host=a password=*REDACTED* port=1"),
            (r"password='it\'s so' x", "password=*REDACTED* x"),
            ("password='open end", "password=*REDACTED*"),
            ("sslpassword=x password = y z", "sslpassword=*REDACTED* password=*REDACTED* z"),
            ("conninfo \"password=x\" bad", "conninfo \"password=*REDACTED*\" bad"),
            ("password authentication failed", "password authentication failed"),
            ("postgresql://u:p@h:5432/db?x=1", "postgresql://u:*REDACTED*@h:5432/db?x=1"),
            ("postgres://u:p:q@h and postgresql://h/db", "postgres://u:*REDACTED*@h and postgresql://h/db"),
            ("postgresql://u@h https://a:b@c", "postgresql://u@h https://a:b@c"),
            ("", ""),
        ] {
            assert_eq!(mask_passwords(text), masked, "{text}");
        }
    }
}
