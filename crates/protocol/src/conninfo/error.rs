//! Why a connection string, or what completes it, was refused.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// An unusable connection string, service file or connection setting.
///
/// The texts are those of libpq's `fe-connect.c`, except that no message repeats a whole URI or a password.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConnInfoError {
    /// A keyword without `=`.
    #[error("missing \"=\" after \"{after}\" in connection info string")]
    MissingEquals {
        /// The word that was read as a keyword; masked when it may be part of a password.
        after: String,
    },
    /// A value that begins with `'` and does not end.
    #[error("unterminated quoted string in connection info string")]
    UnterminatedQuote,
    /// A keyword that libpq does not know either.
    #[error("invalid connection option \"{keyword}\"")]
    UnknownKeyword {
        /// The keyword as written.
        keyword: String,
    },
    /// `[` without `]` in a URI.
    #[error("end of string reached when looking for matching \"]\" in IPv6 host address in URI")]
    UnterminatedIpv6,
    /// `[]` in a URI.
    #[error("IPv6 host address may not be empty in URI")]
    EmptyIpv6,
    /// Something other than `:`, `/`, `?` or `,` after `]`.
    #[error("unexpected character \"{character}\" at position {position} in URI (expected \":\" or \"/\")")]
    UnexpectedCharacter {
        /// The character found.
        character: char,
        /// Its position in bytes, counted from 1.
        position: usize,
    },
    /// A query parameter with two `=`.
    #[error("extra key/value separator \"=\" in URI query parameter: \"{parameter}\"")]
    ExtraSeparator {
        /// The parameter's keyword.
        parameter: String,
    },
    /// A query parameter without `=`.
    #[error("missing key/value separator \"=\" in URI query parameter: \"{parameter}\"")]
    MissingSeparator {
        /// The parameter as written.
        parameter: String,
    },
    /// A query parameter that is no connection option.
    #[error("invalid URI query parameter: \"{parameter}\"")]
    UnknownParameter {
        /// The parameter's keyword.
        parameter: String,
    },
    /// `%` without two hexadecimal digits.
    #[error("invalid percent-encoded token: \"{token}\"")]
    PercentEncoding {
        /// The encoded text; masked when it is a password.
        token: String,
    },
    /// `%00` in a URI.
    #[error("forbidden value %00 in percent-encoded value: \"{token}\"")]
    PercentZero {
        /// The encoded text; masked when it is a password.
        token: String,
    },
    /// Percent-encoded bytes that are not UTF-8 (libpq would pass them on; a connection string here is text).
    #[error("percent-encoded value is not UTF-8: \"{token}\"")]
    NotUtf8 {
        /// The encoded text; masked when it is a password.
        token: String,
    },
    /// A zero byte, which no start-up packet can carry.
    #[error("value of connection option \"{keyword}\" contains a zero byte")]
    ZeroByte {
        /// The option.
        keyword: String,
    },
    /// The file named by `servicefile` or `PGSERVICEFILE` does not exist.
    #[error("service file \"{path}\" not found")]
    ServiceFileNotFound {
        /// The file.
        path: PathBuf,
    },
    /// A service file that exists and cannot be read.
    #[error("could not read service file \"{path}\": {source}")]
    ServiceFileRead {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The service is in none of the service files.
    #[error("definition of service \"{service}\" not found")]
    ServiceNotFound {
        /// The service asked for.
        service: String,
    },
    /// A line of the service that is not `option=value`.
    #[error("syntax error in service file \"{path}\", line {line}")]
    ServiceSyntax {
        /// The file.
        path: PathBuf,
        /// Line, counted from 1.
        line: usize,
    },
    /// A service that names another service.
    #[error("nested service specifications not supported in service file \"{path}\", line {line}")]
    ServiceNested {
        /// The file.
        path: PathBuf,
        /// Line, counted from 1.
        line: usize,
    },
    /// A line longer than libpq reads (1023 bytes).
    #[error("line {line} too long in service file \"{path}\"")]
    ServiceLineTooLong {
        /// The file.
        path: PathBuf,
        /// Line, counted from 1.
        line: usize,
    },
    /// A value outside the words the option takes.
    #[error("invalid {keyword} value: \"{value}\"")]
    InvalidValue {
        /// The option.
        keyword: &'static str,
        /// The value found.
        value: String,
    },
    /// A number was expected.
    #[error("invalid integer value \"{value}\" for connection option \"{keyword}\"")]
    InvalidInteger {
        /// The option.
        keyword: &'static str,
        /// The value found.
        value: String,
    },
    /// A port outside 1 to 65535.
    #[error("invalid port number: \"{value}\"")]
    InvalidPort {
        /// The value found.
        value: String,
    },
    /// `host` and `hostaddr` lists of different lengths.
    #[error("could not match {hosts} host names to {addresses} hostaddr values")]
    HostCount {
        /// Elements of `host`.
        hosts: usize,
        /// Elements of `hostaddr`.
        addresses: usize,
    },
    /// More than one port, and not as many as hosts.
    #[error("could not match {ports} port numbers to {hosts} hosts")]
    PortCount {
        /// Elements of `port`.
        ports: usize,
        /// Number of hosts.
        hosts: usize,
    },
    /// A `hostaddr` that is not a numeric address.
    #[error("could not parse network address \"{value}\"")]
    InvalidAddress {
        /// The value found.
        value: String,
    },
    /// `sslrootcert=system` or `sslnegotiation=direct` with an `sslmode` that would undo it.
    #[error("weak sslmode \"{mode}\" may not be used with {with} (use {advice})")]
    WeakSslMode {
        /// The mode found.
        mode: &'static str,
        /// The setting it contradicts.
        with: &'static str,
        /// What to use instead.
        advice: &'static str,
    },
    /// `ssl_min_protocol_version` above `ssl_max_protocol_version`.
    #[error("invalid SSL protocol version range")]
    ProtocolRange,
    /// A `require_auth` list that contradicts itself.
    #[error("require_auth method \"{method}\" {problem}")]
    RequireAuth {
        /// The method at fault.
        method: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// No user in the connection string or the environment, and the operating system names none.
    #[error("no user name: none given, and the operating system's user is unknown")]
    NoUser,
    /// libpq has it, this crate does not.
    #[error("connection option {keyword}={value} is not supported")]
    Unsupported {
        /// The option.
        keyword: &'static str,
        /// The value found.
        value: String,
    },
}
