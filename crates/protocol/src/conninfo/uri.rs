//! The form `postgresql://user:password@host:port,host:port/dbname?option=value`, `conninfo_uri_parse` of libpq.

use super::{ConnInfo, ConnInfoError, MASK};

/// What follows the scheme, if this is a URI.
pub(super) fn strip_scheme(text: &str) -> Option<&str> {
    text.strip_prefix("postgresql://").or_else(|| text.strip_prefix("postgres://"))
}

/// Parses what follows the scheme, which was `offset` bytes long.
pub(super) fn parse(into: &mut ConnInfo, offset: usize, text: &str) -> Result<(), ConnInfoError> {
    let whole = offset + text.len();
    let mut rest = text;
    if let Some(at) = text.find(['@', '/']).filter(|at| text.as_bytes().get(*at) == Some(&b'@')) {
        let (credentials, tail) = text.split_at(at);
        let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
        set_if_present(into, "user", user)?;
        set_if_present(into, "password", password)?;
        rest = tail.strip_prefix('@').unwrap_or(tail);
    }

    let (mut hosts, mut ports) = (String::new(), String::new());
    loop {
        if let Some(bracketed) = rest.strip_prefix('[') {
            let (host, tail) = bracketed.split_once(']').ok_or(ConnInfoError::UnterminatedIpv6)?;
            if host.is_empty() {
                return Err(ConnInfoError::EmptyIpv6);
            }
            if let Some(character) = tail.chars().next().filter(|c| !matches!(c, ':' | '/' | '?' | ',')) {
                return Err(ConnInfoError::UnexpectedCharacter {
                    character,
                    position: whole - tail.len() + 1,
                });
            }
            hosts.push_str(host);
            rest = tail;
        } else {
            let (host, tail) = split_before(rest, &[':', '/', '?', ',']);
            hosts.push_str(host);
            rest = tail;
        }
        if let Some(after_colon) = rest.strip_prefix(':') {
            let (port, tail) = split_before(after_colon, &['/', '?', ',']);
            ports.push_str(port);
            rest = tail;
        }
        let Some(next) = rest.strip_prefix(',') else { break };
        hosts.push(',');
        ports.push(',');
        rest = next;
    }
    set_if_present(into, "host", &hosts)?;
    set_if_present(into, "port", &ports)?;

    if let Some(path) = rest.strip_prefix('/') {
        let (dbname, tail) = split_before(path, &['?']);
        set_if_present(into, "dbname", dbname)?;
        rest = tail;
    }
    match rest.strip_prefix('?') {
        Some(query) => parse_query(into, query),
        None => Ok(()),
    }
}

fn parse_query(into: &mut ConnInfo, query: &str) -> Result<(), ConnInfoError> {
    let mut rest = query;
    // A trailing `&` ends the list; any other empty parameter is an error.
    while !rest.is_empty() {
        let (parameter, tail) = rest.split_once('&').unwrap_or((rest, ""));
        rest = tail;
        let (keyword, value) = parameter
            .split_once('=')
            .ok_or_else(|| ConnInfoError::MissingSeparator { parameter: parameter.to_owned() })?;
        if value.contains('=') {
            return Err(ConnInfoError::ExtraSeparator { parameter: keyword.to_owned() });
        }
        let keyword = decode(keyword, false)?;
        let value = decode(value, super::keyword::is_secret(&keyword))?;
        if (keyword.as_str(), value.as_str()) == ("ssl", "true") {
            // What JDBC calls it.
            into.set("sslmode", "require")?;
            continue;
        }
        into.set(&keyword, value).map_err(|error| match error {
            ConnInfoError::UnknownKeyword { keyword } => {
                ConnInfoError::UnknownParameter { parameter: keyword }
            }
            other => other,
        })?;
    }
    Ok(())
}

fn split_before<'a>(text: &'a str, ends: &[char]) -> (&'a str, &'a str) {
    text.split_at(text.find(ends).unwrap_or(text.len()))
}

fn set_if_present(into: &mut ConnInfo, keyword: &str, encoded: &str) -> Result<(), ConnInfoError> {
    if encoded.is_empty() {
        return Ok(());
    }
    into.set(keyword, decode(encoded, super::keyword::is_secret(keyword))?)
}

fn decode(encoded: &str, secret: bool) -> Result<String, ConnInfoError> {
    let token = || if secret { MASK.to_owned() } else { encoded.to_owned() };
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        match (rest.next().and_then(digit), rest.next().and_then(digit)) {
            (Some(0), Some(0)) => return Err(ConnInfoError::PercentZero { token: token() }),
            (Some(high), Some(low)) => bytes.push(high << 4 | low),
            _ => return Err(ConnInfoError::PercentEncoding { token: token() }),
        }
    }
    String::from_utf8(bytes).map_err(|_| ConnInfoError::NotUtf8 { token: token() })
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}
