//! Properties of `tapster-manager`.

use std::path::Path;

use tapster_manager::config::{IniFile, MAX_ENTRIES, mask_passwords};

/// Any bytes: the configuration parser neither panics nor grows without bound, and what it accepts it accepts
/// again, with the same meaning, when written out plainly.
pub fn config_ini(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for after in mask_passwords(text).to_ascii_lowercase().split("password=").skip(1) {
        let shown = after.starts_with(|c: char| !c.is_whitespace()) && !after.starts_with("*redacted*");
        assert!(!shown, "a password is left in {text:?}");
    }
    let Ok(file) = IniFile::parse(text, Path::new("fuzz")) else { return };
    assert!(file.sections.len() <= MAX_ENTRIES);
    let mut plain = String::new();
    for section in
        std::iter::once(("DEFAULT", &file.defaults)).chain(file.sections.iter().map(|s| (&*s.name, s)))
    {
        plain.push_str(&format!("[{}]\n", section.0));
        for option in &section.1.options {
            // An empty line, or one that looks like a comment, cannot be written inside a value.
            let value = option.value.replace('\n', "\n\t");
            plain.push_str(&format!("{} = {value}\n", option.key));
        }
    }
    // Python's dialect strips some blanks that are no blanks here, and the reverse; such texts are left out.
    let odd = |c: char| !c.is_ascii() || (c.is_ascii_control() && c != '\n');
    if plain.chars().any(|c| odd(c) && c != '\t') || plain.contains("\n\t#") || plain.contains("\n\t;") {
        return;
    }
    let again = IniFile::parse(&plain, Path::new("fuzz"));
    assert_eq!(again.ok().as_ref(), Some(&file), "{plain:?}");
}
