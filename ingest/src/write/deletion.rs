//! Deletions: a marker for each user in each topic, then the job that seals them.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::rand;
use hyper::header::{HeaderValue, LOCATION};
use millrace_log::{AppendError, Appended, Batch, Durability};
use millrace_schema::parse::Parser;
use millrace_schema::receipt::{hex, ids_hash};
use millrace_schema::record::{Body, Fence, Job, Marker, Reach, Record};
use millrace_schema::time::Micros;
use millrace_schema::user::write_user_key;
use millrace_schema::{Topic, id};
use tokio::sync::OwnedSemaphorePermit;
use uuid::Uuid;

use super::call::{Call, Rejected};
use super::submit::{Appending, accepted_answer, charge, durable, push};
use super::users::Users;
use super::{Work, work};
use crate::body::Admitted;
use crate::context::Context;
use crate::error::ApiError;
use crate::query;
use crate::response::Response;

/// Users whose markers are appended at once. The next ones are made while those are on their way.
const USERS_PER_APPEND: usize = 1_024;
/// Ids that are kept with a job until it ends.
const SAMPLE_IDS: usize = 16;
/// Bytes of the salt of `ids_hash`.
const SALT_BYTES: usize = 16;
/// What a marker takes beside its user's id, about.
const MARKER_BYTES: usize = 256;
/// Before what the log's queue had no room for is appended again.
const ROOM_POLL: Duration = Duration::from_millis(20);

/// What a deletion call asks for.
pub(super) struct Plan {
    project: String,
    job: Uuid,
    received_us: Micros,
    users: Users,
    erase: Vec<Reach>,
    salt: [u8; SALT_BYTES],
    /// See [`Job::ids_hash`].
    ids_hash: String,
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
    Plan::new(ctx, call, body, Users::of(&[deletion.user]), deletion.erase, Rejected::default())
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
    let mut users = parsed.users;
    users.sort_unstable();
    Plan::new(ctx, call, body, Users::of(&users), parsed.erase, rejected)
}

impl Plan {
    fn new(
        ctx: &Context,
        call: &Call,
        body: &[u8],
        users: Users,
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
        let ids_hash = ids_hash(&salt, users.iter());
        let sample = sample(&users)?;
        Ok(Self { project, job, received_us, users, erase, salt, ids_hash, sample, rejected })
    }

    /// The topics that hold what is to be erased, in the order of the markers.
    fn topics(&self) -> impl Iterator<Item = Topic> {
        let reached: Vec<Topic> = self.erase.iter().map(|reach| reach.topic()).collect();
        Topic::DATA.into_iter().filter(move |topic| reached.contains(topic))
    }

    /// The markers of some of the users, by their places in the order.
    fn markers(&self, partitions: u32, places: Range<usize>) -> Batch {
        let users = || places.clone().filter_map(|place| self.users.get(place));
        let bytes: usize = users().map(|user| 2 * user.len() + MARKER_BYTES).sum();
        let topics: Vec<Topic> = self.topics().collect();
        let mut batch = Batch::with_capacity(places.len() * topics.len(), bytes * topics.len());
        let mut value = Vec::new();
        for user in users() {
            let body = Body::Marker(Marker { user: user.into(), job: self.job });
            let (project, received_us) = (self.project.as_str().into(), self.received_us);
            value.clear();
            Record { project, received_us, body }.encode(&mut value);
            for topic in &topics {
                let key = |out: &mut Vec<u8>| write_user_key(out, &self.project, user);
                batch.push(*topic, partitions, key, |out| out.extend_from_slice(&value));
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
            ids_hash: self.ids_hash.clone(),
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
    // Before the plan is made, so that no more plans are in memory than there are turns.
    let turn = turn(ctx).await?;
    let (plan, admitted) = work(ctx, call, body, parse).await?;
    if plan.users.is_empty() {
        return Ok(accepted_answer(call, ctx.parts.log.durability(), 0, &plan.rejected));
    }
    charge(ctx, call, plan.users.len());
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

async fn turn(ctx: &Context) -> Result<OwnedSemaphorePermit, ApiError> {
    let turn = Arc::clone(&ctx.deletions).acquire_owned();
    match tokio::time::timeout(ctx.config.append_timeout, turn).await {
        Ok(Ok(turn)) => Ok(turn),
        _ => Err(ApiError::Unavailable("too many deletions are under way; try again shortly")),
    }
}

/// Appends markers, piece by piece, then the seal. What fails leaves markers without a seal: they
/// erase what they would have, and the client is told to try again.
async fn run(ctx: &Context, plan: &Plan) -> Result<Durability, ApiError> {
    let mut fences = Fences::default();
    let mut before: Option<Piece> = None;
    for start in (0..plan.users.len()).step_by(USERS_PER_APPEND) {
        let end = plan.users.len().min(start + USERS_PER_APPEND);
        let piece = Piece::append(ctx, plan, start..end);
        if let Some(before) = before.replace(piece) {
            before.finish(ctx, plan, &mut fences).await?;
        }
    }
    if let Some(last) = before {
        last.finish(ctx, plan, &mut fences).await?;
    }
    let fences = fences.into_vec();
    let seal = || plan.seal(ctx.partitions, fences.clone());
    let appended = acknowledged(ctx, ctx.parts.log.append(seal()), seal).await?;
    Ok(appended.durability)
}

/// Markers that are in the log's queue.
struct Piece {
    users: Range<usize>,
    places: Vec<(Topic, u32)>,
    appending: Appending,
}

impl Piece {
    fn append(ctx: &Context, plan: &Plan, users: Range<usize>) -> Self {
        let batch = plan.markers(ctx.partitions, users.clone());
        let places = batch.entries().map(|entry| (entry.topic, entry.partition)).collect();
        Self { users, places, appending: ctx.parts.log.append(batch) }
    }

    async fn finish(self, ctx: &Context, plan: &Plan, fences: &mut Fences) -> Result<(), ApiError> {
        let again = || plan.markers(ctx.partitions, self.users.clone());
        let appended = acknowledged(ctx, self.appending, again).await?;
        fences.add(&self.places, &appended.offsets)
    }
}

/// Waits for the log's answer. While its queue is full, appends `again`: refused for want of room,
/// the client would have to send all of the markers once more.
async fn acknowledged(
    ctx: &Context,
    mut appending: Appending,
    again: impl Fn() -> Batch,
) -> Result<Appended, ApiError> {
    let since = Instant::now();
    let appended = loop {
        match durable(ctx, appending).await {
            Err(AppendError::Full { .. }) if since.elapsed() < ctx.config.append_timeout => {
                tokio::time::sleep(ROOM_POLL).await;
                appending = ctx.parts.log.append(again());
            }
            answer => break answer?,
        }
    };
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

/// A few of the users: one at random from each of as many equal parts.
fn sample(users: &Users) -> Result<Vec<String>, ApiError> {
    let parts = users.len().min(SAMPLE_IDS);
    let mut picked = Vec::with_capacity(parts);
    for part in 0..parts {
        let (start, end) = (part * users.len() / parts, (part + 1) * users.len() / parts);
        let span = (end - start).max(1) as u64;
        let skip = usize::try_from(u64::from_le_bytes(random()?) % span).unwrap_or(0);
        picked.extend(users.get(start + skip).map(str::to_owned));
    }
    Ok(picked)
}

fn random<const N: usize>() -> Result<[u8; N], ApiError> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| ApiError::Internal)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(users: usize, erase: &[Reach]) -> Plan {
        let mut users: Vec<String> = (0..users).map(|n| format!("user-{n}")).collect();
        users.sort_unstable();
        let users: Vec<&str> = users.iter().map(String::as_str).collect();
        let users = Users::of(&users);
        let salt = [1; SALT_BYTES];
        Plan {
            project: "a&b c".to_owned(),
            job: Uuid::from_u128(7),
            received_us: 5,
            salt,
            ids_hash: ids_hash(&salt, users.iter()),
            sample: sample(&users).unwrap(),
            users,
            erase: erase.to_vec(),
            rejected: Rejected::default(),
        }
    }

    #[test]
    fn every_user_gets_a_marker_in_each_topic_that_is_reached() {
        let plan = plan(5, &[Reach::Profile, Reach::Events]);
        let batch = plan.markers(4, 1..4);
        let (events, profiles) = (Topic::Events, Topic::Profiles);
        let topics: Vec<_> = batch.entries().map(|entry| entry.topic).collect();
        assert_eq!(topics, [events, profiles, events, profiles, events, profiles]);
        let users = ["user-1", "user-1", "user-2", "user-2", "user-3", "user-3"];
        for (entry, user) in batch.entries().zip(users) {
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
        assert!(job.sample.iter().all(|id| plan.users.iter().any(|user| user == id)));
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
