//! A server that says what a test tells it to.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::access::Access;
use super::api::Api;
use crate::cli::{ApiKey, ServerOptions};

/// An answer as it goes over the wire.
pub(super) fn answer(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// Answers every call; where it listens.
pub(super) async fn server(answer: impl Fn() -> String + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            // A request without a body comes in one piece.
            let _ = stream.read(&mut [0; 4_096]).await.unwrap();
            stream.write_all(answer().as_bytes()).await.unwrap();
        }
    });
    url
}

/// A client of it.
pub(super) fn api(server: &str) -> Api {
    let options =
        ServerOptions { server: server.parse().unwrap(), project: None, key: None, ca: None };
    let access = Access { project: "p".to_owned(), key: ApiKey("k".to_owned()) };
    Api::new(&options, Some(access)).unwrap()
}
