//! The user's own compression (`compression = custom`): shell commands that filter standard input to standard output.

use std::fs::File;
use std::io::{self, Read, Seek as _};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use walfile::codec::{self, Compression};

use crate::child::{Filter, Watch};

/// `custom_compression_filter`, `custom_decompression_filter` and `custom_compression_magic`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct CustomFilter {
    /// Content in, compressed bytes out.
    pub compress: String,
    /// Compressed bytes in, content out.
    pub decompress: String,
    /// What compressed files begin with. Without it, what is neither WAL nor text nor of a known codec counts as compressed.
    pub magic: Option<Vec<u8>>,
}

impl CustomFilter {
    /// A filter without magic.
    pub fn new(compress: impl Into<String>, decompress: impl Into<String>) -> Self {
        Self { compress: compress.into(), decompress: decompress.into(), magic: None }
    }

    /// The magic of the configuration: `0x` and hexadecimal digits.
    pub fn parse_magic(text: &str) -> Option<Vec<u8>> {
        let digits = text.strip_prefix("0x")?.as_bytes();
        let pairs = digits.chunks(2).map(|pair| {
            let pair = std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?;
            u8::from_str_radix(pair, 16).ok()
        });
        pairs.collect::<Option<Vec<u8>>>().filter(|magic| !magic.is_empty())
    }

    /// Whether a file that begins so was compressed by this filter. Its magic goes before those of other codecs (but for bzip2's,
    /// since Barman compares in the order of names); without one, what is of no known codec and is not plain was.
    pub fn wrote(&self, first: &[u8]) -> bool {
        let known = codec::detect(first);
        match &self.magic {
            Some(magic) => known != Compression::Bzip2 && first.starts_with(magic),
            None => known == Compression::None && !is_plain(first),
        }
    }

    pub(crate) fn compressor(&self, input: &File) -> io::Result<Filtered> {
        Filtered::start(&self.compress, input)
    }

    /// As [`Self::decompressor`], from what is no file of its own.
    pub(crate) fn decompress_from(
        &self,
        mut input: Box<dyn Read + Send>,
    ) -> io::Result<Box<dyn Read + Send>> {
        let mut shell = Command::new("/bin/sh");
        shell.arg("-c").arg(&self.decompress);
        let watch = Watch { patience: Duration::from_secs(60), stop: None, asks: false };
        let (filter, mut output) = Filter::start(&mut shell, "the filter", watch)?;
        Ok(Box::new(filter.fed_by(move || io::copy(&mut input, &mut output).map(|_| ()))))
    }

    pub(crate) fn decompressor(&self, input: &File) -> io::Result<Filtered> {
        Filtered::start(&self.decompress, input)
    }
}

/// A page header of a segment (magic, information bits), a history file, a backup label, or nothing at all.
fn is_plain(first: &[u8]) -> bool {
    let page = matches!(first.get(1), Some(0xD0 | 0xD1)) && first.get(3) == Some(&0);
    let digits = first.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let history = first.first() == Some(&b'#')
        || digits > 0 && matches!(first.get(digits), None | Some(b' ' | b'\t' | b'\n'));
    first.is_empty()
        || page
        || history
        || first.starts_with(b"START WAL LOCATI")
        || first.iter().all(|byte| *byte == 0)
}

/// What a filter makes of a file. Its end is an error when the filter failed.
#[derive(Debug)]
pub(crate) struct Filtered {
    child: Child,
    output: ChildStdout,
    command: String,
    ended: bool,
}

impl Filtered {
    fn start(command: &str, input: &File) -> io::Result<Self> {
        let mut input = input.try_clone()?;
        input.rewind()?;
        let mut child = Command::new("/bin/sh")
            .arg("-c")
            .arg(command)
            .stdin(Stdio::from(input))
            .stdout(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take().ok_or_else(|| io::Error::other("no output of the filter"))?;
        Ok(Self { child, output, command: command.to_owned(), ended: false })
    }
}

impl Read for Filtered {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.output.read(buffer)?;
        if got == 0 && !buffer.is_empty() && !self.ended {
            let status = self.child.wait()?;
            self.ended = true;
            if !status.success() {
                let text = format!("filter '{}' failed: {status}", self.command);
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
        }
        Ok(got)
    }
}

impl Drop for Filtered {
    fn drop(&mut self) {
        if !self.ended {
            // Whoever reads no further wants no more of it.
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn magics() {
        assert_eq!(CustomFilter::parse_magic("0x1f8b08"), Some(vec![0x1F, 0x8B, 8]));
        for wrong in ["1f8b", "0x", "0x1", "0xzz"] {
            assert_eq!(CustomFilter::parse_magic(wrong), None, "{wrong}");
        }
        let mut filter = CustomFilter::new("cat", "cat");
        assert!(!filter.wrote(b"\x10\xD1\x07\x00\x01\x00"));
        assert!(!filter.wrote(b"1\t0/3000000"));
        assert!(filter.wrote(b"\x89LZO\x00"));
        assert!(filter.wrote(b"7z\xBC\xAF\x27\x1C") && !filter.wrote(b"\x1F\x8B\x08\0"));
        assert!(!filter.wrote(b"\x97\xD0\x06\x00\x01\x00") && !filter.wrote(b"# a comment"));
        filter.magic = Some(b"LZ".to_vec());
        assert!(filter.wrote(b"LZ4") && !filter.wrote(b"xx"));
        filter.magic = Some(vec![0x1F, 0x8B]);
        assert!(filter.wrote(b"\x1F\x8B\x08\0"));
    }
}
