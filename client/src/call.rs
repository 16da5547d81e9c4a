//! One call: connect, send, read.

use std::io;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{HOST, HeaderValue};
use hyper::http::uri::{Authority, PathAndQuery, Scheme};
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::connect::{Target, connect};
use crate::{ClientError, Options};

/// Bytes of an answer's head, and of what is read ahead of its body.
const BUFFER_BYTES: usize = 64 * 1024;

pub(crate) async fn call(
    options: &Options,
    tls: Option<&TlsConnector>,
    mut request: Request<Bytes>,
) -> Result<Response<Bytes>, ClientError> {
    let uri = std::mem::take(request.uri_mut());
    let target = target(&uri)?;
    address_to(&mut request, &uri)?;
    let connected = open(options, tls, target);
    let after = options.connect_timeout;
    let stream = match tokio::time::timeout(after, connected).await {
        Ok(stream) => stream?,
        Err(_) => return Err(ClientError::TimedOut { what: "connecting", after }),
    };
    match stream {
        Stream::Plain(stream) => exchange(stream, request, options.body_bytes_max).await,
        Stream::Tls(stream) => exchange(*stream, request, options.body_bytes_max).await,
    }
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// What a URL names.
pub(crate) fn target(uri: &Uri) -> Result<Target<'_>, ClientError> {
    let tls = match uri.scheme() {
        Some(scheme) if *scheme == Scheme::HTTPS => true,
        Some(scheme) if *scheme == Scheme::HTTP => false,
        _ => return Err(ClientError::Url("must begin with https:// or http://")),
    };
    let authority = uri.authority().map(Authority::as_str).unwrap_or_default();
    if authority.contains('@') {
        return Err(ClientError::Url("must not hold a user or password; send a header"));
    }
    let host = uri.host().unwrap_or_default();
    let port = port(authority.strip_prefix(host), tls)?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if host.is_empty() {
        return Err(ClientError::Url("has no host"));
    }
    Ok(Target { host, port, tls })
}

/// The port, of what follows the host. [`Uri::port`] takes one that is no number for none.
fn port(rest: Option<&str>, tls: bool) -> Result<u16, ClientError> {
    match rest {
        Some("") => Some(if tls { 443 } else { 80 }),
        Some(rest) => rest.strip_prefix(':').and_then(|port| port.parse().ok()),
        None => None,
    }
    .filter(|port| *port > 0)
    .ok_or(ClientError::Url("has a port that is not one of 1 to 65535"))
}

/// Writes the request as HTTP/1.1 wants it: the path in the first line, the rest in `Host`.
fn address_to(request: &mut Request<Bytes>, uri: &Uri) -> Result<(), ClientError> {
    let authority = uri.authority().map(Authority::as_str).unwrap_or_default();
    let host = HeaderValue::from_str(authority).map_err(|_| ClientError::Url("has no host"))?;
    request.headers_mut().insert(HOST, host);
    let path = uri.path_and_query().cloned();
    *request.uri_mut() = Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
    Ok(())
}

async fn open(
    options: &Options,
    tls: Option<&TlsConnector>,
    target: Target<'_>,
) -> Result<Stream, ClientError> {
    let stream = connect(target, &options.addresses, options.connect_timeout).await?;
    if !target.tls {
        return Ok(Stream::Plain(stream));
    }
    let failed = |source| ClientError::Tls { host: target.host.to_owned(), source };
    let none = || failed(io::Error::other("this system has no CA certificates; name a file"));
    let connector = tls.ok_or_else(none)?;
    let name = ServerName::try_from(target.host.to_owned());
    let name = name.map_err(|error| failed(io::Error::other(error)))?;
    let stream = connector.connect(name, stream).await.map_err(failed)?;
    Ok(Stream::Tls(Box::new(stream)))
}

async fn exchange<S>(
    stream: S,
    request: Request<Bytes>,
    body_bytes_max: usize,
) -> Result<Response<Bytes>, ClientError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut builder = hyper::client::conn::http1::Builder::new();
    builder.max_buf_size(BUFFER_BYTES);
    let handshake = builder.handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(ClientError::Protocol)?;
    let answered = async {
        let response = sender.send_request(request.map(Full::new)).await;
        read(response.map_err(ClientError::Protocol)?, body_bytes_max).await
    };
    tokio::pin!(connection, answered);
    // The connection is driven from here, so that it ends when the call is given up.
    tokio::select! {
        answer = &mut answered => answer,
        _ = &mut connection => answered.await,
    }
}

async fn read(
    response: Response<Incoming>,
    max_bytes: usize,
) -> Result<Response<Bytes>, ClientError> {
    let (head, mut body) = response.into_parts();
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(ClientError::Protocol)?.into_data() else { continue };
        if data.len() > max_bytes - bytes.len() {
            return Err(ClientError::TooLarge { max_bytes });
        }
        bytes.extend_from_slice(&data);
    }
    Ok(Response::from_parts(head, bytes.freeze()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_scheme_a_host_and_a_port_that_exist() {
        let good = [
            ("https://example.org", ("example.org", 443, true)),
            ("http://example.org/a?b", ("example.org", 80, false)),
            ("HTTPS://example.org:8443/", ("example.org", 8443, true)),
            ("http://[::1]:8080/", ("::1", 8080, false)),
            ("http://127.0.0.1", ("127.0.0.1", 80, false)),
        ];
        for (url, wanted) in good {
            let uri: Uri = url.parse().unwrap();
            let Target { host, port, tls } = target(&uri).unwrap();
            assert_eq!((host, port, tls), wanted, "{url}");
        }
        let bad = [
            ("/path", "must begin with"),
            ("example.org", "must begin with"),
            ("ftp://example.org/", "must begin with"),
            ("https://user:secret@example.org/", "user or password"),
            ("https://user@example.org/", "user or password"),
            ("https://example.org:0/", "port"),
            ("https://example.org:65536/", "port"),
            ("https://example.org:/", "port"),
            ("https://:443/", "no host"),
        ];
        for (url, wanted) in bad {
            let error = crate::check_url(url).unwrap_err().to_string();
            assert!(error.contains(wanted) && !error.contains("secret"), "{url}: {error}");
        }
    }
}
