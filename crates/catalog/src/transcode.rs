//! Bytes from a reader through a codec into a file that is to be published.

use std::io::{self, BufWriter, Read, Write};

use walfile::codec::{Compression, Level, encoder};

use crate::gzip_blocks;

const CHUNK: usize = 256 * 1024;

/// Copies everything; with [`Compression::None`] as it is. Nothing is synced.
pub(crate) fn copy<W: Write>(
    input: impl Read,
    mut output: W,
    codec: Compression,
    level: Level,
) -> io::Result<W> {
    if codec == Compression::None {
        pump(input, &mut output)?;
        return Ok(output);
    }
    if codec == Compression::Gzip {
        gzip_blocks::copy(input, &mut output, level.number(codec))?;
        return Ok(output);
    }
    let mut encoder = encoder(BufWriter::with_capacity(CHUNK, output), codec, level)?;
    pump(input, &mut encoder)?;
    encoder.finish()?.into_inner().map_err(io::IntoInnerError::into_error)
}

fn pump(mut input: impl Read, output: &mut impl Write) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let got = crate::same_content::read_up_to(&mut input, &mut buffer)?;
        output.write_all(buffer.get(..got).unwrap_or_default())?;
        if got < buffer.len() {
            return Ok(());
        }
    }
}
