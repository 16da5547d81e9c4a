//! What other tests rely on: servers start, come back, and never outlive who asked for them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use millrace_cluster::{Cluster, Printed, Proxy, Shape};

/// For what is bound to happen; not a measure.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long nothing must happen before we believe that nothing will.
const SILENCE: Duration = Duration::from_millis(300);

#[test]
#[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]
fn the_shared_cluster_answers_on_both_ports_and_is_one() -> Result<()> {
    let cluster = Cluster::shared()?;
    TcpStream::connect(cluster.bootstrap())?;
    TcpStream::connect(&cluster.contact_points()[..])?;
    let status = cluster.nodes()[0].nodetool(&["status"])?;
    assert!(status.lines().any(|line| line.starts_with("UN ")), "{status}");
    assert_eq!(cluster.brokers()[0].pid(), Cluster::shared()?.brokers()[0].pid());
    Ok(())
}

#[test]
#[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]
fn unique_names_fit_a_keyspace_and_differ() -> Result<()> {
    let cluster = Cluster::shared()?;
    let names: Vec<String> = (0..2).map(|_| cluster.unique("3 Erasures & a long story")).collect();
    assert_ne!(names[0], names[1]);
    for name in names {
        assert!(name.len() <= 48 && name.starts_with('t'), "{name}");
        assert!(name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_')), "{name}");
    }
    Ok(())
}

#[test]
#[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]
fn killed_servers_come_back_on_the_same_ports_with_their_data() -> Result<()> {
    let cluster = Cluster::start(Shape::default())?;
    let (broker, node) = (&cluster.brokers()[0], &cluster.nodes()[0]);
    let host_id = |info: &str| info.lines().find(|line| line.starts_with("ID")).map(String::from);
    let before = host_id(&node.nodetool(&["info"])?).context("no host id")?;
    for server in [broker, node] {
        let (address, pid) = (server.address(), server.pid());
        server.kill_9()?;
        assert_eq!(server.pid(), None);
        assert!(TcpStream::connect(address).is_err());
        server.start()?;
        assert_ne!(server.pid(), pid);
        TcpStream::connect(address)?;
    }
    assert_eq!(host_id(&node.nodetool(&["info"])?), Some(before));
    Ok(())
}

#[test]
#[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]
fn a_broker_pauses_goes_on_and_ends_when_asked() -> Result<()> {
    let cluster = Cluster::start(Shape { nodes: 0, ..Shape::default() })?;
    let broker = &cluster.brokers()[0];
    broker.pause()?;
    await_that(|| process_state(broker.pid()) == Some('T'))?;
    broker.resume()?;
    await_that(|| process_state(broker.pid()) == Some('S'))?;
    broker.stop()?;
    assert_eq!(broker.pid(), None);
    assert!(broker.pause().is_err());
    assert!(broker.log_tail().contains("unregistered"), "{}", broker.log_tail());
    broker.start()
}

#[test]
#[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]
fn servers_of_a_holder_that_is_killed_end_too() -> Result<()> {
    let (mut holder, printed) = hold()?;
    let folder = printed.servers[0].log.ancestors().nth(2).context("no folder")?.to_owned();
    let pids: Vec<u32> = printed.servers.iter().filter_map(|server| server.pid).collect();
    assert_eq!(pids.len(), 1);
    assert!(pids.iter().all(|pid| process_state(Some(*pid)).is_some()) && folder.is_dir());
    holder.kill()?;
    holder.wait()?;
    await_that(|| pids.iter().all(|pid| process_state(Some(*pid)).is_none()))?;
    await_that(|| !folder.exists())
}

#[test]
#[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]
fn a_proxied_broker_tells_clients_of_its_proxy() -> Result<()> {
    let cluster = Cluster::start(Shape { nodes: 0, proxied: true, ..Shape::default() })?;
    let broker = &cluster.brokers()[0];
    let proxy = broker.proxy().context("no proxy")?;
    assert_eq!(cluster.bootstrap(), proxy.address().to_string());
    assert_ne!(broker.direct_address(), proxy.address());
    let told = metadata(proxy.address())?;
    let port = u32::from(proxy.address().port()).to_be_bytes();
    assert!(told.windows(4).any(|bytes| bytes == port), "{told:?}");
    proxy.cut()?;
    assert!(metadata(proxy.address()).is_err());
    proxy.restore()?;
    metadata(proxy.address())?;
    Ok(())
}

#[test]
fn a_cut_proxy_closes_and_refuses_until_it_is_restored() -> Result<()> {
    let proxy = Proxy::start(echo()?)?;
    let mut open = connect(&proxy)?;
    assert_eq!(said(&mut open, b"one")?, b"one");
    proxy.cut()?;
    assert!(said(&mut open, b"two").is_err());
    assert!(connect(&proxy).is_err());
    proxy.restore()?;
    assert_eq!(said(&mut connect(&proxy)?, b"three")?, b"three");
    Ok(())
}

#[test]
fn a_half_open_proxy_accepts_and_stays_silent() -> Result<()> {
    let proxy = Proxy::start(echo()?)?;
    let mut open = connect(&proxy)?;
    assert_eq!(said(&mut open, b"one")?, b"one");
    proxy.half_open()?;
    let mut new = connect(&proxy)?;
    for stream in [&mut open, &mut new] {
        stream.set_read_timeout(Some(SILENCE))?;
        let error = said(stream, b"two").err().context("it answered")?;
        assert!(matches!(error.kind(), std::io::ErrorKind::WouldBlock), "{error}");
    }
    proxy.restore()?;
    for stream in [&mut open, &mut new] {
        stream.set_read_timeout(Some(PATIENCE))?;
        assert!(said(stream, b"three").is_err());
    }
    assert_eq!(said(&mut connect(&proxy)?, b"four")?, b"four");
    Ok(())
}

#[test]
fn latency_holds_bytes_back_and_lets_them_go_when_it_ends() -> Result<()> {
    let proxy = Proxy::start(echo()?)?;
    let mut open = connect(&proxy)?;
    proxy.latency(PATIENCE * 10)?;
    open.set_read_timeout(Some(SILENCE))?;
    assert!(said(&mut open, b"one").is_err());
    open.set_read_timeout(Some(PATIENCE))?;
    proxy.latency(Duration::from_millis(1))?;
    let mut held = [0; 3];
    open.read_exact(&mut held)?;
    assert_eq!(&held, b"one");
    Ok(())
}

#[test]
fn a_proxy_carries_more_than_it_holds_and_the_end_of_a_stream() -> Result<()> {
    let proxy = Proxy::start(echo()?)?;
    let stream = connect(&proxy)?;
    let sent: Vec<u8> = (0..16 * 1024 * 1024_u32).map(|i| (i % 251) as u8).collect();
    let (mut writer, copy) = (stream.try_clone()?, sent.clone());
    let writing = std::thread::spawn(move || {
        writer.write_all(&copy)?;
        writer.shutdown(std::net::Shutdown::Write)
    });
    let mut received = vec![];
    std::io::copy(&mut stream.take(sent.len() as u64 + 1), &mut received)?;
    writing.join().expect("the writer panicked")?;
    assert!(received == sent, "{} of {} bytes", received.len(), sent.len());
    Ok(())
}

/// A process of its own that holds a broker.
fn hold() -> Result<(Child, Printed)> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millrace-cluster"));
    command.args(["hold", "--nodes", "0", "--json"]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().context("no output")?).read_line(&mut line)?;
    let printed = serde_json::from_str(&line).with_context(|| line.clone());
    if printed.is_err() {
        child.kill()?;
    }
    Ok((child, printed?))
}

/// The letter in `/proc`; nothing for a process that is gone or only waits to be reaped.
fn process_state(pid: Option<u32>) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid?)).ok()?;
    let state = stat.rsplit_once(") ")?.1.chars().next();
    state.filter(|state| *state != 'Z')
}

fn await_that(mut is_so: impl FnMut() -> bool) -> Result<()> {
    let since = Instant::now();
    while !is_so() {
        ensure!(since.elapsed() < PATIENCE, "not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Kafka's Metadata, version 0, of all topics: which brokers there are, and where.
fn metadata(address: SocketAddr) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let question = [0, 0, 0, 14, 0, 3, 0, 0, 0, 0, 0, 1, 0xff, 0xff, 0, 0, 0, 0];
    stream.write_all(&question)?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; usize::try_from(u32::from_be_bytes(length))?];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

/// A server that says what it is told.
fn echo() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || std::io::copy(&mut &stream, &mut &stream));
        }
    });
    Ok(address)
}

fn connect(proxy: &Proxy) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(proxy.address())?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Says something, and reads as much.
fn said(stream: &mut TcpStream, what: &[u8]) -> std::io::Result<Vec<u8>> {
    stream.write_all(what)?;
    let mut answer = vec![0; what.len()];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}
