//! History files.

use walfile::Timeline;

use super::error::ReceiveError;
use crate::{Connection, HistoryFile, QueryError};

/// All of them together; a server could name a hundred thousand ancestors.
const MAX_TOTAL: usize = 64 * 1024 * 1024;

/// The history file of `timeline` and those of its ancestors, newest first: what a fresh start on a timeline other
/// than the first has to store, because no switch will bring it. Ancestors whose file the server has lost are left
/// out; timeline 1 has none.
///
/// # Errors
/// When the server does not have the file of `timeline` itself, or it is malformed.
pub fn ancestry(connection: &mut Connection, timeline: Timeline) -> Result<Vec<HistoryFile>, ReceiveError> {
    if timeline == Timeline::FIRST {
        return Ok(Vec::new());
    }
    let own = connection.timeline_history(timeline)?;
    let history = own.parse()?;
    let mut total = own.content.len();
    let mut files = vec![own];
    for ancestor in history.entries().iter().rev().map(|entry| entry.timeline) {
        if ancestor == Timeline::FIRST {
            continue;
        }
        match connection.timeline_history(ancestor) {
            Ok(file) => {
                total = total.saturating_add(file.content.len());
                if total > MAX_TOTAL {
                    let problem = format!("history files of more than {MAX_TOTAL} bytes");
                    return Err(QueryError::answer("TIMELINE_HISTORY", problem).into());
                }
                files.push(file);
            }
            Err(error) if error.is_sqlstate("58P01") => {
                tracing::warn!(%ancestor, "the server no longer has the history file of an ancestor");
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(files)
}
