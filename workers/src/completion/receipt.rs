//! What a receipt says.

use std::sync::Arc;
use std::time::Duration;

use millrace_log::{Log, LogError};
use millrace_schema::Topic;
use millrace_schema::id::new_id;
use millrace_schema::receipt::{
    IDS_HASH_ALGORITHM, IdsHash, Previous, ReadBack, Receipt, Residual,
};
use millrace_schema::record::Reach;
use millrace_schema::time::{Micros, format_us, wall_clock_us};
use millrace_store::{AccountStore, JobRow, NewestReceipt, ReceiptKey, Residue};

const LOG_NOTE: &str = "records as they were accepted, and the ids of the users in the records \
                        that erased them";
const DEAD_LETTERS_NOTE: &str = "records that could not be stored";

/// The token of a receipt, or why it could not be signed.
pub type Sign = Arc<dyn Fn(&Receipt) -> Result<String, String> + Send + Sync>;

/// What deletion jobs are completed with.
#[derive(Clone)]
pub struct Receipts {
    /// The `iss` of receipts.
    pub issuer: String,
    /// The public half of the key that `sign` signs with. It is added to the accounts before
    /// anything is signed.
    pub key: ReceiptKey,
    /// Signs.
    pub sign: Sign,
    /// Where the keys of receipts and the projects' webhooks are.
    pub accounts: Arc<dyn AccountStore>,
}

/// A job's end, but for its place in the chain.
pub(super) struct Ended<'j> {
    pub(super) job: &'j JobRow,
    pub(super) settled_us: Micros,
    pub(super) completed_us: Micros,
    pub(super) found: u64,
}

impl Ended<'_> {
    /// The receipt that follows `newest` in the project's chain.
    pub(super) fn receipt(
        &self,
        issuer: &str,
        remaining: &Remaining,
        newest: Option<NewestReceipt>,
    ) -> Receipt {
        let JobRow { project, accepted_us, job, .. } = self.job;
        let signed_us = wall_clock_us();
        Receipt {
            iss: issuer.to_owned(),
            iat: signed_us.div_euclid(1_000_000),
            jti: new_id(signed_us),
            project_id: project.clone(),
            job_id: job.job,
            accepted_at: format_us(*accepted_us),
            settled_at: format_us(self.settled_us),
            completed_at: format_us(self.completed_us),
            users: job.users,
            ids: IdsHash {
                alg: IDS_HASH_ALGORITHM.to_owned(),
                salt: job.salt.clone(),
                hash: job.ids_hash.clone(),
            },
            erased: job.erase.clone(),
            fence: job.fence.clone(),
            read_back: ReadBack { sampled: job.sample.len() as u64, found: self.found },
            residuals: remaining.residuals(&job.erase, self.completed_us),
            number: newest.as_ref().map_or(1, |newest| newest.number.saturating_add(1)),
            previous: newest.map(|newest| Previous { job_id: newest.job, hash: newest.hash }),
        }
    }
}

/// Where copies remain after a deletion, and how long.
pub(super) struct Remaining {
    /// How long each topic keeps a record, and its dead letters keep one; `None`: it is not known.
    topics: Vec<(Topic, Option<Duration>, Option<Duration>)>,
    residues: Vec<Residue>,
}

impl Remaining {
    /// # Errors
    /// The log is away.
    pub(super) async fn of(log: &dyn Log, residues: Vec<Residue>) -> Result<Self, LogError> {
        let mut topics = Vec::new();
        for topic in Topic::CONSUMED {
            let dead_letters = log.retention(topic.dead_letters()).await?;
            topics.push((topic, log.retention(topic).await?, dead_letters));
        }
        Ok(Self { topics, residues })
    }

    /// One for each place, with the latest date. Whatever was erased was in the log before the
    /// completion, so it is gone before what is counted from there.
    fn residuals(&self, erased: &[Reach], completed_us: Micros) -> Vec<Residual> {
        // The job's own record names the sample.
        let reached = |topic: Topic| {
            topic == Topic::Deletions || erased.iter().any(|reach| reach.topic() == topic)
        };
        let reached = || self.topics.iter().filter(|(topic, ..)| reached(*topic));
        let log = longest(reached().map(|(_, log, _)| *log));
        let dead_letters = longest(reached().map(|(.., dead_letters)| *dead_letters));
        let mut places =
            vec![("log", log, LOG_NOTE), ("dead_letters", dead_letters, DEAD_LETTERS_NOTE)];
        places.extend(self.residues.iter().map(|residue| {
            let Residue { place, lasts, note } = *residue;
            (place, lasts, note)
        }));
        let residual = |(place, lasts, note): (&str, Option<Duration>, &str)| Residual {
            place: place.to_owned(),
            until: lasts.and_then(|lasts| after(completed_us, lasts)).map(format_us),
            note: note.to_owned(),
        };
        places.into_iter().map(residual).collect()
    }
}

/// `None` is longer than anything.
fn longest(lasts: impl IntoIterator<Item = Option<Duration>>) -> Option<Duration> {
    lasts.into_iter().try_fold(Duration::ZERO, |longest, lasts| Some(longest.max(lasts?)))
}

fn after(us: Micros, duration: Duration) -> Option<Micros> {
    us.checked_add(i64::try_from(duration.as_micros()).ok()?)
}

#[cfg(test)]
mod tests {
    use millrace_schema::record::{Fence, Job};
    use uuid::Uuid;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const COMPLETED_US: i64 = 1_737_092_363_500_000;

    fn remaining(residues: Vec<Residue>) -> Remaining {
        let topics = vec![
            (Topic::Events, Some(SECOND), Some(SECOND)),
            (Topic::Profiles, Some(SECOND * 60), Some(SECOND * 7)),
            (Topic::Devices, None, Some(SECOND)),
            (Topic::Deletions, Some(SECOND * 3), Some(SECOND * 3)),
        ];
        Remaining { topics, residues }
    }

    fn untils(remaining: &Remaining, erased: &[Reach]) -> Vec<(String, Option<String>)> {
        let residuals = remaining.residuals(erased, COMPLETED_US);
        residuals.into_iter().map(|residual| (residual.place, residual.until)).collect()
    }

    fn place(place: &str, until: Option<&str>) -> (String, Option<String>) {
        (place.to_owned(), until.map(str::to_owned))
    }

    #[test]
    fn what_remains_is_dated_from_the_completion_by_the_longest_of_the_reached_topics() {
        let three = Some("2025-01-17T05:39:26.5Z");
        let expected = [place("log", three), place("dead_letters", three)];
        assert_eq!(untils(&remaining(vec![]), &[Reach::Events]), expected);
        let minute = Some("2025-01-17T05:40:23.5Z");
        let expected =
            [place("log", minute), place("dead_letters", Some("2025-01-17T05:39:30.5Z"))];
        assert_eq!(untils(&remaining(vec![]), &[Reach::Events, Reach::Profile]), expected);
    }

    #[test]
    fn what_is_kept_for_ever_has_no_date() {
        let residue = |place, lasts| Residue { place, lasts, note: "" };
        let remaining = remaining(vec![
            residue("store_journal", None),
            residue("store_tombstones", Some(SECOND)),
            residue("store_journal", Some(Duration::MAX)),
        ]);
        let (log, none) = (place("log", None), place("store_journal", None));
        let until = Some("2025-01-17T05:39:26.5Z");
        let tombstones = place("store_tombstones", Some("2025-01-17T05:39:24.5Z"));
        let expected = [log, place("dead_letters", until), none.clone(), tombstones, none];
        assert_eq!(untils(&remaining, &[Reach::Devices]), expected);
    }

    #[test]
    fn a_receipt_says_what_the_job_was_and_what_it_follows() {
        let fence = Fence { topic: Topic::Events, partition: 0, first: 5, last: 7, count: 3 };
        let job = JobRow {
            project: "p".to_owned(),
            accepted_us: COMPLETED_US - 2_000_000,
            job: Job {
                job: Uuid::from_u128(9),
                users: 3,
                erase: vec![Reach::Events],
                fence: vec![fence.clone()],
                salt: "5a".to_owned(),
                ids_hash: "4b".to_owned(),
                sample: vec!["a".to_owned(), "b".to_owned()],
            },
            completion: None,
        };
        let (settled_us, completed_us) = (COMPLETED_US - 1_000_000, COMPLETED_US);
        let ended = Ended { job: &job, settled_us, completed_us, found: 0 };
        let first = ended.receipt("me", &remaining(vec![]), None);
        assert_eq!((first.number, &first.previous), (1, &None));
        assert_eq!((&*first.iss, &*first.project_id, first.job_id), ("me", "p", job.job.job));
        assert_eq!(first.accepted_at, "2025-01-17T05:39:21.5Z");
        assert_eq!(first.settled_at, "2025-01-17T05:39:22.5Z");
        assert_eq!(first.completed_at, "2025-01-17T05:39:23.5Z");
        assert_eq!((first.users, &*first.ids.salt, &*first.ids.hash), (3, "5a", "4b"));
        assert_eq!((first.erased, first.fence), (vec![Reach::Events], vec![fence]));
        assert_eq!(first.read_back, ReadBack { sampled: 2, found: 0 });
        let newest = NewestReceipt { number: 4, job: Uuid::from_u128(1), hash: "ff".to_owned() };
        let next = ended.receipt("me", &remaining(vec![]), Some(newest));
        assert_eq!(next.number, 5);
        let previous = Previous { job_id: Uuid::from_u128(1), hash: "ff".to_owned() };
        assert_eq!(next.previous, Some(previous));
        assert_ne!(next.jti, first.jti);
    }
}
