//! Which authorities to trust, and what they have revoked.

use std::io;
use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};

use super::TlsError;
use crate::conninfo::{RootCertificates, SslMode, SslSettings};

/// Trusted certificates as given, and as webpki wants them.
pub(super) struct Roots {
    pub(super) store: RootCertStore,
    pub(super) certificates: Vec<CertificateDer<'static>>,
}

/// Reads a file, `None` if it does not exist.
pub(super) fn read(what: &'static str, path: &Path) -> Result<Option<Vec<u8>>, TlsError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(source) => Err(TlsError::Read { what, path: path.to_owned(), source }),
    }
}

/// The roots of `sslrootcert`. `None` means that nothing is verified, which only modes up to `require` allow, and only
/// when there is no root file: with one, libpq verifies in every mode.
pub(super) fn load(settings: &SslSettings) -> Result<Option<Roots>, TlsError> {
    const WHAT: &str = "root certificate file";
    let file = match &settings.root_certificates {
        RootCertificates::System => return system().map(Some),
        RootCertificates::File(file) => file,
        RootCertificates::None if settings.mode >= SslMode::VerifyCa => return Err(TlsError::NoHome),
        RootCertificates::None => return Ok(None),
    };
    let Some(pem) = read(WHAT, &file.path)? else {
        if settings.mode >= SslMode::VerifyCa {
            return Err(TlsError::NoRootCertificates { path: file.path.clone() });
        }
        return Ok(None);
    };
    let refuse = |problem: String| TlsError::Load { what: WHAT, path: file.path.clone(), problem };
    let mut roots = Roots { store: RootCertStore::empty(), certificates: Vec::new() };
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| refuse(error.to_string()))?;
        roots.store.add(certificate.clone()).map_err(|error| refuse(error.to_string()))?;
        roots.certificates.push(certificate);
    }
    if roots.certificates.is_empty() {
        return Err(refuse(String::from("no certificate found")));
    }
    Ok(Some(roots))
}

fn system() -> Result<Roots, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut store = RootCertStore::empty();
    // A system's collection may hold certificates that rustls cannot use; the others still count.
    let (added, _) = store.add_parsable_certificates(found.certs);
    if added == 0 {
        let problem = found.errors.first().map_or_else(|| String::from("none found"), ToString::to_string);
        return Err(TlsError::SystemRoots { problem });
    }
    Ok(Roots { store, certificates: Vec::new() })
}

/// The revocation lists of `sslcrl` and `sslcrldir`.
///
/// A default file may be missing. One that an option names may not: libpq would then check nothing and say nothing.
pub(super) fn revocations(
    settings: &SslSettings,
) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    const WHAT: &str = "certificate revocation list";
    let mut lists = Vec::new();
    if let Some(file) = &settings.revocations {
        match read(WHAT, &file.path)? {
            Some(pem) => add_lists(&mut lists, &file.path, &pem)?,
            None if file.named => {
                return Err(TlsError::Read {
                    what: WHAT,
                    path: file.path.clone(),
                    source: io::ErrorKind::NotFound.into(),
                });
            }
            None => {}
        }
    }
    if let Some(directory) = &settings.revocation_directory {
        let failed = |source| TlsError::Read {
            what: "certificate revocation directory",
            path: directory.clone(),
            source,
        };
        for entry in std::fs::read_dir(directory).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.is_file()
                && let Some(pem) = read(WHAT, &path)?
            {
                add_lists(&mut lists, &path, &pem)?;
            }
        }
    }
    Ok(lists)
}

fn add_lists(
    lists: &mut Vec<CertificateRevocationListDer<'static>>,
    path: &Path,
    pem: &[u8],
) -> Result<(), TlsError> {
    let refuse = |problem: String| TlsError::Load {
        what: "certificate revocation list",
        path: path.to_owned(),
        problem,
    };
    let before = lists.len();
    for list in CertificateRevocationListDer::pem_slice_iter(pem) {
        lists.push(list.map_err(|error| refuse(error.to_string()))?);
    }
    if lists.len() == before {
        return Err(refuse(String::from("no revocation list found")));
    }
    Ok(())
}
