//! `%(key)s` references and literal percent signs in values.
//!
//! Barman expands every value twice: when a file is loaded, within that file, and when the option is read, within
//! the merged section; so a literal percent sign has to be written `%%%%` for it, and `%%` or a lone `%` make every
//! command fail. Here all three give `%`. Whatever Barman does accept expands to the same text.

/// How deep references may nest, as in Python's parser.
const MAX_DEPTH: usize = 10;
/// How long, in bytes, an expanded value may grow.
const MAX_LENGTH: usize = 64 << 10;

/// Why a value cannot be expanded.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Fault {
    /// There is no option of this name.
    Missing(String),
    /// Nested too deep, or too long.
    TooDeep,
}

/// One pass over a value: `%%` gives `%`, `%(key)s` the expanded value of `key`, any other `%` stays.
pub(super) fn expand<'a>(text: &str, lookup: &dyn Fn(&str) -> Option<&'a str>) -> Result<String, Fault> {
    let mut out = String::with_capacity(text.len());
    append(text, lookup, 1, Missing::Refuse, &mut out)?;
    Ok(out)
}

/// The second pass: as [`expand`], but a reference to nothing stays as it is.
///
/// One can only come from `%%(key)s`, which Barman refuses here and older releases took as the text `%(key)s`.
pub(super) fn expand_again<'a>(
    text: &str,
    lookup: &dyn Fn(&str) -> Option<&'a str>,
) -> Result<String, Fault> {
    let mut out = String::with_capacity(text.len());
    append(text, lookup, 1, Missing::Leave, &mut out)?;
    Ok(out)
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Missing {
    Refuse,
    Leave,
}

fn append<'a>(
    text: &str,
    lookup: &dyn Fn(&str) -> Option<&'a str>,
    depth: usize,
    missing: Missing,
    out: &mut String,
) -> Result<(), Fault> {
    if depth > MAX_DEPTH {
        return Err(Fault::TooDeep);
    }
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        if let Some(tail) = after.strip_prefix('%') {
            out.push('%');
            rest = tail;
        } else if let Some((key, tail)) = after.strip_prefix('(').and_then(|r| r.split_once(")s"))
            && !key.contains(')')
        {
            match (lookup(&key.to_lowercase()), missing) {
                (Some(value), _) if value.contains('%') => append(value, lookup, depth + 1, missing, out)?,
                (Some(value), _) => out.push_str(value),
                (None, Missing::Refuse) => return Err(Fault::Missing(key.chars().take(80).collect())),
                (None, Missing::Leave) => {
                    out.push_str("%(");
                    out.push_str(key);
                    out.push_str(")s");
                }
            }
            rest = tail;
        } else {
            out.push('%');
            rest = after;
        }
        if out.len() > MAX_LENGTH {
            return Err(Fault::TooDeep);
        }
    }
    out.push_str(rest);
    if out.len() > MAX_LENGTH.max(text.len()) { Err(Fault::TooDeep) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(text: &str) -> Result<String, Fault> {
        let lookup = |key: &str| match key {
            "a" => Some("A"),
            "b" => Some("<%(a)s>"),
            "loop" => Some("%(loop)s"),
            "wide" => Some("%(wider)s%(wider)s%(wider)s%(wider)s"),
            "wider" => {
                Some("%(widest)s%(widest)s%(widest)s%(widest)s%(widest)s%(widest)s%(widest)s%(widest)s")
            }
            "widest" => Some("0123456789012345678901234567890123456789%(a)s"),
            _ => None,
        };
        expand_again(&expand(text, &lookup)?, &lookup)
    }

    #[test]
    fn every_way_to_write_a_percent_sign() {
        for text in ["date +%%%%s", "date +%%s", "date +%s"] {
            assert_eq!(both(text).unwrap(), "date +%s");
        }
        assert_eq!(both("100%").unwrap(), "100%");
        assert_eq!(both("%").unwrap(), "%");
        assert_eq!(both("%(a").unwrap(), "%(a");
    }

    #[test]
    fn references() {
        assert_eq!(both("x%(A)s-%(b)s").unwrap(), "xA-<A>");
        assert_eq!(both("%%(a)s").unwrap(), "A", "Barman's second pass expands it");
        assert_eq!(both("%%%%(a)s").unwrap(), "%(a)s");
        assert_eq!(both("%(none)s"), Err(Fault::Missing("none".to_owned())));
        assert_eq!(both("%%(none)s").unwrap(), "%(none)s");
        assert_eq!(both("%(loop)s"), Err(Fault::TooDeep));
        assert!(both("%(wide)s").is_ok());
        assert_eq!(both(&"%(wide)s".repeat(60)), Err(Fault::TooDeep));
    }
}
