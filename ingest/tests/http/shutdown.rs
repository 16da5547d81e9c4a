//! Stopping, in order.

use std::sync::Arc;
use std::time::Duration;

use millrace_ingest::Config;
use millrace_log::Log;
use millrace_schema::Topic;
use tokio::net::TcpStream;

use crate::broken::Broken;
use crate::fixture::{Connection, Fixture, config};

const ONE: &[u8] = br#"{"events":[{"name":"n","user_id":"u"}]}"#;

#[tokio::test]
async fn a_request_held_open_by_its_last_byte_is_finished() {
    let fixture = Fixture::new().await;
    let (addr, admin_addr) = (fixture.server.addr(), fixture.server.admin_addr());
    let mut idle = fixture.connect().await;
    idle.send(b"GET /healthz HTTP/1.1\r\n\r\n").await;
    idle.answer(false).await;
    let mut held = fixture.being_read(ONE.len()).await;
    held.send(&ONE[..ONE.len() - 1]).await;

    let Fixture { server, log, dir, .. } = fixture;
    let shutdown = tokio::spawn(server.shutdown());
    assert!(idle.try_answer(false).await.is_none(), "idle connections are closed");
    while TcpStream::connect(addr).await.is_ok() {
        tokio::task::yield_now().await;
    }
    let mut admin = Connection::to(admin_addr).await;
    admin.send(b"GET /readyz HTTP/1.1\r\n\r\n").await;
    let ready = admin.answer(false).await;
    assert_eq!((ready.status, &ready.json()["reasons"][0]), (503, &"shutting down".into()));

    held.send(&ONE[ONE.len() - 1..]).await;
    let answer = held.answer(false).await;
    assert_eq!((answer.status, &*answer.headers["connection"]), (202, "close"));
    assert_eq!(shutdown.await.unwrap(), Ok(()));
    let bounds = log.bounds(Topic::Events).await.unwrap();
    assert_eq!(bounds.iter().map(|bounds| bounds.end).sum::<u64>(), 1);
    drop(dir);
}

#[tokio::test]
async fn a_connection_that_sent_half_a_head_holds_nothing_up() {
    let fixture = Fixture::new().await;
    let mut half = fixture.connect().await;
    half.send(b"GET /healthz HTTP/1.1\r\n\r\nGET /hea").await;
    half.answer(false).await;
    assert_eq!(fixture.server.shutdown().await, Ok(()));
}

#[tokio::test]
async fn a_request_that_never_ends_is_cut_off_and_said() {
    let config = Config { shutdown_deadline: Duration::from_millis(50), ..config() };
    let fixture = Fixture::with(config, None).await;
    let mut held = fixture.being_read(ONE.len()).await;
    let unclean = fixture.server.shutdown().await.unwrap_err();
    assert_eq!((unclean.connections, unclean.deletions), (1, 0));
    assert!(held.try_answer(false).await.is_none());
}

#[tokio::test]
async fn a_deletion_whose_client_is_gone_is_waited_for_and_counted() {
    let config = Config { shutdown_deadline: Duration::from_millis(50), ..config() };
    let log = Arc::new(Broken::new(false));
    let shared: Arc<dyn Log> = log.clone();
    let fixture = Fixture::with(config, Some(shared)).await;
    let body = br#"{"user_id":"u"}"#;
    let head = fixture.events_head(body.len());
    let mut connection = fixture.connect().await;
    connection.send(head.replace("events", "profile/user/deletion-job").as_bytes()).await;
    connection.send(body).await;
    log.called.notified().await;
    drop(connection);
    let unclean = fixture.server.shutdown().await.unwrap_err();
    assert_eq!((unclean.connections, unclean.deletions), (0, 1));
}
