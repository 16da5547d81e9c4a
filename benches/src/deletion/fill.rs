//! Loads people over HTTP, as fast as answers come.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::people::People;
use super::until_applied;
use crate::compare::child::Server;
use crate::reply;
use crate::request::Target;

/// Requests under way at once.
const CONNECTIONS: usize = 16;
/// Before a request that the log had no room for is sent again.
const BACK_OFF: Duration = Duration::from_millis(50);

/// Loads them all, and waits until the workers have applied it; seconds.
pub(super) fn fill(server: &Server, people: &People) -> Result<f64> {
    eprintln!("loading {} users", people.count);
    let since = Instant::now();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let next = Arc::new(AtomicU64::new(0));
    runtime.block_on(async {
        let mut senders = JoinSet::new();
        for _ in 0..CONNECTIONS {
            senders.spawn(sender(server.target.clone(), *people, Arc::clone(&next)));
        }
        while let Some(sent) = senders.join_next().await {
            sent??;
        }
        anyhow::Ok(())
    })?;
    until_applied(server)?;
    Ok(since.elapsed().as_secs_f64())
}

async fn sender(target: Target, people: People, next: Arc<AtomicU64>) -> Result<()> {
    let mut stream = TcpStream::connect(target.address).await.context("no connection")?;
    stream.set_nodelay(true)?;
    let (mut request, mut buffer) = (Vec::new(), Vec::new());
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= people.bodies() {
            return Ok(());
        }
        let body = people.body(number);
        request.clear();
        request.extend_from_slice(target.head(body.path, body.text.len()).as_bytes());
        request.extend_from_slice(body.text.as_bytes());
        send(&mut stream, &request, &mut buffer).await?;
    }
}

/// Sends a request until it is accepted. Its items have ids, or merge.
async fn send(stream: &mut TcpStream, request: &[u8], buffer: &mut Vec<u8>) -> Result<()> {
    loop {
        stream.write_all(request).await?;
        match reply::read(stream, buffer).await?.status {
            202 => return Ok(()),
            503 => tokio::time::sleep(BACK_OFF).await,
            status => bail!("{status}: {}", String::from_utf8_lossy(buffer)),
        }
    }
}
