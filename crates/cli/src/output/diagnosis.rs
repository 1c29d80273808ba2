//! `diagnose`: one JSON text with everything.

use serde_json::{Map, Value as Json, json};
use tapster_catalog::record::PyValue;
use tapster_catalog::{BackupRecord, XlogEntry};
use tapster_manager::config::{
    Config, ModelConfig, OWN_PREFIX, Resolved, ServerConfig, Source, Value, model_keys,
};
use tapster_manager::local_now;
use tapster_manager::{ServerDiagnosis, SystemInfo};
use time::{OffsetDateTime, UtcOffset};

use super::fact::Fact;
use super::live_facts::{facts, shown_settings};
use super::{backup_record, json};
use crate::format::timestamp::iso_datetime;
use crate::invocation::BARMAN_VERSION;

/// The text while it is put together.
pub(crate) struct Diagnosis {
    with_source: bool,
    global: Json,
    models: Map<String, Json>,
    servers: Map<String, Json>,
}

impl Diagnosis {
    /// Begins with what concerns no single server.
    pub(crate) fn new(config: &Config, system: Option<&SystemInfo>, with_source: bool) -> Self {
        let mut global: Map<String, Json> = config
            .global_settings()
            .into_iter()
            .map(|(key, resolved)| (key.clone(), setting(&key, &resolved, with_source)))
            .collect();
        global.insert("errors_list".to_owned(), json!(config.conflicts));
        let mut system = system.map_or_else(Map::new, system_info);
        system.insert("barman_ver".to_owned(), json!(BARMAN_VERSION));
        system.insert("tapster_ver".to_owned(), json!(env!("CARGO_PKG_VERSION")));
        system.insert("timestamp".to_owned(), json!(iso_datetime(local_now())));
        let models = config.models.values();
        Self {
            with_source,
            global: json!({"config": global, "system_info": system}),
            models: models
                .map(|model| (model.name.clone(), self::model(config, model, with_source)))
                .collect(),
            servers: Map::new(),
        }
    }

    /// Adds a server.
    pub(crate) fn add_server(&mut self, server: &ServerConfig, found: &ServerDiagnosis) {
        let in_force = server.in_force();
        let mut settings: Map<String, Json> = shown_settings(&in_force)
            .map(|(key, resolved)| (key.to_owned(), setting(key, resolved, self.with_source)))
            .collect();
        for (key, file) in server.hidden.iter().filter(|_| self.with_source) {
            if let Some(Json::Object(shown)) = settings.get_mut(key) {
                shown.insert("hides".to_owned(), json!(file.display().to_string()));
            }
        }
        let name = Resolved { value: Value::Text(server.name.to_string()), source: Source::Default };
        settings.insert("name".to_owned(), setting("name", &name, self.with_source));
        let status: Map<String, Json> =
            facts(&found.live).into_iter().map(|(key, fact)| (key, fact.to_diagnosis())).collect();
        let backups: Map<String, Json> = found
            .backups
            .iter()
            .map(|record| (record.id.to_string(), Json::Object(backup(record))))
            .collect();
        let last: Map<String, Json> = found
            .last_wal
            .iter()
            .map(|(timeline, entry)| (format!("{:08X}", timeline.get()), wal(entry)))
            .collect();
        let entry = json!({
            "active_model": server.active_model,
            "backups": backups,
            "config": settings,
            "msg_list": server.problems,
            "status": status,
            "wals": {"last_archived_wal_per_timeline": last},
        });
        let Json::Object(mut entry) = entry else { return };
        if let Some(system) = &found.system {
            entry.insert("system_info".to_owned(), Json::Object(system_info(system)));
        }
        if !found.unreadable.is_empty() {
            let unreadable =
                found.unreadable.iter().map(|(id, error)| (id.to_string(), json!(error.to_string())));
            entry.insert("unreadable_backups".to_owned(), Json::Object(unreadable.collect()));
        }
        self.servers.insert(server.name.to_string(), Json::Object(entry));
    }

    /// The text.
    pub(crate) fn finish(self) -> String {
        json::dump_pretty(&json!({"global": self.global, "models": self.models, "servers": self.servers}))
    }
}

fn setting(key: &str, resolved: &Resolved, with_source: bool) -> Json {
    let value = Fact::setting(key, &resolved.value).to_diagnosis();
    if !with_source {
        return value;
    }
    let source = match &resolved.source {
        Source::File(path) => path.display().to_string(),
        _ => "default".to_owned(),
    };
    json!({"source": source, "value": value})
}

fn model(config: &Config, model: &ModelConfig, with_source: bool) -> Json {
    let mut settings = Map::new();
    let ours = |key: &str| key.starts_with(OWN_PREFIX) && !model.values.contains_key(key);
    let keys = model_keys().map(|spec| spec.name).filter(|key| !ours(key));
    for key in keys.chain(["model"]) {
        let in_file = config.source_in(&model.name, key);
        // As Barman has it, although a model takes nothing from there.
        let source = || in_file.or_else(|| config.source_in("barman", key)).unwrap_or(Source::Default);
        let value = match key {
            "cluster" => Value::Text(model.cluster.clone()),
            "model" => Value::Bool(true),
            _ => Value::Unset,
        };
        let unset = || Resolved { value, source: source() };
        let resolved = model.values.get(key).cloned().unwrap_or_else(unset);
        settings.insert(key.to_owned(), setting(key, &resolved, with_source));
    }
    json!({"config": settings})
}

fn system_info(system: &SystemInfo) -> Map<String, Json> {
    // The keys that tell of Python stay, for whoever expects them.
    let object = json!({
        "kernel_ver": system.kernel,
        "python_executable": null,
        "python_ver": null,
        "release": system.release,
        "rsync_ver": system.rsync,
        "ssh_ver": system.ssh,
    });
    match object {
        Json::Object(map) => map,
        _ => Map::new(),
    }
}

fn local(time: OffsetDateTime) -> String {
    let offset = UtcOffset::local_offset_at(time).unwrap_or(UtcOffset::UTC);
    iso_datetime(time.to_offset(offset))
}

fn backup(record: &BackupRecord) -> Map<String, Json> {
    let mut fields = backup_record::fields(record);
    let mut put = |key: &str, value: Json| {
        fields.insert(key.to_owned(), value);
    };
    put("begin_time", json!(record.begin_time.map(local)));
    put("end_time", json!(record.end_time.map(local)));
    put("cluster_size", json!(record.cluster_size));
    put("copy_stats", record.copy_stats.as_ref().map_or(Json::Null, |stats| python(&stats.to_value())));
    fields
}

fn python(value: &PyValue) -> Json {
    match value {
        PyValue::None => Json::Null,
        PyValue::Bool(value) => json!(value),
        PyValue::Int(number) => json!(number),
        PyValue::Float(number) => json!(number),
        PyValue::Str(text) => json!(text),
        PyValue::List(items) | PyValue::Tuple(items) => items.iter().map(python).collect(),
        PyValue::Dict(pairs) => {
            let key = |key: &PyValue| key.as_str().map_or_else(|| key.to_string(), str::to_owned);
            Json::Object(pairs.iter().map(|(name, value)| (key(name), python(value))).collect())
        }
    }
}

fn wal(entry: &XlogEntry) -> Json {
    json!({
        "compression": entry.compression,
        "encryption": entry.encryption,
        "name": entry.name.to_string(),
        "size": entry.size,
        "time": entry.mtime,
    })
}
