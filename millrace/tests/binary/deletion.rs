//! `millrace deletion` against a running server: lists, jobs, exit codes.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::between::Between;
use crate::common::{Server, eventually, millrace, run_json, text};

/// A server on a data folder of its own, and a place for lists.
pub(crate) struct Place {
    pub(crate) server: Server,
    folder: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { server: Server::start(&folder.path().join("data")), folder }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A file, and its path as an argument.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// A command as a newcomer types it: the demo key stands in.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        self.command_at(self.server.field("url"), args)
    }

    pub(crate) fn command_at(&self, url: &str, args: &[&str]) -> Command {
        let mut command = millrace(&self.path("data"));
        command.env("MILLRACE_SERVER", url).arg("deletion").args(args);
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// What a command that must succeed printed.
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// What a command that must fail said.
    pub(crate) fn fails(&self, args: &[&str]) -> String {
        failed(&self.run(args), 1)
    }

    pub(crate) fn jobs(&self) -> Vec<Value> {
        let pages = self.ok(&["list", "--all", "--json"]);
        let pages = pages.lines().map(|page| serde_json::from_str::<Value>(page).unwrap());
        pages.flat_map(|page| page["jobs"].as_array().unwrap().clone()).collect()
    }

    pub(crate) fn piped(&self, args: &[&str], input: &[u8]) -> Output {
        let mut command = self.command(args);
        let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = pipes.spawn().unwrap();
        // It may end before it has read everything.
        let _ = child.stdin.take().unwrap().write_all(input);
        child.wait_with_output().unwrap()
    }

    /// A new key with one scope.
    fn key(&self, scope: &str) -> String {
        let args = ["key", "create", "--project", "demo", "--scope", scope];
        run_json(&self.path("data"), &args)["api_key"].as_str().unwrap().to_owned()
    }

    fn as_key(&self, key: &str, args: &[&str]) -> Output {
        let mut command = self.command(args);
        command.env("MILLRACE_API_KEY", key).env("MILLRACE_PROJECT", "demo").output().unwrap()
    }

    fn write(&self, route: &str, body: &Value) {
        let path = format!("/v1/api/{route}?project_id=demo");
        let answer = self.server.post(&path, self.server.field("api_key"), &body.to_string());
        assert_eq!(answer.status, 202, "{}", answer.body);
    }

    fn read(&self, user: &str) -> u16 {
        let path = format!("/v1/api/users/{user}?project_id=demo");
        self.server.get(&path, self.server.field("api_key")).status
    }
}

pub(crate) fn failed(output: &Output, code: i32) -> String {
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    said
}

pub(crate) fn ids(count: usize) -> String {
    (1..=count).map(|n| format!("user-{n}\n")).collect()
}

/// Each line as JSON.
fn events(stdout: &str) -> Vec<Value> {
    stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn job_id(job: &Value) -> &str {
    job["job_id"].as_str().unwrap()
}

#[test]
fn a_newcomer_submits_a_list_and_its_users_are_gone() {
    let place = Place::new();
    let profiles = ["user-1", "user-2", "other"].map(|user| json!({ "user_id": user }));
    place.write("profile/user", &json!({ "profiles": profiles }));
    eventually("the profiles are there", || place.read("other") == 200);

    let list = place.file("ids.txt", ids(25));
    let output = place.run(&["submit", &list, "--ids-per-job", "10"]);
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("Using the project `demo`") && said.contains("lines 21 to 25"), "{said}");
    assert!(!said.contains('\u{1b}'), "{said}");
    let table = text(&output.stdout);
    assert_eq!(table.matches("completed").count(), 1 + 3, "{table}");

    assert_eq!(["user-1", "user-2", "other"].map(|user| place.read(user)), [404, 404, 200]);
    let mut users: Vec<u64> =
        place.jobs().iter().map(|job| job["users"].as_u64().unwrap()).collect();
    users.sort_unstable();
    assert_eq!(users, [5, 10, 10]);
    assert!(!place.path("ids.txt.millrace-submission").exists());
}

#[test]
fn every_kind_of_list_is_understood() {
    let place = Place::new();
    let csv = place.file("users.csv", "name,user_id\r\nMina,u1\r\nJun,u2\r\n");
    let column = place.file("table.txt", "Mina;u1\nJun;u2\nAra;u3\n");
    let ndjson = place.file("users.ndjson", "{\"user_id\":\"u1\"}\n\n{\"user_id\":\"u2\"}\n");
    let zst = place.file("ids.zst", zstd::stream::encode_all(ids(4).as_bytes(), 1).unwrap());
    place.ok(&["submit", &csv]);
    place.ok(&["submit", &column, "--column", "2", "--delimiter", ";"]);
    place.ok(&["submit", &ndjson, "--erase", "events,profile"]);
    place.ok(&["submit", &zst]);
    let newest_first: Vec<_> = place.jobs().iter().map(|job| job["users"].clone()).collect();
    assert_eq!(newest_first, [4, 2, 3, 2]);
    let erased: Vec<_> = place.jobs().iter().map(|job| job["erase"].clone()).collect();
    assert_eq!(erased[1], json!(["profile", "events"]));
    assert_eq!(erased[0], json!(["profile", "devices", "events"]));
}

#[test]
fn a_list_with_bad_lines_is_refused_before_anything_is_sent() {
    let place = Place::new();
    let bad = [b"a\n\n\xff\n".as_slice(), "x".repeat(257).as_bytes(), b"\nb\n"].concat();
    let list = place.file("ids.txt", &bad);
    let said = place.fails(&["submit", &list, "--ids-per-job", "1"]);
    for part in ["3 bad lines", "line 2: the id is empty", "line 3: it is not UTF-8", "257 bytes"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(said.contains("nothing was sent") && said.contains("--skip-bad"), "{said}");
    assert_eq!(place.jobs(), [json!(null); 0]);

    let output = place.run(&["submit", &list, "--skip-bad"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("Leaving out 3 bad lines"), "{}", text(&output.stderr));
    assert_eq!(place.jobs()[0]["users"], 2);
}

#[test]
fn a_pipe_stops_before_the_job_with_the_bad_line_and_the_same_name_makes_no_job_twice() {
    let place = Place::new();
    let args = ["submit", "-", "--submission", "gone-17", "--ids-per-job", "2", "--no-wait"];
    let said = failed(&place.piped(&args, b"a\nb\nc\n\nd\n"), 1);
    assert!(said.contains("line 4: the id is empty") && said.contains("--submission"), "{said}");
    let first = || {
        let jobs = place.jobs();
        let completed = jobs.iter().filter(|job| job["status"] == "completed").count();
        (jobs.len() == 1 && completed == 1).then(|| job_id(&jobs[0]).to_owned())
    };
    eventually("the first job is completed", || first().is_some());
    let first = first().unwrap();

    let output = place.piped(&args, b"a\nb\nc\nd\n");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let printed = text(&output.stdout);
    assert_eq!(printed.lines().count(), 2, "{printed}");
    assert!(printed.lines().any(|job| job == first), "{printed}: {first}");
    let jobs: Vec<&str> = printed.lines().collect();
    place.ok(&[&["wait"], &*jobs].concat());
    assert_eq!(place.jobs().len(), 2);
}

#[test]
fn jobs_are_accepted_without_waiting_and_waited_for_later() {
    let place = Place::new();
    let list = place.file("ids.txt", ids(5));
    let printed = place.ok(&["submit", &list, "--no-wait", "--ids-per-job", "2"]);
    let jobs: Vec<&str> = printed.lines().collect();
    assert_eq!(jobs.len(), 3);
    assert!(place.path("ids.txt.millrace-submission").exists());
    let table = place.ok(&[&["wait"], &*jobs].concat());
    assert!(jobs.iter().all(|job| table.contains(job)), "{table}");

    // The same again follows the same jobs, and then forgets them.
    let output = place.run(&["submit", &list, "--ids-per-job", "2"]);
    assert!(text(&output.stderr).contains("3 of 3 jobs accepted"), "{}", text(&output.stderr));
    assert!(output.status.success());
    assert_eq!(place.jobs().len(), 3);
    assert!(!place.path("ids.txt.millrace-submission").exists());
}

#[test]
fn machines_read_json_lines() {
    let place = Place::new();
    let list = place.file("ids.txt", ids(3));
    let events = events(&place.ok(&["submit", &list, "--json", "--ids-per-job", "2"]));
    let named = |name: &str| events.iter().filter(|e| e["event"] == name).collect::<Vec<_>>();
    assert_eq!((&events[0]["event"], &events[0]["ids"]), (&json!("submission"), &json!(3)));
    assert_eq!((named("accepted").len(), named("ended").len()), (2, 2));
    let progress = named("progress");
    let done: Vec<u64> = progress.iter().map(|e| e["users_done"].as_u64().unwrap()).collect();
    assert!(done.is_sorted() && done.last() == Some(&3), "{done:?}");
    assert_eq!(events.last().unwrap(), &json!({"event": "done", "completed": 2, "failed": 0}));
    let job = job_id(named("accepted")[0]);
    let shown: Value = serde_json::from_str(&place.ok(&["show", job, "--json"])).unwrap();
    assert_eq!(job_id(&shown), job);
    let shown = place.ok(&["show", job]);
    assert!(shown.contains("completed") && shown.contains("profile, devices, events"), "{shown}");
}

#[test]
fn a_list_that_has_changed_is_not_continued_but_may_begin_anew() {
    let place = Place::new();
    let list = place.file("ids.txt", ids(3));
    place.ok(&["submit", &list, "--no-wait"]);
    place.file("ids.txt", ids(4));
    let said = place.fails(&["submit", &list]);
    assert!(said.contains("not the same any more") && said.contains("--new"), "{said}");
    place.ok(&["submit", &list, "--new"]);
    assert_eq!(place.jobs().len(), 2);
}

#[test]
fn what_goes_wrong_has_its_exit_code_and_says_what_to_do() {
    let place = Place::new();
    let list = place.file("ids.txt", ids(1));
    let unknown = "0194728c-61d0-7c3a-9a51-3b1f0c2d4e5f";
    assert!(place.fails(&["show", unknown]).contains("no job"));
    assert!(place.fails(&["receipt", unknown]).contains("404"));
    assert!(place.fails(&["submit", "/nowhere/ids.txt"]).contains("/nowhere/ids.txt"));
    let empty = place.file("empty.txt", "");
    assert!(place.fails(&["submit", &empty]).contains("has no ids"));
    let folder = place.path("data");
    assert!(place.fails(&["submit", folder.to_str().unwrap()]).contains("is a folder"));

    let stranger = |args: &[&str]| {
        let mut command = place.command(args);
        command.env("MILLRACE_API_KEY", "top-secret").env("MILLRACE_PROJECT", "demo");
        command.output().unwrap()
    };
    let said = failed(&stranger(&["submit", &list]), 1);
    assert!(said.contains("401") && said.contains("MILLRACE_API_KEY"), "{said}");
    assert!(!said.contains("top-secret"), "{said}");
    let help = stranger(&["submit", "--help"]);
    assert!(!text(&help.stdout).contains("top-secret"));

    let nobody = tempfile::tempdir().unwrap();
    let output = millrace(nobody.path()).args(["deletion", "list"]).output().unwrap();
    let said = failed(&output, 2);
    assert!(said.contains("--project and --key") && said.contains("--data"), "{said}");
    let away = place.command_at("http://127.0.0.1:1", &["list"]).output().unwrap();
    assert!(failed(&away, 1).contains("cannot connect to 127.0.0.1:1"));
}

#[test]
fn a_key_that_may_only_delete_submits_without_waiting_and_else_sends_nothing() {
    let place = Place::new();
    let list = place.file("ids.txt", ids(3));
    let key = place.key("delete");
    let submit = |args: &[&str]| place.as_key(&key, &[&["submit", &list], args].concat());
    let said = failed(&submit(&[]), 1);
    assert!(said.contains("scope `read`") && said.contains("--no-wait"), "{said}");
    assert!(!state(&list).exists());
    let output = submit(&["--no-wait"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    eventually("the job is known", || place.jobs().len() == 1);

    let said = failed(&submit(&["--no-wait"]), 1);
    assert!(said.contains("was submitted before, on 2") && said.contains("--new"), "{said}");
    let output = submit(&["--no-wait", "--new"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    eventually("the new job is known", || place.jobs().len() == 2);
}

#[test]
fn a_key_that_may_only_delete_does_not_continue_a_pipe_since_it_cannot_ask_what_was_sent() {
    let place = Place::new();
    let key = place.key("delete");
    let said = failed(&place.as_key(&key, &["submit", "-", "--submission", "a", "--no-wait"]), 1);
    assert!(said.contains("scope `read`") && said.contains("--submission"), "{said}");
    assert_eq!(place.jobs(), [json!(null); 0]);
}

#[test]
fn a_key_that_may_only_read_is_told_which_scope_it_lacks() {
    let place = Place::new();
    let list = place.file("ids.txt", ids(3));
    let said = failed(&place.as_key(&place.key("read"), &["submit", &list]), 1);
    assert!(said.contains("403") && said.contains("`delete`"), "{said}");
}

#[test]
fn a_list_whose_jobs_have_ended_is_submitted_again_only_as_a_new_one() {
    let place = Place::new();
    let list = place.file("ids.txt", ids(3));
    let between = Between::new(place.server.address(), &[]);
    let submit = |args: &[&str]| {
        let args = [&["submit", &list, "--no-wait"], args].concat();
        place.command_at(&between.url, &args).output().unwrap()
    };
    let job = text(&submit(&[]).stdout);
    let mut running = Value::Null;
    eventually("the job is known", || {
        running = place.jobs().pop().unwrap_or_default();
        running.is_object()
    });
    running["status"] = json!("running");
    let path = format!("/{}?", job.trim());
    between.answer(&path, "200 OK", &running.to_string());
    let again = submit(&[]);
    assert_eq!((again.status.code(), text(&again.stdout)), (Some(0), job.clone()));
    assert!(text(&again.stderr).contains("still under way"), "{}", text(&again.stderr));
    between.leave(&path);
    place.ok(&["wait", job.trim()]);

    let said = failed(&submit(&[]), 1);
    assert!(said.contains("submitted before, on 2") && said.contains("--new"), "{said}");
    assert_eq!(place.jobs().len(), 1);
    assert!(submit(&["--new"]).status.success());
    eventually("the new job is known", || place.jobs().len() == 2);
}

#[test]
fn a_job_whose_worker_lags_is_waited_for_and_that_is_said() {
    let place = Place::new();
    let list = place.file("ids.txt", ids(3));
    let job = place.ok(&["submit", &list, "--no-wait"]);
    let between = Between::new(place.server.address(), &[]);
    let path = format!("/{}?", job.trim());
    between.answer(&path, "404 Not Found", "{}");
    let mut command = place.command_at(&between.url, &["wait", job.trim()]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    while !said.contains("is not known yet; waiting for it until 2") {
        assert!(stderr.read_line(&mut said).unwrap() > 0, "{said}");
    }
    between.leave(&path);
    assert!(child.wait().unwrap().success());
}

#[test]
fn more_jobs_than_one_page_holds_are_listed_each_once() {
    let place = Place::new();
    let list = place.file("ids.txt", ids(101));
    place.ok(&["submit", &list, "--no-wait", "--ids-per-job", "1"]);
    eventually("all jobs are known", || place.jobs().len() == 101);
    let jobs = place.jobs();
    let ids: BTreeSet<&str> = jobs.iter().map(job_id).collect();
    assert_eq!(ids.len(), 101);
    let table = place.ok(&["list", "--all"]);
    assert!(ids.iter().all(|id| table.contains(id)), "{table}");

    let first = place.run(&["list"]);
    let (shown, said) = (text(&first.stdout), text(&first.stderr));
    let (_, cursor) = said.trim().rsplit_once("--cursor ").unwrap();
    let second = place.ok(&["list", "--cursor", cursor]);
    let on = |page: &str| ids.iter().filter(|id| page.contains(**id)).count();
    assert_eq!((on(&shown), on(&second)), (100, 1), "{said}");
    assert!(second.contains(job_id(&jobs[100])), "{second}");
}

/// Where a list's state is.
pub(crate) fn state(list: &str) -> PathBuf {
    Path::new(&format!("{list}.millrace-submission")).to_owned()
}
