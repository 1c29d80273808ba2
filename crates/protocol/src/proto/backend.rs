//! Messages of the server.

use thiserror::Error;

use super::cursor::Cursor;
use super::server_error::ServerError;

/// A message whose body does not have the form its type demands, or whose type nobody knows.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum MessageError {
    /// The body is too short, too long or not terminated.
    #[error("malformed {what} message")]
    Malformed {
        /// The message's name in the protocol chapter.
        what: &'static str,
    },
    /// The type byte is not one of protocol 3.
    #[error("message of unknown type {tag:?}")]
    Unknown {
        /// The type byte.
        tag: char,
    },
}

/// What the server wants to see in authentication.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Authentication<'a> {
    /// Enough.
    Ok,
    /// The password as it is.
    CleartextPassword,
    /// The password hashed with this salt.
    Md5Password {
        /// Four random bytes.
        salt: [u8; 4],
    },
    /// One of the mechanisms in this list of zero-terminated names (ends with an empty one).
    Sasl {
        /// The raw list.
        mechanisms: &'a [u8],
    },
    /// A challenge of the mechanism.
    SaslContinue {
        /// Its bytes.
        data: &'a [u8],
    },
    /// The last message of the mechanism, to be verified.
    SaslFinal {
        /// Its bytes.
        data: &'a [u8],
    },
    /// A method this crate does not know (GSS, SSPI, Kerberos).
    Other {
        /// Its number.
        code: u32,
    },
}

/// Where ReadyForQuery says the session stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TransactionStatus {
    /// Outside a transaction.
    Idle,
    /// In a transaction.
    InTransaction,
    /// In a failed transaction.
    Failed,
}

/// A message of the server, borrowed from the frame.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum BackendMessage<'a> {
    /// `R`.
    Authentication(Authentication<'a>),
    /// `K`. From protocol 3.2 on the key has any length up to 256 bytes; here it goes by the message's length.
    BackendKeyData {
        /// The process id.
        process_id: u32,
        /// The secret for cancelling.
        key: &'a [u8],
    },
    /// `v`: the server speaks an older minor protocol or refused options.
    NegotiateProtocolVersion {
        /// The newest minor version it speaks.
        minor: u32,
        /// How many options it did not recognise.
        unrecognised: u32,
    },
    /// `S`.
    ParameterStatus {
        /// The parameter.
        name: &'a [u8],
        /// Its value.
        value: &'a [u8],
    },
    /// `N`.
    Notice(Box<ServerError>),
    /// `E`.
    Error(Box<ServerError>),
    /// `A`: a notification of LISTEN, which nobody asked for.
    Notification,
    /// `Z`.
    ReadyForQuery(TransactionStatus),
    /// `T`; read by [`super::Rows`].
    RowDescription(&'a [u8]),
    /// `D`; read by [`super::Rows`].
    DataRow(&'a [u8]),
    /// `C`.
    CommandComplete(&'a [u8]),
    /// `I`.
    EmptyQuery,
    /// `H`.
    CopyOut,
    /// `G`.
    CopyIn,
    /// `W`.
    CopyBoth,
    /// `d`.
    CopyData(&'a [u8]),
    /// `c`.
    CopyDone,
}

impl<'a> BackendMessage<'a> {
    /// Reads the body of a message of type `tag`.
    ///
    /// # Errors
    /// When the type is unknown or the body does not fit it.
    pub fn parse(tag: u8, body: &'a [u8]) -> Result<Self, MessageError> {
        let mut cursor = Cursor(body);
        match tag {
            b'd' => Ok(Self::CopyData(body)),
            b'D' => Ok(Self::DataRow(body)),
            b'T' => Ok(Self::RowDescription(body)),
            b'c' => Ok(Self::CopyDone),
            b'I' => Ok(Self::EmptyQuery),
            b'A' => Ok(Self::Notification),
            b'E' => ServerError::parse(body).map(|error| Self::Error(Box::new(error))),
            b'N' => ServerError::parse(body).map(|error| Self::Notice(Box::new(error))),
            b'H' | b'G' | b'W' => copy_response(&mut cursor)
                .map(|()| match tag {
                    b'H' => Self::CopyOut,
                    b'G' => Self::CopyIn,
                    _ => Self::CopyBoth,
                })
                .ok_or(MessageError::Malformed { what: "CopyResponse" }),
            b'R' => authentication(&mut cursor)
                .map(Self::Authentication)
                .ok_or(MessageError::Malformed { what: "Authentication" }),
            b'K' => cursor
                .u32()
                .filter(|_| (4..=256).contains(&cursor.0.len()))
                .map(|process_id| Self::BackendKeyData { process_id, key: cursor.0 })
                .ok_or(MessageError::Malformed { what: "BackendKeyData" }),
            b'v' => cursor
                .u32()
                .zip(cursor.u32())
                .map(|(minor, unrecognised)| Self::NegotiateProtocolVersion { minor, unrecognised })
                .ok_or(MessageError::Malformed { what: "NegotiateProtocolVersion" }),
            b'S' => cursor
                .cstr()
                .zip(cursor.cstr())
                .map(|(name, value)| Self::ParameterStatus { name, value })
                .ok_or(MessageError::Malformed { what: "ParameterStatus" }),
            b'C' => cursor
                .cstr()
                .map(Self::CommandComplete)
                .ok_or(MessageError::Malformed { what: "CommandComplete" }),
            b'Z' => match body {
                [b'I'] => Ok(Self::ReadyForQuery(TransactionStatus::Idle)),
                [b'T'] => Ok(Self::ReadyForQuery(TransactionStatus::InTransaction)),
                [b'E'] => Ok(Self::ReadyForQuery(TransactionStatus::Failed)),
                _ => Err(MessageError::Malformed { what: "ReadyForQuery" }),
            },
            _ => Err(MessageError::Unknown { tag: char::from(tag) }),
        }
    }

    /// The message's name in the protocol chapter, for error texts.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Authentication(_) => "Authentication",
            Self::BackendKeyData { .. } => "BackendKeyData",
            Self::NegotiateProtocolVersion { .. } => "NegotiateProtocolVersion",
            Self::ParameterStatus { .. } => "ParameterStatus",
            Self::Notice(_) => "NoticeResponse",
            Self::Error(_) => "ErrorResponse",
            Self::Notification => "NotificationResponse",
            Self::ReadyForQuery(_) => "ReadyForQuery",
            Self::RowDescription(_) => "RowDescription",
            Self::DataRow(_) => "DataRow",
            Self::CommandComplete(_) => "CommandComplete",
            Self::EmptyQuery => "EmptyQueryResponse",
            Self::CopyOut => "CopyOutResponse",
            Self::CopyIn => "CopyInResponse",
            Self::CopyBoth => "CopyBothResponse",
            Self::CopyData(_) => "CopyData",
            Self::CopyDone => "CopyDone",
        }
    }
}

fn copy_response(cursor: &mut Cursor<'_>) -> Option<()> {
    cursor.u8()?;
    let columns = cursor.u16()?;
    (cursor.0.len() == usize::from(columns) * 2).then_some(())
}

fn authentication<'a>(cursor: &mut Cursor<'a>) -> Option<Authentication<'a>> {
    Some(match cursor.u32()? {
        0 => Authentication::Ok,
        3 => Authentication::CleartextPassword,
        5 => Authentication::Md5Password { salt: cursor.array()? },
        10 => Authentication::Sasl { mechanisms: cursor.0 },
        11 => Authentication::SaslContinue { data: cursor.0 },
        12 => Authentication::SaslFinal { data: cursor.0 },
        code => Authentication::Other { code },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_protocol_3_2() {
        let body = [&7u32.to_be_bytes()[..], &[1; 32]].concat();
        let BackendMessage::BackendKeyData { process_id, key } = BackendMessage::parse(b'K', &body).unwrap()
        else {
            panic!()
        };
        assert_eq!((process_id, key.len()), (7, 32));
        assert!(BackendMessage::parse(b'K', &[0; 4]).is_err());
    }

    #[test]
    fn what_the_usual_crates_lack() {
        assert_eq!(BackendMessage::parse(b'W', &[0, 0, 0]), Ok(BackendMessage::CopyBoth));
        let negotiate = BackendMessage::parse(b'v', &[0, 0, 0, 0, 0, 0, 0, 1, b'_', b'p', 0]).unwrap();
        assert_eq!(negotiate, BackendMessage::NegotiateProtocolVersion { minor: 0, unrecognised: 1 });
        assert_eq!(BackendMessage::parse(b'!', &[]), Err(MessageError::Unknown { tag: '!' }));
    }
}
