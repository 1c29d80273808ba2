//! What a server says in ErrorResponse and NoticeResponse.

use std::fmt;

use super::backend::MessageError;
use super::cursor::Cursor;

/// An error or notice of the server, field by field (protocol chapter, "Error and Notice Message Fields").
///
/// Text that is not UTF-8 (a server may speak before it knows our encoding) has replacement characters;
/// control characters other than line breaks and tabs are replaced too, so that a hostile server cannot
/// drive a terminal, and no text is longer than 16 KiB.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct ServerError {
    /// `ERROR`, `FATAL`, `PANIC`, or `WARNING`, `NOTICE`, ... not translated.
    pub severity: String,
    /// The SQLSTATE, five characters.
    pub code: String,
    /// The primary message, in the server's language.
    pub message: String,
    /// Detail, if any.
    pub detail: Option<String>,
    /// Hint, if any.
    pub hint: Option<String>,
    /// Context, if any.
    pub context: Option<String>,
}

impl ServerError {
    /// Reads the body of an ErrorResponse or NoticeResponse.
    ///
    /// # Errors
    /// When the fields are not terminated as the protocol says.
    pub fn parse(body: &[u8]) -> Result<Self, MessageError> {
        let malformed = MessageError::Malformed { what: "ErrorResponse" };
        let mut cursor = Cursor(body);
        let mut error = Self::default();
        let mut localized_severity = None;
        loop {
            let kind = cursor.u8().ok_or_else(|| malformed.clone())?;
            if kind == 0 {
                break;
            }
            let text = clean(cursor.cstr().ok_or_else(|| malformed.clone())?);
            match kind {
                b'V' => error.severity = text,
                b'S' => localized_severity = Some(text),
                b'C' => error.code = text,
                b'M' => error.message = text,
                b'D' => error.detail = Some(text),
                b'H' => error.hint = Some(text),
                b'W' => error.context = Some(text),
                _ => {}
            }
        }
        if error.severity.is_empty() {
            error.severity = localized_severity.unwrap_or_default();
        }
        Ok(error)
    }

    /// Whether the SQLSTATE is `code`.
    pub fn is(&self, code: &str) -> bool {
        self.code == code
    }

    /// Whether the session ended with this.
    pub fn is_fatal(&self) -> bool {
        matches!(self.severity.as_str(), "FATAL" | "PANIC")
    }
}

/// The longest text kept, in bytes of the message.
const MAX_TEXT: usize = 16 * 1024;

fn clean(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.get(..MAX_TEXT).unwrap_or(bytes))
        .chars()
        .map(|c| if c.is_control() && !matches!(c, '\n' | '\t') { char::REPLACEMENT_CHARACTER } else { c })
        .collect()
}

impl fmt::Display for ServerError {
    /// One line: the message and, in parentheses, the detail.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message.replace('\n', " "))?;
        match &self.detail {
            Some(detail) => write!(f, " ({})", detail.replace('\n', " ")),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ServerError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields() {
        let body = b"SFEHLER\0VERROR\0C58P01\0Mgone\x1b[2J\0Dwhy\0Hdo\0Fx.c\0\0";
        let error = ServerError::parse(body).unwrap();
        assert_eq!((error.severity.as_str(), error.code.as_str()), ("ERROR", "58P01"));
        assert_eq!(error.to_string(), "gone\u{fffd}[2J (why)");
        assert_eq!(error.hint.as_deref(), Some("do"));
        assert!(error.is("58P01") && !error.is_fatal());
        assert!(ServerError::parse(b"Mabc").is_err());
        assert!(ServerError::parse(b"").is_err());
        let long = [b"M".as_slice(), &[b'x'; 1 << 20], b"\0\0"].concat();
        assert_eq!(ServerError::parse(&long).unwrap().message.len(), MAX_TEXT);
    }
}
