//! What a server said, as libpq's `PQerrorMessage` words it.

use std::fmt;

use tapster_protocol::ServerError;

/// `ERROR:  message`, then `DETAIL:  …` and `HINT:  …` on lines of their own.
#[derive(Clone, Copy, Debug)]
pub struct LibpqText<'a>(pub &'a ServerError);

impl fmt::Display for LibpqText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ServerError { severity, message, detail, hint, .. } = self.0;
        write!(f, "{severity}:  {message}")?;
        for (name, text) in [("DETAIL", detail), ("HINT", hint)] {
            if let Some(text) = text {
                write!(f, "\n{name}:  {text}")?;
            }
        }
        Ok(())
    }
}
