//! The suite that every engine must pass, run on each; and what is an engine's own.

#![expect(clippy::unwrap_used, reason = "a test may fail at any step")]

mod embedded;
mod suite;

use millrace_store::embedded::{Config, EmbeddedStore};

macro_rules! conformance {
    ($($room:ident: $($name:ident),+ $(,)?;)+) => {$($(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            let dir = tempfile::tempdir().unwrap();
            let store = EmbeddedStore::open(dir.path(), Config::default()).unwrap();
            suite::$room::$name(&store).await;
        }
    )+)+};
}

conformance! {
    events:
        an_event_is_read_back_as_it_was_put,
        the_same_identity_is_stored_once_with_the_later_content,
        events_page_newest_first_and_equal_times_by_id,
        a_query_takes_its_start_and_leaves_its_end,
        users_with_similar_ids_are_kept_apart,
        an_erasure_takes_events_and_ids_at_or_below_its_stamp,
        within_one_commit_later_writes_see_earlier_ones,
        within_one_commit_the_stamp_decides_as_well,
        what_has_expired_is_hidden;
    profiles:
        a_merge_sets_its_cells_and_leaves_the_others,
        a_profile_without_properties_is_registered,
        an_erased_profile_starts_afresh,
        the_larger_stamp_decides_cell_by_cell;
    devices:
        devices_are_kept_by_user_and_merge_cell_by_cell,
        a_life_that_ended_hides_what_is_stamped_at_or_below_it,
        erased_devices_are_gone,
        a_device_that_moves_is_claimed_by_both_and_by_nobody,
        a_claim_is_read_back_as_it_was_put,
        a_claim_is_erased_at_or_below_a_stamp;
    jobs:
        a_job_is_read_back_as_it_was_registered,
        jobs_page_newest_first_and_equal_times_by_id,
        the_first_completion_stays_and_the_sample_is_forgotten,
        a_job_registered_again_is_listed_once,
        completing_a_job_that_is_not_there_is_refused,
        markers_are_kept_by_user_and_topic;
    ledger:
        a_stale_writer_changes_nothing,
        another_partition_is_not_fenced,
        an_epoch_begins_at_the_resume_point,
        epochs_are_shared_with_nobody,
        counts_survive,
        a_repeated_commit_changes_nothing,
        a_commit_of_another_generation_is_refused,
        a_topic_keeps_its_base_and_its_partitions;
    replay:
        a_replay_ends_the_same_and_never_shows_what_was_erased,
        one_commit_does_what_many_do;
    accounts:
        projects_are_listed_by_id,
        a_project_is_made_once,
        keys_are_listed_oldest_first,
        a_key_is_revoked_once;
}
