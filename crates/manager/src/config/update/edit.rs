//! Setting one option in the text of a configuration file, leaving every other byte as it is.

use super::super::ini::{IniFile, MAX_FILE_SIZE, RawOption, RawSection, header};
use super::UpdateError;
use std::path::Path;

/// `text` with `key = value` in `[section]`: in place of the option where the section has it, else behind the section's
/// last option, else in a new section at the end.
///
/// # Errors
/// When the text cannot be read, or the value cannot stand in such a file.
pub(super) fn set_option(
    text: &str,
    (section, key): (&str, &str),
    value: &str,
    path: &Path,
) -> Result<String, UpdateError> {
    let before = IniFile::parse(text, path)?;
    let lines: Vec<&str> = text.split_inclusive(['\n', '\r']).collect();
    let place = find(&lines, section, key);
    let option = |indent: &str| format!("{indent}{key} = {value}\n");
    let mut out = String::with_capacity(
        text.len().saturating_add(key.len()).saturating_add(value.len()).saturating_add(64),
    );
    match place {
        Some(Place { indent, from, to }) => {
            for line in lines.iter().take(from) {
                out.push_str(line);
            }
            end_line(&mut out);
            out.push_str(&option(indent));
            for line in lines.iter().skip(to) {
                out.push_str(line);
            }
        }
        None => {
            out.push_str(text);
            end_line(&mut out);
            out.push_str(&format!("[{section}]\n{}", option("")));
        }
    }
    // Whoever reads it has the last word: exactly this option may have changed.
    let after = IniFile::parse(&out, path).ok();
    if out.len() as u64 <= MAX_FILE_SIZE && after == Some(expected(before, section, key, value)) {
        Ok(out)
    } else {
        Err(UpdateError::Unwritable { key: key.to_owned(), value: value.to_owned() })
    }
}

fn end_line(text: &mut String) {
    if !text.is_empty() && !text.ends_with(['\n', '\r']) {
        text.push('\n');
    }
}

/// What is to be replaced, and how far it is indented; nothing, where the option is new.
struct Place<'t> {
    indent: &'t str,
    from: usize,
    to: usize,
}

/// The last place where the section sets the option, or its end. Follows [`super::super::ini`] line by line.
fn find<'t>(lines: &[&'t str], section: &str, key: &str) -> Option<Place<'t>> {
    let (mut inside, mut in_value) = (false, false);
    let mut indent = 0;
    let mut option: Option<Place<'t>> = None;
    let mut end: Option<Place<'t>> = None;
    // Whether the lines that follow continue the value that is to be replaced.
    let mut ours = false;
    for (number, line) in lines.iter().enumerate() {
        let value = line.trim();
        let after = number.saturating_add(1);
        if value.is_empty() || value.starts_with(['#', ';']) {
            continue;
        }
        let blanks = line.get(..line.find(|c: char| !c.is_whitespace()).unwrap_or(0)).unwrap_or_default();
        let width = blanks.chars().count();
        if in_value && width > indent {
            if let Some(place) = option.as_mut().filter(|_| ours) {
                place.to = after;
            }
            if let Some(place) = end.as_mut().filter(|_| inside) {
                (place.from, place.to) = (after, after);
            }
            continue;
        }
        indent = width;
        if let Some(name) = header(value) {
            (inside, in_value, ours) = (name == section, false, false);
        } else {
            let name = value.split(['=', ':']).next().unwrap_or_default().trim_end().to_lowercase();
            in_value = true;
            ours = inside && name == key;
            if ours {
                option = Some(Place { indent: blanks, from: number, to: after });
            }
        }
        if inside {
            end = Some(Place { indent: blanks, from: after, to: after });
        }
    }
    option.or(end)
}

/// `file` with the option set.
fn expected(mut file: IniFile, section: &str, key: &str, value: &str) -> IniFile {
    if !file.sections.iter().any(|s| s.name == section) {
        file.sections.push(RawSection { name: section.to_owned(), options: Vec::new() });
    }
    for found in file.sections.iter_mut().filter(|s| s.name == section) {
        match found.options.iter_mut().find(|o| o.key == key) {
            Some(option) => value.clone_into(&mut option.value),
            None => found.options.push(RawOption { key: key.to_owned(), value: value.to_owned() }),
        }
    }
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str, section: &str, key: &str, value: &str) -> Option<String> {
        set_option(text, (section, key), value, Path::new("x")).ok()
    }

    #[test]
    fn one_option_changes_and_nothing_else() {
        for (text, key, expected) in [
            ("", "k", "[s]\nk = v\n"),
            ("[a]\nx = 1", "k", "[a]\nx = 1\n[s]\nk = v\n"),
            ("[s]\nk = old\n[b]\nk = b\n", "k", "[s]\nk = v\n[b]\nk = b\n"),
            ("[s]\nx = 1\n\n# about b\n[b]\nk = b\n", "k", "[s]\nx = 1\nk = v\n\n# about b\n[b]\nk = b\n"),
            ("[s]\n[b]\n", "k", "[s]\nk = v\n[b]\n"),
            ("[s]\nK:one\n  two\n\n  three\ny = 2", "k", "[s]\nk = v\ny = 2"),
            ("[s]\nx = 1\n  k = not an option\n", "k", "[s]\nx = 1\n  k = not an option\nk = v\n"),
            ("[s]\n  x = 1\n  [b]\n", "k", "[s]\n  x = 1\n  k = v\n  [b]\n"),
            ("[s]\nk = 1\nk = 2\n", "k", "[s]\nk = 1\nk = v\n"),
            ("[s]\nx = 1\n[b]\ny = 1\n[s]\nz = 1\n", "k", "[s]\nx = 1\n[b]\ny = 1\n[s]\nz = 1\nk = v\n"),
            ("[s]\r\nk = 1\r\ny = 2\r\n", "k", "[s]\r\nk = v\n\ny = 2\r\n"),
            ("[s]\nkk = 1\n", "k", "[s]\nkk = 1\nk = v\n"),
        ] {
            assert_eq!(set(text, "s", key, "v").as_deref(), Some(expected), "{text:?}");
        }
    }

    #[test]
    fn what_cannot_stand_there_is_refused() {
        for value in ["two\nlines", "two\rlines", " blank", "blank "] {
            assert_eq!(set("[s]\nk = 1\n", "s", "k", value), None, "{value:?}");
        }
        assert_eq!(set("[s]\n", "s\nx", "k", "v"), None);
        assert_eq!(set("[s]\n", "s", "k=", "v"), None);
        assert_eq!(set("garbage\n", "s", "k", "v"), None);
        let long = "v".repeat(usize::try_from(MAX_FILE_SIZE).unwrap());
        assert_eq!(set("[s]\n", "s", "k", &long), None, "nobody would read the file any more");
        assert_eq!(set("[s]\nk = 1\n", "s", "k", "# = [x]").as_deref(), Some("[s]\nk = # = [x]\n"));
    }
}
