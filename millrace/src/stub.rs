#![allow(missing_docs, clippy::allow_attributes)]
pub(crate) use millrace_ingest::{Config, Parts};
pub(crate) struct Server(tokio::net::TcpListener, tokio::net::TcpListener, #[allow(dead_code)] Parts);
impl Server {
    pub(crate) fn address(&self) -> std::net::SocketAddr { self.0.local_addr().unwrap() }
    pub(crate) fn admin_address(&self) -> std::net::SocketAddr { self.1.local_addr().unwrap() }
    pub(crate) async fn shutdown(self) -> Result<(), std::io::Error> { Ok(()) }
}
pub(crate) async fn start(c: Config, p: Parts) -> Result<Server, std::io::Error> {
    Ok(Server(tokio::net::TcpListener::bind(c.listen).await?, tokio::net::TcpListener::bind(c.admin_listen).await?, p))
}
