//! What is asked of `config-update`: a JSON list of objects, each with options for one server or model.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::Value as Json;
use tapster_catalog::ServerName;
use tapster_catalog::record::PyValue;

use super::queue::{ChangeSet, ConfigChange};
use super::{RefusedSection, UpdateError};
use crate::config::keys::{KeySpec, SERVER_KEYS, server_key};
use crate::config::value::Kind;
use crate::config::{Config, Source};

/// The largest request read, in bytes.
const MAX_REQUEST: usize = 16 << 20;

/// One object, in the order in which it is written.
#[derive(Clone, Debug)]
struct Section(Vec<(String, Json)>);

impl<'de> Deserialize<'de> for Section {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Section;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Section, A::Error> {
                let mut entries: Vec<(String, Json)> = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, Json>()? {
                    if entries.len() >= SERVER_KEYS.len().saturating_mul(2) {
                        return Err(A::Error::custom("an object has more members than there are options"));
                    }
                    match entries.iter_mut().find(|(known, _)| *known == key) {
                        Some((_, old)) => *old = value,
                        None => entries.push((key, value)),
                    }
                }
                Ok(Section(entries))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

/// Python's text of the object, as Barman shows what it refuses.
impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries = self.0.iter().map(|(key, value)| (PyValue::Str(key.clone()), python(value)));
        PyValue::Dict(entries.collect()).fmt(f)
    }
}

fn python(value: &Json) -> PyValue {
    match value {
        Json::Null => PyValue::None,
        Json::Bool(value) => PyValue::Bool(*value),
        Json::Number(number) => match number.as_i64() {
            Some(number) => PyValue::Int(number),
            None => PyValue::Float(number.as_f64().unwrap_or_default()),
        },
        Json::String(text) => PyValue::Str(text.clone()),
        Json::Array(items) => PyValue::List(items.iter().map(python).collect()),
        Json::Object(map) => {
            PyValue::Dict(map.iter().map(|(key, value)| (PyValue::Str(key.clone()), python(value))).collect())
        }
    }
}

/// What a request comes to, with the file each option goes to.
pub(super) fn read(config: &Config, json: &str) -> Result<Vec<ChangeSet>, UpdateError> {
    if json.len() > MAX_REQUEST {
        return Err(UpdateError::NotJson { reason: format!("longer than {MAX_REQUEST} bytes") });
    }
    let sections: Vec<Section> =
        serde_json::from_str(json).map_err(|error| UpdateError::NotJson { reason: error.to_string() })?;
    sections.iter().map(|section| change_set(config, section).map_err(UpdateError::Refused)).collect()
}

fn change_set(config: &Config, section: &Section) -> Result<ChangeSet, RefusedSection> {
    let refuse = |reason: String| RefusedSection { section: section.to_string(), reason };
    let invalid = |reason: String| refuse(format!("Invalid section {section}: {reason}"));
    let mut options = section.0.clone();
    let mut take = |key: &str| {
        let place = options.iter().position(|(known, _)| known == key)?;
        Some(options.remove(place).1)
    };
    let scope = take("scope");
    let is_model = match scope.as_ref().and_then(Json::as_str) {
        Some("server") => false,
        Some("model") => true,
        _ => {
            let scope = scope.as_ref().map_or_else(|| "None".to_owned(), shown);
            return Err(invalid(format!(
                "'scope' is invalid: '{scope}'. It should be either 'server' or 'model'."
            )));
        }
    };
    let (scope, name_key) = if is_model { ("model", "model_name") } else { ("server", "server_name") };
    let name = take(name_key).ok_or_else(|| invalid(format!("'{name_key}' is missing.")))?;
    let name = shown(&name);
    check_name(&name, is_model).map_err(&invalid)?;
    if !is_model && config.models.contains_key(&name) {
        return Err(invalid(format!("'{name}' is a model, not a server.")));
    }
    if is_model && config.servers.contains_key(&name) {
        return Err(invalid(format!("'{name}' is a server, not a model.")));
    }
    if is_model && !config.models.contains_key(&name) {
        if !options.iter().any(|(key, _)| key == "model") {
            options.push(("model".to_owned(), Json::from("on")));
        }
        if !options.iter().any(|(key, _)| key == "cluster") {
            return Err(invalid("new model but 'cluster' is missing.".to_owned()));
        }
    }
    let mut changes = Vec::with_capacity(options.len());
    for (key, value) in &options {
        let value = option_value(key, value, (scope, &name)).map_err(&refuse)?;
        let config_file = match config.source_in(&name, key) {
            // Whoever works off the queue may stand in another directory.
            Some(Source::File(path)) => std::path::absolute(&path).unwrap_or_else(|_| path.to_path_buf()),
            _ => config.auto_file(),
        };
        changes.push(ConfigChange { key: key.clone(), value, config_file });
    }
    Ok(ChangeSet { section: name, changes_set: changes })
}

fn check_name(name: &str, is_model: bool) -> Result<(), String> {
    let scope = if is_model { "model" } else { "server" };
    if matches!(name, "barman" | "all" | "DEFAULT") {
        return Err(format!("'{name}' is the name of no {scope}."));
    }
    // A section that cannot be a server would make the whole configuration unusable.
    if let Some(reason) = ServerName::new(name).err().filter(|_| !is_model) {
        return Err(format!("'{name}' cannot be the name of a server: {reason}."));
    }
    if name.is_empty() || name.contains(char::is_control) {
        return Err(format!("'{name}' cannot be the name of a {scope}."));
    }
    Ok(())
}

/// Whether a set of the queue, in which anybody who may write there can have put anything, is one that a request could come to.
pub(super) fn check(config: &Config, set: &ChangeSet) -> Result<(), RefusedSection> {
    let name = &set.section;
    let is_model = config.models.contains_key(name) || set.changes_set.iter().any(|c| c.key == "model");
    let scope = if is_model { "model" } else { "server" };
    let refuse = |reason: String| RefusedSection { section: name.clone(), reason };
    check_name(name, is_model).map_err(refuse)?;
    if is_model && config.servers.contains_key(name) {
        return Err(refuse(format!("'{name}' is a server, not a model.")));
    }
    if is_model
        && !config.models.contains_key(name)
        && !set.changes_set.iter().any(|change| change.key == "cluster")
    {
        return Err(refuse("new model but 'cluster' is missing.".to_owned()));
    }
    for change in &set.changes_set {
        option_value(&change.key, &Json::from(change.value.as_str()), (scope, name)).map_err(refuse)?;
        if !config.is_read_from(&change.config_file) {
            let file = change.config_file.display();
            return Err(refuse(format!("{file} is no file of the configuration")));
        }
    }
    Ok(())
}

/// Whether a set that cannot be made now may be one that can, when all of the configuration can be read again: what a file that is
/// not there says, nobody knows, but no file makes a name, an option or a value a valid one.
pub(super) fn may_be_made_later(config: &Config, set: &ChangeSet) -> bool {
    let can_be = |scope: &str| {
        let valid = |change: &ConfigChange| {
            option_value(&change.key, &Json::from(change.value.as_str()), (scope, &set.section)).is_ok()
        };
        check_name(&set.section, scope == "model").is_ok() && set.changes_set.iter().all(valid)
    };
    let is_missing = |change: &ConfigChange| config.may_be_read_from(&change.config_file);
    (config.incomplete || set.changes_set.iter().any(is_missing)) && (can_be("server") || can_be("model"))
}

/// The text of a value as it stands in the file, when the option can have it.
fn option_value(key: &str, value: &Json, (scope, name): (&str, &str)) -> Result<String, String> {
    const MODEL: KeySpec =
        KeySpec { name: "model", kind: Kind::Bool, global: false, model: true, default: None };
    let is_model = scope == "model";
    let spec = if is_model && key == "model" { Some(&MODEL) } else { server_key(key) };
    let spec = spec
        .filter(|spec| spec.model || !is_model)
        .ok_or_else(|| format!("Invalid option '{key}' for {scope} '{name}'"))?;
    let failed = |reason: &str| {
        // The options of a set name their section.
        let reason = reason.replace(&format!("[{name}] section"), &format!("{scope} '{name}'"));
        format!("Validation failed for {scope} '{name}': key '{key}' -> {reason}")
    };
    let text = match value {
        Json::String(text) => text.clone(),
        Json::Number(_) | Json::Bool(_) => value.to_string(),
        _ => return Err(failed("expected a text, a number, or true or false")),
    };
    spec.kind.parse(&text, key, name).map_err(|reason| failed(&reason))?;
    Ok(text)
}

fn shown(value: &Json) -> String {
    value.as_str().map_or_else(|| python(value).to_string(), str::to_owned)
}
