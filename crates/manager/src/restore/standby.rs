//! What a restored standby is told about the server it streams from.

use tapster_protocol::ConnInfo;

use super::settings::quote;
use super::{RestoreOptions, RestorePlanError};

/// `NAMEDATALEN` without the zero.
const MAX_SLOT: usize = 63;

/// Refuses what PostgreSQL would not take.
pub(super) fn check(options: &RestoreOptions) -> Result<(), RestorePlanError> {
    let given = [
        ("primary_conninfo", options.primary_conninfo.is_some()),
        ("primary_slot_name", options.primary_slot_name.is_some()),
    ];
    if let Some((option, _)) = given.into_iter().find(|(_, given)| *given && !options.standby_mode) {
        return Err(RestorePlanError::StandbyOnly { option });
    }
    if let Some(text) = &options.primary_conninfo {
        ConnInfo::parse(text).map_err(|error| RestorePlanError::Value {
            option: "primary_conninfo",
            problem: error.to_string(),
        })?;
    }
    if let Some(slot) = &options.primary_slot_name {
        let valid = (1..=MAX_SLOT).contains(&slot.len())
            && slot.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        if !valid {
            let problem = format!(
                "'{slot}' is no name of a replication slot: it may have up to {MAX_SLOT} lower case letters, digits and '_'"
            );
            return Err(RestorePlanError::Value { option: "primary_slot_name", problem });
        }
    }
    Ok(())
}

/// The lines of its configuration.
pub(super) fn lines(options: &RestoreOptions) -> Vec<String> {
    let conninfo = options.primary_conninfo.iter().map(|text| format!("primary_conninfo = {}", quote(text)));
    let slot = options.primary_slot_name.iter().map(|name| format!("primary_slot_name = {}", quote(name)));
    conninfo.chain(slot).collect()
}
