//! Reading a body under a cap.

use anyhow::{Result, bail};
use http_body_util::BodyExt;
use hyper::body::{Body, Bytes};

/// Bytes of a command or an answer; a list of 10,000 keys takes about 3 MB.
pub(super) const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;

pub(super) async fn read<B>(mut body: B, max_bytes: usize) -> Result<Vec<u8>>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        if bytes.len() + data.len() > max_bytes {
            bail!("the body has more than {max_bytes} bytes");
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}
