//! Every codec of this build: round trips, damage, several streams in one file, and other programs' files.

use std::io::{self, Read, Write};

use proptest::prelude::*;
use walfile::codec::{self, CodecError, Compression, Level};

fn enabled() -> Vec<Compression> {
    Compression::ALL.into_iter().filter(|c| *c != Compression::None && c.is_enabled()).collect()
}

fn compress(content: &[u8], compression: Compression, level: Level) -> Vec<u8> {
    let mut encoder = codec::encoder(Vec::new(), compression, level).unwrap();
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn decompress(bytes: &[u8], compression: Compression) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    codec::decoder(bytes, compression)?.read_to_end(&mut content)?;
    Ok(content)
}

/// Neither all alike nor noise, and longer than the blocks of every format here but bzip2 and xz.
fn content() -> Vec<u8> {
    (0..60_000u32).flat_map(|n| (n * n % 7919).to_le_bytes()).collect()
}

#[test]
fn levels_are_barmans() {
    for (compression, level, number) in [
        (Compression::Gzip, Level::Medium, 6),
        (Compression::Xz, Level::High, 5),
        (Compression::Zstd, Level::Low, 1),
        (Compression::Zstd, Level::Exact(-1000), -22),
        (Compression::Bzip2, Level::Exact(0), 1),
        (Compression::Lz4, Level::Exact(99), 16),
        (Compression::Snappy, Level::High, 0),
    ] {
        assert_eq!(level.number(compression), number, "{compression} {level:?}");
    }
}

#[test]
fn every_level_round_trips() {
    let content = content();
    for compression in enabled() {
        for level in [Level::Low, Level::Medium, Level::High, Level::Exact(i32::MIN), Level::Exact(0)] {
            let bytes = compress(&content, compression, level);
            assert!(bytes.len() < content.len());
            assert_eq!(codec::detect(&bytes), compression);
            assert!(decompress(&bytes, compression).unwrap() == content, "{compression} {level:?}");
            assert!(compress(&content, compression, level) == bytes, "{compression} is reproducible");
        }
    }
}

#[test]
fn a_cut_off_file_is_an_error() {
    let content = content();
    for compression in enabled() {
        let bytes = compress(&content, compression, Level::Medium);
        let step = (bytes.len() / 97).max(1);
        for length in (1..bytes.len()).step_by(step).chain(bytes.len().saturating_sub(12)..bytes.len()) {
            match decompress(&bytes[..length], compression) {
                Err(_) => {}
                // Snappy's frames have no end; the content is shorter, which is what a caller can see.
                Ok(short) if compression == Compression::Snappy => assert!(short.len() < content.len()),
                Ok(_) => panic!("{compression} cut to {length} of {}", bytes.len()),
            }
        }
    }
}

#[test]
fn damage_is_an_error() {
    let content = content();
    for compression in enabled() {
        let bytes = compress(&content, compression, Level::Medium);
        for at in (10..bytes.len()).step_by(bytes.len() / 61) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x40;
            // A flag that has no effect on the content may change; the content must not.
            if let Ok(read) = decompress(&damaged, compression) {
                assert!(read == content, "{compression}: byte {at} changed unnoticed");
            }
        }
    }
}

#[test]
fn streams_one_after_the_other_are_one() {
    for compression in enabled() {
        let two =
            [compress(b"one ", compression, Level::Low), compress(b"two", compression, Level::Low)].concat();
        assert_eq!(decompress(&two, compression).unwrap(), b"one two", "{compression}");
    }
}

#[test]
fn content_is_bounded_by_take() {
    for compression in enabled() {
        let bomb = compress(&vec![0; 1 << 20], compression, Level::Medium);
        let mut read = Vec::new();
        codec::decoder(&bomb[..], compression).unwrap().take(1000).read_to_end(&mut read).unwrap();
        assert_eq!(read.len(), 1000);
    }
}

#[test]
fn no_compression_is_no_change() {
    assert_eq!(compress(b"as is", Compression::None, Level::High), b"as is");
    assert_eq!(decompress(b"as is", Compression::None).unwrap(), b"as is");
    assert_eq!(codec::detect(b""), Compression::None);
    assert_eq!(codec::detect(b"\x10\xd1"), Compression::None);
}

#[test]
fn names() {
    for compression in Compression::ALL {
        assert_eq!(compression.name().parse(), Ok(compression));
        assert!(compression.magic().len() <= codec::DETECT_LEN);
    }
    assert!("GZIP".parse::<Compression>().is_err() && "".parse::<Compression>().is_err());
}

#[test]
fn a_codec_left_out_says_so() {
    for compression in Compression::ALL.into_iter().filter(|c| !c.is_enabled()) {
        assert!(matches!(
            codec::decoder(&b""[..], compression),
            Err(CodecError::Disabled(c)) if c == compression
        ));
        assert!(matches!(
            codec::encoder(Vec::new(), compression, Level::Low),
            Err(CodecError::Disabled(c)) if c == compression
        ));
    }
}

/// What Barman's own environment (Python's codecs) wrote: see `tests/data/make-codecs`.
#[test]
fn files_of_other_programs() {
    let expected = b"PostgreSQL write-ahead log\n".repeat(40);
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/codecs");
    for compression in enabled() {
        let bytes = std::fs::read(directory.join(compression.name())).unwrap();
        assert_eq!(codec::detect(&bytes), compression);
        assert!(decompress(&bytes, compression).unwrap() == expected, "{compression}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_content_round_trips(content in prop::collection::vec(any::<u8>(), 0..5000)) {
        for compression in enabled() {
            let bytes = compress(&content, compression, Level::default());
            prop_assert_eq!(decompress(&bytes, compression).unwrap(), content.clone(), "{}", compression);
        }
    }

    #[test]
    fn noise_behind_a_magic_does_not_panic(noise in prop::collection::vec(any::<u8>(), 0..300)) {
        for compression in enabled() {
            let bytes = [compression.magic(), &noise].concat();
            prop_assert_eq!(codec::detect(&bytes), compression);
            let mut read = Vec::new();
            let _ = codec::decoder(&bytes[..], compression).unwrap().take(1 << 16).read_to_end(&mut read);
        }
    }
}
