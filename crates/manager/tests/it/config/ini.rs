//! `cases.json` holds what Python's configparser made of generated texts.

use std::path::Path;

use serde_json::Value as Json;
use tapster_manager::config::{IniFile, RawSection, Value};

fn pairs(section: &RawSection) -> Vec<(String, String)> {
    section.options.iter().map(|o| (o.key.clone(), o.value.clone())).collect()
}

fn text(json: &Json) -> String {
    json.as_str().unwrap().to_owned()
}

#[test]
fn reads_what_configparser_reads() {
    let cases: Vec<Json> = serde_json::from_str(include_str!("../../data/ini/cases.json")).unwrap();
    for case in &cases {
        let source = case["text"].as_str().unwrap();
        let parsed = IniFile::parse(source, Path::new("case"));
        let Some(expected) = case["raw"].as_object() else {
            assert!(parsed.is_err(), "{source:?} was accepted: {parsed:?}");
            continue;
        };
        let parsed = parsed.unwrap_or_else(|e| panic!("{source:?}: {e}"));
        let sections: Vec<_> = parsed.sections.iter().map(|s| (s.name.clone(), pairs(s))).collect();
        let expected_sections: Vec<_> = expected["sections"]
            .as_array()
            .unwrap()
            .iter()
            .map(|s| {
                let options = s[1].as_array().unwrap().iter();
                (text(&s[0]), options.map(|o| (text(&o[0]), text(&o[1]))).collect::<Vec<_>>())
            })
            .collect();
        assert_eq!(sections, expected_sections, "{source:?}");
        let defaults: std::collections::BTreeMap<_, _> = pairs(&parsed.defaults).into_iter().collect();
        let expected_defaults = expected["defaults"].as_object().unwrap();
        let expected_defaults = expected_defaults.iter().map(|(k, v)| (k.clone(), text(v))).collect();
        assert_eq!(defaults, expected_defaults, "{source:?}");
    }
    assert!(cases.len() > 290);
}

/// What Barman's two passes give, read back through the one key of a server that takes any text.
#[test]
fn expands_what_configparser_expands() {
    let cases: Vec<Json> = serde_json::from_str(include_str!("../../data/ini/cases.json")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut compared = 0;
    for case in &cases {
        let source = case["text"].as_str().unwrap();
        let Some(expected) = case["values"].as_array() else { continue };
        for section in expected {
            for option in section[1].as_array().unwrap() {
                let (name, key, value) = (text(&section[0]), text(&option[0]), text(&option[1]));
                // The same text, with a description that is nothing but a reference to the option.
                let probe = format!(
                    "{}\n[{name}]\ndescription=>%({key})s<\n[barman]\nbarman_home={{}}\n",
                    source.replace("\r\n", "\n").replace('\r', "\n")
                );
                if value.contains('%') {
                    continue;
                }
                let config = match super::load(dir.path(), &probe) {
                    Ok(config) => config,
                    // A default that only the other sections override.
                    Err(e) if e.to_string().contains("[barman] ") => continue,
                    Err(e) => panic!("{probe}: {e}"),
                };
                let got = &config.servers[&name].get("description").unwrap().value;
                assert_eq!(*got, Value::Text(format!(">{value}<")), "{probe}");
                compared += 1;
            }
        }
    }
    assert!(compared > 250, "{compared}");
}
