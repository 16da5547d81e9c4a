//! Starts and stops the front door, in order.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::connection::Listener;
use crate::context::{Config, Context, DELETIONS_MAX, Parts};
use crate::{admin, service};

/// Connections to the admin address at once.
const ADMIN_CONNECTIONS_MAX: usize = 64;
/// How long the admin address may take to finish.
const ADMIN_DEADLINE: Duration = Duration::from_secs(1);

/// A front door that is open.
pub struct Server {
    ctx: Arc<Context>,
    addr: SocketAddr,
    admin_addr: SocketAddr,
    front: Running,
    admin: Running,
}

/// A front door that has its addresses and is not open yet: who calls waits.
pub struct Bound {
    config: Config,
    front: TcpListener,
    admin: TcpListener,
    addr: SocketAddr,
    admin_addr: SocketAddr,
}

/// A listener and how to stop it.
struct Running {
    stop: watch::Sender<bool>,
    task: JoinHandle<usize>,
}

/// Not everything was finished at the deadline. What was acknowledged is durable all the same.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{connections} connections and {deletions} deletions had not finished within {deadline:?} and \
     were cut off"
)]
pub struct Unclean {
    /// Connections with a request under way.
    pub connections: usize,
    /// Deletions without their seal.
    pub deletions: usize,
    /// The configured deadline.
    pub deadline: Duration,
}

/// Opens the front door. Must be called within a tokio runtime with time and I/O; install the
/// metrics recorder before.
///
/// # Errors
/// An address cannot be bound.
pub async fn start(config: Config, parts: Parts) -> io::Result<Server> {
    Ok(Bound::bind(config).await?.open(parts))
}

impl Bound {
    /// Takes the addresses.
    ///
    /// # Errors
    /// One cannot be bound.
    pub async fn bind(config: Config) -> io::Result<Self> {
        let front = bind(config.listen).await?;
        let admin = bind(config.admin_listen).await?;
        let (addr, admin_addr) = (front.local_addr()?, admin.local_addr()?);
        Ok(Self { config, front, admin, addr, admin_addr })
    }

    /// Where clients will call.
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Opens the front door; see [`start`].
    pub fn open(self, parts: Parts) -> Server {
        let Self { config, front, admin, addr, admin_addr } = self;
        let (connections_max, deadline) = (config.connections_max, config.shutdown_deadline);
        let ctx = Arc::new(Context::new(config, parts));
        let front = Listener {
            tcp: front,
            ctx: Arc::clone(&ctx),
            connections_max,
            deadline,
            serve: service::serve,
        };
        let admin = Listener {
            tcp: admin,
            ctx: Arc::clone(&ctx),
            connections_max: ADMIN_CONNECTIONS_MAX,
            deadline: ADMIN_DEADLINE,
            serve: admin::serve,
        };
        let front = Running::spawn(|stop| tokio::spawn(front.run(stop)));
        let admin = Running::spawn(|stop| tokio::spawn(admin.run(stop)));
        Server { ctx, addr, admin_addr, front, admin }
    }
}

async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let bound = TcpListener::bind(address).await;
    bound.map_err(|error| {
        io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"))
    })
}

impl Server {
    /// Where clients call.
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Where operators call.
    pub const fn admin_addr(&self) -> SocketAddr {
        self.admin_addr
    }

    /// Stops: not ready, then no new connections, then requests finish under the deadline. The log
    /// is the caller's to close afterwards. The admin address answers until the end.
    ///
    /// # Errors
    /// [`Unclean`] if the deadline cut something off.
    pub async fn shutdown(self) -> Result<(), Unclean> {
        let Self { ctx, front, admin, .. } = self;
        let deadline = ctx.config.shutdown_deadline;
        let started = Instant::now();
        ctx.parts.readiness.stop();
        let connections = front.stop().await;
        let deletions = finish_deletions(&ctx, deadline.saturating_sub(started.elapsed())).await;
        admin.stop().await;
        if connections + deletions == 0 {
            return Ok(());
        }
        Err(Unclean { connections, deletions, deadline })
    }
}

/// Waits for deletions whose clients have hung up. Returns how many are left at the deadline.
async fn finish_deletions(ctx: &Context, deadline: Duration) -> usize {
    let all = ctx.deletions.acquire_many(DELETIONS_MAX);
    if tokio::time::timeout(deadline, all).await.is_ok() {
        return 0;
    }
    (DELETIONS_MAX as usize).saturating_sub(ctx.deletions.available_permits())
}

impl Running {
    fn spawn(run: impl FnOnce(watch::Receiver<bool>) -> JoinHandle<usize>) -> Self {
        let (stop, stopped) = watch::channel(false);
        Self { task: run(stopped), stop }
    }

    async fn stop(self) -> usize {
        self.stop.send_replace(true);
        self.task.await.unwrap_or_else(|error| {
            tracing::error!(%error, "a listener's task failed");
            0
        })
    }
}
