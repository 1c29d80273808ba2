//! TIMELINE_HISTORY.

use walfile::{HistoryError, Timeline, TimelineHistory};

use crate::{Connection, QueryError};

/// Many thousand promotions; what the catalog takes for a history file too.
const MAX_CONTENT: usize = 4 * 1024 * 1024;

/// A timeline's history file as the server has it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct HistoryFile {
    /// The timeline.
    pub timeline: Timeline,
    /// Its file name, `<timeline>.history`.
    pub name: String,
    /// The file, byte for byte.
    pub content: Vec<u8>,
}

impl HistoryFile {
    /// The ancestry the file tells.
    ///
    /// # Errors
    /// When PostgreSQL would not accept the file either.
    pub fn parse(&self) -> Result<TimelineHistory, HistoryError> {
        TimelineHistory::parse(self.timeline, &self.content)
    }
}

impl Connection {
    /// The history file of `timeline`.
    ///
    /// # Errors
    /// `58P01` when the server does not have it; timeline 1 never has one. Also when the file is larger than 4 MiB.
    pub fn timeline_history(&mut self, timeline: Timeline) -> Result<HistoryFile, QueryError> {
        const COMMAND: &str = "TIMELINE_HISTORY";
        let rows = self.query(&format!("{COMMAND} {timeline}"))?;
        let name = format!("{}.history", timeline.to_hex());
        match (rows.value(0, 0), rows.raw(0, 1)) {
            (Some(_), Some(content)) if content.len() > MAX_CONTENT => {
                Err(QueryError::answer(COMMAND, format!("a file of {} bytes", content.len())))
            }
            (Some(found), Some(content)) if found == name => {
                Ok(HistoryFile { timeline, name, content: content.to_vec() })
            }
            (Some(found), _) => {
                let found: String = found.chars().take(64).collect();
                Err(QueryError::answer(COMMAND, format!("file is called {found:?}, not {name}")))
            }
            _ => Err(QueryError::answer(COMMAND, "no file")),
        }
    }
}
