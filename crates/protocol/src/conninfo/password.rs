//! A secret that cannot reach a log by accident.

/// A password, as the bytes that are sent to the server or mixed into SCRAM.
///
/// It deliberately has neither `Debug` nor `Display`: whoever prints a structure that holds one has to say how.
#[expect(missing_debug_implementations, reason = "a secret must not be printable")]
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Vec<u8>);

impl Password {
    /// Wraps the bytes of a password.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// The bytes, for the one place that sends or hashes them.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}
