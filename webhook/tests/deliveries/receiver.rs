//! A receiver of webhooks: answers with the statuses it is told, the last one for ever.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

pub(crate) struct Receiver {
    scheme: &'static str,
    address: SocketAddr,
    requests: mpsc::UnboundedReceiver<Request>,
}

#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) line: String,
    headers: String,
    pub(crate) body: String,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> &str {
        let mut lines = self.headers.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(key, _)| *key == name).unwrap().1
    }
}

impl Receiver {
    pub(crate) async fn answering(statuses: &[u16]) -> Self {
        Self::start("http", statuses.to_vec(), None).await
    }

    /// One that reads and never answers.
    pub(crate) async fn silent() -> Self {
        Self::start("http", Vec::new(), None).await
    }

    /// One behind TLS, and its certificate (PEM).
    pub(crate) async fn by_tls() -> (Self, String) {
        let names = vec![Ipv4Addr::LOCALHOST.to_string()];
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names).unwrap();
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .unwrap();
        let tls = TlsAcceptor::from(Arc::new(config));
        (Self::start("https", vec![200], Some(tls)).await, cert.pem())
    }

    async fn start(scheme: &'static str, statuses: Vec<u16>, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, requests) = mpsc::unbounded_channel();
        let script = Script { statuses, served: AtomicUsize::new(0), sender };
        let script = Arc::new(script);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (script, tls) = (Arc::clone(&script), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => script.serve(stream).await,
                        Some(tls) => script.serve(tls.accept(stream).await.ok()?).await,
                    }
                });
            }
        });
        Self { scheme, address, requests }
    }

    pub(crate) fn url(&self, rest: &str) -> String {
        format!("{}://{}{rest}", self.scheme, self.address)
    }

    pub(crate) async fn next(&mut self) -> Request {
        self.requests.recv().await.unwrap()
    }

    /// Whether nothing came that was not taken with [`Receiver::next`].
    pub(crate) fn is_silent(&mut self) -> bool {
        self.requests.try_recv().is_err()
    }
}

struct Script {
    statuses: Vec<u16>,
    served: AtomicUsize,
    sender: mpsc::UnboundedSender<Request>,
}

impl Script {
    async fn serve(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Option<()> {
        let request = read(&mut stream).await?;
        let Some(last) = self.statuses.last() else {
            return std::future::pending().await;
        };
        self.sender.send(request).ok()?;
        let turn = self.served.fetch_add(1, Ordering::SeqCst);
        let status = self.statuses.get(turn).unwrap_or(last);
        let answer =
            format!("HTTP/1.1 {status} x\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n");
        stream.write_all(answer.as_bytes()).await.ok()?;
        stream.flush().await.ok()
    }
}

async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Option<Request> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let (line, headers) = head.split_once("\r\n")?;
            let (line, headers, body) = (line.to_owned(), headers.to_owned(), body.to_owned());
            let request = Request { line, headers, body };
            if request.body.len() == request.header("content-length").parse::<usize>().ok()? {
                return Some(request);
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}
