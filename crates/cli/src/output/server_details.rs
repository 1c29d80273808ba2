//! `show-servers`: every setting and every fact, sorted by name.

use serde_json::{Map, Value, json};
use tapster_manager::config::ServerConfig;
use tapster_manager::show_server::{BackupAge, ServerDetails};
use tapster_manager::text::human_duration;

use super::Output;
use super::fact::Fact;
use super::live_facts::{Facts, facts, shown_settings};

/// Prints them.
pub(crate) fn show(output: &Output, server: &ServerConfig, details: &ServerDetails) {
    let note = if !server.active {
        Some("(inactive)")
    } else if server.disabled {
        Some("(WARNING: disabled)")
    } else {
        None
    };
    let facts = collect(server, details);
    let name = server.name.as_str();
    if output.is_json() {
        let mut object: Map<String, Value> =
            facts.iter().map(|(key, fact)| (key.clone(), fact.to_json())).collect();
        // The note stands where a description would.
        if object.get("description").is_none_or(Value::is_null) {
            object.insert("description".to_owned(), json!(note));
        }
        output.json_insert(name, Value::Object(object));
        return;
    }
    let note = note.map_or_else(String::new, |note| format!(" {note}"));
    output.line(format!("Server {name}{note}:"));
    for (key, fact) in facts {
        output.line(format!("\t{key}: {}", fact.to_text()));
    }
}

fn collect(server: &ServerConfig, details: &ServerDetails) -> Facts {
    let mut facts = settings(details);
    facts.extend(self::facts(&details.live));
    facts.insert("name".to_owned(), Fact::Text(server.name.to_string()));
    facts.insert("passive_node".to_owned(), Fact::Bool(details.passive));
    facts.insert("active_model".to_owned(), Fact::text(details.active_model.as_ref()));
    let age = details.backup_age.as_ref().map_or_else(|| "None".to_owned(), age);
    facts.insert("last_backup_maximum_age".to_owned(), Fact::Text(age));
    facts
}

fn settings(details: &ServerDetails) -> Facts {
    let settings = shown_settings(&details.settings);
    settings.map(|(key, resolved)| (key.to_owned(), Fact::setting(key, &resolved.value))).collect()
}

fn age(backup: &BackupAge) -> String {
    let limit = human_duration(backup.limit);
    let age = backup.age.map_or_else(|| "No available backups".to_owned(), human_duration);
    if backup.is_kept() {
        format!("{limit} (latest backup: {age} )")
    } else {
        format!("{limit} (WARNING! latest backup is {age} old)")
    }
}
