//! The load generator: HTTP/1.1 keep-alive from one process, as fast as answers come or at a rate.
//!
//! Requests are written by hand on plain sockets and answers barely parsed: the generator shares
//! the machine with the server, so what a client library costs would be missing there.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use clap::Args;
use millrace_schema::time::wall_clock_us;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::reply;
use crate::request::{Target, address};
use crate::stats::Stats;
use crate::workload::Body;

/// A connection that breaks so often is given up.
const BREAKS_MAX: u64 = 10;

#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// The server
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    url: String,
    /// The project
    #[arg(long, env = "MILLRACE_PROJECT", default_value = "demo")]
    project: String,
    /// The project's API key
    #[arg(long, env = "MILLRACE_API_KEY", hide_env_values = true, default_value = "none")]
    key: String,
    /// Events of one request
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    items: u16,
    /// Open connections, each with one request at a time
    #[arg(long, default_value_t = 256)]
    connections: u16,
    /// Threads [default: one for each processor]
    #[arg(long)]
    threads: Option<usize>,
    /// Seconds before anything is counted
    #[arg(long, default_value_t = 1.0)]
    warm_up_seconds: f64,
    /// Seconds that are counted
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Stop after so many requests, warm-up included
    #[arg(long)]
    requests: Option<u64>,
    /// Requests a second, of all connections together [default: the next when the last is answered]
    #[arg(long, value_parser = rate)]
    rate: Option<f64>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// How one load is made.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) items: usize,
    pub(crate) connections: u16,
    pub(crate) threads: usize,
    pub(crate) warm_up: Duration,
    pub(crate) measured: Duration,
    pub(crate) requests_max: Option<u64>,
    /// Requests a second; without, each connection sends the next when the last is answered.
    pub(crate) rate: Option<f64>,
}

/// A rate as it is typed.
pub(crate) fn rate(text: &str) -> Result<f64> {
    let rate: f64 = text.parse()?;
    ensure!(rate.is_finite() && rate > 0.0, "a rate is above 0");
    Ok(rate)
}

/// Threads of a generator, where nobody says: as many as there are processors.
pub(crate) fn default_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Loads a server, and prints what came of it.
pub(crate) fn run(options: &Options) -> Result<()> {
    let target = Target {
        address: address(&options.url)?,
        project: options.project.clone(),
        api_key: options.key.clone(),
    };
    let plan = Plan {
        items: usize::from(options.items),
        connections: options.connections,
        threads: options.threads.unwrap_or_else(default_threads),
        warm_up: Duration::try_from_secs_f64(options.warm_up_seconds)?,
        measured: Duration::try_from_secs_f64(options.seconds)?,
        requests_max: options.requests,
        rate: options.rate,
    };
    let (stats, elapsed) = load(&target, &plan)?;
    let report = stats.report(elapsed);
    if options.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        println!(
            "{:.0} requests/s  {:.0} items/s  p50 {:.2} ms  p99 {:.2} ms  max {:.2} ms",
            report.requests_per_s, report.items_per_s, report.p50_ms, report.p99_ms, report.max_ms
        );
        println!("errors: {}", report.trouble().as_deref().unwrap_or("none"));
    }
    ensure!(report.requests > 0, "no request was accepted");
    Ok(())
}

/// Loads a server; what was measured, and over what time.
pub(crate) fn load(target: &Target, plan: &Plan) -> Result<(Stats, Duration)> {
    // Connections are dealt out to single-threaded runtimes: nothing is handed between threads.
    let threads = plan.threads.clamp(1, usize::from(plan.connections.max(1)));
    let start = Start { connected: Barrier::new(threads), window: OnceLock::new() };
    let mut all = Stats::new()?;
    std::thread::scope(|scope| {
        let start = &start;
        let workers: Vec<_> = (0..threads)
            .map(|thread| scope.spawn(move || work(target, plan, start, thread, threads)))
            .collect();
        for worker in workers {
            let stats = worker.join().map_err(|_| anyhow!("a thread of the generator panicked"))?;
            all.merge(&stats?)?;
        }
        anyhow::Ok(())
    })?;
    let window = start.window.get().context("the load never began")?;
    Ok((all, window.elapsed()))
}

/// Lets all threads begin together, once every connection stands.
#[derive(Debug)]
struct Start {
    connected: Barrier,
    window: OnceLock<Arc<Window>>,
}

/// When answers count, and when to stop.
#[derive(Debug)]
pub(crate) struct Window {
    from: Instant,
    until: Instant,
    requests_left: Option<AtomicU64>,
}

impl Window {
    pub(crate) fn new(plan: &Plan) -> Self {
        let from = Instant::now() + plan.warm_up;
        let requests_left = plan.requests_max.map(AtomicU64::new);
        Self { from, until: from + plan.measured, requests_left }
    }

    /// Whether another request may be sent.
    pub(crate) fn take(&self, now: Instant) -> bool {
        let take = |left: u64| left.checked_sub(1);
        let within = self.requests_left.as_ref().is_none_or(|left| {
            left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
        });
        within && now < self.until
    }

    pub(crate) fn counts(&self, now: Instant) -> bool {
        now >= self.from && now < self.until
    }

    /// The measured time, which ends early if the requests ran out.
    pub(crate) fn elapsed(&self) -> Duration {
        Instant::now().min(self.until).saturating_duration_since(self.from)
    }
}

/// One thread: its share of the connections, until the window closes.
fn work(
    target: &Target,
    plan: &Plan,
    start: &Start,
    thread: usize,
    threads: usize,
) -> Result<Stats> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let numbers = (0..plan.connections).skip(thread).step_by(threads);
    let streams = runtime.block_on(connect(target.address, numbers.len()));
    start.connected.wait();
    let window = start.window.get_or_init(|| Arc::new(Window::new(plan)));
    // Milliseconds, 32 bits of them, tell one run from the next.
    let run = (wall_clock_us() / 1_000).cast_unsigned();
    runtime.block_on(async {
        let mut connections = JoinSet::new();
        for (stream, number) in streams?.into_iter().zip(numbers) {
            let requests = target.requests(plan.items, run << 16 | u64::from(number));
            let pace = Pace::new(plan, number);
            let window = Arc::clone(window);
            connections.spawn(connection(stream, target.address, requests, pace, window));
        }
        let mut all = Stats::new()?;
        while let Some(stats) = connections.join_next().await {
            all.merge(&stats??)?;
        }
        Ok(all)
    })
}

/// Connects one after another, so that no server's queue of new connections overflows.
async fn connect(address: SocketAddr, count: usize) -> Result<Vec<TcpStream>> {
    let mut streams = Vec::with_capacity(count);
    for _ in 0..count {
        let stream = TcpStream::connect(address).await;
        streams.push(stream.with_context(|| format!("no connection to {address}"))?);
    }
    Ok(streams)
}

/// One connection, made anew if it breaks.
async fn connection(
    mut stream: TcpStream,
    address: SocketAddr,
    mut requests: Vec<Body>,
    mut pace: Pace,
    window: Arc<Window>,
) -> Result<Stats> {
    let mut stats = Stats::new()?;
    let mut sequence = 0;
    for _ in 0..BREAKS_MAX {
        let sending =
            drive(&mut stream, &mut requests, &mut sequence, &mut pace, &window, &mut stats);
        if sending.await.is_ok() {
            break;
        }
        stats.broke();
        stream = TcpStream::connect(address).await?;
    }
    Ok(stats)
}

/// When the requests of one connection are due: the next one, and the time between two.
#[derive(Clone, Copy, Debug)]
struct Pace(Option<(Instant, Duration)>);

impl Pace {
    /// The connections share the rate, and do not send all at once.
    fn new(plan: &Plan, number: u16) -> Self {
        Self(plan.rate.map(|rate| {
            let every = Duration::from_secs_f64(f64::from(plan.connections) / rate);
            (Instant::now() + Duration::from_secs_f64(f64::from(number) / rate), every)
        }))
    }

    /// Waits until the next request is due, and says when that was. Who is late does not wait, and
    /// the time by which he is late counts as latency.
    async fn turn(&mut self) -> Instant {
        let Some((due, every)) = &mut self.0 else { return Instant::now() };
        let now_due = *due;
        *due += *every;
        tokio::time::sleep_until(now_due.into()).await;
        now_due
    }
}

/// Sends request after request, each when the last is answered and it is due, until the window
/// closes.
async fn drive(
    stream: &mut TcpStream,
    requests: &mut [Body],
    sequence: &mut u64,
    pace: &mut Pace,
    window: &Window,
    stats: &mut Stats,
) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(1024);
    loop {
        for request in &mut *requests {
            request.renew(sequence);
            let due = pace.turn().await;
            if !window.take(Instant::now()) {
                return Ok(());
            }
            stream.write_all(&request.bytes).await?;
            let reply = reply::read(stream, &mut buffer).await?;
            let now = Instant::now();
            if window.counts(now) {
                stats.answered(reply.status, request.items(), now.saturating_duration_since(due));
            }
        }
    }
}
