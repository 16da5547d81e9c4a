//! Reads a request's body: admitted before it is read, capped, and in time.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Body;
use millrace_schema::error::ErrorCode;

use crate::admission::{Admission, Permit};
use crate::error::ApiError;

/// What is read of a body that was refused before it was read, so that the client gets to see the
/// answer instead of a reset connection.
const DRAIN_BYTES_MAX: usize = 16 * 1024 * 1024;
/// And for how long.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// A body in memory, as it came, and its share of the admitted bytes.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(crate) bytes: Bytes,
    pub(crate) permit: Permit,
}

/// Reads a body.
///
/// # Errors
/// 413 over `limit_bytes` (at once if the length was declared), 503 if too little is admitted, 408
/// if it is not there within `timeout`, 400 if it ends before it should.
pub(crate) async fn read<B>(
    body: &mut B,
    admission: &Arc<Admission>,
    limit_bytes: usize,
    timeout: Duration,
) -> Result<Admitted, ApiError>
where
    B: Body<Data = Bytes> + Unpin,
{
    let declared = body.size_hint().lower();
    if declared > limit_bytes as u64 {
        return Err(too_large(limit_bytes));
    }
    let mut permit = admission.admit(usize::try_from(declared).unwrap_or(limit_bytes))?;
    let read = tokio::time::timeout(timeout, collect(body, &mut permit, limit_bytes)).await;
    let bytes = read.unwrap_or(Err(ApiError::RequestTimeout(timeout)))?;
    Ok(Admitted { bytes, permit })
}

async fn collect<B>(body: &mut B, permit: &mut Permit, limit: usize) -> Result<Bytes, ApiError>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| ended_early())?.into_data() else {
            continue;
        };
        let total = first.len() + all.len() + data.len();
        if total > limit {
            return Err(too_large(limit));
        }
        permit.grow_to(total)?;
        // Most bodies come in one piece, which is not copied.
        if first.is_empty() && all.is_empty() {
            first = data;
        } else {
            all.extend_from_slice(&std::mem::take(&mut first));
            all.extend_from_slice(&data);
        }
        if body.is_end_stream() {
            break;
        }
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}

/// Reads and forgets what is left of a body, within bounds.
pub(crate) async fn drain<B>(mut body: B)
where
    B: Body<Data = Bytes> + Unpin,
{
    let forget = async {
        let mut left = DRAIN_BYTES_MAX;
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
            if left == 0 {
                return;
            }
        }
    };
    // Either way the body is dropped, and with it the connection if something is left.
    let _ = tokio::time::timeout(DRAIN_TIMEOUT, forget).await;
}

fn too_large(limit_bytes: usize) -> ApiError {
    ApiError::BodyTooLarge { limit_bytes, place: "on the wire" }
}

fn ended_early() -> ApiError {
    let message = "the body ended before the length that was announced, or its chunks are damaged";
    ApiError::request(ErrorCode::InvalidJson, None, message)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use hyper::body::{Frame, SizeHint};

    use super::*;

    /// A body of chunks that never ends if `hangs`.
    struct Chunks {
        chunks: VecDeque<&'static [u8]>,
        declared: Option<u64>,
        hangs: bool,
    }

    impl Body for Chunks {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            match self.chunks.pop_front() {
                Some(chunk) => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(chunk))))),
                None if self.hangs => Poll::Pending,
                None => Poll::Ready(None),
            }
        }

        fn size_hint(&self) -> SizeHint {
            self.declared.map_or_else(SizeHint::default, SizeHint::with_exact)
        }
    }

    async fn read_chunks(
        chunks: &[&'static [u8]],
        declared: Option<u64>,
        hangs: bool,
    ) -> (Result<Admitted, ApiError>, Arc<Admission>) {
        let admission = Admission::new(12);
        let mut body = Chunks { chunks: chunks.iter().copied().collect(), declared, hangs };
        let read = read(&mut body, &admission, 10, Duration::from_millis(1)).await;
        (read, admission)
    }

    #[tokio::test]
    async fn chunks_become_one_body_and_are_counted() {
        let (read, admission) = read_chunks(&[b"abc", b"", b"de", b"f"], None, false).await;
        let read = read.unwrap();
        assert_eq!(read.bytes, "abcdef");
        assert_eq!(admission.held_bytes(), 6);
        drop(read);
        assert_eq!(admission.held_bytes(), 0);
    }

    #[tokio::test]
    async fn a_body_over_the_limit_is_refused_whether_declared_or_not() {
        let place = "on the wire";
        let large = ApiError::BodyTooLarge { limit_bytes: 10, place };
        let (read, _) = read_chunks(&[], Some(11), true).await;
        assert_eq!(read.unwrap_err(), large);
        let (read, admission) = read_chunks(&[b"0123456789", b"x"], None, true).await;
        assert_eq!(read.unwrap_err(), large);
        assert_eq!(admission.held_bytes(), 0);
    }

    #[tokio::test]
    async fn a_body_that_does_not_come_is_a_408() {
        let (read, admission) = read_chunks(&[b"abc"], Some(4), true).await;
        assert!(matches!(read.unwrap_err(), ApiError::RequestTimeout(_)));
        assert_eq!(admission.held_bytes(), 0);
    }
}
