//! From connection options to a rustls session for one host.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, SupportedProtocolVersion};

use super::client_certificate::ClientCertificate;
use super::verifier::Verifier;
use super::{TlsError, roots, server_end_point};
use crate::auth::ServerEndPoint;
use crate::conninfo::{
    ConnectOptions, Host, HostAddress, SslCertMode, SslMode, SslNegotiation, SslSettings, TlsVersion,
};

/// The protocol name PostgreSQL registered for ALPN.
const ALPN: &[u8] = b"postgresql";

/// TLS prepared for one host; makes as many sessions as there are attempts.
#[derive(Debug)]
pub struct Connector {
    config: Arc<ClientConfig>,
    server_name: ServerName<'static>,
    certificate: Arc<ClientCertificate>,
    certificate_mode: SslCertMode,
    direct: bool,
}

/// Reads the files that the options name and prepares TLS for a host.
///
/// # Errors
/// Files that are missing, unreadable or open to others; settings that rustls cannot do.
pub fn connector(options: &ConnectOptions, host: &Host) -> Result<Connector, TlsError> {
    let settings = options.ssl();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let name = host.tls_name();
    if settings.mode == SslMode::VerifyFull && name.is_none() {
        return Err(TlsError::NoHostName);
    }
    let roots = roots::load(settings)?;
    let revocations = if roots.is_some() { roots::revocations(settings)? } else { Vec::new() };
    let checked_name = name.filter(|_| settings.mode == SslMode::VerifyFull).map(str::to_owned);
    let verifier = Verifier::new(roots, revocations, checked_name, &provider)?;
    let certificate = Arc::new(ClientCertificate::load(settings, &provider)?);

    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions(settings))
        .map_err(|error| TlsError::Configuration { problem: error.to_string() })?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(Arc::clone(&certificate) as Arc<dyn rustls::client::ResolvesClientCert>);
    config.alpn_protocols = vec![ALPN.to_vec()];
    // The server has no session cache, and a resumed session would not ask for the client's certificate.
    config.resumption = Resumption::disabled();
    config.enable_sni = settings.server_name_indication;
    Ok(Connector {
        server_name: server_name(settings, host, &mut config)?,
        config: Arc::new(config),
        certificate,
        certificate_mode: settings.certificate_mode,
        direct: settings.negotiation == SslNegotiation::Direct,
    })
}

impl Connector {
    /// A new session, to be driven over a socket.
    ///
    /// # Errors
    /// Settings that rustls cannot do.
    pub fn start(&self) -> Result<ClientConnection, TlsError> {
        ClientConnection::new(Arc::clone(&self.config), self.server_name.clone())
            .map_err(|error| TlsError::Configuration { problem: error.to_string() })
    }

    /// To be called when the handshake is over: checks what only then is known, and returns what SCRAM can bind to.
    ///
    /// # Errors
    /// Direct negotiation without ALPN, or a client certificate that `sslcertmode=require` wanted and nobody took.
    pub fn finish(&self, session: &ClientConnection) -> Result<ServerEndPoint, TlsError> {
        if self.direct && session.alpn_protocol() != Some(ALPN) {
            return Err(TlsError::NoAlpn);
        }
        if self.certificate_mode == SslCertMode::Require && !self.certificate.was_asked() {
            return Err(TlsError::CertificateNotRequested);
        }
        let hash = session.peer_certificates().and_then(<[_]>::first).and_then(|der| server_end_point(der));
        Ok(hash.map_or(ServerEndPoint::Unavailable, ServerEndPoint::Hash))
    }
}

fn versions(settings: &SslSettings) -> Vec<&'static SupportedProtocolVersion> {
    let spoken = [(TlsVersion::V1_3, &rustls::version::TLS13), (TlsVersion::V1_2, &rustls::version::TLS12)];
    spoken
        .into_iter()
        .filter(|(version, _)| {
            settings.minimum_version.is_none_or(|minimum| *version >= minimum)
                && settings.maximum_version.is_none_or(|maximum| *version <= maximum)
        })
        .map(|(_, version)| version)
        .collect()
}

/// The name for SNI and for webpki. A host that is no valid DNS name can still be connected to unless it is verified.
fn server_name(
    settings: &SslSettings,
    host: &Host,
    config: &mut ClientConfig,
) -> Result<ServerName<'static>, TlsError> {
    if let Some(name) = host.tls_name() {
        match ServerName::try_from(name.to_owned()) {
            Ok(name) => return Ok(name),
            Err(error) if settings.mode == SslMode::VerifyFull => {
                return Err(TlsError::Configuration { problem: format!("host name \"{name}\": {error}") });
            }
            Err(_) => {}
        }
    }
    config.enable_sni = false;
    let address = match &host.address {
        HostAddress::Tcp { hostaddr: Some(address), .. } => *address,
        _ => std::net::IpAddr::from([0, 0, 0, 0]),
    };
    Ok(ServerName::IpAddress(address.into()))
}
