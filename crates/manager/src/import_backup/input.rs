//! The file as it is read: summed up, decompressed.

use std::fs::File;
use std::io::{self, Chain, Cursor, Read};
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest as _, Sha256};
use walfile::codec::{self, Compression, DETECT_LEN, Decoder};

/// Reads large pieces and sums them up.
#[derive(Debug)]
struct Summed {
    file: File,
    sum: Arc<Mutex<Sha256>>,
}

impl Read for Summed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.file.read(buffer)?;
        let mut sum = self.sum.lock().unwrap_or_else(PoisonError::into_inner);
        sum.update(buffer.get(..got).unwrap_or_default());
        Ok(got)
    }
}

type Packed = Chain<Cursor<Vec<u8>>, io::BufReader<Summed>>;

/// The archive in the file.
pub(super) struct Input {
    decoder: Decoder<Packed>,
    rest: File,
    sum: Arc<Mutex<Sha256>>,
}

impl Input {
    /// Recognises the codec by its magic, as Barman does, whatever the file's name says.
    pub(super) fn open(file: File) -> io::Result<Self> {
        let sum = Arc::new(Mutex::new(Sha256::new()));
        let rest = file.try_clone()?;
        let mut input = io::BufReader::with_capacity(256 * 1024, Summed { file, sum: Arc::clone(&sum) });
        let mut start = Vec::with_capacity(DETECT_LEN);
        input.by_ref().take(DETECT_LEN as u64).read_to_end(&mut start)?;
        let codec = match codec::detect(&start) {
            known @ (Compression::Gzip | Compression::Bzip2 | Compression::Xz) => known,
            _ => Compression::None,
        };
        let decoder = codec::decoder(Cursor::new(start).chain(input), codec)?;
        Ok(Self { decoder, rest, sum })
    }

    /// The SHA-256 of the whole file, also of what comes behind the archive, in hexadecimal digits.
    pub(super) fn sum(self) -> io::Result<String> {
        let Self { decoder, mut rest, sum } = self;
        drop(decoder);
        // The clone shares the position, so this is what nobody has read.
        let mut buffer = vec![0; 256 * 1024];
        let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match rest.read(&mut buffer) {
                Ok(0) => break,
                Ok(got) => sum.update(buffer.get(..got).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(sum.clone().finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.decoder.read(buffer)
    }
}
