//! Reads one partition: from memory at the tail, from the segments' files further back.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use millrace_schema::Topic;
use tokio::sync::watch;

use super::disk::segment_path;
use super::format::{BATCH_HEADER, BatchHeader, Fault, Place, Records};
use super::recover::advice;
use super::shared::{Shared, Status};
use super::view::{Found, Held, Resume, Window};
use crate::sync::locked;
use crate::{BoxFuture, LogError, LogRecord, ReadError, Reader};

/// One partition of one group. Letting go of it frees the partition.
#[derive(Debug)]
pub(super) struct PartitionReader {
    shared: Arc<Shared>,
    group: Arc<str>,
    topic: Topic,
    partition: u32,
    stream: usize,
    position: u64,
    resume: Resume,
    end: watch::Receiver<u64>,
    status: watch::Receiver<Status>,
}

impl PartitionReader {
    /// A reader of a partition that its group has taken already.
    pub(super) fn new(
        shared: Arc<Shared>,
        group: Arc<str>,
        topic: Topic,
        partition: u32,
    ) -> Option<Self> {
        let stream = shared.stream(topic, partition);
        let end = shared.ends.get(stream)?.subscribe();
        let status = shared.status.subscribe();
        let resume = Resume::default();
        Some(Self { shared, group, topic, partition, stream, position: 0, resume, end, status })
    }

    /// Waits until the log ends behind the position.
    async fn wait(&mut self) -> Result<u64, ReadError> {
        loop {
            let end = *self.end.borrow_and_update();
            if end > self.position {
                return Ok(end);
            }
            match &*self.status.borrow_and_update() {
                Status::Open => {}
                Status::Closed => return Err(ReadError::Revoked),
                Status::Failed(why) => return Err(LogError::Unavailable(why.clone()).into()),
            }
            // Neither can end: `shared` holds the senders.
            tokio::select! {
                _ = self.end.changed() => {}
                _ = self.status.changed() => {}
            }
        }
    }

    async fn next_records(&mut self, max_bytes: usize) -> Result<Vec<LogRecord>, ReadError> {
        loop {
            let end = self.wait().await?;
            let (stream, position, resume) = (self.stream, self.position, self.resume);
            let found = locked(&self.shared.view).find(stream, position, resume, max_bytes);
            let records = match found {
                Found::Memory(batches) => from_memory(&self.shared, batches, position, max_bytes)?,
                Found::Disk(_) => {
                    let scan = Scan { position, resume, max_bytes, ..Scan::new(&self.shared) };
                    let scan = tokio::task::spawn_blocking(move || scan.run(stream)).await;
                    let scan = scan.map_err(|e| LogError::Unavailable(e.to_string()))??;
                    self.resume = scan.resume;
                    scan.records
                }
                Found::Nothing => {
                    // A repair has cut out everything up to here.
                    self.position = end;
                    continue;
                }
            };
            if let Some(last) = records.last() {
                self.position = last.offset + 1;
                return Ok(records);
            }
        }
    }
}

impl Reader for PartitionReader {
    fn topic(&self) -> Topic {
        self.topic
    }

    fn partition(&self) -> u32 {
        self.partition
    }

    fn is_held(&self) -> bool {
        *self.status.borrow() == Status::Open
    }

    fn seek(&mut self, offset: u64) -> BoxFuture<'_, Result<(), ReadError>> {
        let end = *self.end.borrow();
        let outcome = if offset > end {
            Err(ReadError::BeyondEnd { offset, end })
        } else {
            self.shared.groups.begin(&self.group, self.stream, offset);
            self.position = offset;
            self.resume = Resume::default();
            Ok(())
        };
        Box::pin(std::future::ready(outcome))
    }

    fn read(&mut self, max_bytes: usize) -> BoxFuture<'_, Result<Vec<LogRecord>, ReadError>> {
        Box::pin(self.next_records(max_bytes))
    }

    fn commit(&mut self, offset: u64) {
        self.shared.groups.commit(&self.group, self.stream, offset);
    }
}

impl Drop for PartitionReader {
    fn drop(&mut self) {
        self.shared.groups.release(&self.group, self.stream);
    }
}

/// Takes the records of one batch from `position` on, until `room` is used up.
fn take_records(
    records: &mut Vec<LogRecord>,
    held: Held,
    position: u64,
    room: &mut usize,
) -> Result<(), Fault> {
    let mut batch = Records::new(held.payload, held.base, held.count);
    batch.skip_to(position)?;
    for record in batch {
        if *room == 0 {
            return Ok(());
        }
        let record = record?;
        let headers: usize = record.headers.iter().map(|(n, t)| n.len() + t.len()).sum();
        let bytes = record.key.len() + record.value.len() + headers;
        *room = room.saturating_sub(bytes.max(1));
        records.push(record);
    }
    Ok(())
}

fn from_memory(
    shared: &Shared,
    batches: Vec<Held>,
    position: u64,
    max_bytes: usize,
) -> Result<Vec<LogRecord>, LogError> {
    let mut records = Vec::new();
    let mut room = max_bytes.max(1);
    for held in batches {
        let base = held.base;
        take_records(&mut records, held, position, &mut room).map_err(|fault| {
            let dir = shared.dir.display();
            LogError::Invalid(format!("a batch of {dir} at offset {base} is unreadable: {fault}"))
        })?;
    }
    Ok(records)
}

/// A search through the files, off the async threads.
struct Scan {
    shared: Arc<Shared>,
    position: u64,
    resume: Resume,
    max_bytes: usize,
    records: Vec<LogRecord>,
    buffer: Vec<u8>,
}

/// Windows that one read looks through once it has found something.
const WINDOWS: usize = 16;

impl Scan {
    fn new(shared: &Arc<Shared>) -> Self {
        Self {
            shared: Arc::clone(shared),
            position: 0,
            resume: Resume::default(),
            max_bytes: 0,
            records: Vec::new(),
            buffer: Vec::new(),
        }
    }

    fn run(mut self, stream: usize) -> Result<Self, LogError> {
        let mut room = self.max_bytes.max(1);
        let mut windows = 0;
        while room > 0 && (windows < WINDOWS || self.records.is_empty()) {
            let view = locked(&self.shared.view);
            let Found::Disk(window) = view.find(stream, self.position, self.resume, 1) else {
                break;
            };
            drop(view);
            self.read_window(&window, &mut room)?;
            windows += 1;
        }
        Ok(self)
    }

    fn read_window(&mut self, window: &Window, room: &mut usize) -> Result<(), LogError> {
        let path = segment_path(&self.shared.dir, window.segment);
        let failed = |source: io::Error| {
            let what = format!("cannot read {}", path.display());
            LogError::Io { what, source }
        };
        let file = match File::open(&path) {
            Ok(file) => file,
            // Removed meanwhile: nobody in a group needs it; what follows is read on.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.resume = Resume { segment: window.segment, position: u64::MAX };
                return Ok(());
            }
            Err(error) => return Err(failed(error)),
        };
        self.buffer.resize((window.end - window.from) as usize, 0);
        file.read_exact_at(&mut self.buffer, window.from).map_err(failed)?;
        let mut at = window.from;
        while at < window.end && *room > 0 {
            let header = self.header(window, &file, at).map_err(|e| self.error(&path, at, e))?;
            if header.stream(window.partitions) == window.stream && header.end() > self.position {
                let payload = self.payload(window, &file, at, &header);
                let payload = payload.map_err(|e| self.error(&path, at, e))?;
                let held = Held { base: header.base, count: header.count, payload };
                let taken = take_records(&mut self.records, held, self.position, room);
                taken.map_err(|fault| self.error(&path, at, Broken::Fault(fault)))?;
                if let Some(last) = self.records.last() {
                    self.position = last.offset + 1;
                }
                if *room == 0 && self.position < header.end() {
                    break;
                }
                // A batch without records leads past what a repair has cut out.
                self.position = header.end();
            }
            at += header.total_len() as u64;
        }
        self.resume = Resume { segment: window.segment, position: at };
        Ok(())
    }

    fn header(&self, window: &Window, file: &File, at: u64) -> Result<BatchHeader, Broken> {
        let place = Place { salt: window.salt, segment: window.segment, position: at };
        let mut bytes = [0; BATCH_HEADER];
        self.copy(window, file, at, &mut bytes)?;
        Ok(BatchHeader::decode(&bytes, place, window.partitions)?)
    }

    fn payload(
        &self,
        window: &Window,
        file: &File,
        at: u64,
        header: &BatchHeader,
    ) -> Result<Bytes, Broken> {
        if at + header.total_len() as u64 > window.len {
            return Err(Fault::Short.into());
        }
        let mut payload = vec![0; header.payload_len as usize];
        self.copy(window, file, at + BATCH_HEADER as u64, &mut payload)?;
        header.check(&payload)?;
        Ok(Bytes::from(payload))
    }

    /// Fills `into` from the buffered window, or from the file where it runs past it.
    fn copy(&self, window: &Window, file: &File, at: u64, into: &mut [u8]) -> io::Result<()> {
        let from = (at - window.from) as usize;
        match self.buffer.get(from..).and_then(|rest| rest.get(..into.len())) {
            Some(bytes) => into.copy_from_slice(bytes),
            None => file.read_exact_at(into, at)?,
        }
        Ok(())
    }

    fn error(&self, path: &Path, at: u64, broken: Broken) -> LogError {
        match broken {
            Broken::Io(source) => {
                LogError::Io { what: format!("cannot read {}", path.display()), source }
            }
            Broken::Fault(fault) => LogError::Invalid(format!(
                "{} is damaged at byte {at}: {fault}; stop, then {}",
                path.display(),
                advice(&self.shared.dir)
            )),
        }
    }
}

enum Broken {
    Io(io::Error),
    Fault(Fault),
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Fault> for Broken {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}
