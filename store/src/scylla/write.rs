//! What a change is to the database: statements about one partition each, sent as few as may be.

use std::collections::BTreeMap;

use millrace_schema::UserKey;
use millrace_schema::time::{Micros, wall_clock_us};

use super::connection::Bound;
use super::jobs::{month, slot};
use super::statements::{Prepared, Statements};
use super::value::{Value, big, json, key, values};
use crate::{Change, JobRow, StoreError, Write};

/// Statements of one batch, at most. More than some dozens gain nothing.
const BATCH_STATEMENTS: usize = 64;
/// Bytes of one batch, unless one statement alone is larger.
const BATCH_BYTES: usize = 64 * 1024;
/// How a user's events are spread over partitions: by hundreds of days, over four.
const BUCKET_US: i64 = 100 * 24 * 3600 * 1_000_000;
/// The buckets of events.
pub(super) const BUCKETS: i32 = 4;
/// CQL keeps nothing with a time to live for longer: 20 years.
const TTL_MAX_SECONDS: i64 = 20 * 365 * 24 * 3600;

/// Where an event lies.
pub(super) fn bucket(time_us: Micros) -> i32 {
    i32::try_from(time_us.div_euclid(BUCKET_US).rem_euclid(i64::from(BUCKETS))).unwrap_or(0)
}

/// Seconds from now until an expiry; 0: it never comes. `None`: it is over.
fn ttl(expires_us: Micros, now_us: Micros) -> Option<i32> {
    let left_us = expires_us.checked_sub(now_us).filter(|left_us| *left_us > 0)?;
    let seconds = left_us / 1_000_000 + i64::from(left_us % 1_000_000 > 0);
    if seconds > TTL_MAX_SECONDS {
        return Some(0);
    }
    i32::try_from(seconds).ok()
}

/// A partition of the database, as far as statements must be told apart by it.
type Place<'w> = (&'static str, &'w str, &'w str, u128);

/// Statements by partition.
pub(super) struct Batches<'w> {
    statements: &'w Statements,
    now_us: Micros,
    by_place: BTreeMap<Place<'w>, Vec<Bound<'w>>>,
}

impl<'w> Batches<'w> {
    pub(super) fn new(statements: &'w Statements, writes: &'w [Write]) -> Result<Self, StoreError> {
        let now_us = wall_clock_us();
        let mut batches = Self { statements, now_us, by_place: BTreeMap::new() };
        for write in writes {
            batches.add(write)?;
        }
        Ok(batches)
    }

    /// Each is one statement or a batch within one partition.
    pub(super) fn into_parts(self) -> Vec<Vec<Bound<'w>>> {
        let mut parts = Vec::with_capacity(self.by_place.len());
        for bound in self.by_place.into_values() {
            let mut part = Vec::new();
            let mut bytes = 0;
            for one in bound {
                let more: usize = one.values.iter().map(Value::len).sum();
                let is_full = part.len() >= BATCH_STATEMENTS || bytes + more > BATCH_BYTES;
                if is_full && !part.is_empty() {
                    parts.push(std::mem::take(&mut part));
                    bytes = 0;
                }
                bytes += more;
                part.push(one);
            }
            parts.push(part);
        }
        parts
    }

    fn push(&mut self, place: Place<'w>, prepared: &'w Prepared, values: Vec<Value<'w>>) {
        self.by_place.entry(place).or_default().push(Bound { prepared, values });
    }

    fn add(&mut self, write: &'w Write) -> Result<(), StoreError> {
        let stamp = write.stamp.0;
        let all = self.statements;
        match &write.change {
            Change::PutEvent { .. } | Change::PutEventTime { .. } | Change::EraseEvents { .. } => {
                self.add_event(stamp, &write.change)
            }
            Change::PutProfile { user, created_us, updated_us, cells } => {
                let (project, id) = user_of(user)?;
                let place = ("profiles", project, id, 0);
                let head = values![project, id, *created_us, *updated_us, stamp];
                self.push(place, &all.put_profile, head);
                for (name, cell) in cells {
                    let cell = values![project, id, key(name)?, json(cell)?, stamp];
                    self.push(place, &all.put_profile_cell, cell);
                }
                Ok(())
            }
            Change::EraseProfile { user } => {
                let (project, id) = user_of(user)?;
                let place = ("profiles", project, id, 0);
                self.push(place, &all.erase_profile, values![stamp, project, id]);
                Ok(())
            }
            Change::PutErasure { user, topic, erasure } => {
                let (project, id) = user_of(user)?;
                let place = ("erasures", project, id, u128::from(topic.number()));
                let offset = big(erasure.offset);
                let (job, received_us) = (erasure.job, erasure.received_us);
                let values =
                    values![project, id, topic.short_name(), offset, job, received_us, stamp];
                self.push(place, &all.put_erasure, values);
                Ok(())
            }
            Change::PutJob { job } => self.add_job(stamp, job),
            _ => self.add_device(stamp, &write.change),
        }
    }

    fn add_event(&mut self, stamp: i64, change: &'w Change) -> Result<(), StoreError> {
        let all = self.statements;
        match change {
            Change::PutEvent { user, time_us, id: event, payload, expires_us } => {
                let Some(ttl) = ttl(*expires_us, self.now_us) else { return Ok(()) };
                let (project, id) = user_of(user)?;
                let bucket = bucket(*time_us);
                let mut values = values![project, id, bucket, *time_us, key(event)?];
                values.extend([Value::Blob(payload), Value::Big(stamp), Value::Int(ttl)]);
                let place = ("events", project, id, u128::from(bucket.unsigned_abs()));
                self.push(place, &all.put_event, values);
            }
            Change::PutEventTime { user, id: event, time_us, expires_us } => {
                let Some(ttl) = ttl(*expires_us, self.now_us) else { return Ok(()) };
                let (project, id) = user_of(user)?;
                let values = values![project, id, key(event)?, *time_us, stamp, ttl];
                self.push(("event_times", project, id, 0), &all.put_event_time, values);
            }
            Change::EraseEvents { user } => {
                let (project, id) = user_of(user)?;
                for bucket in 0..BUCKETS {
                    let place = ("events", project, id, u128::from(bucket.unsigned_abs()));
                    self.push(place, &all.erase_events, values![stamp, project, id, bucket]);
                }
                let place = ("event_times", project, id, 0);
                self.push(place, &all.erase_event_times, values![stamp, project, id]);
            }
            _ => {}
        }
        Ok(())
    }

    fn add_device(&mut self, stamp: i64, change: &'w Change) -> Result<(), StoreError> {
        let all = self.statements;
        match change {
            Change::PutDevice { user, device_id, updated_us, cells } => {
                let (project, id) = user_of(user)?;
                let place = ("devices", project, id, 0);
                let device = key(device_id)?;
                let head = values![project, id, device, *updated_us, stamp];
                self.push(place, &all.put_device, head);
                for (name, cell) in cells {
                    let cell = values![project, id, device, key(name)?, json(cell)?, stamp];
                    self.push(place, &all.put_device_cell, cell);
                }
            }
            Change::EndLife { user } => {
                let (project, id) = user_of(user)?;
                let values = values![project, id, stamp, stamp];
                self.push(("devices", project, id, 0), &all.end_life, values);
            }
            Change::EraseDevices { user } => {
                let (project, id) = user_of(user)?;
                let values = values![stamp, project, id];
                self.push(("devices", project, id, 0), &all.erase_devices, values);
            }
            Change::PutClaim { project, device_id, claim } => {
                let (project, device) = (key(project)?, key(device_id)?);
                let holder = key(claim.holder.as_deref().unwrap_or(NOBODY))?;
                let values = values![project, device, holder, json(claim)?, stamp];
                self.push(("claims", project, device, 0), &all.put_claim, values);
            }
            Change::EraseClaim { user, device_id } => {
                let (project, id) = user_of(user)?;
                let device = key(device_id)?;
                let values = values![stamp, project, device, id];
                self.push(("claims", project, device, 0), &all.erase_claim, values);
            }
            _ => {}
        }
        Ok(())
    }

    fn add_job(&mut self, stamp: i64, row: &'w JobRow) -> Result<(), StoreError> {
        let all = self.statements;
        let (project, id) = (key(&row.project)?, row.job.job);
        let (job, sample) = super::jobs::encode(row)?;
        let place = ("jobs", project, "", id.as_u128());
        self.push(place, &all.put_job, values![project, id, job, sample, stamp]);
        let (accepted_us, month) = (row.accepted_us, month(row.accepted_us));
        let place = ("jobs_by_time", project, "", u128::from(month.cast_unsigned()));
        let values = values![project, month, accepted_us, id, stamp];
        self.push(place, &all.put_job_by_time, values);
        let place = ("job_months", project, "", 0);
        self.push(place, &all.put_job_month, values![project, month, stamp]);
        let slot = slot(id);
        let place = ("open_jobs", "", "", u128::from(slot.unsigned_abs()));
        self.push(place, &all.put_open_job, values![slot, project, id, stamp]);
        Ok(())
    }
}

/// The holder of a claim by nobody: no user's id is empty.
pub(super) const NOBODY: &str = "";

pub(super) fn user_of(user: &UserKey) -> Result<(&str, &str), StoreError> {
    Ok((key(&user.project)?, key(&user.user)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_go_round_every_hundred_days_on_both_sides_of_zero() {
        let buckets: Vec<i32> = (-5..5).map(|n| bucket(n * BUCKET_US)).collect();
        assert_eq!(buckets, [3, 0, 1, 2, 3, 0, 1, 2, 3, 0]);
        assert_eq!((bucket(-1), bucket(BUCKET_US - 1)), (3, 0));
        assert!((0..4).contains(&bucket(i64::MIN)) && (0..4).contains(&bucket(i64::MAX)));
    }

    #[test]
    fn a_time_to_live_is_rounded_up_and_never_none_by_accident() {
        let second = 1_000_000;
        assert_eq!(ttl(5, 5), None);
        assert_eq!(ttl(4, 5), None);
        assert_eq!(ttl(6, 5), Some(1));
        assert_eq!(ttl(second, 0), Some(1));
        assert_eq!(ttl(second + 1, 0), Some(2));
        assert_eq!(ttl(TTL_MAX_SECONDS * second, 0), Some(630_720_000));
        assert_eq!(ttl(TTL_MAX_SECONDS * second + 1, 0), Some(0));
        assert_eq!(ttl(i64::MAX, i64::MAX - 1), Some(1));
    }
}
