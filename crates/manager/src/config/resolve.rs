//! From the merged text to one value per key: server section, then `[barman]`, then the default.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::global::GlobalConfig;
use super::ini::IniError;
use super::keys::{GLOBAL_KEYS, KeySpec, SERVER_KEYS, server_key};
use super::merged::{MergedOption, MergedSection};
use super::value::{Kind, Value};
use super::warning::ConfigWarning;

/// Where a value comes from.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Source {
    /// The built-in default.
    Default,
    /// A file.
    File(Arc<Path>),
}

/// The value of one key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Resolved {
    /// The value.
    pub value: Value,
    /// Where it comes from.
    pub source: Source,
}

pub(super) type Values = BTreeMap<&'static str, Resolved>;

/// A section with `model = true`: overrides for the servers of one cluster.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ModelConfig {
    /// The section's name.
    pub name: String,
    /// The cluster whose servers it fits.
    pub cluster: String,
    /// The values it sets; keys it leaves alone are absent.
    pub values: BTreeMap<&'static str, Resolved>,
}

/// Warns of the keys that nobody knows.
pub(super) fn unknown_keys(
    section: &MergedSection,
    known: &dyn Fn(&str) -> bool,
    out: &mut Vec<ConfigWarning>,
) {
    for option in section.options.iter().filter(|o| !known(&o.key)) {
        out.push(ConfigWarning::UnknownKey { section: section.name.clone(), key: option.key.clone() });
    }
}

/// The same for `[barman]`, whose options Barman goes through by name.
pub(super) fn unknown_global_keys(section: &MergedSection, out: &mut Vec<ConfigWarning>) {
    let mut sorted = section.clone();
    sorted.options.sort_by(|a, b| a.key.cmp(&b.key));
    unknown_keys(&sorted, &|key| GLOBAL_KEYS.contains(&key) || server_key(key).is_some(), out);
}

/// The values of a server section.
pub(super) fn server_values(
    section: &MergedSection,
    barman: &MergedSection,
    global: &GlobalConfig,
    warnings: &mut Vec<ConfigWarning>,
) -> Result<Values, IniError> {
    unknown_keys(section, &|key| server_key(key).is_some(), warnings);
    let mut values = Values::new();
    for spec in SERVER_KEYS {
        let mut found = None;
        if spec.name != "disabled" {
            found = judged(section, spec, warnings)?;
            if found.is_none() && spec.global {
                found = judged(barman, spec, warnings)?;
            }
        }
        let resolved = found.unwrap_or_else(|| Resolved {
            value: default_value(spec, &section.name, global, &values),
            source: Source::Default,
        });
        values.insert(spec.name, resolved);
    }
    Ok(values)
}

/// The values of a model section, without `cluster` and `model`.
pub(super) fn model_values(
    section: &MergedSection,
    warnings: &mut Vec<ConfigWarning>,
) -> Result<Values, IniError> {
    let allowed = |key: &str| key == "model" || server_key(key).is_some_and(|spec| spec.model);
    unknown_keys(section, &allowed, warnings);
    let mut values = Values::new();
    for spec in SERVER_KEYS.iter().filter(|s| s.model && !matches!(s.name, "cluster" | "disabled")) {
        if let Some(found) = judged(section, spec, warnings)?
            && found.value != Value::Unset
        {
            values.insert(spec.name, found);
        }
    }
    Ok(values)
}

/// The section's value of a key, or `None` when the next level decides.
fn judged(
    section: &MergedSection,
    spec: &KeySpec,
    warnings: &mut Vec<ConfigWarning>,
) -> Result<Option<Resolved>, IniError> {
    let Some(option) = section.get(spec.name) else { return Ok(None) };
    let MergedOption { source, .. } = option;
    let text = section.read(option)?.unwrap_or_default();
    match spec.kind.parse(&text, spec.name, &section.name) {
        Ok(None) => Ok(None),
        Ok(Some(value)) => {
            let value = match value {
                Value::Text(text) if text.is_empty() || text == "None" => Value::Unset,
                other => other,
            };
            // Barman cannot work without these, and fails; the default serves.
            if value == Value::Unset && spec.name.ends_with("_directory") {
                return Ok(None);
            }
            Ok(Some(Resolved { value, source: Source::File(Arc::clone(source)) }))
        }
        Err(reason) => {
            warnings.push(ConfigWarning::InvalidValue {
                section: section.name.clone(),
                key: spec.name.to_owned(),
                value: text,
                reason,
            });
            Ok(None)
        }
    }
}

fn default_value(spec: &KeySpec, server: &str, global: &GlobalConfig, values: &Values) -> Value {
    let Some(default) = spec.default else { return Value::Unset };
    let earlier = |key: &str| values.get(key).map_or(Value::Unset, |r| r.value.clone());
    if spec.name == "backup_directory" {
        let home = global.barman_home.to_string_lossy();
        return Value::Text(format!("{home}/{server}"));
    }
    // Each default that refers to another key starts with the reference; that key sorts before it.
    match default.strip_prefix("%(").and_then(|rest| rest.split_once(")s")) {
        Some(("name", tail)) => Value::Text(format!("{server}{tail}")),
        Some((key, "")) => earlier(key),
        Some((key, tail)) => Value::Text(format!("{}{tail}", earlier(key))),
        None => spec.kind.parse(default, spec.name, server).ok().flatten().unwrap_or(Value::Unset),
    }
}

/// Whether a section is a model; its `model` option has to be a truth value.
pub(super) fn is_model(section: &MergedSection) -> Result<Result<bool, String>, IniError> {
    let Some(option) = section.get("model") else { return Ok(Ok(false)) };
    let text = section.read(option)?.unwrap_or_default();
    Ok(Kind::Bool.parse(&text, "model", &section.name).map(|value| value == Some(Value::Bool(true))))
}
