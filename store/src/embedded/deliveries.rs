//! How receipts get to their webhooks: a row by job, and an entry among the open ones while it is
//! pending.

use uuid::Uuid;

use crate::embedded::failure::failed;
use crate::embedded::space::Space;
use crate::embedded::{Engine, key, value};
use crate::{Delivery, DeliveryState, StoreError};

impl Engine {
    pub(super) fn put_delivery(
        &self,
        project: &str,
        job: Uuid,
        delivery: &Delivery,
    ) -> Result<(), StoreError> {
        let mut draft = self.draft();
        let key = key::job(project, job).finish()?;
        match delivery.state {
            DeliveryState::Pending => draft.put(Space::OpenDeliveries, key.clone(), Vec::new()),
            DeliveryState::Delivered | DeliveryState::Failed => {
                draft.remove(Space::OpenDeliveries, key.clone());
            }
        }
        draft.put(Space::Deliveries, key, value::plain(delivery)?);
        draft.commit_durably()
    }

    pub(super) fn deliveries(
        &self,
        project: &str,
        jobs: &[Uuid],
    ) -> Result<Vec<Option<Delivery>>, StoreError> {
        let rows = self.spaces.get(Space::Deliveries);
        let delivery = |job: &Uuid| {
            let stored = rows.get(key::job(project, *job).finish()?).map_err(failed)?;
            stored.map(|stored| value::read_plain(Space::Deliveries, &stored)).transpose()
        };
        jobs.iter().map(delivery).collect()
    }

    pub(super) fn open_deliveries(&self) -> Result<Vec<(String, Uuid, Delivery)>, StoreError> {
        // Under the writer's lock, so that entries and rows are of one moment.
        let draft = self.draft();
        let mut open = Vec::new();
        for entry in self.spaces.get(Space::OpenDeliveries).iter() {
            let key = entry.key().map_err(failed)?;
            let Some(stored) = draft.get(Space::Deliveries, &key)? else {
                continue;
            };
            let (project, job) = key::read_job_of(Space::OpenDeliveries, &key)?;
            open.push((project, job, value::read_plain(Space::Deliveries, &stored)?));
        }
        Ok(open)
    }
}
