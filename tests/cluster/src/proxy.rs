//! A TCP proxy before one server, which makes the network between it and its clients bad.
//!
//! One thread with a runtime of its own, so that faults do not depend on who calls them.

use std::io::ErrorKind;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::mpsc as std_mpsc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Connections at once; more wait to be accepted.
const CONNECTIONS_MAX: usize = 1_024;

/// Bytes read at once.
const CHUNK_BYTES: usize = 16 * 1024;

/// Chunks on their way in one direction; more wait in the kernel.
const CHUNKS_MAX: usize = 256;

/// Connections that the kernel keeps for us.
const BACKLOG: u32 = 1_024;

/// How long its port may take to become free.
const PATIENCE: Duration = Duration::from_secs(5);

/// A TCP proxy before one server. Ends, with all its connections, when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    orders: mpsc::UnboundedSender<Order>,
}

/// What the network is to be like, and where to say that it is.
type Order = (Network, std_mpsc::Sender<Result<()>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Network {
    /// Bytes arrive, so much later than they were sent.
    Up { latency: Duration },
    /// Nobody is there.
    Cut,
    /// Connections open, and nothing comes through either way.
    HalfOpen,
}

impl Proxy {
    /// A proxy on a port of its own before the target.
    ///
    /// # Errors
    /// It cannot listen.
    pub fn start(target: SocketAddr) -> Result<Self> {
        let host = target.ip();
        let port = crate::ports::Ports::new().take(&[host])?;
        Self::at((host, port).into(), target)
    }

    /// A proxy on a given address.
    pub(crate) fn at(address: SocketAddr, target: SocketAddr) -> Result<Self> {
        let (orders, received) = mpsc::unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let proxy = Self { address, orders };
        std::thread::Builder::new().name("proxy".into()).spawn(move || {
            runtime.block_on(Wire::new(address, target).run(received));
        })?;
        proxy.restore()?;
        Ok(proxy)
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets all bytes arrive so much later, in either direction, also those on their way.
    ///
    /// # Errors
    /// It cannot listen.
    pub fn latency(&self, latency: Duration) -> Result<()> {
        self.order(Network::Up { latency })
    }

    /// Closes all connections and refuses new ones.
    ///
    /// # Errors
    /// Its thread is gone.
    pub fn cut(&self) -> Result<()> {
        self.order(Network::Cut)
    }

    /// Lets nothing more through either way: connections stay open, new ones are accepted, and
    /// what is sent is thrown away. All of them are closed when this ends.
    ///
    /// # Errors
    /// It cannot listen.
    pub fn half_open(&self) -> Result<()> {
        self.order(Network::HalfOpen)
    }

    /// A good network again.
    ///
    /// # Errors
    /// It cannot listen.
    pub fn restore(&self) -> Result<()> {
        self.latency(Duration::ZERO)
    }

    /// Returns when the network is so.
    fn order(&self, network: Network) -> Result<()> {
        let (done, answer) = std_mpsc::channel();
        self.orders.send((network, done)).ok().context("the proxy has ended")?;
        answer.recv().context("the proxy has ended")?
    }
}

/// The proxy's own side.
struct Wire {
    address: SocketAddr,
    target: SocketAddr,
    network: watch::Sender<Network>,
    listener: Option<TcpListener>,
    connections: JoinSet<()>,
}

impl Wire {
    fn new(address: SocketAddr, target: SocketAddr) -> Self {
        let (network, _) = watch::channel(Network::Cut);
        Self { address, target, network, listener: None, connections: JoinSet::new() }
    }

    async fn run(mut self, mut orders: mpsc::UnboundedReceiver<Order>) {
        loop {
            tokio::select! {
                biased;
                order = orders.recv() => {
                    let Some((network, done)) = order else { return };
                    let _ = done.send(self.become_so(network).await);
                }
                Some(_) = self.connections.join_next() => {}
                client = accept(self.listener.as_ref()), if self.has_room() => {
                    let pipe = connection(client, self.target, self.network.subscribe());
                    self.connections.spawn(pipe);
                }
            }
        }
    }

    fn has_room(&self) -> bool {
        self.connections.len() < CONNECTIONS_MAX
    }

    async fn become_so(&mut self, network: Network) -> Result<()> {
        let was = self.network.send_replace(network);
        if let Some(listener) = self.listener.take_if(|_| network == Network::Cut) {
            close(listener)?;
        }
        // After bytes were thrown away a connection cannot go on: it would be a torn stream.
        let torn = was == Network::HalfOpen && network != Network::HalfOpen;
        if torn || network == Network::Cut {
            self.connections.shutdown().await;
        }
        if network != Network::Cut && self.listener.is_none() {
            self.listener = Some(listen(self.address).await?);
        }
        Ok(())
    }
}

/// Tries for a while: a process that is being started holds copies of our sockets for a moment.
async fn listen(address: SocketAddr) -> Result<TcpListener> {
    let since = Instant::now();
    loop {
        match bind(address) {
            Err(error) if error.kind() == ErrorKind::AddrInUse && since.elapsed() < PATIENCE => {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            listener => return listener.with_context(|| format!("listen on {address}")),
        }
    }
}

fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // Connections that we have closed still hold the port for a while.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Nobody is accepted any more, even while a process that is being started holds a copy of it.
fn close(listener: TcpListener) -> std::io::Result<()> {
    let socket = std::net::TcpStream::from(OwnedFd::from(listener.into_std()?));
    socket.shutdown(Shutdown::Both)
}

async fn accept(listener: Option<&TcpListener>) -> TcpStream {
    let Some(listener) = listener else { return std::future::pending().await };
    loop {
        match listener.accept().await {
            Ok((client, _)) => return client,
            // Out of file descriptors, say; some may be closed meanwhile.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn connection(client: TcpStream, target: SocketAddr, network: watch::Receiver<Network>) {
    let (from_client, to_client) = client.into_split();
    let mut silent = network.clone();
    if *network.borrow() == Network::HalfOpen {
        return swallow(from_client, to_client).await;
    }
    let Ok(server) = TcpStream::connect(target).await else { return };
    let (from_server, to_server) = server.into_split();
    let (mut client, mut server) = ((from_client, to_client), (from_server, to_server));
    let forwarded = async {
        let there = forward(&mut client.0, &mut server.1, network.clone());
        let back = forward(&mut server.0, &mut client.1, network.clone());
        // An error either way ends both; the end of one direction does not end the other.
        let _ = tokio::try_join!(there, back);
    };
    tokio::select! {
        // First, so that nothing comes through once the order has been given.
        biased;
        _ = silent.wait_for(|network| *network == Network::HalfOpen) => {}
        () = forwarded => return,
    }
    tokio::join!(swallow(client.0, client.1), swallow(server.0, server.1));
}

/// Throws away what is sent and says nothing, for ever: also after the sender has closed.
async fn swallow(mut from: OwnedReadHalf, _to: OwnedWriteHalf) {
    let mut thrown = vec![0; CHUNK_BYTES];
    while from.read(&mut thrown).await.is_ok_and(|length| length > 0) {}
    std::future::pending().await
}

/// Carries one direction until its sender closes.
async fn forward(
    from: &mut OwnedReadHalf,
    to: &mut OwnedWriteHalf,
    mut network: watch::Receiver<Network>,
) -> std::io::Result<()> {
    let (send, mut chunks) = mpsc::channel::<(Instant, Vec<u8>)>(CHUNKS_MAX);
    let read = async move {
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let length = from.read(&mut chunk).await?;
            if length == 0 || send.send((Instant::now(), chunk[..length].to_vec())).await.is_err() {
                return Ok(());
            }
        }
    };
    let write = async move {
        while let Some((sent, chunk)) = chunks.recv().await {
            delay(sent, &mut network).await;
            to.write_all(&chunk).await?;
        }
        to.shutdown().await
    };
    tokio::try_join!(read, write).map(|_| ())
}

/// Waits until what was sent then may arrive, by the latency of now.
async fn delay(sent: Instant, network: &mut watch::Receiver<Network>) {
    loop {
        let latency = match *network.borrow_and_update() {
            Network::Up { latency } => latency,
            Network::Cut | Network::HalfOpen => return,
        };
        tokio::select! {
            () = tokio::time::sleep_until(sent + latency) => return,
            changed = network.changed() => if changed.is_err() { return },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_closed_listener_refuses_even_while_somebody_holds_a_copy() -> Result<()> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let (address, copy) = (listener.local_addr()?, listener.try_clone()?);
        close(TcpListener::from_std(listener)?)?;
        assert!(TcpStream::connect(address).await.is_err());
        drop(copy);
        Ok(())
    }
}
