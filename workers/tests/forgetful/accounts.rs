//! What receipts are signed with: their token is their own JSON.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use millrace_store::{AccountStore, Answer, ApiKey, Project, ReceiptKey, StoreError, Webhook};
use millrace_workers::Receipts;
use uuid::Uuid;

/// Of one set of workers.
pub(crate) fn receipts() -> Receipts {
    let accounts = Arc::new(Accounts { has_key: AtomicBool::new(false) });
    Receipts {
        issuer: "test".into(),
        key: ReceiptKey { kid: "k".into(), public: vec![0; 32], created_us: 0 },
        accounts: accounts.clone(),
        sign: Arc::new(move |receipt| {
            assert!(accounts.has_key.load(Ordering::SeqCst), "its key is there before");
            serde_json::to_string(receipt).map_err(|error| error.to_string())
        }),
    }
}

struct Accounts {
    has_key: AtomicBool,
}

fn not_asked<T: Send>() -> Answer<'static, T> {
    Box::pin(async { Err(StoreError::Invalid("workers do not ask for it".into())) })
}

impl AccountStore for Accounts {
    fn create_project(&self, _: Project) -> Answer<'_, ()> {
        not_asked()
    }

    fn projects(&self) -> Answer<'_, Vec<Project>> {
        not_asked()
    }

    fn create_key(&self, _: ApiKey) -> Answer<'_, ()> {
        not_asked()
    }

    fn keys(&self) -> Answer<'_, Vec<ApiKey>> {
        not_asked()
    }

    fn revoke_key(&self, _: Uuid, _: i64) -> Answer<'_, bool> {
        not_asked()
    }

    fn add_receipt_key(&self, _: ReceiptKey) -> Answer<'_, ()> {
        self.has_key.store(true, Ordering::SeqCst);
        Box::pin(async { Ok(()) })
    }

    fn receipt_keys(&self) -> Answer<'_, Vec<ReceiptKey>> {
        not_asked()
    }

    fn set_webhook(&self, _: &str, _: Option<String>) -> Answer<'_, ()> {
        not_asked()
    }

    fn webhooks(&self) -> Answer<'_, Vec<Webhook>> {
        Box::pin(async { Ok(Vec::new()) })
    }
}
