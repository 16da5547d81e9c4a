//! What every engine must do, told through the traits alone. Each test gets an empty store.

use std::collections::BTreeMap;

use bytes::Bytes;
use millrace_schema::{Counts, Outcome, Topic, UserKey};
use millrace_store::{
    Cell, Cells, Change, Claim, Commit, EventQuery, LedgerRow, Stamp, Store, StoreError, Version,
    Write,
};

pub(crate) mod accounts;
pub(crate) mod deliveries;
pub(crate) mod devices;
pub(crate) mod documents;
pub(crate) mod events;
pub(crate) mod jobs;
pub(crate) mod ledger;
pub(crate) mod profiles;
pub(crate) mod receipts;
pub(crate) mod replay;

/// Calls a macro with the names of all tests.
macro_rules! every_test {
    ($run:ident) => {
        $run! {
            events:
                an_event_is_read_back_as_it_was_put,
                the_same_identity_is_stored_once_with_the_later_content,
                events_page_newest_first_and_equal_times_by_id,
                a_query_takes_its_start_and_leaves_its_end,
                users_with_similar_ids_are_kept_apart,
                an_erasure_takes_events_and_ids_at_or_below_its_stamp,
                within_one_commit_later_writes_see_earlier_ones,
                within_one_commit_the_stamp_decides_as_well,
                what_has_expired_is_hidden,
                pages_lead_through_all_times_to_the_end,
                an_erasure_reaches_events_of_all_times;
            profiles:
                a_merge_sets_its_cells_and_leaves_the_others,
                a_profile_without_properties_is_registered,
                an_erased_profile_starts_afresh,
                the_larger_stamp_decides_cell_by_cell,
                many_profiles_are_read_in_the_order_asked_for;
            devices:
                many_users_devices_and_claims_are_read_in_the_order_asked_for,
                devices_are_kept_by_user_and_merge_cell_by_cell,
                a_life_that_ended_hides_what_is_stamped_at_or_below_it,
                erased_devices_are_gone,
                a_device_that_moves_is_claimed_by_both_and_by_nobody,
                a_claim_is_read_back_as_it_was_put,
                a_claim_is_erased_at_or_below_a_stamp,
                a_device_that_moves_back_and_forth_is_the_last_ones;
            jobs:
                a_job_is_read_back_as_it_was_registered,
                jobs_page_newest_first_and_equal_times_by_id,
                the_first_completion_stays_and_the_sample_is_forgotten,
                a_job_registered_again_is_listed_once,
                completing_a_job_that_is_not_there_is_refused,
                markers_are_kept_by_user_and_topic,
                jobs_of_many_months_page_to_the_end;
            ledger:
                a_stale_writer_changes_nothing,
                another_partition_is_not_fenced,
                an_epoch_begins_at_the_resume_point,
                epochs_are_shared_with_nobody,
                counts_survive,
                a_repeated_commit_changes_nothing,
                a_commit_of_another_generation_is_refused,
                a_topic_keeps_its_base_and_its_partitions,
                the_newest_epoch_is_that_of_the_last_claim,
                of_two_that_write_at_once_the_stale_one_loses,
                a_rewound_partition_begins_again_and_keeps_its_rows,
                a_partition_that_was_never_claimed_can_be_rewound;
            receipts:
                a_receipt_is_the_newest_of_its_project,
                a_receipt_with_another_number_than_the_next_completes_nothing,
                a_failed_job_has_no_place_in_the_chain,
                receipts_at_once_make_a_chain_without_gaps;
            deliveries:
                a_delivery_is_read_back_as_it_was_put,
                only_pending_deliveries_are_open;
            replay:
                a_replay_ends_the_same_and_never_shows_what_was_erased,
                one_commit_does_what_many_do,
                a_purge_changes_nothing_that_is_seen,
                what_remains_of_the_erased_is_named_with_a_date_but_for_their_ids;
            accounts:
                projects_are_listed_by_id,
                a_project_is_made_once,
                keys_are_listed_oldest_first,
                a_key_is_revoked_once,
                keys_of_receipts_stay_as_they_were_added,
                a_project_has_one_webhook_or_none;
            documents:
                a_document_is_read_back_with_its_version,
                a_change_happens_whole_or_not_at_all,
                a_document_is_changed_in_the_version_that_is_expected_and_no_other,
                what_is_absent_can_be_demanded_without_a_change,
                a_change_too_large_or_of_one_document_twice_is_refused,
                of_a_hundred_that_create_one_document_exactly_one_wins,
                fifty_that_count_at_once_lose_no_number,
                of_an_update_and_a_removal_at_once_one_wins,
                what_has_expired_is_absent,
                of_many_that_take_the_place_of_an_expired_document_exactly_one_wins,
                an_expiry_can_be_taken_back,
                documents_page_by_prefix_in_the_order_of_their_keys,
                kinds_are_kept_apart,
                audit_entries_are_read_newest_first,
                audit_entries_are_chosen_by_each_filter,
                an_entry_written_twice_is_read_once,
                audit_entries_of_many_months_are_read_to_the_end,
                no_more_audit_entries_than_the_limit_are_read;
        }
    };
}
pub(crate) use every_test;

/// Drives all futures at once and waits for all.
pub(crate) async fn at_once<T>(
    futures: Vec<millrace_store::Answer<'_, T>>,
) -> Vec<Result<T, StoreError>> {
    use std::future::poll_fn;
    use std::task::Poll;
    let mut pending: Vec<_> = futures.into_iter().map(|f| (f, None)).collect();
    poll_fn(move |cx| {
        for (future, done) in &mut pending {
            if done.is_none()
                && let Poll::Ready(answer) = future.as_mut().poll(cx)
            {
                *done = Some(answer);
            }
        }
        if pending.iter().any(|(_, done)| done.is_none()) {
            return Poll::Pending;
        }
        Poll::Ready(pending.drain(..).filter_map(|(_, done)| done).collect())
    })
    .await
}

/// Later than any test runs.
pub(crate) const NEVER_US: i64 = i64::MAX;

pub(crate) fn user(id: &str) -> UserKey {
    UserKey::new("p", id)
}

/// A worker of one partition, under the epoch it has claimed.
pub(crate) struct Worker<'s, S> {
    store: &'s S,
    base: Stamp,
    generation: u64,
    pub(crate) ledger: LedgerRow,
}

impl<'s, S: Store> Worker<'s, S> {
    pub(crate) async fn claim(store: &'s S, topic: Topic, partition: u32) -> Self {
        Self::try_claim(store, topic, partition).await.unwrap()
    }

    pub(crate) async fn try_claim(
        store: &'s S,
        topic: Topic,
        partition: u32,
    ) -> Result<Self, StoreError> {
        let generation = store.generation().await?;
        let ledger = store.claim(topic, partition).await?;
        let base = store.topic_base(topic, 4).await?;
        Ok(Self { store, base, generation, ledger })
    }

    /// Commits changes, each caused by the record at its offset.
    pub(crate) async fn try_commit(
        &mut self,
        changes: impl IntoIterator<Item = (u64, Change)>,
    ) -> Result<(), StoreError> {
        let writes: Vec<_> = changes
            .into_iter()
            .map(|(offset, change)| Write { stamp: self.base.at(offset), change })
            .collect();
        self.ledger.sequence += 1;
        self.ledger.frontier += 1;
        self.ledger.counts.add("p", Outcome::Stored, 1);
        let ledger = self.ledger.clone();
        self.store.commit(Commit { writes, ledger, generation: self.generation }).await
    }

    pub(crate) async fn commit(&mut self, changes: impl IntoIterator<Item = (u64, Change)>) {
        self.try_commit(changes).await.unwrap();
    }

    pub(crate) fn stamp(&self, offset: u64) -> Stamp {
        self.base.at(offset)
    }
}

pub(crate) fn put_event(user: &UserKey, time_us: i64, id: &str, payload: &'static str) -> Change {
    let payload = Bytes::from_static(payload.as_bytes());
    Change::PutEvent { user: user.clone(), time_us, id: id.into(), payload, expires_us: NEVER_US }
}

pub(crate) fn put_event_time(user: &UserKey, id: &str, time_us: i64) -> Change {
    Change::PutEventTime { user: user.clone(), id: id.into(), time_us, expires_us: NEVER_US }
}

pub(crate) fn erase_events(user: &UserKey) -> Change {
    Change::EraseEvents { user: user.clone() }
}

pub(crate) fn put_profile(user: &UserKey, updated_us: i64, cells: Cells) -> Change {
    Change::PutProfile { user: user.clone(), created_us: 1, updated_us, cells }
}

pub(crate) fn put_device(user: &UserKey, device: &str, updated_us: i64, cells: Cells) -> Change {
    Change::PutDevice { user: user.clone(), device_id: device.into(), updated_us, cells }
}

pub(crate) fn put_claim(holder: Option<&str>, device: &str, linked_us: i64) -> Change {
    let linked = Some(Version { time_us: linked_us, stamp: Stamp(linked_us) });
    let claim = Claim { holder: holder.map(Into::into), linked, received_us: 0, unlinked: None };
    Change::PutClaim { project: "p".into(), device_id: device.into(), claim }
}

pub(crate) fn cell(time_us: i64, value: &str) -> Cell {
    Cell { version: Version { time_us, stamp: Stamp(time_us) }, value: Some(value.into()) }
}

pub(crate) fn cells<const N: usize>(cells: [(&str, Cell); N]) -> Cells {
    BTreeMap::from(cells.map(|(name, cell)| (name.to_owned(), cell)))
}

pub(crate) const ALL: EventQuery =
    EventQuery { from_us: None, to_us: None, before: None, limit: 100 };

/// The (time, id, payload) of a user's events, newest first.
pub(crate) async fn read_events<S: Store>(store: &S, user: &UserKey) -> Vec<(i64, String, String)> {
    let events = store.events(user.clone(), ALL).await.unwrap();
    let text = |payload: Bytes| String::from_utf8(payload.to_vec()).unwrap();
    events.into_iter().map(|e| (e.time_us, e.id, text(e.payload))).collect()
}

/// The text of each property of a user's profile.
pub(crate) async fn read_profile<S: Store>(store: &S, user: &UserKey) -> BTreeMap<String, String> {
    let row = store.profiles(vec![user.clone()]).await.unwrap().remove(0);
    let cells = row.map(|row| row.cells).unwrap_or_default();
    cells.into_iter().filter_map(|(name, cell)| Some((name, cell.value?))).collect()
}

/// The devices of a user, each with the text of its properties.
pub(crate) async fn read_devices<S: Store>(
    store: &S,
    user: &UserKey,
) -> BTreeMap<String, BTreeMap<String, String>> {
    let devices = store.devices(vec![user.clone()]).await.unwrap().remove(0);
    let values =
        |cells: Cells| cells.into_iter().filter_map(|(n, c)| Some((n, c.value?))).collect();
    devices.rows.into_iter().map(|(id, row)| (id, values(row.cells))).collect()
}

/// The holders that claim a device, with the time of each link.
pub(crate) async fn read_claims<S: Store>(store: &S, device: &str) -> Vec<(Option<String>, i64)> {
    let claims = store.claims("p", vec![device.into()]).await.unwrap().remove(0);
    let mut holders: Vec<_> =
        claims.into_iter().map(|c| (c.holder, c.linked.map_or(0, |v| v.time_us))).collect();
    holders.sort();
    holders
}

pub(crate) fn stored(n: u64) -> Counts {
    let mut counts = Counts::default();
    counts.add("p", Outcome::Stored, n);
    counts
}
