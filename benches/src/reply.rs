//! Reads answers: just enough HTTP/1.1 for servers of our own.

use anyhow::{Result, bail, ensure};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Headers that an answer may have.
const HEADERS_MAX: usize = 32;
/// Bytes that an answer may have.
const BYTES_MAX: usize = 1024 * 1024;

/// An answer that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    /// Its status.
    pub(crate) status: u16,
    body_start: usize,
    body_length: usize,
}

/// Reads one answer into `buffer`, which is emptied first: the next request is sent only after
/// this one's answer, so nothing of another can be in it.
pub(crate) async fn read(
    stream: &mut (impl AsyncRead + Unpin),
    buffer: &mut Vec<u8>,
) -> Result<Reply> {
    buffer.clear();
    loop {
        if stream.read_buf(buffer).await? == 0 {
            bail!("the server closed the connection");
        }
        if let Some(reply) = parse(buffer)?
            && buffer.len() >= reply.body_start + reply.body_length
        {
            return Ok(reply);
        }
        ensure!(buffer.len() < BYTES_MAX, "an answer has over {BYTES_MAX} bytes");
    }
}

/// The head of an answer, if all of it is there.
fn parse(bytes: &[u8]) -> Result<Option<Reply>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(body_start) = response.parse(bytes)? else {
        return Ok(None);
    };
    let length = response.headers.iter().find(|h| h.name.eq_ignore_ascii_case("content-length"));
    let body_length = match length {
        Some(header) => std::str::from_utf8(header.value)?.parse()?,
        None => bail!("an answer without content-length"),
    };
    Ok(Some(Reply { status: response.code.unwrap_or_default(), body_start, body_length }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &[u8] = b"HTTP/1.1 202 Accepted\r\nContent-Length: 3\r\ndate: x\r\n\r\nabc";

    #[tokio::test]
    async fn an_answer_in_pieces_is_read_whole() {
        for cut in 1..ANSWER.len() {
            let (first, second) = ANSWER.split_at(cut);
            let mut stream = first.chain(second);
            let mut buffer = b"the last answer".to_vec();
            let reply = read(&mut stream, &mut buffer).await.unwrap();
            assert_eq!(reply.status, 202);
            assert_eq!(&buffer[reply.body_start..], b"abc", "cut at {cut}");
        }
    }

    #[tokio::test]
    async fn an_answer_that_ends_early_is_an_error() {
        let mut stream = ANSWER.split_at(ANSWER.len() - 1).0;
        assert!(read(&mut stream, &mut Vec::new()).await.is_err());
    }
}
