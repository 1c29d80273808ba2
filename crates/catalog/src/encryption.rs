//! Recognising files that GnuPG encrypted, by their first bytes (Barman starts `file` for each).

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

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

/// So many recipients may have a session key each.
const MAX_KEYS: usize = 1000;
/// So many pieces of unknown total length; those of the largest segment have at least 512 bytes, but for the last.
const MAX_PIECES: usize = 256 * 1024;

/// How a packet goes on behind its header or that of a piece.
enum Body {
    Whole(u64),
    /// Another piece follows.
    Piece(u64),
    /// To the end of the file.
    Rest,
}

/// Whether a file for which [`detect`] says `gpg` consists of the packets of an encrypted message: session keys, and then the
/// data, which end where the file does. What is inside only the key can tell; this notices a file that merely begins like
/// one, and one that was cut. The inner error says what is wrong.
pub(crate) fn check(file: &File) -> io::Result<Result<(), &'static str>> {
    let length = file.metadata()?.len();
    let mut first = [0; 1];
    if file.read_at(&mut first, 0)? == 1 && first == *b"-" {
        return check_armour(file, length);
    }
    let (mut at, mut keys) = (0_u64, 0);
    loop {
        let mut header = [0; 6];
        let got = read_at(file, &mut header, at)?;
        let Some((tag, size, body)) = packet(header.get(..got).unwrap_or_default()) else {
            return Ok(Err("it does not consist of OpenPGP packets"));
        };
        at = at.saturating_add(size);
        match (tag, body) {
            // Session keys, markers and padding.
            (1 | 3 | 10 | 21, Body::Whole(size)) if keys < MAX_KEYS => at = at.saturating_add(size),
            (9 | 18 | 20, body) if keys > 0 => {
                return Ok(match end(file, at, body, length)? {
                    Some(end) if end == length => Ok(()),
                    Some(end) if end < length => Err("something follows the encrypted data"),
                    _ => Err("it ends within the encrypted data"),
                });
            }
            _ => return Ok(Err("it is no encrypted message")),
        }
        keys += 1;
    }
}

fn check_armour(file: &File, length: u64) -> io::Result<Result<(), &'static str>> {
    let mut last = [0; 64];
    let got = read_at(file, &mut last, length.saturating_sub(64))?;
    let last = last.get(..got).unwrap_or_default().trim_ascii_end();
    Ok(if last.ends_with(b"-----END PGP MESSAGE-----") { Ok(()) } else { Err("its last line is missing") })
}

/// Where the data end that begin at `at`; `None` when they are in too many pieces or break off.
fn end(file: &File, mut at: u64, mut body: Body, length: u64) -> io::Result<Option<u64>> {
    for _ in 0..MAX_PIECES {
        match body {
            Body::Rest => return Ok(Some(length)),
            Body::Whole(size) => return Ok(Some(at.saturating_add(size))),
            Body::Piece(size) => at = at.saturating_add(size),
        }
        let mut header = [0; 5];
        let got = read_at(file, &mut header, at)?;
        let Some((size, next)) = new_length(header.get(..got).unwrap_or_default()) else { return Ok(None) };
        at = at.saturating_add(size);
        body = next;
    }
    Ok(None)
}

/// Tag, bytes of the header, and length of the packet that begins so.
fn packet(header: &[u8]) -> Option<(u8, u64, Body)> {
    let (first, rest) = header.split_first()?;
    if first & 0x80 == 0 {
        return None;
    }
    if first & 0x40 != 0 {
        let (size, body) = new_length(rest)?;
        return Some((first & 0x3F, size + 1, body));
    }
    let octets = match first & 3 {
        0 => 1,
        1 => 2,
        2 => 4,
        _ => return Some((first >> 2 & 0xF, 1, Body::Rest)),
    };
    let size = rest.get(..octets)?.iter().fold(0, |size, octet| size << 8 | u64::from(*octet));
    Some((first >> 2 & 0xF, octets as u64 + 1, Body::Whole(size)))
}

/// Bytes of a new format's length, and what it says.
fn new_length(octets: &[u8]) -> Option<(u64, Body)> {
    Some(match *octets {
        [one @ 0..=191, ..] => (1, Body::Whole(u64::from(one))),
        [one @ 192..=223, two, ..] => (2, Body::Whole(((u64::from(one) - 192) << 8) + u64::from(two) + 192)),
        [255, a, b, c, d, ..] => (5, Body::Whole(u64::from(u32::from_be_bytes([a, b, c, d])))),
        [one @ 224..=254, ..] => (1, Body::Piece(1 << (one & 0x1F))),
        _ => return None,
    })
}

fn read_at(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    loop {
        match file.read_at(buffer, at) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn checked(content: &[u8]) -> Result<(), &'static str> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        check(&file).unwrap()
    }

    #[test]
    fn a_message_ends_where_its_file_does() {
        // A session key of three bytes, in the old format.
        let key = [0x85, 0, 3, 3, 1, 2];
        let with = |rest: &[u8]| [&key[..], rest].concat();
        let pieces = [&[0xD2, 0xE9][..], &[0x85; 512], &[0xE0, 7], &[2, 8, 9]].concat();
        for rest in [
            &[0xD2, 3, 1, 2, 3][..],
            &[0xD4, 3, 1, 2, 3],
            &[0xA7, 1, 2, 3],
            &[0xD2, 0xFF, 0, 0, 0, 1, 9],
            &pieces,
        ] {
            assert_eq!(checked(&with(rest)), Ok(()), "{rest:?}");
            assert_eq!(checked(&[&key, &with(rest)[..]].concat()), Ok(()), "{rest:?}");
            if rest[0] != 0xA7 {
                assert!(checked(&[&with(rest)[..], &[1]].concat()).is_err(), "{rest:?}");
                for cut in 1..with(rest).len() {
                    assert!(checked(&with(rest)[..cut]).is_err(), "{cut} of {rest:?}");
                }
            }
        }
        // What only begins like one: a whole segment of it.
        let mut segment = vec![0x5A; 16 << 20];
        segment[..6].copy_from_slice(&[0x85, 1, 0x8C, 3, 0x52, 0x4B]);
        assert!(checked(&segment).is_err());
        segment[1..3].copy_from_slice(&[0, 3]);
        segment[6..12].copy_from_slice(&[0xD2, 0xFF, 0, 1, 0, 0]);
        assert_eq!(checked(&segment), Err("something follows the encrypted data"));
        assert!(checked(&[0xD2, 3, 1, 2, 3]).is_err(), "no key");
        assert_eq!(checked(&key.repeat(2000)), Err("it is no encrypted message"));
        let armoured = b"-----BEGIN PGP MESSAGE-----\n\nhQ\n-----END PGP MESSAGE-----\n";
        assert_eq!(checked(armoured), Ok(()));
        assert!(checked(&armoured[..40]).is_err());
    }

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
