//! A setting or a fact about a server, as Barman's `show-servers` and `diagnose` print it: Python's text of it, or JSON.

use serde_json::{Value as Json, json};
use tapster_manager::config::{Value, mask_passwords};
use tapster_manager::text::human_duration;
use time::{Duration, OffsetDateTime};
use walfile::Lsn;

use crate::format::python::str_repr;
use crate::format::timestamp::{iso_datetime, python_datetime};

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Fact {
    Missing,
    Bool(bool),
    Int(i64),
    Text(String),
    /// A number with digits of its own (PostgreSQL's `numeric`).
    Decimal(String),
    Span(Duration),
    Time(OffsetDateTime),
    Words(Vec<String>),
    Rates(Vec<(String, i64)>),
    /// A set of options and the name of its class.
    Options(&'static str, Vec<String>),
    /// A replication slot.
    Slot(String, bool, Option<Lsn>),
}

fn words(list: &[String]) -> String {
    list.iter().map(|word| str_repr(word)).collect::<Vec<_>>().join(", ")
}

impl Fact {
    /// A value of the configuration; the key decides how it is shown.
    pub(crate) fn setting(key: &str, value: &Value) -> Self {
        match value {
            Value::Bool(value) => Self::Bool(*value),
            Value::Int(value) => Self::Int(*value),
            Value::Text(value) => Self::Text(value.clone()),
            Value::Interval(length) => Self::Span(*length),
            Value::List(words) => Self::Words(words.clone()),
            Value::Rates(rates) => Self::Rates(rates.clone()),
            Value::Options(words) => {
                let class = if key == "backup_options" { "BackupOptions" } else { "RecoveryOptions" };
                Self::Options(class, words.iter().cloned().collect())
            }
            _ => Self::Missing,
        }
    }

    /// Text that is there or not.
    pub(crate) fn text<T: ToString>(value: Option<T>) -> Self {
        value.map_or(Self::Missing, |value| Self::Text(value.to_string()))
    }

    /// A truth value that is known or not.
    pub(crate) fn flag(value: Option<bool>) -> Self {
        value.map_or(Self::Missing, Self::Bool)
    }

    /// A number that is known or not.
    pub(crate) fn number<N: TryInto<i64>>(value: Option<N>) -> Self {
        value.and_then(|value| value.try_into().ok()).map_or(Self::Missing, Self::Int)
    }

    /// A time that is known or not.
    pub(crate) fn time(value: Option<OffsetDateTime>) -> Self {
        value.map_or(Self::Missing, Self::Time)
    }

    /// What Python's `str` makes of it.
    pub(crate) fn to_text(&self) -> String {
        match self {
            Self::Missing => "None".to_owned(),
            Self::Bool(true) => "True".to_owned(),
            Self::Bool(false) => "False".to_owned(),
            Self::Int(number) => number.to_string(),
            Self::Text(text) | Self::Decimal(text) => text.clone(),
            Self::Span(length) => python_timedelta(*length),
            Self::Time(time) => python_datetime(*time),
            Self::Words(list) => format!("[{}]", words(list)),
            Self::Rates(rates) => {
                let rates = rates.iter().map(|(name, rate)| format!("{}: {rate}", str_repr(name)));
                format!("{{{}}}", rates.collect::<Vec<_>>().join(", "))
            }
            Self::Options(class, set) if set.is_empty() => format!("{class}()"),
            Self::Options(class, set) => format!("{class}({{{}}})", words(set)),
            Self::Slot(name, active, restart) => {
                let active = Self::Bool(*active).to_text();
                let restart = restart.map_or_else(|| "None".to_owned(), |lsn| format!("'{lsn}'"));
                format!("Record(slot_name={}, active={active}, restart_lsn={restart})", str_repr(name))
            }
        }
    }

    /// In the JSON of `show-servers`: what JSON has no type for is [`Self::to_text`].
    pub(crate) fn to_json(&self) -> Json {
        match self {
            Self::Missing => Json::Null,
            Self::Bool(value) => json!(value),
            Self::Int(number) => json!(number),
            Self::Text(text) => json!(mask_passwords(text)),
            Self::Words(list) => json!(list),
            Self::Rates(rates) => rates.iter().map(|(name, rate)| (name.clone(), json!(rate))).collect(),
            other => json!(other.to_text()),
        }
    }

    /// In the JSON of `diagnose`, which has its own forms of some.
    pub(crate) fn to_diagnosis(&self) -> Json {
        match self {
            Self::Decimal(text) => text.parse::<f64>().map_or(Json::Null, |number| json!(number)),
            Self::Span(length) => json!(human_duration(*length)),
            Self::Time(time) => json!(iso_datetime(*time)),
            Self::Options(_, set) => json!(set.join(",")),
            Self::Slot(name, active, restart) => json!([name, active, restart.map(|lsn| lsn.to_string())]),
            other => other.to_json(),
        }
    }
}

/// `str` of a `timedelta` of whole seconds: `4 days, 0:00:00`.
fn python_timedelta(length: Duration) -> String {
    let (days, rest) = (length.whole_days(), length.whole_seconds() % 86_400);
    let clock = format!("{}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60);
    match days {
        0 => clock,
        1 | -1 => format!("{days} day, {clock}"),
        _ => format!("{days} days, {clock}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn each_kind_in_its_three_forms() {
        let set = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        for (fact, text, json, diagnosis) in [
            (Fact::Missing, "None", json!(null), json!(null)),
            (Fact::Bool(true), "True", json!(true), json!(true)),
            (Fact::Int(7), "7", json!(7), json!(7)),
            (Fact::Decimal("0.0962".into()), "0.0962", json!("0.0962"), json!(0.0962)),
            (Fact::Span(Duration::days(4)), "4 days, 0:00:00", json!("4 days, 0:00:00"), json!("4 days")),
            (
                Fact::Span(Duration::hours(25)),
                "1 day, 1:00:00",
                json!("1 day, 1:00:00"),
                json!("1 day, 1 hour"),
            ),
            (
                Fact::Time(datetime!(2026-11-21 00:07:24.5 UTC)),
                "2026-11-21 00:07:24.500000+00:00",
                json!("2026-11-21 00:07:24.500000+00:00"),
                json!("2026-11-21T00:07:24.500000+00:00"),
            ),
            (Fact::Words(set(&[""])), "['']", json!([""]), json!([""])),
            (
                Fact::Options("RecoveryOptions", vec![]),
                "RecoveryOptions()",
                json!("RecoveryOptions()"),
                json!(""),
            ),
            (
                Fact::Options("BackupOptions", set(&["a", "b"])),
                "BackupOptions({'a', 'b'})",
                json!("BackupOptions({'a', 'b'})"),
                json!("a,b"),
            ),
            (Fact::Rates(vec![("t".into(), 5)]), "{'t': 5}", json!({"t": 5}), json!({"t": 5})),
            (
                Fact::Slot("s".into(), false, Some(Lsn::new(0x10))),
                "Record(slot_name='s', active=False, restart_lsn='0/10')",
                json!("Record(slot_name='s', active=False, restart_lsn='0/10')"),
                json!(["s", false, "0/10"]),
            ),
        ] {
            assert_eq!(
                (fact.to_text(), fact.to_json(), fact.to_diagnosis()),
                (text.to_owned(), json, diagnosis)
            );
        }
        assert_eq!(Fact::Text("password=x".into()).to_json(), json!("password=*REDACTED*"));
    }
}
