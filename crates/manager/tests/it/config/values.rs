//! `values.json` holds how real Barman resolves every key of `values.conf`.

use serde_json::{Value as Json, json};
use tapster_manager::config::{OWN_PREFIX, SERVER_KEYS, Value};

fn as_json(value: &Value) -> Json {
    match value {
        Value::Unset => Json::Null,
        Value::Bool(value) => json!(value),
        Value::Int(value) => json!(value),
        Value::Text(value) => json!(value),
        // Python's text of a timedelta.
        Value::Interval(length) => {
            let (days, hours) = (length.whole_days(), length.whole_hours() % 24);
            match days {
                0 => json!(format!("{hours}:00:00")),
                1 => json!(format!("1 day, {hours}:00:00")),
                _ => json!(format!("{days} days, {hours}:00:00")),
            }
        }
        Value::List(words) => json!(words),
        Value::Options(words) => json!(words),
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_key_has_the_value_it_has_for_barman() {
    let dir = tempfile::tempdir().unwrap();
    let config = super::load(dir.path(), include_str!("../../data/config/values.conf")).unwrap();
    let golden: Json = serde_json::from_str(include_str!("../../data/config/values.json")).unwrap();
    let mut wrong = Vec::new();
    let values = golden["values"].as_object().unwrap();
    for (server, expected) in values {
        let key = server.split('.').next().unwrap();
        let mut expected = expected.clone();
        // Barman orders a snapshot's disks as written; the golden file has them sorted.
        let mut got = as_json(&config.servers[server].get(key).unwrap().value);
        for list in [&mut got, &mut expected] {
            if let Some(words) = list.as_array_mut() {
                words.sort_by_key(ToString::to_string);
            }
        }
        if got != expected {
            wrong.push(format!("{server}: {got} instead of {expected}"));
        }
    }
    for spec in SERVER_KEYS.iter().filter(|spec| !spec.name.starts_with(OWN_PREFIX)) {
        let got = as_json(&config.servers["all_defaults"].get(spec.name).unwrap().value);
        let expected = &golden["defaults"][spec.name];
        let options = matches!(spec.name, "backup_options" | "recovery_options");
        if got != *expected && !options {
            wrong.push(format!("default of {}: {got} instead of {expected}", spec.name));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(values.len() > 2500);
}

#[test]
fn the_warnings_are_barmans_in_barmans_order() {
    let dir = tempfile::tempdir().unwrap();
    let config = super::load(dir.path(), include_str!("../../data/config/values.conf")).unwrap();
    let golden: Json = serde_json::from_str(include_str!("../../data/config/values.json")).unwrap();
    let expected: Vec<&str> =
        golden["warnings"].as_array().unwrap().iter().map(|w| w.as_str().unwrap()).collect();
    let got = super::shown(&config);
    // Of two unknown options Barman names either, as its hash seed will have it.
    let steady = |warning: &str| match warning.split_once(" section: Invalid configuration value ") {
        Some((steady, _)) => steady.to_owned(),
        None => warning.to_owned(),
    };
    let pairs = got.iter().zip(&expected).filter(|(got, expected)| steady(got) != steady(expected));
    let wrong: Vec<String> = pairs.map(|(got, expected)| format!("{got}\n  instead of {expected}")).collect();
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(got.len(), expected.len());
}
