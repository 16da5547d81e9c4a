//! What the tests of this crate share: a store in memory that can be away, and fresh signers.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use millrace_store::{AccountStore, Answer, ApiKey, Project, ReceiptKey, StoreError, Webhook};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::Signer;

pub(crate) fn signer() -> Signer {
    let folder = tempfile::tempdir().unwrap();
    Signer::load_or_create(&folder.path().join("signing.pem")).unwrap()
}

#[derive(Default)]
pub(crate) struct MemoryStore {
    projects: Mutex<Vec<Project>>,
    keys: Mutex<Vec<ApiKey>>,
    receipt_keys: Mutex<Vec<ReceiptKey>>,
    webhooks: Mutex<Vec<Webhook>>,
    away: AtomicBool,
    asked: Notify,
}

impl MemoryStore {
    pub(crate) fn set_away(&self, away: bool) {
        self.away.store(away, Ordering::SeqCst);
    }

    /// Waits until the keys have been asked for.
    pub(crate) async fn asked(&self) {
        self.asked.notified().await;
    }
}

impl AccountStore for MemoryStore {
    fn create_project(&self, project: Project) -> Answer<'_, ()> {
        Box::pin(async move {
            let mut projects = self.projects.lock().unwrap();
            if projects.iter().any(|known| known.id == project.id) {
                return Err(StoreError::Exists(format!("project {:?}", project.id)));
            }
            projects.push(project);
            Ok(())
        })
    }

    fn projects(&self) -> Answer<'_, Vec<Project>> {
        Box::pin(async move { Ok(self.projects.lock().unwrap().clone()) })
    }

    fn create_key(&self, key: ApiKey) -> Answer<'_, ()> {
        Box::pin(async move {
            self.keys.lock().unwrap().push(key);
            Ok(())
        })
    }

    fn keys(&self) -> Answer<'_, Vec<ApiKey>> {
        Box::pin(async move {
            self.asked.notify_one();
            if self.away.load(Ordering::SeqCst) {
                return Err(StoreError::Unavailable("away".to_owned()));
            }
            Ok(self.keys.lock().unwrap().clone())
        })
    }

    fn revoke_key(&self, id: Uuid, revoked_us: i64) -> Answer<'_, bool> {
        Box::pin(async move {
            let mut keys = self.keys.lock().unwrap();
            let Some(key) = keys.iter_mut().find(|key| key.id == id) else { return Ok(false) };
            key.revoked_us.get_or_insert(revoked_us);
            Ok(true)
        })
    }

    fn add_receipt_key(&self, key: ReceiptKey) -> Answer<'_, ()> {
        Box::pin(async move {
            let mut keys = self.receipt_keys.lock().unwrap();
            if !keys.iter().any(|known| known.kid == key.kid) {
                keys.push(key);
            }
            Ok(())
        })
    }

    fn receipt_keys(&self) -> Answer<'_, Vec<ReceiptKey>> {
        Box::pin(async move {
            if self.away.load(Ordering::SeqCst) {
                return Err(StoreError::Unavailable("away".to_owned()));
            }
            Ok(self.receipt_keys.lock().unwrap().clone())
        })
    }

    fn set_webhook(&self, project: &str, url: Option<String>) -> Answer<'_, ()> {
        let project = project.to_owned();
        Box::pin(async move {
            let mut webhooks = self.webhooks.lock().unwrap();
            webhooks.retain(|known| known.project != project);
            webhooks.extend(url.map(|url| Webhook { project, url }));
            Ok(())
        })
    }

    fn webhooks(&self) -> Answer<'_, Vec<Webhook>> {
        Box::pin(async move { Ok(self.webhooks.lock().unwrap().clone()) })
    }
}
