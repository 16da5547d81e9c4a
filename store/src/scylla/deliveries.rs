//! Deliveries of receipts: a row each, and an entry among the open ones while it is pending.
//!
//! The row decides: an entry counts if the row says that the delivery is pending. It is made before
//! the row, and goes when the row has settled, so that no crash leaves a pending delivery without
//! one.

use std::time::Duration;

use futures::future::try_join_all;
use millrace_schema::time::wall_clock_us;
use uuid::Uuid;

use super::connection::Connection;
use super::jobs::slot;
use super::value::{json, key, read_json, values};
use crate::{Delivery, DeliveryState, StoreError};

impl Connection {
    pub(super) async fn put_delivery(
        &self,
        project: &str,
        job: Uuid,
        delivery: &Delivery,
    ) -> Result<(), StoreError> {
        let project = key(project)?;
        if delivery.state == DeliveryState::Pending {
            let entry = values![slot(job), project, job];
            self.write(&self.statements.put_open_delivery, &entry).await?;
        }
        let text = json(delivery)?;
        let values = values![&*text, project, job, &*text];
        // Where the condition does not hold it is so already.
        self.apply(&self.statements.put_delivery, &values).await.map(drop)
    }

    pub(super) async fn deliveries(
        &self,
        project: &str,
        jobs: &[Uuid],
    ) -> Result<Vec<Option<Delivery>>, StoreError> {
        try_join_all(jobs.iter().map(|job| self.delivery(project, *job))).await
    }

    async fn delivery(&self, project: &str, job: Uuid) -> Result<Option<Delivery>, StoreError> {
        let values = values![key(project)?, job];
        let row: Option<(Option<String>,)> = self.row(&self.statements.delivery, &values).await?;
        let text = row.and_then(|(text,)| text);
        text.map(|text| read_json("deliveries", &text)).transpose()
    }

    /// Entries of deliveries that have ended go in passing.
    pub(super) async fn open_deliveries(
        &self,
        settle: Duration,
    ) -> Result<Vec<(String, Uuid, Delivery)>, StoreError> {
        let entries = self.entries_of_all_slots(&self.statements.open_deliveries).await?;
        let read = entries.into_iter().map(async |(project, job)| {
            let delivery = self.delivery(&project, job).await?;
            Ok::<_, StoreError>(delivery.map(|delivery| (project, job, delivery)))
        });
        let settled_us = i64::try_from((settle * 2).as_micros()).unwrap_or(i64::MAX);
        let settled_us = wall_clock_us().saturating_sub(settled_us);
        let mut open = Vec::new();
        for (project, job, delivery) in try_join_all(read).await?.into_iter().flatten() {
            if delivery.state == DeliveryState::Pending {
                open.push((project, job, delivery));
            } else if delivery.updated_us < settled_us {
                let entry = values![slot(job), project, job];
                self.write(&self.statements.close_delivery, &entry).await?;
            }
        }
        Ok(open)
    }
}
