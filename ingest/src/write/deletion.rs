//! Deletions: a marker for each user in each topic, then the job that seals them.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use aws_lc_rs::digest::{self, Digest, SHA256};
use aws_lc_rs::rand;
use hyper::header::{HeaderValue, LOCATION};
use millrace_log::{Appended, Batch, Durability};
use millrace_schema::parse::Parser;
use millrace_schema::record::{Body, Fence, Job, Marker, Reach};
use millrace_schema::time::Micros;
use millrace_schema::{Topic, id};
use uuid::Uuid;

use super::call::{Call, Rejected};
use super::submit::{accepted_answer, charge, durable, push};
use super::{Work, work};
use crate::body::Admitted;
use crate::context::Context;
use crate::error::ApiError;
use crate::query;
use crate::response::Response;

/// Users whose markers are appended at once.
const USERS_PER_APPEND: usize = 2_048;
/// Ids that are kept with a job until it ends.
const SAMPLE_IDS: usize = 16;
/// Bytes of the salt of `ids_hash`.
const SALT_BYTES: usize = 16;
/// What a marker takes beside its user's id, about.
const MARKER_BYTES: usize = 256;

/// What a deletion call asks for.
pub(super) struct Plan {
    project: String,
    job: Uuid,
    received_us: Micros,
    /// Each once, ascending.
    users: Vec<String>,
    erase: Vec<Reach>,
    salt: [u8; SALT_BYTES],
    ids_hash: Digest,
    sample: Vec<String>,
    rejected: Rejected,
}

/// Parses the deletion of one user.
pub(super) fn one_user(
    ctx: &Context,
    call: &Call,
    body: &[u8],
    parser: &mut Parser,
) -> Result<Plan, ApiError> {
    let deletion = parser.deletion(body, &ctx.config.limits).map_err(ApiError::Invalid)?;
    let users = vec![deletion.user.to_owned()];
    Plan::new(ctx, call, body, users, deletion.erase, Rejected::default())
}

/// Parses the deletion of many users.
pub(super) fn many_users(
    ctx: &Context,
    call: &Call,
    body: &[u8],
    parser: &mut Parser,
) -> Result<Plan, ApiError> {
    let parsed = parser.user_ids(body, call.format, &ctx.config.limits);
    let parsed = parsed.map_err(ApiError::Invalid)?;
    // Not `total - users`: a repeated id is not a bad one.
    let bad = parsed.errors.total;
    let rejected = call.judge_errors(ctx, parsed.errors, bad, parsed.total)?;
    let mut users: Vec<String> = parsed.users.into_iter().map(str::to_owned).collect();
    users.sort_unstable();
    Plan::new(ctx, call, body, users, parsed.erase, rejected)
}

impl Plan {
    fn new(
        ctx: &Context,
        call: &Call,
        body: &[u8],
        users: Vec<String>,
        erase: Vec<Reach>,
        rejected: Rejected,
    ) -> Result<Self, ApiError> {
        let received_us = ctx.clock.now_us();
        let project = call.project().to_owned();
        let job = match call.idempotency_key() {
            Some(key) => id::derived_id(&[project.as_bytes(), key, body]),
            None => id::new_id(received_us),
        };
        let salt = random()?;
        let (ids_hash, sample) = (ids_hash(&salt, &users), sample(&users)?);
        Ok(Self { project, job, received_us, users, erase, salt, ids_hash, sample, rejected })
    }

    /// The topics that hold what is to be erased, in the order of the markers.
    fn topics(&self) -> impl Iterator<Item = Topic> {
        let reached: Vec<Topic> = self.erase.iter().map(|reach| reach.topic()).collect();
        Topic::DATA.into_iter().filter(move |topic| reached.contains(topic))
    }

    /// The markers of some of the users.
    fn markers(&self, partitions: u32, users: &[String]) -> Batch {
        let bytes = users.iter().map(|user| 2 * user.len() + MARKER_BYTES).sum::<usize>();
        let mut batch = Batch::with_capacity(users.len() * self.erase.len(), bytes);
        for topic in self.topics() {
            for user in users {
                let marker = Marker { user: user.into(), job: self.job };
                let body = Body::Marker(marker);
                push(&mut batch, partitions, topic, &self.project, self.received_us, body);
            }
        }
        batch
    }

    /// The record that says that all markers are in the log.
    fn seal(&self, partitions: u32, fence: Vec<Fence>) -> Batch {
        let job = Job {
            job: self.job,
            users: self.users.len() as u64,
            erase: self.erase.clone(),
            fence,
            salt: hex(&self.salt),
            ids_hash: hex(self.ids_hash.as_ref()),
            sample: self.sample.clone(),
        };
        let mut batch = Batch::default();
        let (project, body) = (&self.project, Body::Job(job));
        push(&mut batch, partitions, Topic::Deletions, project, self.received_us, body);
        batch
    }

    fn location(&self) -> String {
        let project = query::encode(&self.project);
        format!("/v1/api/profile/user/deletion-job/{}?project_id={project}", self.job)
    }
}

/// Appends the markers of a deletion, then its seal, and acknowledges it.
pub(super) async fn answer(
    ctx: &Arc<Context>,
    call: &Call,
    body: Admitted,
    parse: Work<Plan>,
) -> Result<Response, ApiError> {
    let (plan, admitted) = work(ctx, call, body, parse).await?;
    if plan.users.is_empty() {
        return Ok(accepted_answer(call, ctx.parts.log.durability(), 0, &plan.rejected));
    }
    charge(ctx, call, plan.users.len());
    let turn = Arc::clone(&ctx.deletions).acquire_owned();
    let turn = tokio::time::timeout(ctx.config.append_timeout, turn).await;
    let Ok(Ok(turn)) = turn else {
        return Err(ApiError::Unavailable("too many deletions are under way; try again shortly"));
    };
    let context = Arc::clone(ctx);
    // A task of its own, so that a client that hangs up does not leave it half done.
    let task = tokio::spawn(async move {
        let done = run(&context, &plan).await;
        drop((admitted, turn));
        done.map(|durability| (plan, durability))
    });
    let done = task.await.unwrap_or_else(|error| {
        tracing::error!(%error, "a deletion failed");
        Err(ApiError::Internal)
    });
    let (plan, durability) = done?;
    ctx.metrics.of(call.route).items(plan.users.len(), plan.rejected.items);
    let mut answer = accepted_answer(call, durability, plan.users.len(), &plan.rejected);
    if let Ok(location) = HeaderValue::try_from(plan.location()) {
        answer.headers_mut().insert(LOCATION, location);
    }
    Ok(answer)
}

/// Appends markers, piece by piece, then the seal. What fails leaves markers without a seal: they
/// erase what they would have, and the client is told to try again.
async fn run(ctx: &Context, plan: &Plan) -> Result<Durability, ApiError> {
    let mut fences = Fences::default();
    for users in plan.users.chunks(USERS_PER_APPEND) {
        let batch = plan.markers(ctx.partitions, users);
        let places: Vec<_> = batch.entries().map(|entry| (entry.topic, entry.partition)).collect();
        let appended = append(ctx, batch).await?;
        fences.add(&places, &appended.offsets)?;
    }
    let seal = plan.seal(ctx.partitions, fences.into_vec());
    append(ctx, seal).await.map(|appended| appended.durability)
}

async fn append(ctx: &Context, batch: Batch) -> Result<Appended, ApiError> {
    let appended = durable(ctx, ctx.parts.log.append(batch)).await?;
    // A spooled marker would come after records that were accepted after it.
    if appended.durability == Durability::Spooled {
        return Err(ApiError::Unavailable("the log is away, and deletions do not wait for it"));
    }
    Ok(appended)
}

/// Where the markers of a job stand.
#[derive(Default)]
struct Fences(BTreeMap<(Topic, u32), Fence>);

impl Fences {
    fn add(&mut self, places: &[(Topic, u32)], offsets: &[u64]) -> Result<(), ApiError> {
        if places.len() != offsets.len() {
            tracing::error!("the log acknowledged another number of records than were appended");
            return Err(ApiError::Internal);
        }
        for (&(topic, partition), &offset) in places.iter().zip(offsets) {
            let new = Fence { topic, partition, first: offset, last: offset, count: 0 };
            let fence = self.0.entry((topic, partition)).or_insert(new);
            fence.first = fence.first.min(offset);
            fence.last = fence.last.max(offset);
            fence.count += 1;
        }
        Ok(())
    }

    fn into_vec(self) -> Vec<Fence> {
        self.0.into_values().collect()
    }
}

/// See [`Job::ids_hash`]; `users` ascend.
fn ids_hash(salt: &[u8], users: &[String]) -> Digest {
    let mut context = digest::Context::new(&SHA256);
    context.update(salt);
    for user in users {
        // At most `USER_ID_BYTES`.
        context.update(&(user.len() as u32).to_le_bytes());
        context.update(user.as_bytes());
    }
    context.finish()
}

/// A few of the users: one at random from each of as many equal parts.
fn sample(users: &[String]) -> Result<Vec<String>, ApiError> {
    let parts = users.len().min(SAMPLE_IDS);
    let mut picked = Vec::with_capacity(parts);
    for part in 0..parts {
        let (start, end) = (part * users.len() / parts, (part + 1) * users.len() / parts);
        let span = (end - start).max(1) as u64;
        let skip = usize::try_from(u64::from_le_bytes(random()?) % span).unwrap_or(0);
        picked.extend(users.get(start + skip).cloned());
    }
    Ok(picked)
}

fn random<const N: usize>() -> Result<[u8; N], ApiError> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| ApiError::Internal)?;
    Ok(bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use millrace_schema::Record;

    use super::*;

    fn plan(users: usize, erase: &[Reach]) -> Plan {
        let mut users: Vec<String> = (0..users).map(|n| format!("user-{n}")).collect();
        users.sort_unstable();
        let salt = [1; SALT_BYTES];
        Plan {
            project: "a&b c".to_owned(),
            job: Uuid::from_u128(7),
            received_us: 5,
            salt,
            ids_hash: ids_hash(&salt, &users),
            sample: sample(&users).unwrap(),
            users,
            erase: erase.to_vec(),
            rejected: Rejected::default(),
        }
    }

    #[test]
    fn every_user_gets_a_marker_in_each_topic_that_is_reached() {
        let plan = plan(3, &[Reach::Profile, Reach::Events]);
        let batch = plan.markers(4, &plan.users);
        let topics: Vec<_> = batch.entries().map(|entry| entry.topic).collect();
        let (events, profiles) = (Topic::Events, Topic::Profiles);
        assert_eq!(topics, [events, events, events, profiles, profiles, profiles]);
        for (entry, user) in batch.entries().zip(plan.users.iter().cycle()) {
            assert_eq!(entry.key, format!("a&b c\0{user}").as_bytes());
            let record = Record::decode(entry.value).unwrap();
            assert_eq!((&*record.project, record.received_us), ("a&b c", 5));
            assert_eq!(record.body, Body::Marker(Marker { user: user.into(), job: plan.job }));
        }
    }

    #[test]
    fn fences_hold_the_first_and_last_offset_and_the_count_of_each_partition() {
        let mut fences = Fences::default();
        let (events, profiles) = (Topic::Events, Topic::Profiles);
        fences.add(&[(events, 1), (profiles, 1), (events, 1)], &[10, 3, 11]).unwrap();
        fences.add(&[(events, 1), (events, 0)], &[25, 0]).unwrap();
        assert!(fences.add(&[(events, 1)], &[]).is_err());
        let fence =
            |topic, partition, first, last, count| Fence { topic, partition, first, last, count };
        let expected =
            [fence(events, 0, 0, 0, 1), fence(events, 1, 10, 25, 3), fence(profiles, 1, 3, 3, 1)];
        assert_eq!(fences.into_vec(), expected);
    }

    #[test]
    fn the_seal_counts_hashes_and_samples_the_users() {
        let plan = plan(100, &Reach::ALL);
        let batch = plan.seal(4, Vec::new());
        let entry = batch.entries().next().unwrap();
        assert_eq!((batch.len(), entry.topic), (1, Topic::Deletions));
        assert_eq!(entry.key, format!("a&b c\0{}", plan.job).as_bytes());
        let Body::Job(job) = Record::decode(entry.value).unwrap().body else {
            panic!("not a job");
        };
        assert_eq!((job.users, job.salt.len(), job.ids_hash.len()), (100, 32, 64));
        assert_eq!(job.sample.len(), SAMPLE_IDS);
        assert!(job.sample.is_sorted_by(|a, b| a < b), "no id twice");
        assert!(job.sample.iter().all(|id| plan.users.contains(id)));
    }

    #[test]
    fn the_hash_of_the_ids_is_as_documented() {
        let mut expected = digest::Context::new(&SHA256);
        expected.update(&[9, 8, 1, 0, 0, 0, b'a', 2, 0, 0, 0, b'b', b'c']);
        let users = ["a".to_owned(), "bc".to_owned()];
        assert_eq!(ids_hash(&[9, 8], &users).as_ref(), expected.finish().as_ref());
        assert_eq!(hex(&[0, 0xaf]), "00af");
    }

    #[test]
    fn the_location_names_the_job_and_the_project_encoded() {
        assert_eq!(
            plan(1, &Reach::ALL).location(),
            "/v1/api/profile/user/deletion-job/00000000-0000-0000-0000-000000000007\
             ?project_id=a%26b%20c"
        );
    }
}
