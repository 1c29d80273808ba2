//! Scripts around a restore.

use serde_json::{Map, Value, json};

use super::recovery_conf::TimeText;
use super::{RecoveryTarget, RestoreError, RestorePlan, RestoreReport, TimelineTarget};
use crate::config::HookEvent;
use crate::hooks::Variables;
use crate::{Context, Server};

impl Server {
    /// Carries out a plan. The backup is locked as long as that takes, so that neither we nor Barman delete it meanwhile;
    /// several restores of one backup may run side by side. The scripts before and after a recovery run around it, those after
    /// it, other than Barman's, also when it broke off.
    ///
    /// # Errors
    /// When the backup is gone or in use, where it broke off (the destination then has no `pg_control`), or when a script before
    /// it wants no restore.
    pub fn restore(&self, plan: RestorePlan, context: &Context<'_>) -> Result<RestoreReport, RestoreError> {
        if !self.has_hooks(HookEvent::Recovery) {
            return self.execute_restore(plan, context);
        }
        let variables = |error: Option<&RestoreError>| self.recovery_variables(&plan, error);
        let (before, after) = (variables(None), variables(None));
        self.hooks_before(HookEvent::Recovery, &before, context)?;
        let copy = plan.clone();
        let result = self.execute_restore(plan, context);
        let after = match &result {
            Ok(_) => after,
            Err(error) => self.recovery_variables(&copy, Some(error)),
        };
        self.hooks_after(HookEvent::Recovery, &after, context);
        result
    }

    fn recovery_variables(&self, plan: &RestorePlan, error: Option<&RestoreError>) -> Variables {
        let mut variables = self.backup_variables(&plan.record);
        variables.retain(|(name, _)| *name != "BARMAN_ERROR");
        let moved: Map<String, Value> = plan
            .options
            .tablespaces
            .iter()
            .map(|(name, location)| (name.clone(), json!(location.to_string_lossy())))
            .collect();
        let options = options(plan);
        let text = |map: Map<String, Value>| if map.is_empty() { String::new() } else { python_json(&map) };
        variables.extend([
            ("BARMAN_DESTINATION_DIRECTORY", plan.destination.to_string_lossy().into_owned()),
            ("BARMAN_TABLESPACES", text(moved)),
            (
                "BARMAN_REMOTE_COMMAND",
                plan.host.as_ref().map(|host| host.command().to_owned()).unwrap_or_default(),
            ),
            ("BARMAN_RECOVER_OPTIONS", text(options)),
            ("BARMAN_ERROR", error.map(ToString::to_string).unwrap_or_default()),
        ]);
        variables
    }
}

/// What was asked for, without what is empty, under the names that Barman gives it.
fn options(plan: &RestorePlan) -> Map<String, Value> {
    let asked = &plan.options;
    let mut map = Map::new();
    let mut put = |key: &str, value: Value| drop(map.insert(key.to_owned(), value));
    match &asked.target {
        RecoveryTarget::End => {}
        RecoveryTarget::Time(time) => put("target_time", json!(TimeText(*time).to_string())),
        RecoveryTarget::Lsn(lsn) => put("target_lsn", json!(lsn.to_string())),
        RecoveryTarget::Xid(xid) => put("target_xid", json!(xid.to_string())),
        RecoveryTarget::Name(name) => put("target_name", json!(name)),
        RecoveryTarget::Immediate => put("target_immediate", json!(true)),
    }
    match asked.timeline {
        None => {}
        Some(TimelineTarget::Current) => put("target_tli", json!("current")),
        Some(TimelineTarget::Latest) => put("target_tli", json!("latest")),
        Some(TimelineTarget::Number(number)) => put("target_tli", json!(number.get())),
    }
    for (key, set) in [
        ("exclusive", asked.exclusive),
        ("standby_mode", asked.standby_mode),
        ("copy_partial", asked.partial_wal),
    ] {
        if set {
            put(key, json!(true));
        }
    }
    if let Some(action) = asked.action {
        put("target_action", json!(action.as_str()));
    }
    if let Some(name) = &asked.recovery_conf_filename {
        put("recovery_conf_filename", json!(name));
    }
    if let Some(command) = &asked.restore_command {
        put("custom_restore_command", json!(command));
    }
    map
}

/// With a blank behind colons and commas, as Python writes it: scripts have been seen to compare texts.
fn python_json(map: &Map<String, Value>) -> String {
    let pairs: Vec<String> = map.iter().map(|(key, value)| format!("{}: {value}", json!(key))).collect();
    format!("{{{}}}", pairs.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_written_as_python_does() {
        let map: Map<String, Value> =
            [("b".to_owned(), json!("x\"y")), ("a".to_owned(), json!(true))].into_iter().collect();
        assert_eq!(python_json(&map), "{\"a\": true, \"b\": \"x\\\"y\"}");
    }
}
