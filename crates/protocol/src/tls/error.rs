//! Why TLS could not be set up.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// TLS is impossible with these settings or these files.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The crate was built without the feature `tls`.
    #[error("sslmode value \"{mode}\" invalid when TLS support is not compiled in")]
    NotBuilt {
        /// The mode asked for.
        mode: &'static str,
    },
    /// `verify-ca` or `verify-full` and no root certificates.
    #[error(
        "root certificate file \"{path}\" does not exist; provide the file, use the system's trusted roots with \
         sslrootcert=system, or change sslmode to disable server certificate verification"
    )]
    NoRootCertificates {
        /// The file looked for.
        path: PathBuf,
    },
    /// `verify-ca` or `verify-full`, no `sslrootcert`, and no home directory.
    #[error("could not get home directory to locate root certificate file")]
    NoHome,
    /// A file that exists and cannot be read.
    #[error("could not read {what} \"{path}\": {source}")]
    Read {
        /// What the file is for.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file with contents that cannot be used.
    #[error("could not load {what} \"{path}\": {problem}")]
    Load {
        /// What the file is for.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A client certificate without its key.
    #[error("certificate present, but not private key file \"{path}\"")]
    NoKey {
        /// The key file looked for.
        path: PathBuf,
    },
    /// A private key that others can read.
    #[error(
        "private key file \"{path}\" has group or world access; file must have permissions u=rw (0600) or less if \
         owned by the current user, or permissions u=rw,g=r (0640) or less if owned by root"
    )]
    KeyAccess {
        /// The key file.
        path: PathBuf,
    },
    /// `verify-full` without a host name.
    #[error("host name must be specified for a verified SSL connection")]
    NoHostName,
    /// `sslcertmode=require` and no certificate.
    #[error("sslcertmode value \"require\" needs a client certificate")]
    NoCertificate,
    /// `sslcertmode=require` and a server that did not ask.
    #[error("server did not request an SSL certificate")]
    CertificateNotRequested,
    /// The system has no usable root certificates.
    #[error("could not load the system's trusted root certificates: {problem}")]
    SystemRoots {
        /// What is wrong.
        problem: String,
    },
    /// Versions or keys that rustls cannot do.
    #[error("TLS configuration is not possible: {problem}")]
    Configuration {
        /// What is wrong.
        problem: String,
    },
    /// Direct negotiation with a server that did not choose `postgresql` by ALPN.
    #[error("direct SSL connection was established without ALPN protocol negotiation extension")]
    NoAlpn,
}
