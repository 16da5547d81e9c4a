//! Accepts connections and serves HTTP/1.1 on each. Must not know what is served.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::client_address::Peer;
use crate::context::{Context, Counted};
use crate::response::Response;

/// Bytes of a request's head; also what is read of a body at a time.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// How long accepting rests when the process is out of file handles or memory.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);
/// How long the last answer of a connection may take to be written once the server stops.
const LAST_WRITE_GRACE: Duration = Duration::from_secs(1);

/// One address and what it serves.
pub(crate) struct Listener<S> {
    pub(crate) tcp: TcpListener,
    pub(crate) ctx: Arc<Context>,
    pub(crate) connections_max: usize,
    /// How long connections may take to finish once it stops.
    pub(crate) deadline: Duration,
    pub(crate) serve: S,
}

impl<S, F> Listener<S>
where
    S: Fn(Arc<Context>, Request<Incoming>) -> F + Copy + Send + Sync + 'static,
    F: Future<Output = Response> + Send + 'static,
{
    /// Serves until `stop` turns true, then lets requests finish. Returns the number of
    /// connections that were cut off at the deadline.
    pub(crate) async fn run(self, stop: watch::Receiver<bool>) -> usize {
        let Self { tcp, ctx, connections_max, deadline, serve } = self;
        let turns = Arc::new(Semaphore::new(connections_max.min(Semaphore::MAX_PERMITS)));
        let mut open = JoinSet::new();
        let mut stopped = stop.clone();
        loop {
            // Over the limit, connections wait in the kernel's queue.
            let next = async {
                let turn = Arc::clone(&turns).acquire_owned().await;
                (turn, accept(&tcp).await)
            };
            let (turn, (stream, peer)) = tokio::select! {
                biased;
                () = turned_true(&mut stopped) => break,
                next = next => next,
            };
            let (ctx, stop) = (Arc::clone(&ctx), stop.clone());
            open.spawn(async move {
                let _turn = turn;
                connection(ctx, stream, peer, stop, serve).await;
            });
            while let Some(ended) = open.try_join_next() {
                report(ended);
            }
        }
        drop(tcp);
        finish(open, deadline).await
    }
}

/// Waits until the server is told to stop, or is gone.
async fn turned_true(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Waits for connections to end, and cuts off those that have not by the deadline.
async fn finish(mut open: JoinSet<()>, deadline: Duration) -> usize {
    let all = async {
        while let Some(ended) = open.join_next().await {
            report(ended);
        }
    };
    if tokio::time::timeout(deadline, all).await.is_ok() {
        return 0;
    }
    let left = open.len();
    open.shutdown().await;
    left
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection's task failed");
    }
}

async fn accept(tcp: &TcpListener) -> (TcpStream, Peer) {
    loop {
        match tcp.accept().await {
            Ok((stream, address)) => return (stream, Peer(address.ip())),
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "connections cannot be accepted");
                tokio::time::sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// Waits until no request is being served. A connection that is still open then has sent a part of
/// a request's head, and could go on doing so until the deadline.
async fn out_of_service(in_service: &AtomicUsize) {
    loop {
        tokio::time::sleep(LAST_WRITE_GRACE).await;
        if in_service.load(Ordering::Relaxed) == 0 {
            return;
        }
    }
}

async fn connection<S, F>(
    ctx: Arc<Context>,
    stream: TcpStream,
    peer: Peer,
    mut stop: watch::Receiver<bool>,
    serve: S,
) where
    S: Fn(Arc<Context>, Request<Incoming>) -> F,
    F: Future<Output = Response>,
{
    let _counted = Counted::new(&ctx.connections);
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY cannot be set");
    }
    let in_service = AtomicUsize::new(0);
    let service = service_fn(|mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        let counted = Counted::new(&in_service);
        let answer = serve(Arc::clone(&ctx), request);
        async {
            let _counted = counted;
            Ok::<_, Infallible>(answer.await)
        }
    });
    let connection = http1::Builder::new()
        // Without a timer the header timeout is silently off.
        .timer(TokioTimer::new())
        .header_read_timeout(ctx.config.header_timeout)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        biased;
        ended = connection.as_mut() => ended,
        () = turned_true(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                ended = connection.as_mut() => ended,
                () = out_of_service(&in_service) => return,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}
