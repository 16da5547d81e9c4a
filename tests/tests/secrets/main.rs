//! Secrets stay secret: a run through every call, and then a search through all that was said.
//!
//! What an answer is for (a token, to who has just signed in) is not searched; everything else is.

mod walk;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use anyhow::{Context, Result, ensure};
use millrace_tests::accounts::{
    BACK_OFFICE_EMAIL, BOOTSTRAP_SECRET, CHEAP, TOKEN_SECRET, json_request, user_create,
};
use millrace_tests::mail::outbox;
use millrace_tests::process::Launch;
use millrace_tests::world::until;
use serde_json::json;

use crate::walk::{Walk, walked};

/// Which of these are in a text, with what stands before it in its line.
fn found<'a>(text: &str, needles: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<String> {
    let line_of = |needle: &str| text.lines().find(|line| line.contains(needle));
    needles
        .filter_map(|(what, needle)| Some(format!("{what}: {:.300}", line_of(needle)?)))
        .collect()
}

#[test]
fn no_secret_is_said_and_nobody_is_named_in_the_log() -> Result<()> {
    let (walk, entries) = walked()?;
    let Walk { installation, secrets, people, said, requests } = walk;
    let log = installation.server.output()?;
    let sizes = (secrets.len(), entries, said.len(), log.len());
    println!("{sizes:?}: secrets, audit entries, bytes said, bytes logged");
    // What is searched is what was meant: errors, entries, metrics, and a log of every call.
    for known in ["LOGIN_BAD_CREDENTIALS", "REGISTER_INVALID_PASSWORD", "millrace_", "\"login\""] {
        ensure!(said.contains(known), "{known} was never said");
    }
    ensure!(entries >= 15, "{entries} audit entries");
    let answers = log.matches("answered").count();
    ensure!(answers >= requests, "{answers} answers are logged, of {requests} requests");
    let secrets = || secrets.iter().map(|(what, secret)| (*what, &**secret));
    let people = people.iter().map(|person| ("a person", &**person));
    let mut leaks = found(&said, secrets());
    leaks.extend(found(&log, secrets().chain(people)));
    ensure!(leaks.is_empty(), "{} leaks:\n{}", leaks.len(), leaks.join("\n"));
    ensure!(!installation.server.panicked()?, "a panic");
    Ok(())
}

#[test]
fn a_start_that_is_refused_shows_no_secret() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let (short, password) = ("too-short-a-secret-77", "nodigit-nouppercase");
    let file = folder.path().join("short.secret");
    fs::write(&file, short)?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
    let open = folder.path().join("open.secret");
    fs::write(&open, TOKEN_SECRET)?;
    fs::set_permissions(&open, fs::Permissions::from_mode(0o644))?;
    let path = |file: &std::path::Path| file.to_str().map(str::to_owned).context("no text");
    let bootstrap = |launch: Launch| {
        launch
            .env("MILLRACE_BO_BOOTSTRAP_SECRET", BOOTSTRAP_SECRET)
            .env("MILLRACE_BO_BOOTSTRAP_PASSWORD", password)
    };
    let dev = || Launch::dev(&data);
    let whole = |launch: Launch| {
        bootstrap(launch)
            .env("MILLRACE_BO_BOOTSTRAP_EMAIL", BACK_OFFICE_EMAIL)
            .env("MILLRACE_BO_BOOTSTRAP_FIRST_NAME", "Olga")
            .env("MILLRACE_BO_BOOTSTRAP_LAST_NAME", "Office")
            .env("MILLRACE_BO_BOOTSTRAP_PHONE", "+49 30 1")
            .env("MILLRACE_BO_BOOTSTRAP_LANG", "de")
    };
    let starts = [
        dev()?.args(&["--token-secrets-file", &path(&file)?]),
        dev()?.args(&["--token-secrets-file", &path(&open)?]),
        dev()?.args(&["--token-secrets-file", &path(&folder.path().join("missing"))?]),
        dev()?.env("MILLRACE_TOKEN_SECRETS", short),
        dev()?.env("MILLRACE_TOKEN_SECRETS", format!("{TOKEN_SECRET},{TOKEN_SECRET}")),
        // Half of the bootstrap's settings, and all with a password that is none.
        bootstrap(dev()?),
        whole(dev()?),
        dev()?.args(&["--smtp-url", &format!("imap://user:{password}@127.0.0.1")]),
    ];
    for (number, launch) in starts.into_iter().enumerate() {
        let (status, said) = launch.spawn()?.ended().with_context(|| format!("start {number}"))?;
        ensure!(!status.success() && !said.trim().is_empty(), "start {number}: {status} {said}");
        for secret in [short, password, TOKEN_SECRET, BOOTSTRAP_SECRET] {
            ensure!(!said.contains(secret), "start {number} shows {secret}: {said}");
        }
    }
    Ok(())
}

#[test]
fn what_a_server_makes_for_itself_is_its_owners_alone() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let server = Launch::dev(&data)?.args(&CHEAP).start()?;
    let secret = data.join("keys").join("token.secret");
    let text = fs::read_to_string(&secret)?;
    ensure!(text.trim().len() >= 32, "{} bytes are less than 256 bits", text.trim().len());
    let launch = server.terminate()?.1;
    let server = launch.start()?;
    ensure!(fs::read_to_string(&secret)? == text, "another start made another secret");
    let body = user_create("mail@example.com", &json!({})).to_string();
    let mut client = server.client();
    client.send(&json_request("POST", "/auth/register", body))?;
    let forgot = json!({"email": "mail@example.com"}).to_string();
    client.send(&json_request("POST", "/auth/forgot-password", forgot))?;
    let mail = until("a mail", || outbox(&data.join("outbox")).ok()?.into_iter().next())?;
    for path in [secret, mail] {
        let mode = fs::metadata(&path)?.permissions().mode() & 0o777;
        ensure!(mode == 0o600, "{}: {mode:o}", path.display());
    }
    Ok(())
}
