//! `tls-server-end-point` for certificates of each kind of signature, hashed by OpenSSL when they were made.
#![cfg(feature = "tls")]

use std::path::Path;

use proptest::prelude::*;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tapster_protocol::tls::server_end_point;

fn kind(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/tls/kind-{name}.crt"));
    CertificateDer::from_pem_file(path).unwrap().to_vec()
}

#[test]
fn hash_follows_the_signature() {
    let mut kinds = 0;
    for line in include_str!("../data/tls/kinds.txt").lines() {
        let (name, expected) = line.split_once(' ').unwrap();
        let found = server_end_point(&kind(name)).map_or_else(
            || String::from("none"),
            |hash| hash.iter().map(|byte| format!("{byte:02x}")).collect(),
        );
        assert_eq!(found, expected, "{name}");
        kinds += 1;
    }
    assert_eq!(kinds, 18);
}

#[test]
fn truncated_certificates_have_none() {
    let certificate = kind("rsa-sha256");
    for length in 0..certificate.len() {
        assert_eq!(server_end_point(&certificate[..length]), None, "{length}");
    }
    assert_eq!(server_end_point(&[certificate.as_slice(), &[0]].concat()), None);
}

proptest! {
    #[test]
    fn any_bytes_are_judged(bytes in prop::collection::vec(any::<u8>(), 0..400), at in 0_usize..800, value: u8) {
        prop_assert_eq!(server_end_point(&bytes), None);
        let mut certificate = kind("ecdsa-sha256");
        let at = at % certificate.len();
        certificate[at] = value;
        // Whatever is found is the hash of what was given, never of something else.
        if let Some(hash) = server_end_point(&certificate) {
            prop_assert!([28, 32, 48, 64].contains(&hash.len()));
        }
    }
}
