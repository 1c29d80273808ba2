//! Channel binding data `tls-server-end-point` (RFC 5929, section 4.1).

use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};

use super::certificate::Certificate;
use super::der::{OID, Reader, SEQUENCE};

/// 1.2.840.113549.1.1, PKCS #1.
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
/// 1.2.840.10045.4, ANSI X9.62 signatures.
const ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04];
/// The last number of RSASSA-PSS below [`RSA`]; its hash stands in the parameters.
const PSS: &[u8] = &[10];
/// 2.16.840.1.101.3.4.2, NIST hashes.
const NIST_HASH: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02];
/// 1.2.840.113549.2.5, MD5.
const MD5: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x02, 0x05];
/// 1.3.14.3.2.26, SHA-1.
const SHA1: &[u8] = &[0x2b, 0x0e, 0x03, 0x02, 0x1a];
/// 2.16.840.1.101.3.4.3, NIST signatures.
const NIST: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03];
/// 1.2.840.10040.4.3, DSA with SHA-1.
const DSA_SHA1: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x38, 0x04, 0x03];
/// 1.3.14.3.2.29, the older name of RSA with SHA-1.
const RSA_SHA1_OIW: &[u8] = &[0x2b, 0x0e, 0x03, 0x02, 0x1d];

enum Hash {
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

/// The hash of a certificate that both ends of a TLS connection can compute: by the hash of its signature's
/// algorithm, but SHA-256 in place of MD5 and SHA-1. RSA-PSS signatures name theirs in their parameters, and count as
/// with libpq and the server since February 2023 (`X509_get_signature_info` in `be-secure-openssl.c`).
///
/// `None` if the algorithm names no hash (Ed25519, Ed448, post-quantum) or the bytes are not a certificate: then
/// there is nothing to bind to.
pub fn server_end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    let mut algorithm = Reader::new(Certificate::parse(certificate)?.signature_algorithm);
    let oid = algorithm.expect(OID)?.content;
    let hash = if oid.strip_prefix(RSA) == Some(PSS) { pss_hash(algorithm)? } else { hash_of(oid)? };
    Some(match hash {
        Hash::Sha224 => Sha224::digest(certificate).to_vec(),
        Hash::Sha256 => Sha256::digest(certificate).to_vec(),
        Hash::Sha384 => Sha384::digest(certificate).to_vec(),
        Hash::Sha512 => Sha512::digest(certificate).to_vec(),
    })
}

/// The hash in `RSASSA-PSS-params` (RFC 4055, section 3.1): the first field, tagged 0, SHA-1 when left out.
fn pss_hash(mut parameters: Reader<'_>) -> Option<Hash> {
    let Some(mut algorithm) = parameters.enter(SEQUENCE)?.enter(0xa0) else { return Some(Hash::Sha256) };
    let oid = algorithm.enter(SEQUENCE)?.expect(OID)?.content;
    if oid == MD5 || oid == SHA1 {
        return Some(Hash::Sha256);
    }
    match oid.strip_prefix(NIST_HASH)? {
        [1] => Some(Hash::Sha256),
        [2] => Some(Hash::Sha384),
        [3] => Some(Hash::Sha512),
        [4] => Some(Hash::Sha224),
        _ => None,
    }
}

fn hash_of(oid: &[u8]) -> Option<Hash> {
    if oid == DSA_SHA1 || oid == RSA_SHA1_OIW {
        return Some(Hash::Sha256);
    }
    if let Some(last) = oid.strip_prefix(RSA) {
        return match last {
            // MD5 and SHA-1.
            [4 | 5] | [11] => Some(Hash::Sha256),
            [12] => Some(Hash::Sha384),
            [13] => Some(Hash::Sha512),
            [14] => Some(Hash::Sha224),
            _ => None,
        };
    }
    if let Some(last) = oid.strip_prefix(ECDSA) {
        return match last {
            [1] | [3, 2] => Some(Hash::Sha256),
            [3, 1] => Some(Hash::Sha224),
            [3, 3] => Some(Hash::Sha384),
            [3, 4] => Some(Hash::Sha512),
            _ => None,
        };
    }
    match oid.strip_prefix(NIST)? {
        [1] => Some(Hash::Sha224),
        [2] => Some(Hash::Sha256),
        [3] => Some(Hash::Sha384),
        [4] => Some(Hash::Sha512),
        _ => None,
    }
}
