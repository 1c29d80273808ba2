//! The client's certificate and key (`initialize_SSL` of libpq).

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::TlsError;
use super::certificate::Certificate;
use super::roots::read;
use crate::conninfo::{SslCertMode, SslSettings};

const CERTIFICATE: &str = "certificate file";
const KEY: &str = "private key file";

/// Hands the certificate to a server that asks, and remembers that it did (`sslcertmode=require`).
#[derive(Debug)]
pub(super) struct ClientCertificate {
    key: Option<Arc<CertifiedKey>>,
    asked: AtomicBool,
}

impl ClientCertificate {
    pub(super) fn was_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// Loads the files. A missing certificate means going without one, as in libpq; a missing key does not.
    pub(super) fn load(settings: &SslSettings, provider: &CryptoProvider) -> Result<Self, TlsError> {
        let key = match &settings.certificate {
            Some(file) if settings.certificate_mode != SslCertMode::Disable => {
                match read(CERTIFICATE, &file.path)? {
                    Some(pem) => Some(Arc::new(load_pair(settings, &file.path, &pem, provider)?)),
                    None => None,
                }
            }
            _ => None,
        };
        if key.is_none() && settings.certificate_mode == SslCertMode::Require {
            return Err(TlsError::NoCertificate);
        }
        Ok(Self { key, asked: AtomicBool::new(false) })
    }
}

impl ResolvesClientCert for ClientCertificate {
    fn resolve(&self, _authorities: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.asked.store(true, Ordering::Relaxed);
        self.key.clone()
    }

    fn has_certs(&self) -> bool {
        self.key.is_some()
    }
}

fn load_pair(
    settings: &SslSettings,
    path: &Path,
    pem: &[u8],
    provider: &CryptoProvider,
) -> Result<CertifiedKey, TlsError> {
    let refuse = |problem: String| TlsError::Load { what: CERTIFICATE, path: path.to_owned(), problem };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| refuse(error.to_string()))?;
    let leaf = chain.first().ok_or_else(|| refuse(String::from("no certificate found")))?;
    let leaf = Certificate::parse(leaf).ok_or_else(|| refuse(String::from("not an X.509 certificate")))?;

    let Some(key_path) = settings.key.as_ref().map(|file| file.path.as_path()) else {
        return Err(TlsError::NoKey { path: path.to_owned() });
    };
    let unusable = |problem: String| TlsError::Load { what: KEY, path: key_path.to_owned(), problem };
    if key_path.to_string_lossy().starts_with("engine:") {
        return Err(unusable(String::from("keys of an OpenSSL engine are not supported")));
    }
    check_access(key_path)?;
    let bytes = read(KEY, key_path)?.ok_or_else(|| TlsError::NoKey { path: key_path.to_owned() })?;
    let key = parse_key(bytes).map_err(&unusable)?;
    let key = provider.key_provider.load_private_key(key).map_err(|error| unusable(error.to_string()))?;
    // rustls compares too, but through a parser that refuses the version 1 certificates OpenSSL still makes.
    if key.public_key().is_some_and(|public| public.as_ref() != leaf.key_info) {
        return Err(refuse(format!(
            "certificate does not match private key file \"{}\"",
            key_path.display()
        )));
    }
    Ok(CertifiedKey::new(chain, key))
}

fn parse_key(bytes: Vec<u8>) -> Result<PrivateKeyDer<'static>, String> {
    match PrivateKeyDer::from_pem_slice(&bytes) {
        Ok(key) => Ok(key),
        Err(_) if bytes.windows(9).any(|window| window == b"ENCRYPTED") => {
            Err(String::from("encrypted private keys are not supported"))
        }
        // libpq takes DER as well.
        Err(error) => PrivateKeyDer::try_from(bytes).map_err(|_| error.to_string()),
    }
}

fn check_access(path: &Path) -> Result<(), TlsError> {
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(TlsError::NoKey { path: path.to_owned() });
        }
        Err(source) => return Err(TlsError::Read { what: KEY, path: path.to_owned(), source }),
    };
    if !metadata.is_file() {
        let problem = String::from("not a regular file");
        return Err(TlsError::Load { what: KEY, path: path.to_owned(), problem });
    }
    // A key of root's may be readable by a group such as ssl-cert.
    let forbidden = if metadata.uid() == 0 { 0o037 } else { 0o077 };
    if metadata.mode() & forbidden != 0 {
        return Err(TlsError::KeyAccess { path: path.to_owned() });
    }
    Ok(())
}
