//! A submission that is interrupted in the middle, by death or by a signal.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use crate::between::{Between, Fate};
use crate::common::{eventually, terminate, text, wait};
use crate::deletion::{Place, failed, ids, state};

/// Ids of all users of all jobs, by number; a user in two jobs counts twice.
fn users_of_jobs(place: &Place) -> u64 {
    place.jobs().iter().map(|job| job["users"].as_u64().unwrap()).sum()
}

#[test]
fn a_submission_that_was_killed_continues_and_no_user_gets_a_second_job() {
    use Fate::{Answered, Lost, Unanswered};
    let place = Place::new();
    let list = place.file("ids.txt", ids(55));
    let between = Between::new(place.server.address(), &[Answered, Unanswered, Lost]);
    let args = ["submit", &list, "--ids-per-job", "10"];
    let mut killed = place.command_at(&between.url, &args).stderr(Stdio::null()).spawn().unwrap();
    eventually("two jobs are in flight, and one is kept", || {
        let kept = fs::read_to_string(state(&list)).unwrap_or_default().lines().count();
        between.held() == 2 && kept == 2
    });
    eventually("the unanswered one is known", || place.jobs().len() == 2);
    killed.kill().unwrap();
    killed.wait().unwrap();
    // As if the machine had gone down while a line was written.
    let mut torn = fs::OpenOptions::new().append(true).open(state(&list)).unwrap();
    torn.write_all(b"{\"chunk\":7,\"acc").unwrap();

    let output = place.command_at(&between.url, &args).output().unwrap();
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("1 of 6 jobs accepted already"), "{said}");
    assert_eq!((place.jobs().len(), users_of_jobs(&place)), (6, 55));
    assert!(!state(&list).exists());
    // Only the lost one was sent again.
    let sent = between.sent();
    let keys: BTreeSet<&String> = sent.iter().collect();
    assert_eq!((keys.len(), sent.len()), (6, 7), "{sent:?}");
}

#[test]
fn calls_under_way_come_to_their_end_and_are_kept_when_following_fails() {
    let place = Place::new();
    let list = place.file("ids.txt", ids(6));
    let fates = [Fate::Answered, Fate::Late, Fate::Late, Fate::Late];
    let between = Between::new(place.server.address(), &fates);
    between.answer("GET /v1/api/profile/user/deletion-job/", "403 Forbidden", "{}");
    let args = ["submit", &list, "--ids-per-job", "1", "--parallel", "2"];
    let output = place.command_at(&between.url, &args).output().unwrap();
    assert!(failed(&output, 1).contains("403"));
    let (sent, kept) = (between.sent().len(), fs::read_to_string(state(&list)).unwrap());
    assert_eq!((sent, kept.lines().count()), (3, 1 + 3), "{kept}");
}

#[test]
fn a_key_that_may_only_delete_does_not_send_a_job_again_whose_answer_was_lost() {
    let place = Place::new();
    let list = place.file("ids.txt", ids(1));
    let between = Between::new(place.server.address(), &[]);
    between.answer("/bulk?", "502 Bad Gateway", "{}");
    between.answer("GET ", "403 Forbidden", "{}");
    let args = ["submit", &list, "--no-wait"];
    let said = failed(&place.command_at(&between.url, &args).output().unwrap(), 1);
    assert!(said.contains("may have been accepted") && said.contains("scope `read`"), "{said}");
}

#[test]
fn a_key_that_may_only_delete_sends_again_what_a_busy_server_refused() {
    let place = Place::new();
    let list = place.file("ids.txt", ids(1));
    let between = Between::new(place.server.address(), &[Fate::Busy]);
    between.answer("GET ", "403 Forbidden", "{}");
    let args = ["submit", &list, "--no-wait"];
    let output = place.command_at(&between.url, &args).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(between.sent().len(), 2);
}

#[test]
fn a_server_that_is_busy_is_asked_again_with_the_same_key() {
    let place = Place::new();
    let list = place.file("ids.txt", ids(3));
    let between = Between::new(place.server.address(), &[Fate::Busy, Fate::Busy]);
    let output = place.command_at(&between.url, &["submit", &list]).output().unwrap();
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("trying again") && said.contains("503"), "{said}");
    let sent = between.sent();
    assert_eq!(sent.len(), 3);
    assert!(sent.iter().all(|key| key == &sent[0]), "{sent:?}");
    assert_eq!(place.jobs().len(), 1);
}

#[test]
fn a_signal_ends_it_with_exit_code_1_and_it_continues() {
    let place = Place::new();
    let list = place.file("ids.txt", ids(3));
    let between = Between::new(place.server.address(), &[Fate::Lost]);
    let args = ["submit", &list, "--ids-per-job", "1", "--parallel", "1"];
    let mut child = place.command_at(&between.url, &args).stderr(Stdio::piped()).spawn().unwrap();
    eventually("a job is in flight", || between.held() == 1);
    terminate(child.id());
    assert_eq!(wait(&mut child).code(), Some(1));
    let said = text(&child.wait_with_output().unwrap().stderr);
    assert!(said.contains("interrupted by SIGTERM; the same command continues it"), "{said}");
    let output = place.command_at(&between.url, &args).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!((place.jobs().len(), users_of_jobs(&place)), (3, 3));
}

#[test]
fn a_pipe_that_nobody_fills_ends_with_a_signal() {
    let place = Place::new();
    let mut command = place.command(&["submit", "-"]);
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    while !said.contains("--submission") {
        assert!(stderr.read_line(&mut said).unwrap() > 0, "{said}");
    }
    let input = child.stdin.take().unwrap();
    terminate(child.id());
    assert_eq!(wait(&mut child).code(), Some(1));
    drop(input);
}

#[test]
fn two_commands_do_not_submit_one_list_at_once() {
    let place = Place::new();
    let list = place.file("ids.txt", ids(3));
    let between = Between::new(place.server.address(), &[Fate::Lost]);
    let args = ["submit", &list];
    let mut first = place.command_at(&between.url, &args).stderr(Stdio::null()).spawn().unwrap();
    eventually("the job is in flight", || between.held() == 1);
    let second = place.command_at(&between.url, &args).output().unwrap();
    assert!(failed(&second, 1).contains("another process"));
    first.kill().unwrap();
    first.wait().unwrap();
}
