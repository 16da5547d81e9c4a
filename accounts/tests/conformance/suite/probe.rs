//! A store that is watched, and that fails when it is told to.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use millrace_store::{
    Answer, AuditQuery, AuditRow, Document, DocumentChange, DocumentStore, Kind, StoreError,
};

/// How the store is to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Fault {
    #[default]
    None,
    /// Nothing is read or changed.
    Away,
    /// Changes happen, and their answers are lost.
    AnswersLost,
}

/// Passes everything on, and holds every change against the rule that it has its audit entry.
pub(crate) struct Probe {
    inner: Arc<dyn DocumentStore>,
    fault: Mutex<Fault>,
    /// So many changes more find that others were faster.
    beaten: AtomicU32,
}

impl Probe {
    pub(crate) fn new(inner: Arc<dyn DocumentStore>) -> Self {
        Self { inner, fault: Mutex::default(), beaten: AtomicU32::new(0) }
    }

    pub(crate) fn set(&self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
    }

    pub(crate) fn beat(&self, times: u32) {
        self.beaten.store(times, Ordering::SeqCst);
    }

    /// How many changes more will be beaten.
    pub(crate) fn beaten(&self) -> u32 {
        self.beaten.load(Ordering::SeqCst)
    }

    fn fault(&self) -> Fault {
        *self.fault.lock().unwrap()
    }

    fn there(&self) -> Result<(), StoreError> {
        if self.fault() == Fault::Away { Err(unavailable()) } else { Ok(()) }
    }

    fn is_beaten(&self) -> bool {
        let one_less = |times: u32| times.checked_sub(1);
        self.beaten.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_ok()
    }
}

fn unavailable() -> StoreError {
    StoreError::Unavailable("told to fail".to_owned())
}

impl DocumentStore for Probe {
    fn document(&self, kind: Kind, key: &str) -> Answer<'_, Option<Document>> {
        let answer = self.inner.document(kind, key);
        Box::pin(async move {
            self.there()?;
            answer.await
        })
    }

    fn documents(
        &self,
        kind: Kind,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Answer<'_, Vec<(String, Document)>> {
        let answer = self.inner.documents(kind, prefix, after, limit);
        Box::pin(async move {
            self.there()?;
            answer.await
        })
    }

    fn change(&self, changes: Vec<DocumentChange>, audit: Vec<AuditRow>) -> Answer<'_, bool> {
        // Blocks of ids are nobody's.
        let all_count = changes.iter().all(|change| change.kind == Kind::Counter);
        let is_counter = all_count && !changes.is_empty();
        assert!(!audit.is_empty() || is_counter, "a change without its entry");
        Box::pin(async move {
            self.there()?;
            if !is_counter && self.is_beaten() {
                return Ok(false);
            }
            let happened = self.inner.change(changes, audit).await?;
            let is_lost = self.fault() == Fault::AnswersLost && !is_counter;
            if is_lost { Err(unavailable()) } else { Ok(happened) }
        })
    }

    fn audit(&self, query: AuditQuery) -> Answer<'_, Vec<AuditRow>> {
        let answer = self.inner.audit(query);
        Box::pin(async move {
            self.there()?;
            answer.await
        })
    }
}
