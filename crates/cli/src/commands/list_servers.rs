//! `list-servers`.

use serde_json::json;

use crate::args::list_servers::ListServersArgs;
use crate::failure::Failure;
use crate::session::Session;
use crate::startup::Setup;

/// Prints the configured servers.
pub(crate) fn run(args: &ListServersArgs, session: &Session) -> Result<(), Failure> {
    let setup = Setup::new(session)?;
    for server in setup.all_servers() {
        let mut description = server.description.clone().unwrap_or_default();
        let has_description = !description.is_empty();
        if !server.active {
            description.push_str(" (inactive)");
        } else if server.disabled {
            description.push_str(" (WARNING: disabled)");
        }
        if server.is_passive() {
            description.push_str(" (Passive)");
        }
        let name = server.name.as_str();
        if session.output.is_json() {
            session.output.json_insert(name, json!({"description": description}));
        } else if args.minimal || (description.is_empty() && !has_description) {
            session.output.line(name);
        } else {
            session.output.line(format!("{name} - {description}"));
        }
    }
    Ok(())
}
