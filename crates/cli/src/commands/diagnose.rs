//! `diagnose`.

use tapster_manager::SystemInfo;

use crate::args::diagnose::DiagnoseArgs;
use crate::failure::{Failure, chain};
use crate::output::diagnosis::Diagnosis;
use crate::session::Session;
use crate::startup::Setup;

/// Prints everything there is to know, of every server whatever its state.
pub(crate) fn run(args: &DiagnoseArgs, session: &Session) -> Result<(), Failure> {
    let setup = Setup::despite_conflicts(session)?;
    session.watch_signals()?;
    let system = SystemInfo::local(&session.stop);
    let mut diagnosis = Diagnosis::new(&setup.config, system.as_ref(), args.show_config_source);
    for config in setup.all_servers() {
        let name = config.name.as_str();
        let server = setup.open(&setup.config, name)?;
        let observer = setup.observer(name);
        match server.diagnose(&setup.context(&observer)) {
            Ok(found) => diagnosis.add_server(config, &found),
            Err(error) => session.output.error(format!("{name}: {}", chain(&error))),
        }
        if session.stopped() {
            return Err(Failure::interrupted());
        }
    }
    session.output.line(diagnosis.finish());
    Ok(())
}
