//! What happens when the disk fails, with files that fail by themselves.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

use super::*;

fn config() -> Config {
    Config { disk_floor_bytes: 0, ..Config::default() }
}

fn one() -> Batch {
    let mut batch = Batch::default();
    batch.push(Topic::Events, 1, |_| (), |out| out.push(b'x'));
    batch
}

/// A new log that writes to `file` instead of its segment.
fn open_on(dir: &Path, file: File) -> EmbeddedLog {
    let mut recovered = recover(dir, &config()).unwrap();
    recovered.start.file = file;
    EmbeddedLog::start(dir, config(), recovered).unwrap()
}

/// A file that cannot become longer; it is as long as a segment without records.
fn full_file() -> File {
    let file = File::from(memfd_create("full", MemfdFlags::ALLOW_SEALING).unwrap());
    file.write_all_at(&[0; 8_192], 0).unwrap();
    fcntl_add_seals(&file, SealFlags::GROW).unwrap();
    file
}

fn reason(answer: Result<Appended, AppendError>) -> String {
    match answer {
        Err(AppendError::Unavailable(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_failed_sync_stops_the_log_for_good() {
    let folder = tempfile::tempdir().unwrap();
    // It takes writes, and cannot be synced.
    let null = OpenOptions::new().write(true).open("/dev/null").unwrap();
    let log = open_on(folder.path(), null);
    let mut member = log.subscribe("workers", Topic::Events).unwrap();
    let mut reader = member.next().await.unwrap().unwrap();
    let answers = [log.append(one()), log.append(one())];
    for answer in answers {
        assert!(reason(answer.await).contains("syncing segment 1 failed"));
    }
    assert!(log.failed().await.contains("syncing segment 1 failed"));
    assert!(reason(log.append(one()).await).contains("syncing segment 1 failed"));
    assert!(log.health().unwrap_err().contains("has stopped"));
    assert!(log.close().await.is_err());
    // Nothing of it was shown.
    assert_eq!(log.bounds(Topic::Events).await.unwrap()[0], Bounds { start: 0, end: 0 });
    assert!(matches!(reader.read(1).await, Err(crate::ReadError::Log(LogError::Unavailable(_)))));
    assert!(member.next().await.is_err());
}

#[tokio::test]
async fn a_failed_write_that_can_be_taken_back_fails_its_requests_only() {
    let folder = tempfile::tempdir().unwrap();
    let log = open_on(folder.path(), full_file());
    for _ in 0..2 {
        assert!(reason(log.append(one()).await).contains("writing segment 1 failed"));
    }
    assert_eq!(*log.handle.shared.status.borrow(), Status::Open);
    // A log that nobody writes to because it is not well must get well by itself.
    while log.health().is_err() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    log.close().await.unwrap();
}

#[tokio::test]
async fn a_failed_write_that_cannot_be_taken_back_stops_the_log() {
    let folder = tempfile::tempdir().unwrap();
    drop(EmbeddedLog::open(folder.path(), config()).unwrap());
    let read_only = File::open(disk::segment_path(folder.path(), 1)).unwrap();
    let log = open_on(folder.path(), read_only);
    assert!(reason(log.append(one()).await).contains("writing segment 1 failed"));
    assert!(log.failed().await.contains("cutting it off too"));
}
