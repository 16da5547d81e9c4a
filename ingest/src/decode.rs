//! Content encodings, decoded under a cap. Must not know what the decoded bytes mean.
//!
//! Every decoder writes into one small step buffer, so a body that would inflate beyond the cap
//! costs no more than the cap.

use std::io::Read;

use brotli::reader::StandardAlloc;
use brotli::{BrotliDecompressStream, BrotliResult, BrotliState};
use flate2::bufread::MultiGzDecoder;
use flate2::{Decompress, FlushDecompress, Status};
use hyper::HeaderMap;
use hyper::header::CONTENT_ENCODING;
use millrace_schema::error::ErrorCode;

use crate::admission::Permit;
use crate::error::ApiError;

/// Bytes decoded at a time.
const STEP_BYTES: usize = 16 * 1024;
/// The largest window a zstd frame may ask for: 16 MiB, which covers one-segment frames of a body
/// at the default limit.
const ZSTD_WINDOW_LOG_MAX: u32 = 24;

/// How a body is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Identity,
    Gzip,
    Zstd,
    Deflate,
    Brotli,
}

impl Encoding {
    /// The encoding that the headers name.
    ///
    /// # Errors
    /// 415 for any other, and for more than one.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, ApiError> {
        let mut values = headers.get_all(CONTENT_ENCODING).iter();
        let Some(value) = values.next() else {
            return Ok(Self::Identity);
        };
        if values.next().is_some() {
            return Err(ApiError::UnsupportedEncoding);
        }
        match value.as_bytes().trim_ascii().to_ascii_lowercase().as_slice() {
            b"" | b"identity" => Ok(Self::Identity),
            // RFC 9110, section 8.4.1.3: the same.
            b"gzip" | b"x-gzip" => Ok(Self::Gzip),
            b"zstd" => Ok(Self::Zstd),
            b"deflate" => Ok(Self::Deflate),
            b"br" => Ok(Self::Brotli),
            _ => Err(ApiError::UnsupportedEncoding),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Deflate => "deflate",
            Self::Brotli => "br",
        }
    }
}

/// Decodes a body. `permit` grows with what comes out.
///
/// # Errors
/// 413 over `limit_bytes`, 503 if admission ends, 400 if the body is damaged, ends early, or goes
/// on after its end.
pub(crate) fn decode(
    encoding: Encoding,
    body: &[u8],
    limit_bytes: usize,
    permit: &mut Permit,
) -> Result<Vec<u8>, ApiError> {
    let out = Capped { bytes: Vec::new(), base_bytes: permit.bytes(), limit_bytes, permit };
    let decoded = match encoding {
        Encoding::Identity => out.push(body),
        Encoding::Gzip => read_all(MultiGzDecoder::new(body), out),
        Encoding::Zstd => zstd(body, out),
        Encoding::Deflate => deflate(body, out),
        Encoding::Brotli => brotli(body, out),
    };
    decoded.map(|out| out.bytes).map_err(|stop| match stop {
        Stop::Refused(error) => error,
        Stop::Damaged => damaged(encoding),
    })
}

fn damaged(encoding: Encoding) -> ApiError {
    let name = encoding.name();
    let message = format!("the {name} body is damaged, ends early, or goes on after its end");
    ApiError::request(ErrorCode::InvalidJson, None, message)
}

/// Why decoding stopped.
enum Stop {
    Refused(ApiError),
    Damaged,
}

impl From<std::io::Error> for Stop {
    fn from(_: std::io::Error) -> Self {
        Self::Damaged
    }
}

/// Where decoded bytes go, as long as they may.
struct Capped<'p> {
    bytes: Vec<u8>,
    base_bytes: usize,
    limit_bytes: usize,
    permit: &'p mut Permit,
}

impl Capped<'_> {
    fn push(mut self, chunk: &[u8]) -> Result<Self, Stop> {
        let total = self.bytes.len() + chunk.len();
        if total > self.limit_bytes {
            let (limit_bytes, place) = (self.limit_bytes, "after decompression");
            return Err(Stop::Refused(ApiError::BodyTooLarge { limit_bytes, place }));
        }
        self.permit.grow_to(self.base_bytes + total).map_err(Stop::Refused)?;
        self.bytes.extend_from_slice(chunk);
        Ok(self)
    }
}

fn read_all<'p>(mut decoder: impl Read, mut out: Capped<'p>) -> Result<Capped<'p>, Stop> {
    let mut step = vec![0; STEP_BYTES];
    loop {
        let read = decoder.read(&mut step)?;
        if read == 0 {
            return Ok(out);
        }
        out = out.push(step.get(..read).unwrap_or_default())?;
    }
}

fn zstd<'p>(body: &[u8], out: Capped<'p>) -> Result<Capped<'p>, Stop> {
    if body.is_empty() {
        return Err(Stop::Damaged);
    }
    let mut decoder = zstd::stream::read::Decoder::with_buffer(body)?;
    decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
    read_all(decoder, out)
}

/// zlib (RFC 1950), as the name says, or raw (RFC 1951), as some clients send.
fn deflate<'p>(body: &[u8], mut out: Capped<'p>) -> Result<Capped<'p>, Stop> {
    // A zlib header has 8 here. A raw stream has it only if it begins with a stored block padded
    // with ones, which no encoder writes.
    let zlib = body.first().is_some_and(|first| first & 0x0f == 8);
    let mut decoder = Decompress::new(zlib);
    let mut step = vec![0; STEP_BYTES];
    loop {
        let (before_in, before_out) = (decoder.total_in(), decoder.total_out());
        let rest = usize::try_from(before_in).ok().and_then(|at| body.get(at..));
        let rest = rest.unwrap_or_default();
        let status = decoder
            .decompress(rest, &mut step, FlushDecompress::None)
            .map_err(|_| Stop::Damaged)?;
        let written = usize::try_from(decoder.total_out() - before_out).unwrap_or(0);
        out = out.push(step.get(..written).unwrap_or_default())?;
        if status == Status::StreamEnd {
            let all_read = decoder.total_in() == body.len() as u64;
            return if all_read { Ok(out) } else { Err(Stop::Damaged) };
        }
        if written == 0 && decoder.total_in() == before_in {
            return Err(Stop::Damaged);
        }
    }
}

fn brotli<'p>(body: &[u8], mut out: Capped<'p>) -> Result<Capped<'p>, Stop> {
    let alloc = StandardAlloc::default;
    // Strict: windows of up to 16 MiB (RFC 7932), not the 1 GiB of the large-window extension.
    let mut state = BrotliState::new_strict(alloc(), alloc(), alloc());
    let mut step = vec![0; STEP_BYTES];
    let (mut unread, mut at, mut total) = (body.len(), 0, 0);
    loop {
        let (mut room, mut written) = (STEP_BYTES, 0);
        let result = BrotliDecompressStream(
            &mut unread,
            &mut at,
            body,
            &mut room,
            &mut written,
            &mut step,
            &mut total,
            &mut state,
        );
        out = out.push(step.get(..written).unwrap_or_default())?;
        match result {
            BrotliResult::NeedsMoreOutput => {}
            BrotliResult::ResultSuccess if unread == 0 => return Ok(out),
            _ => return Err(Stop::Damaged),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use hyper::header::HeaderValue;

    use super::*;
    use crate::admission::Admission;

    const ENCODED: [Encoding; 4] =
        [Encoding::Gzip, Encoding::Zstd, Encoding::Deflate, Encoding::Brotli];

    fn encode(encoding: Encoding, text: &[u8]) -> Vec<u8> {
        let level = flate2::Compression::default();
        match encoding {
            Encoding::Identity => text.to_vec(),
            Encoding::Gzip => {
                let mut w = flate2::write::GzEncoder::new(Vec::new(), level);
                w.write_all(text).unwrap();
                w.finish().unwrap()
            }
            Encoding::Deflate => {
                let mut w = flate2::write::ZlibEncoder::new(Vec::new(), level);
                w.write_all(text).unwrap();
                w.finish().unwrap()
            }
            Encoding::Zstd => zstd::bulk::compress(text, 3).unwrap(),
            Encoding::Brotli => {
                let mut out = Vec::new();
                let params =
                    ::brotli::enc::BrotliEncoderParams { quality: 5, ..Default::default() };
                ::brotli::BrotliCompress(&mut &*text, &mut out, &params).unwrap();
                out
            }
        }
    }

    fn under(encoding: Encoding, body: &[u8], limit_bytes: usize) -> Result<Vec<u8>, ApiError> {
        let admission = Admission::new(64 * 1024 * 1024);
        let mut permit = admission.admit(body.len()).unwrap();
        let decoded = decode(encoding, body, limit_bytes, &mut permit);
        if let Ok(bytes) = &decoded {
            assert_eq!(admission.held_bytes(), body.len() + bytes.len());
        }
        decoded
    }

    fn is_damaged(result: &Result<Vec<u8>, ApiError>) -> bool {
        matches!(result, Err(ApiError::Invalid(_)))
    }

    #[test]
    fn every_encoding_gives_back_what_was_encoded() {
        let text = "{\"events\": []} ".repeat(10_000).into_bytes();
        for encoding in ENCODED {
            assert_eq!(under(encoding, &encode(encoding, &text), text.len()).unwrap(), text);
            assert_eq!(under(encoding, &encode(encoding, b""), 0).unwrap(), b"");
        }
        let level = flate2::Compression::default();
        let mut raw = flate2::write::DeflateEncoder::new(Vec::new(), level);
        raw.write_all(&text).unwrap();
        assert_eq!(under(Encoding::Deflate, &raw.finish().unwrap(), text.len()).unwrap(), text);
    }

    #[test]
    fn a_bomb_is_refused_at_the_cap_and_costs_no_more_than_it() {
        const CAP: usize = 1024 * 1024;
        let zeros = vec![0; 32 * CAP];
        for encoding in ENCODED {
            let bomb = encode(encoding, &zeros);
            assert!(bomb.len() < CAP / 16, "{encoding:?}");
            let admission = Admission::new(2 * CAP);
            let mut permit = admission.admit(bomb.len()).unwrap();
            let refused = decode(encoding, &bomb, CAP, &mut permit);
            let place = "after decompression";
            assert_eq!(refused, Err(ApiError::BodyTooLarge { limit_bytes: CAP, place }));
            assert!(permit.bytes() <= bomb.len() + CAP);
        }
    }

    #[test]
    fn one_byte_over_the_cap_is_refused_and_the_cap_itself_is_not() {
        for encoding in ENCODED {
            let body = encode(encoding, &[b' '; 1000]);
            assert!(under(encoding, &body, 1000).is_ok(), "{encoding:?}");
            assert!(under(encoding, &body, 999).is_err(), "{encoding:?}");
        }
    }

    #[test]
    fn admission_ends_a_decode_too() {
        let body = encode(Encoding::Gzip, &[0; 100_000]);
        let admission = Admission::new(50_000);
        let mut permit = admission.admit(body.len()).unwrap();
        let refused = decode(Encoding::Gzip, &body, 1_000_000, &mut permit);
        assert!(matches!(refused, Err(ApiError::Unavailable(_))));
    }

    #[test]
    fn a_body_cut_at_any_byte_is_damaged() {
        for encoding in ENCODED {
            let body = encode(encoding, b"{\"events\": [1, 2, 3]}");
            for cut in 0..body.len() {
                let decoded = under(encoding, &body[..cut], 1000);
                assert!(is_damaged(&decoded), "{encoding:?} cut at {cut}: {decoded:?}");
            }
        }
    }

    #[test]
    fn what_follows_the_end_is_damage() {
        for encoding in ENCODED {
            let mut body = encode(encoding, b"{\"events\": [1, 2, 3]}");
            body.extend_from_slice(b"garbage");
            assert!(is_damaged(&under(encoding, &body, 1000)), "{encoding:?}");
        }
    }

    #[test]
    fn windows_beyond_what_the_formats_grant_are_refused() {
        // WBITS 0010001: the large-window extension of brotli.
        assert!(is_damaged(&under(Encoding::Brotli, &[0x11, 0x1e, 0, 0], 1000)));
        let mut frame = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
        frame.window_log(27).unwrap();
        frame.write_all(b"{}").unwrap();
        assert!(is_damaged(&under(Encoding::Zstd, &frame.finish().unwrap(), 1000)));
    }

    #[test]
    fn the_header_names_one_encoding_of_ours_or_is_refused() {
        let of = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(CONTENT_ENCODING, HeaderValue::from_static(value));
            }
            Encoding::of(&headers)
        };
        assert_eq!(of(&[]), Ok(Encoding::Identity));
        assert_eq!(of(&["identity"]), Ok(Encoding::Identity));
        assert_eq!(of(&[" GZip "]), Ok(Encoding::Gzip));
        assert_eq!(of(&["x-gzip"]), Ok(Encoding::Gzip));
        assert_eq!(of(&["zstd"]), Ok(Encoding::Zstd));
        assert_eq!(of(&["deflate"]), Ok(Encoding::Deflate));
        assert_eq!(of(&["br"]), Ok(Encoding::Brotli));
        for refused in [["compress", ""], ["gzip, br", ""], ["gzip", "br"]] {
            let values: Vec<_> = refused.into_iter().filter(|v| !v.is_empty()).collect();
            assert_eq!(of(&values), Err(ApiError::UnsupportedEncoding), "{refused:?}");
        }
    }
}
