//! What the front door is measured against: hyper alone, and hyper with the parser.

use std::borrow::Cow;
use std::cell::RefCell;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use bytes::{Bytes, BytesMut};
use clap::Args;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use millrace_schema::Record;
use millrace_schema::id::new_id;
use millrace_schema::limits::Limits;
use millrace_schema::parse::{Format, Parser};
use millrace_schema::record::Body;
use millrace_schema::time::wall_clock_us;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};

/// As the front door's.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// As the front door's; it also bounds what is read of a body at a time.
const HEAD_BYTES_MAX: usize = 64 * 1024;

thread_local! {
    static TOOLS: RefCell<(Parser, Vec<u8>)> = RefCell::default();
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// Where to listen; port 0 picks a free one
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
}

/// What is done with a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// It is read and forgotten.
    Nothing,
    /// It is parsed, checked and encoded for the log, and then forgotten.
    Parse,
}

/// Serves until it is killed; its URL is the one line on stdout.
pub(crate) fn run(options: &Options, work: Work) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(options.listen).await?;
        println!("{}", json!({ "url": format!("http://{}", listener.local_addr()?) }));
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(connection(stream, work));
        }
    })
}

async fn connection(stream: TcpStream, work: Work) {
    let service = service_fn(move |request| answer(request, work));
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    builder.max_buf_size(HEAD_BYTES_MAX);
    // A generator that has gone is no error.
    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(
    request: Request<Incoming>,
    work: Work,
) -> Result<Response<Empty<Bytes>>, Infallible> {
    let mut response = Response::new(Empty::new());
    *response.status_mut() = match (read(request.into_body()).await, work) {
        (Err(_), _) => StatusCode::BAD_REQUEST,
        (Ok(_), Work::Nothing) => StatusCode::ACCEPTED,
        (Ok(body), Work::Parse) => parse(&body),
    };
    Ok(response)
}

/// The body, in one piece; copied only if it came in several.
async fn read(mut body: Incoming) -> hyper::Result<Bytes> {
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        if first.is_empty() && all.is_empty() {
            first = data;
        } else {
            all.extend_from_slice(&std::mem::take(&mut first));
            all.extend_from_slice(&data);
        }
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}

fn parse(body: &[u8]) -> StatusCode {
    TOOLS.with_borrow_mut(|(parser, encoded)| {
        encoded.clear();
        let received_us = wall_clock_us();
        let parsed = parser.events(body, Format::Json, &Limits::default(), received_us);
        let Ok(parsed) = parsed else { return StatusCode::BAD_REQUEST };
        if parsed.errors.total > 0 {
            return StatusCode::BAD_REQUEST;
        }
        for item in parsed.items {
            let id = item.id.map_or_else(|| Cow::Owned(new_id(received_us).to_string()), Cow::from);
            let body = Body::Event(item.into_event(id));
            Record { project: Cow::Borrowed("demo"), received_us, body }.encode(encoded);
        }
        StatusCode::ACCEPTED
    })
}
