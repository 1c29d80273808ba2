//! Quoting for SQL text that is built from values, as the simple query protocol and the replication commands
//! have no parameters.

/// `text` as an SQL string literal.
///
/// A backslash makes it an `E''` literal, so that the meaning does not depend on
/// `standard_conforming_strings`. For replication commands use [`replication_literal`].
///
/// ```
/// use tapster_protocol::quote::literal;
/// assert_eq!(literal("O'Reilly"), "'O''Reilly'");
/// assert_eq!(literal(r"a\b"), r" E'a\\b'");
/// ```
pub fn literal(text: &str) -> String {
    if text.contains('\\') {
        format!(" E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
    } else {
        replication_literal(text)
    }
}

/// `text` as a string literal of the replication grammar (`repl_scanner.l`), which knows no escapes but the
/// doubled quote.
pub fn replication_literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// `name` as a quoted identifier, for SQL and for replication commands.
///
/// ```
/// assert_eq!(tapster_protocol::quote::identifier("a\"b"), "\"a\"\"b\"");
/// ```
pub fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
