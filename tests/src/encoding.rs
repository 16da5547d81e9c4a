//! The encodings of a body.

use std::io::{self, Write};

use fastrand::Rng;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};

/// How a body is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Not at all.
    Plain,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
    /// RFC 1950, as `deflate` means in HTTP (RFC 9110 section 8.4.1.2).
    Deflate,
    /// RFC 7932.
    Brotli,
}

impl Encoding {
    /// All that compress.
    pub const COMPRESSING: [Self; 4] = [Self::Gzip, Self::Zstd, Self::Deflate, Self::Brotli];

    /// Mostly plain.
    pub fn pick(rng: &mut Rng) -> Self {
        let mut choices = vec![Self::Plain; 8];
        choices.extend(Self::COMPRESSING);
        choices[rng.usize(..choices.len())]
    }

    /// The `Content-Encoding`.
    pub const fn name(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Gzip => Some("gzip"),
            Self::Zstd => Some("zstd"),
            Self::Deflate => Some("deflate"),
            Self::Brotli => Some("br"),
        }
    }

    /// Encodes.
    ///
    /// # Errors
    /// The encoder fails.
    pub fn encode(self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Self::Plain => Ok(bytes.to_vec()),
            Self::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
                encoder.write_all(bytes)?;
                encoder.finish()
            }
            Self::Zstd => zstd::encode_all(bytes, 3),
            Self::Deflate => {
                let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
                encoder.write_all(bytes)?;
                encoder.finish()
            }
            Self::Brotli => {
                let mut out = Vec::new();
                let mut encoder = brotli::CompressorWriter::new(&mut out, 4096, 4, 20);
                encoder.write_all(bytes)?;
                encoder.flush()?;
                drop(encoder);
                Ok(out)
            }
        }
    }
}
