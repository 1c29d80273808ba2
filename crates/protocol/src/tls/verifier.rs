//! The check of the server's certificate: webpki's, and where libpq accepts more, exactly that much more.

use std::fmt;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};

use super::TlsError;
use super::certificate::Certificate;
use super::names::common_name_matches;
use super::roots::Roots;

/// What to check, once there are roots.
struct Chain {
    webpki: Arc<WebPkiServerVerifier>,
    roots: Vec<CertificateDer<'static>>,
    revocation: bool,
    /// The name to check (`verify-full`).
    host: Option<String>,
}

/// The verifier of one connection's settings.
///
/// The chain's work is webpki's. Three things OpenSSL accepts and webpki does not are common with PostgreSQL:
/// a self-signed certificate that is itself the trusted root, a server certificate of X.509 version 1 signed directly
/// by a root (what the manual's recipe makes with OpenSSL 3.0), and a host named by the common name alone.
pub(super) struct Verifier {
    chain: Option<Chain>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    /// Without roots nothing but the handshake's signature is checked.
    pub(super) fn new(
        roots: Option<Roots>,
        revocations: Vec<CertificateRevocationListDer<'static>>,
        host: Option<String>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, TlsError> {
        let algorithms = provider.signature_verification_algorithms;
        let Some(roots) = roots else { return Ok(Self { chain: None, algorithms }) };
        let revocation = !revocations.is_empty();
        let webpki = WebPkiServerVerifier::builder_with_provider(Arc::new(roots.store), Arc::clone(provider))
            .with_crls(revocations)
            .enforce_revocation_expiration()
            .build()
            .map_err(|error| TlsError::Configuration { problem: error.to_string() })?;
        Ok(Self { chain: Some(Chain { webpki, roots: roots.certificates, revocation, host }), algorithms })
    }

    /// Whether a certificate that webpki cannot judge is a root itself, or of version 1 and signed by a root.
    fn is_trusted_directly(
        &self,
        chain: &Chain,
        certificate: &Certificate<'_>,
        der: &[u8],
        now: UnixTime,
    ) -> bool {
        // Revocation of such a certificate cannot be checked here, so with lists it stays refused.
        if chain.revocation || !certificate.is_valid_at(now.as_secs()) {
            return false;
        }
        chain.roots.iter().any(|root| {
            if root.as_ref() == der {
                return true;
            }
            let Some(root) = Certificate::parse(root) else { return false };
            certificate.version == 1
                && root.subject == certificate.issuer
                && root.is_valid_at(now.as_secs())
                && self.algorithms.all.iter().any(|algorithm| {
                    algorithm.public_key_alg_id().as_ref() == root.key_algorithm
                        && algorithm.signature_alg_id().as_ref() == certificate.signature_algorithm
                        && algorithm
                            .verify_signature(root.key, certificate.to_be_signed, certificate.signature)
                            .is_ok()
                })
        })
    }

    fn verify_handshake(
        &self,
        message: &[u8],
        der: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let certificate = Certificate::parse(der).ok_or(CertificateError::BadEncoding)?;
        let candidates = self.algorithms.mapping.iter().filter(|(scheme, _)| *scheme == signed.scheme);
        // webpki's own function would refuse a version 1 certificate, verified or not.
        for algorithm in candidates.flat_map(|(_, algorithms)| algorithms.iter()) {
            if algorithm.public_key_alg_id().as_ref() == certificate.key_algorithm
                && algorithm.verify_signature(certificate.key, message, signed.signature()).is_ok()
            {
                return Ok(HandshakeSignatureValid::assertion());
            }
        }
        Err(CertificateError::BadSignature.into())
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        let verdict =
            chain.webpki.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        let name_error = match verdict {
            Ok(verified) => return Ok(verified),
            // webpki looks at the name last: with this error, the chain is good.
            Err(
                error @ Error::InvalidCertificate(
                    CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
                ),
            ) => error,
            Err(error) => {
                let trusted = Certificate::parse(end_entity)
                    .is_some_and(|parsed| self.is_trusted_directly(chain, &parsed, end_entity, now));
                if !trusted {
                    return Err(error);
                }
                let named = ParsedCertificate::try_from(end_entity)
                    .and_then(|parsed| rustls::client::verify_server_name(&parsed, server_name));
                match named {
                    Ok(()) => return Ok(ServerCertVerified::assertion()),
                    Err(_) => CertificateError::NotValidForName.into(),
                }
            }
        };
        let Some(host) = &chain.host else { return Ok(ServerCertVerified::assertion()) };
        match Certificate::parse(end_entity) {
            Some(parsed) if common_name_matches(&parsed, host) => Ok(ServerCertVerified::assertion()),
            _ => Err(name_error),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify_handshake(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        // TLS 1.3 forbids PKCS #1 here; rustls checks that too, this keeps the rule where the decision is.
        if matches!(
            dss.scheme,
            SignatureScheme::RSA_PKCS1_SHA1
                | SignatureScheme::RSA_PKCS1_SHA256
                | SignatureScheme::RSA_PKCS1_SHA384
                | SignatureScheme::RSA_PKCS1_SHA512
        ) {
            return Err(rustls::PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
        }
        self.verify_handshake(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("verifies", &self.chain.is_some()).finish_non_exhaustive()
    }
}
