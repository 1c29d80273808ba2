//! `-T/--tablespace-mapping OLDDIR=NEWDIR`.

use std::path::PathBuf;

use super::super::tree::ReadError;
use super::value_error;

/// One relocation; both directories are absolute.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Mapping {
    /// As the server knows it.
    pub(crate) old: PathBuf,
    /// Where its files go here.
    pub(crate) new: PathBuf,
}

/// `OLDDIR=NEWDIR`; `\=` is an equals sign in a name.
pub(super) fn parse(text: &str) -> Result<Mapping, ReadError> {
    let format =
        || value_error(format!("invalid tablespace mapping format \"{text}\", must be \"OLDDIR=NEWDIR\""));
    let mut directories = vec![String::new()];
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let name = match (c, chars.peek()) {
            ('\\', Some('=')) => {
                chars.next();
                '='
            }
            ('=', _) => {
                if directories.len() == 2 {
                    return Err(value_error("multiple \"=\" signs in tablespace mapping"));
                }
                directories.push(String::new());
                continue;
            }
            (other, _) => other,
        };
        if let Some(last) = directories.last_mut() {
            last.push(name);
        }
    }
    let mut directories = directories.into_iter().map(|name| PathBuf::from(without_trailing_slashes(&name)));
    let (Some(old), Some(new)) = (directories.next(), directories.next()) else { return Err(format()) };
    if old.as_os_str().is_empty() || new.as_os_str().is_empty() {
        return Err(format());
    }
    for (directory, which) in [(&old, "old"), (&new, "new")] {
        if !directory.is_absolute() {
            return Err(value_error(format!(
                "{which} directory is not an absolute path in tablespace mapping: {}",
                directory.display()
            )));
        }
    }
    Ok(Mapping { old, new })
}

fn without_trailing_slashes(name: &str) -> &str {
    let trimmed = name.trim_end_matches('/');
    if trimmed.is_empty() && !name.is_empty() { "/" } else { trimmed }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_signs_can_be_escaped() {
        let mapping = parse(r"/a\=b/=/c\=d\e").ok().unwrap();
        assert_eq!((mapping.old, mapping.new), (PathBuf::from("/a=b"), PathBuf::from("/c=d\\e")));
        for bad in ["", "/a", "/a=", "=/b", "a=/b", "/a=b", "/a=/b=/c"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
