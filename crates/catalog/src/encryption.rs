//! Recognising files that GnuPG encrypted, by their first bytes (Barman starts `file` for each).

/// `gpg` when the file begins with an OpenPGP packet of an encrypted message: a session key encrypted for a
/// public key (tag 1) or with a passphrase (tag 3), or an armoured message.
pub(crate) fn detect(first: &[u8]) -> Option<&'static str> {
    // RFC 4880: old packets 10tttt.ll, new packets 11tttttt; then the length, then the packet's version.
    let is_encrypted = match first {
        // old format, one, two or four length octets; version 3 keys, version 4 passphrases
        [0x84, _, 3, ..] | [0x85, _, _, 3, ..] | [0x8C, _, 4, ..] | [0x8D, _, _, 4, ..] => true,
        // new format, one or two length octets
        [0xC1, 0..=191, 3, ..] | [0xC1, 192..=223, _, 3, ..] | [0xC3, 0..=191, 4, ..] => true,
        _ => first.starts_with(b"-----BEGIN PGP M"),
    };
    is_encrypted.then_some("gpg")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wal_is_not_encrypted() {
        // A page header of PostgreSQL 15, a history file, a backup label, codecs.
        for first in [
            &b"\x10\xD1\x07\x00\x01\x00\x00\x00"[..],
            b"1\t0/3000000\t",
            b"START WAL LOCATI",
            b"\x1F\x8B\x08",
            b"",
        ] {
            assert_eq!(detect(first), None, "{first:?}");
        }
        // gpg --encrypt to an RSA 3072 key, and gpg --symmetric.
        assert_eq!(detect(b"\x85\x01\x8C\x03\x52\x4B"), Some("gpg"));
        assert_eq!(detect(b"\x8C\x0D\x04\x09\x03\x0A"), Some("gpg"));
    }
}
