//! TLS as libpq's `sslmode` means it, on rustls.
//!
//! [`plan`] turns `sslmode` into the attempts to make; [`Connector`] (feature `tls`) holds a configuration for one
//! host. Without the feature, a mode that tolerates a plain connection gets one and a stricter one is an error.

#[cfg(feature = "tls")]
mod certificate;
#[cfg(feature = "tls")]
mod client_certificate;
#[cfg(feature = "tls")]
mod connector;
#[cfg(feature = "tls")]
mod der;
#[cfg(feature = "tls")]
mod end_point;
mod error;
#[cfg(feature = "tls")]
mod names;
mod plan;
#[cfg(feature = "tls")]
mod roots;
#[cfg(feature = "tls")]
mod verifier;

#[cfg(feature = "tls")]
pub use connector::{Connector, connector};
#[cfg(feature = "tls")]
pub use end_point::server_end_point;
pub use error::TlsError;
pub use plan::{Attempt, plan};
