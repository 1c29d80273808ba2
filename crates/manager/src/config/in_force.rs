//! The settings a server works with, as they are shown: what the files say, with what was put right.

use std::collections::BTreeMap;

use super::resolve::Resolved;
use super::server::ServerConfig;
use super::value::{Value, integer};

impl ServerConfig {
    /// Every setting as it is in force, by key: as [`ServerConfig::values`], with a value that was put right or replaced by its
    /// default as it was put right.
    ///
    /// As with Barman, `retention_policy` is the policy's canonical text when it can be read, and `wal_retention_policy` is
    /// `MAIN` then.
    pub fn in_force(&self) -> BTreeMap<&'static str, Resolved> {
        let mut values = self.values().clone();
        let mut set = |key: &str, value: Value| {
            if let Some(resolved) = values.get_mut(key) {
                resolved.value = value;
            }
        };
        set("archiver", Value::Bool(self.archiver));
        set("disabled", Value::Bool(self.disabled));
        set("minimum_redundancy", Value::Int(self.minimum_redundancy.into()));
        set("retention_policy_mode", Value::Text("auto".to_owned()));
        set("backup_options", Value::Options(self.backup_options.words()));
        let limit = self.text("bandwidth_limit").and_then(integer);
        set("bandwidth_limit", limit.map_or(Value::Unset, Value::Int));
        set("tablespace_bandwidth_limit", self.tablespace_rates(limit));
        if let Some(policy) = &self.retention_policy {
            set("retention_policy", Value::Text(policy.to_string()));
            set("wal_retention_policy", Value::Text("MAIN".to_owned()));
        } else if self.retention_policy_text.is_some() {
            set("wal_retention_policy", Value::Text("main".to_owned()));
        }
        values
    }

    /// `name:rate` for each tablespace that has a rate of its own; a rule that cannot be read is none.
    fn tablespace_rates(&self, limit: Option<i64>) -> Value {
        let rules = self.text("tablespace_bandwidth_limit").unwrap_or_default();
        let mut rates: Vec<(String, i64)> = Vec::new();
        for (name, rate) in rules.split_whitespace().filter_map(|rule| rule.split_once(':')) {
            let Some(rate) = integer(rate).filter(|rate| Some(*rate) != limit) else { continue };
            match rates.iter_mut().find(|(known, _)| known == name) {
                Some((_, known)) => *known = rate,
                None => rates.push((name.to_owned(), rate)),
            }
        }
        if rates.is_empty() { Value::Unset } else { Value::Rates(rates) }
    }
}
