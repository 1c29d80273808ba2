//! `tapster receivewal`.

use tapster_catalog::SegmentCompression;
use tapster_manager::tools::connect_text;
use tapster_manager::tools::receivewal::{
    ReceiveWalEvent, ReceiveWalOptions, ReceiveWalToolError, create_slot, drop_slot, receive,
};
use tapster_protocol::receive::ReceiveError;
use tapster_protocol::{ConnectError, ConnectOptions};
use walfile::codec::Level;

use super::pg_connection::Tool;
use crate::args::pg::compress::Method;
use crate::args::pg::receivewal::{Action, ReceiveWal};
use crate::failure::Failure;
use crate::session::Session;

/// Receives, or makes or drops a slot.
pub(crate) fn run(args: &ReceiveWal, session: &Session) -> Result<(), Failure> {
    let mut tool = Tool::new(session, "receivewal", "pg_receivewal", &args.connection)?;
    loop {
        let connect = tool.options()?;
        let done = attempt(args, &tool, &connect, session)?;
        match done {
            Ok(()) => return Ok(()),
            Err(ReceiveWalToolError::Connect(error)) if tool.may_ask(&error) => {}
            Err(_) => return Err(Failure::reported(1)),
        }
        tool.ask_password();
    }
}

/// The inner error was told already, unless it is a password that is missing.
fn attempt(
    args: &ReceiveWal,
    tool: &Tool<'_>,
    connect: &ConnectOptions,
    session: &Session,
) -> Result<Result<(), ReceiveWalToolError>, Failure> {
    let told = |result: Result<(), ReceiveWalToolError>| {
        result.inspect_err(|error| tell_error(tool, error, connect))
    };
    Ok(match &args.action {
        Action::CreateSlot(name) => {
            let slot = tool.slot(name)?;
            say(args, tool, &format!("creating replication slot \"{slot}\""));
            told(create_slot(connect, &slot, args.if_not_exists))
        }
        Action::DropSlot(name) => {
            let slot = tool.slot(name)?;
            say(args, tool, &format!("dropping replication slot \"{slot}\""));
            told(drop_slot(connect, &slot))
        }
        Action::Receive(directory) => {
            let mut options = ReceiveWalOptions::new(directory);
            options.slot = args.slot.as_deref().map(|name| tool.slot(name)).transpose()?;
            options.end_position = args.endpos;
            options.synchronous = args.synchronous;
            options.sync = !args.no_sync;
            options.status_interval = args.status_interval;
            options.reconnect = !args.no_loop;
            options.compression = match args.compress.method {
                Method::Gzip => SegmentCompression::Gzip {
                    level: args.compress.level.filter(|level| *level > 0).map_or(Level::Medium, Level::Exact),
                },
                Method::Lz4 => SegmentCompression::Lz4,
                Method::None | Method::Zstd => SegmentCompression::None,
            };
            receive(connect, &options, &mut |event| tell(args, tool, connect, event), &session.stop)
        }
    })
}

fn say(args: &ReceiveWal, tool: &Tool<'_>, text: &str) {
    if args.verbose {
        tool.info(text);
    }
}

fn tell_error(tool: &Tool<'_>, error: &ReceiveWalToolError, connect: &ConnectOptions) {
    match error {
        ReceiveWalToolError::Connect(error) | ReceiveWalToolError::Receive(ReceiveError::Connect(error)) => {
            tell_connect_error(tool, error, connect);
        }
        other => tool.error(&other.to_string()),
    }
}

fn tell_connect_error(tool: &Tool<'_>, error: &ConnectError, connect: &ConnectOptions) {
    if !tool.may_ask(error) {
        tool.error(&connect_text(error, connect));
    }
}

/// What `pg_receivewal` prints, in its words.
fn tell(args: &ReceiveWal, tool: &Tool<'_>, connect: &ConnectOptions, event: &ReceiveWalEvent<'_>) {
    let text = match event {
        ReceiveWalEvent::Failed(error) => return tell_error(tool, error, connect),
        ReceiveWalEvent::Skipped { path, length } => {
            let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
            let size = length.map_or_else(|| "unknown".to_owned(), |length| length.to_string());
            return tool
                .info(&format!("warning: segment file \"{name}\" has incorrect size {size}, skipping"));
        }
        ReceiveWalEvent::Disconnected { pause } => {
            return tool.info(&format!("disconnected; waiting {} seconds to try again", pause.as_secs()));
        }
        ReceiveWalEvent::NotRenamed { segment } => {
            return tool.info(&format!("not renaming \"{segment}.partial\", segment is not complete"));
        }
        ReceiveWalEvent::Starting { position, timeline } => {
            format!("starting log streaming at {position} (timeline {timeline})")
        }
        ReceiveWalEvent::Segment { end, timeline } => {
            format!("finished segment at {end} (timeline {timeline})")
        }
        ReceiveWalEvent::Switched { timeline, at } => {
            format!("switched to timeline {timeline} at {at}")
        }
        ReceiveWalEvent::ReachedEnd { position, timeline } => {
            format!("stopped log streaming at {position} (timeline {timeline})")
        }
        ReceiveWalEvent::Interrupted => "received interrupt signal, exiting".to_owned(),
        _ => return,
    };
    say(args, tool, &text);
}
