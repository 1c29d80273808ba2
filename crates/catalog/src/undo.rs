//! From a file as it is stored to its content: first what encrypted it is undone, then what compressed it.

use std::fs::File;
use std::io::{self, Cursor, Read, Seek as _};

use walfile::codec::{Compression, decoder, detect};

use crate::custom_filter::CustomFilter;
use crate::gpg::Gpg;
use crate::{encryption, same_content};

/// The programs that undo what the codecs built in do not know.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Undo<'a> {
    pub(crate) custom: Option<&'a CustomFilter>,
    pub(crate) gpg: Option<&'a Gpg>,
}

impl<'a> From<Option<&'a CustomFilter>> for Undo<'a> {
    fn from(custom: Option<&'a CustomFilter>) -> Self {
        Self { custom, gpg: None }
    }
}

impl Undo<'_> {
    /// The content of the file, read from its start.
    pub(crate) fn open(self, mut file: File) -> io::Result<Box<dyn Read + Send>> {
        file.rewind()?;
        let mut first = [0; 16];
        let got = same_content::read_up_to(&mut file, &mut first)?;
        file.rewind()?;
        let first = first.get(..got).unwrap_or_default();
        if encryption::detect(first).is_some() {
            return self.decrypted(&file);
        }
        if let Some(custom) = self.custom.filter(|custom| custom.wrote(first)) {
            return Ok(Box::new(custom.decompressor(&file)?));
        }
        match detect(first) {
            Compression::None => Ok(Box::new(file)),
            codec => Ok(Box::new(decoder(io::BufReader::with_capacity(64 * 1024, file), codec)?)),
        }
    }

    fn decrypted(self, file: &File) -> io::Result<Box<dyn Read + Send>> {
        let gpg = self.gpg.ok_or_else(|| {
            // As damage: whoever has no way to decrypt can tell nothing about the content.
            io::Error::new(io::ErrorKind::InvalidData, "it is encrypted")
        })?;
        let mut content = gpg.decrypt(file)?;
        let mut first = [0; 16];
        let got = same_content::read_up_to(&mut content, &mut first)?;
        let start = first.get(..got).unwrap_or_default().to_vec();
        let custom = self.custom.filter(|custom| custom.wrote(&start));
        let codec = detect(&start);
        let content = Cursor::new(start).chain(content);
        match (custom, codec) {
            (Some(custom), _) => custom.decompress_from(Box::new(content)),
            (None, Compression::None) => Ok(Box::new(content)),
            (None, codec) => Ok(Box::new(decoder(content, codec)?)),
        }
    }
}
