//! A backup record that came as JSON.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use tapster_catalog::record::{PyValue, parse_time};
use tapster_catalog::{BackupId, BackupMode, BackupRecord, UtcOffset};
use time::PrimitiveDateTime;
use time::macros::format_description;

/// Values in the description of one backup; one of 10,000 tablespaces has 100,000.
pub(super) const MAX_NODES: usize = 400_000;

/// The record, for a catalog of which it is a copy: `mode` is `passive`, as with Barman.
pub(super) fn record(
    id: BackupId,
    fields: Map<String, Value>,
    local: UtcOffset,
) -> Result<BackupRecord, String> {
    if fields.get("backup_id").is_some_and(|other| other.as_str() != Some(id.as_str())) {
        return Err("it has another id inside".to_owned());
    }
    // The keys that a record may have; a newer version may send more.
    let mut known = BackupRecord::new(id);
    known.backup_name = Some(String::new());
    known.snapshots_info = Some(String::new());
    let known = known.to_text();
    let mut text = String::new();
    for key in known.lines().filter_map(|line| line.split_once('=')).map(|(key, _)| key) {
        let value = match key {
            "begin_time" | "end_time" => time(&fields, key, local)?,
            _ => match fields.get(key) {
                None | Some(Value::Null) => continue,
                Some(value) => field(key, value).ok_or_else(|| format!("{key} is {}", shown(value)))?,
            },
        };
        // A line break would begin another key.
        text.push_str(&format!("{key}={}\n", value.replace(['\n', '\r'], " ")));
    }
    let mut record = BackupRecord::parse(id, text.as_bytes(), local).map_err(|error| error.to_string())?;
    record.mode = Some(BackupMode::Passive);
    Ok(record)
}

/// The text of a value as `backup.info` has it.
fn field(key: &str, value: &Value) -> Option<String> {
    Some(match (key, value) {
        ("copy_stats" | "snapshots_info", Value::Object(_)) | ("included_files", Value::Array(_)) => {
            python(value)?.to_string()
        }
        ("tablespaces", Value::Array(spaces)) => {
            let space = |space: &Value| match python(space)? {
                PyValue::List(items) => Some(PyValue::Tuple(items)),
                _ => None,
            };
            PyValue::List(spaces.iter().map(space).collect::<Option<_>>()?).to_string()
        }
        ("children_backup_ids", Value::Array(ids)) => {
            ids.iter().map(Value::as_str).collect::<Option<Vec<_>>>()?.join(",")
        }
        // A literal, as Barman sends it, or the text itself.
        ("backup_label", Value::String(label)) => match PyValue::parse(label) {
            Ok(PyValue::Str(_)) => label.clone(),
            _ => PyValue::Str(label.clone()).to_string(),
        },
        (_, Value::String(text)) => text.clone(),
        (_, Value::Number(number)) => number.to_string(),
        _ => return None,
    })
}

/// The time with its zone, where it came; else what Python's `ctime` wrote.
fn time(fields: &Map<String, Value>, key: &str, local: UtcOffset) -> Result<String, String> {
    const CTIME: &[time::format_description::BorrowedFormatItem<'_>] = format_description!(
        "[weekday repr:short] [month repr:short] [day padding:space] [hour]:[minute]:[second] [year]"
    );
    let iso = fields.get(&format!("{key}_iso")).filter(|value| !value.is_null());
    let Some(value) = iso.or_else(|| fields.get(key)).filter(|value| !value.is_null()) else {
        return Ok("None".to_owned());
    };
    let text = value.as_str().ok_or_else(|| format!("{key} is {}", shown(value)))?;
    let read = parse_time(text, local)
        .or_else(|| PrimitiveDateTime::parse(text, CTIME).ok().map(|time| time.assume_offset(local)));
    read.map(tapster_catalog::record::format_time).ok_or_else(|| format!("{key} is {text:?}"))
}

fn python(value: &Value) -> Option<PyValue> {
    Some(match value {
        Value::Null => PyValue::None,
        Value::Bool(value) => PyValue::Bool(*value),
        Value::Number(number) => match number.as_i64() {
            Some(number) => PyValue::Int(number),
            None => PyValue::Float(number.as_f64().filter(|number| number.is_finite())?),
        },
        Value::String(text) => PyValue::Str(text.clone()),
        Value::Array(items) => PyValue::List(items.iter().map(python).collect::<Option<_>>()?),
        Value::Object(map) => PyValue::Dict(
            map.iter()
                .map(|(key, value)| Some((PyValue::Str(key.clone()), python(value)?)))
                .collect::<Option<_>>()?,
        ),
    })
}

fn shown(value: &Value) -> String {
    value.to_string().chars().take(80).collect()
}

/// Any value of so many parts at most.
pub(super) struct Bounded<'b>(pub(super) &'b Cell<usize>);

impl<'de> DeserializeSeed<'de> for Bounded<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let left =
            self.0.get().checked_sub(1).ok_or_else(|| D::Error::custom("a backup has too many values"))?;
        self.0.set(left);
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Bounded<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element_seed(Self(self.0))? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            fields.insert(key, map.next_value_seed(Self(self.0))?);
        }
        Ok(Value::Object(fields))
    }
}
