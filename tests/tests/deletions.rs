//! Deletions under the oracle: large jobs whose process is killed, overlapping ones, and what comes
//! back from the log's beginning and from the dead letters.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use millrace_log::embedded::{Config, EmbeddedLog};
use millrace_log::{Batch, Log};
use millrace_schema::Topic;
use millrace_schema::record::{
    Body, Event, HEADER_ORIGIN_OFFSET, HEADER_ORIGIN_TIME_US, Profile, Record,
};
use millrace_schema::time::wall_clock_us;
use millrace_schema::user::write_user_key;
use millrace_tests::crowd::{Crowd, deletion};
use millrace_tests::generator::{Mix, path};
use millrace_tests::observe;
use millrace_tests::process::{Launch, Server, millrace_binary};
use millrace_tests::system::System;
use millrace_tests::world::{World, until};
use uuid::Uuid;

/// Who speaks beside a large job: a little, as the workers are busy.
const BESIDE: Mix =
    Mix { deletions: 10, retries: 12, large: false, rest: Duration::from_millis(20) };
/// Users of a large job that are read back, and of those that nobody erases.
const READ_BACK: usize = 200;

/// The jobs that were accepted since, oldest first.
fn jobs_since(world: &World, from: usize) -> Vec<Uuid> {
    world.history.snapshot()[from..].iter().filter_map(|op| op.job).collect()
}

/// Erases many users while the process is killed again and again.
fn killed_in_a_large_job(users: usize, kills: usize) -> Result<()> {
    let mut world = World::new("killed in a job")?;
    let mut server = Launch::dev(&world.data())?.start()?;
    let (erased, kept) = (Crowd::new("erased", users), Crowd::new("kept", READ_BACK));
    world.send(&server, &erased.load())?;
    world.send(&server, &kept.load())?;
    observe::wait_idle(&server, &BTreeSet::new())?;
    let from = world.history.snapshot().len();
    // Each user twice in the request, and half of them in another job, too.
    let half: Vec<String> = erased.users().into_iter().step_by(2).collect();
    world.send(&server, &[erased.deletion(2), deletion(&half, 1)])?;
    let jobs: Vec<Uuid> = jobs_since(&world, from);
    ensure!(jobs.len() == 2, "{jobs:?}");
    let cast = world.cast("beside", 6);
    let whole = *jobs.first().context("no job")?;
    let mut moments: Vec<u64> = (0..kills).map(|_| world.rng.u64(1..users as u64)).collect();
    moments.sort_unstable();
    for moment in moments {
        let traffic = world.traffic(&server, &cast, BESIDE, 2, usize::MAX);
        let done = until("a job goes on", || {
            let done = world.watch.users_done(whole)?;
            (done >= moment || world.watch.judged().contains(&whole)).then_some(done)
        })?;
        let launch = server.kill_9()?;
        println!("killed at {done} of {users}");
        world.resend = traffic.stop()?;
        world.history.process_ended();
        server = launch.start()?;
    }
    world.watch.over(server.doors());
    let judged = |job: &Uuid| world.watch.judged().contains(job);
    until("both are read back", || jobs.iter().all(judged).then_some(()))?;
    let read_back = &erased.sample(&mut world.rng, READ_BACK) | &cast.user_set();
    let kept = kept.users().into_iter().collect();
    world.expect_clean(&server, &(&read_back | &kept))
}

#[test]
fn a_large_job_whose_process_is_killed_ends_at_exactly_its_total() -> Result<()> {
    killed_in_a_large_job(20_000, 3)
}

/// `cargo test -p millrace-tests --test deletions -- --ignored --nocapture`
#[test]
#[ignore = "takes minutes"]
fn a_job_of_100_000_users_whose_process_is_killed_ends_at_exactly_its_total() -> Result<()> {
    for _ in 0..5 {
        killed_in_a_large_job(100_000, 6)?;
    }
    Ok(())
}

#[test]
fn overlapping_jobs_erase_while_events_of_their_users_stream() -> Result<()> {
    let mut world = World::new("overlapping jobs")?;
    let server = Launch::dev(&world.data())?.start()?;
    let cast = world.cast("overlap", 6);
    let mix = Mix { deletions: 35, retries: 12, large: false, rest: Duration::ZERO };
    world.traffic(&server, &cast, mix, 4, 120).join()?;
    world.expect_clean(&server, &world.users)?;
    ensure!(world.history.jobs().len() > 50, "hardly any jobs: {}", world.summary());
    until("completed jobs are read back", || (world.watch.judged().len() > 20).then_some(()))?;
    world.expect_clean(&server, &world.users)
}

/// `millrace replay`, beside the server.
fn replay(world: &World) -> Result<()> {
    let mut command = Command::new(millrace_binary()?);
    let said = command.args(["replay", "--data"]).arg(world.data()).output()?;
    let error = String::from_utf8_lossy(&said.stderr);
    ensure!(said.status.success(), "millrace replay: {}: {error}", said.status);
    Ok(())
}

#[test]
fn after_a_replay_of_the_whole_log_the_erased_are_gone_again_and_the_others_there() -> Result<()> {
    let mut world = World::new("replay")?;
    let server = Launch::dev(&world.data())?.start()?;
    let (erased, kept) = (Crowd::new("erased", 300), Crowd::new("kept", 100));
    world.send(&server, &erased.load())?;
    world.send(&server, &kept.load())?;
    world.send(&server, &[erased.deletion(1)])?;
    let cast = world.cast("replayed", 8);
    world.traffic(&server, &cast, Mix::default(), 3, 80).join()?;
    world.expect_clean(&server, &world.users)?;
    for round in 0..2 {
        replay(&world)?;
        world.expect_clean(&server, &world.users).with_context(|| format!("replay {round}"))?;
    }
    // The process ends in the middle of the next one.
    replay(&world)?;
    let launch = server.kill_9()?;
    world.history.process_ended();
    world.expect_clean(&launch.start()?, &world.users)
}

/// A record that comes again after it was a dead letter, with where and when it was accepted.
struct Again<'a> {
    topic: Topic,
    offset: u64,
    body: Body<'a>,
}

fn event<'a>(user: &'a str, id: &'a str) -> Body<'a> {
    let (user, id, name) = (user.into(), id.into(), "mkt_login".into());
    Body::Event(Event { user, id, name, time_us: Some(1), properties: None, extra: None })
}

fn profile(user: &str) -> Body<'_> {
    Body::Profile(Profile { user: user.into(), time_us: None, properties: Some("{}".into()) })
}

/// Writes them to the log of a server that does not run.
fn append(world: &World, project: &str, records: &[Again<'_>]) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let log = EmbeddedLog::open(&world.data().join("log"), Config::default())?;
        let (mut batch, received_us) = (Batch::with_capacity(8, 1024), wall_clock_us());
        for Again { topic, offset, body } in records {
            let user = body.user().unwrap_or_default();
            let headers = vec![
                (HEADER_ORIGIN_OFFSET.to_owned(), offset.to_string()),
                (HEADER_ORIGIN_TIME_US.to_owned(), received_us.to_string()),
            ];
            let record = Record { project: project.into(), received_us, body: body.clone() };
            batch.push_with_headers(
                *topic,
                log.partitions(),
                headers,
                |out| write_user_key(out, project, user),
                |out| record.encode(out),
            );
        }
        log.append(batch).await?;
        Ok(log.close().await?)
    })
}

#[test]
fn a_dead_letter_from_before_a_deletion_is_withheld_and_one_from_after_it_is_stored() -> Result<()>
{
    let mut world = World::new("dead letters")?;
    let server = Launch::dev(&world.data())?.start()?;
    let erased = Crowd::new("erased", 1);
    let user = erased.users().into_iter().next().context("nobody")?;
    let mut requests = erased.load();
    requests.push(erased.deletion(1));
    world.send(&server, &requests)?;
    world.expect_clean(&server, &world.users)?;
    let project = server.project.clone();
    let (status, launch) = server.terminate()?;
    ensure!(status.success(), "{status}");
    // Of this user the log has one record at offset 0 and the marker at offset 1, in each topic.
    let records = [
        Again { topic: Topic::Events, offset: 0, body: event(&user, "before") },
        Again { topic: Topic::Profiles, offset: 0, body: profile(&user) },
        Again { topic: Topic::Events, offset: 2, body: event(&user, "after") },
    ];
    append(&world, &project, &records)?;
    let server: Server = launch.start()?;
    observe::wait_idle(&server, &world.history.jobs())?;
    let topics = observe::accounting(&mut server.client())?.topics;
    let withheld =
        |topic: &str| topics.get(topic).and_then(|topic| topic.outcomes.get("withheld")).copied();
    ensure!((withheld("events"), withheld("profiles")) == (Some(1), Some(1)), "{topics:?}");
    let seen = observe::read_user(&mut server.client(), &user)?;
    let ids: Vec<&str> = seen.events.iter().map(|event| event.id.as_str()).collect();
    ensure!(
        ids == ["after"] && seen.profile.is_none() && seen.devices == BTreeMap::new(),
        "{seen:?}"
    );
    Ok(())
}

#[test]
fn a_user_who_comes_back_with_older_timestamps_and_ids_that_were_erased_stays() -> Result<()> {
    let mut world = World::new("coming back")?;
    let server = Launch::dev(&world.data())?.start()?;
    let crowd = Crowd::new("again", 40);
    let job = [crowd.deletion(1)];
    for _ in 0..3 {
        world.send(&server, &crowd.load())?;
        world.send(&server, &job)?;
    }
    // The same ids, the same times of long before the deletions.
    world.send(&server, &crowd.load())?;
    world.expect_clean(&server, &world.users)?;
    // Their devices move to others, and stay there.
    let others: Vec<String> = crowd.users().iter().map(|user| format!("new-{user}")).collect();
    for (user, other) in crowd.users().iter().zip(&others) {
        let body = format!(
            r#"{{"devices":[{{"device_id":"gaid:{user}","user_id":"{other}","platform":"web"}}]}}"#
        );
        let mut client = server.client();
        let answer = client.send(&client.call(path::DEVICES, body))?;
        ensure!(answer.status == 202, "{answer:?}");
    }
    world.send(&server, &job)?;
    observe::wait_idle(&server, &world.history.jobs())?;
    for (user, other) in crowd.users().iter().zip(&others) {
        let seen = observe::read_user(&mut server.client(), other)?;
        ensure!(seen.devices.contains_key(&format!("gaid:{user}")), "{other}: {seen:?}");
        let seen = observe::read_user(&mut server.client(), user)?;
        ensure!(seen.profile.is_none() && seen.devices.is_empty(), "{user}: {seen:?}");
        ensure!(seen.events.is_empty(), "{user}: {seen:?}");
    }
    Ok(())
}
