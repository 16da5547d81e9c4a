//! Calls to real servers on this machine.

#![expect(clippy::unwrap_used, reason = "what a test relies on may fail it")]

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::Request;
use millrace_client::{Addresses, Client, ClientError, Options};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

const HELLO: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nx-from: here\r\n\r\nhello";

/// A server that answers every request with the same bytes, and what it was asked.
struct Server {
    address: SocketAddr,
    requests: mpsc::UnboundedReceiver<String>,
}

impl Server {
    async fn plain(answer: &'static str) -> Self {
        Self::start(answer, None).await
    }

    async fn start(answer: &'static str, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, requests) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (tls, sender) = (tls.clone(), sender.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, answer, sender).await,
                        Some(tls) => serve(tls.accept(stream).await?, answer, sender).await,
                    }
                });
            }
        });
        Self { address, requests }
    }

    fn url(&self, scheme: &str, rest: &str) -> String {
        format!("{scheme}://{}{rest}", self.address)
    }
}

/// Reads one request without a body or with a chunk of it, answers, and leaves the connection open.
async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    answer: &str,
    requests: mpsc::UnboundedSender<String>,
) -> io::Result<()> {
    let mut bytes = vec![0; 8192];
    let read = stream.read(&mut bytes).await?;
    let _ = requests.send(String::from_utf8_lossy(&bytes[..read]).into_owned());
    stream.write_all(answer.as_bytes()).await?;
    stream.flush().await?;
    stream.read(&mut bytes).await.map(drop)
}

fn get(url: &str) -> Request<Bytes> {
    Request::get(url).body(Bytes::new()).unwrap()
}

fn client(options: Options) -> Client {
    Client::new(options).unwrap()
}

/// A CA of the test's own.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    _folder: tempfile::TempDir,
    file: PathBuf,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        std::fs::write(&file, issuer.pem()).unwrap();
        Self { issuer, _folder: folder, file }
    }

    /// A server with a certificate for a host, good until the end of a year.
    async fn server(&self, host: &str, until_year: i32) -> Server {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(until_year, 12, 31);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        Server::start(HELLO, Some(TlsAcceptor::from(Arc::new(config)))).await
    }

    fn client(&self) -> Client {
        client(Options { roots: Some(self.file.clone()), ..Options::default() })
    }
}

#[tokio::test]
async fn a_request_goes_out_whole_and_the_answer_comes_back_whole() {
    let mut server = Server::plain(HELLO).await;
    let request = Request::post(server.url("http", "/a%20b?c=d"))
        .header("x-to", "there")
        .body(Bytes::from_static(b"body"))
        .unwrap();
    let response = client(Options::default()).call(request).await.unwrap();
    assert_eq!((response.status().as_u16(), &response.body()[..]), (200, &b"hello"[..]));
    assert_eq!(response.headers()["x-from"], "here");
    let asked = server.requests.recv().await.unwrap();
    assert!(asked.starts_with("POST /a%20b?c=d HTTP/1.1\r\n"), "{asked}");
    for line in
        [format!("host: {}", server.address), "x-to: there".into(), "content-length: 4".into()]
    {
        assert!(asked.contains(&format!("{line}\r\n")), "{asked}");
    }
}

#[tokio::test]
async fn an_answer_that_ends_with_its_connection_is_read_to_its_end() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 1024]).await;
        let body = "x".repeat(300_000);
        let _ = stream.write_all(format!("HTTP/1.1 200 OK\r\n\r\n{body}").as_bytes()).await;
    });
    let response = client(Options::default()).call(get(&url)).await.unwrap();
    assert_eq!(response.body().len(), 300_000);
}

#[tokio::test]
async fn a_redirect_is_an_answer() {
    let elsewhere = "HTTP/1.1 307 Go\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
    let server = Server::plain(elsewhere).await;
    let response = client(Options::default()).call(get(&server.url("http", "/"))).await.unwrap();
    assert_eq!(response.status().as_u16(), 307);
}

#[tokio::test]
async fn an_answer_that_is_too_large_or_no_http_is_an_error() {
    let options = Options { body_bytes_max: 4, ..Options::default() };
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    for answer in [HELLO, chunked] {
        let server = Server::plain(answer).await;
        let called = client(options.clone()).call(get(&server.url("http", "/"))).await;
        assert!(matches!(called, Err(ClientError::TooLarge { max_bytes: 4 })), "{called:?}");
    }
    let server = Server::plain("SSH-2.0-OpenSSH\r\n\r\n").await;
    let called = client(options).call(get(&server.url("http", "/"))).await;
    assert!(matches!(called, Err(ClientError::Protocol(_))), "{called:?}");
}

#[tokio::test]
async fn what_never_answers_or_never_ends_is_given_up() {
    let options = Options { timeout: Duration::from_millis(50), ..Options::default() };
    for answer in ["", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhel"] {
        let server = Server::plain(answer).await;
        let called = client(options.clone()).call(get(&server.url("http", "/"))).await;
        assert!(
            matches!(called, Err(ClientError::TimedOut { what: "the call", .. })),
            "{called:?}"
        );
    }
    // A server that accepts and says nothing is not a TLS server yet.
    let server = Server::plain("").await;
    let options = Options { connect_timeout: Duration::from_millis(50), ..Options::default() };
    let authority = Authority::new("one");
    let options = Options { roots: Some(authority.file.clone()), ..options };
    let called = client(options).call(get(&server.url("https", "/"))).await;
    assert!(matches!(called, Err(ClientError::TimedOut { what: "connecting", .. })), "{called:?}");
}

#[tokio::test]
async fn a_host_that_is_not_there_is_named() {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap();
    let called = client(Options::default()).call(get(&format!("http://{free}/"))).await;
    assert!(matches!(called, Err(ClientError::Connect { address, .. }) if address == free));
    let called = client(Options::default()).call(get("http://nowhere.invalid/")).await;
    assert!(matches!(called, Err(ClientError::Resolve { host, .. }) if host == "nowhere.invalid"));
}

#[tokio::test]
async fn a_certificate_of_a_known_authority_for_the_host_is_trusted() {
    let authority = Authority::new("one");
    for (host, name) in [("127.0.0.1", "127.0.0.1"), ("localhost", "localhost")] {
        let server = authority.server(name, 4000).await;
        let url = format!("https://{host}:{}/", server.address.port());
        let response = authority.client().call(get(&url)).await.unwrap();
        assert_eq!(&response.body()[..], b"hello");
    }
}

#[tokio::test]
async fn a_certificate_for_another_host_an_expired_one_and_an_unknown_one_are_refused() {
    let (authority, other) = (Authority::new("one"), Authority::new("other"));
    let table = [
        (authority.server("example.org", 4000).await, "not valid for"),
        (authority.server("127.0.0.1", 2001).await, "expired"),
        (other.server("127.0.0.1", 4000).await, "UnknownIssuer"),
        (Server::plain(HELLO).await, "TLS with 127.0.0.1"),
    ];
    for (mut server, wanted) in table {
        let error =
            authority.client().call(get(&server.url("https", "/secret"))).await.unwrap_err();
        assert!(matches!(error, ClientError::Tls { .. }), "{error:?}");
        assert!(error.to_string().contains(wanted), "{error} / {wanted}");
        let asked = server.requests.try_recv().unwrap_or_default();
        assert!(!asked.contains("secret"), "{asked}");
    }
}

#[tokio::test]
async fn what_may_not_be_reached_is_not_connected_to_however_it_is_written() {
    let mut server = Server::plain(HELLO).await;
    let port = server.address.port();
    let addresses = Addresses::Public { allowed: Vec::new() };
    let public = client(Options { addresses, ..Options::default() });
    let hosts = [
        "127.0.0.1",
        "127.1",
        "0",
        "0.0.0.0",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "017700000001",
        "localhost",
        "[::1]",
        "[::]",
        "[::127.0.0.1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
    ];
    for host in hosts {
        for scheme in ["http", "https"] {
            let called = public.call(get(&format!("{scheme}://{host}:{port}/"))).await;
            assert!(matches!(called, Err(ClientError::Refused { .. })), "{host}: {called:?}");
        }
    }
    assert!(server.requests.try_recv().is_err());
}

#[tokio::test]
async fn an_allowed_net_is_reached() {
    let server = Server::plain(HELLO).await;
    let addresses = Addresses::Public { allowed: vec!["127.0.0.0/8".parse().unwrap()] };
    let public = client(Options { addresses, ..Options::default() });
    for host in ["127.0.0.1", "[::ffff:127.0.0.1]", "localhost"] {
        let url = format!("http://{host}:{}/", server.address.port());
        assert_eq!(public.call(get(&url)).await.unwrap().status().as_u16(), 200, "{host}");
    }
}

#[tokio::test]
async fn a_file_without_certificates_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("roots.pem");
    let of = || Client::new(Options { roots: Some(path.clone()), ..Options::default() }).err();
    assert!(of().unwrap().to_string().contains("roots.pem"));
    for content in
        ["", "no certificate", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"]
    {
        std::fs::write(&path, content).unwrap();
        let error = of().unwrap();
        assert!(
            matches!(&error, ClientError::Roots(text) if text.contains("roots.pem")),
            "{error}"
        );
    }
}
