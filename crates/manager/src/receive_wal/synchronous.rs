//! `synchronous_standby_names`.

/// The names in the setting: `*`, `a, b`, `2 (a, b)`, `FIRST 1 (a)`, `ANY 1 ("A b", c)`; `syncrep_gram.y`.
pub(crate) fn names(setting: &str) -> Vec<String> {
    let (mut names, mut word) = (Vec::new(), String::new());
    let mut input = setting.chars().peekable();
    while let Some(c) = input.next() {
        match c {
            '"' => {
                while let Some(c) = input.next() {
                    if c != '"' {
                        word.push(c);
                    } else if input.next_if_eq(&'"').is_some() {
                        word.push('"');
                    } else {
                        break;
                    }
                }
            }
            // What stands before it is a method and a number.
            '(' => {
                names.clear();
                word.clear();
            }
            ',' => names.push(std::mem::take(&mut word)),
            ')' => {}
            c if c.is_whitespace() => {}
            c => word.push(c),
        }
    }
    names.push(word);
    names
}

/// Whether `synchronous_standby_names` names `application`. PostgreSQL compares without regard to case, also what is quoted
/// (`SyncRepGetStandbyPriority`).
pub(super) fn names_standby(setting: &str, application: &str) -> bool {
    names(setting).iter().any(|name| name == "*" || name.eq_ignore_ascii_case(application))
}

#[cfg(test)]
mod tests {
    use super::names_standby;

    #[test]
    fn synchronous_names() {
        for setting in [
            "*",
            "barman",
            "a, barman",
            "2 (a, BARMAN)",
            "ANY 1 (\"barman\")",
            "FIRST 1 (x, *)",
            "\"Barman\"",
            "\"a(,b\", barman",
        ] {
            assert!(names_standby(setting, "barman"), "{setting}");
        }
        assert!(names_standby("ANY 1 (\"A \"\" b\", c)", "a \" B"));
        for setting in ["", "a", "2 (a, b)", "barman2", "\"a, barman\"", "ANY 1 (a)"] {
            assert!(!names_standby(setting, "barman"), "{setting}");
        }
        assert!(!names_standby("ANY 1 (a)", "any"));
    }
}
