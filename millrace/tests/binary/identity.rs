//! The configuration of the accounts and back-office APIs: what is refused at start, and what
//! comes with another one.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::json;

use crate::common::{Server, eventually, millrace, run, text};
use crate::people::{EMAIL, PASSWORD, login, make_admin, me, post_json, token};

const DEV: [&str; 5] = ["dev", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];

/// A start that must fail; its error and exit code.
fn refused(output: &Output) -> (String, Option<i32>) {
    assert_eq!(text(&output.stdout), "");
    (text(&output.stderr), output.status.code())
}

fn dev(data: &Path, args: &[&str]) -> (String, Option<i32>) {
    refused(&run(data, &[&DEV, args].concat()))
}

fn dev_with(data: &Path, variables: &[(&str, &str)]) -> (String, Option<i32>) {
    let variables = variables.iter().copied();
    refused(&millrace(data).args(DEV).envs(variables).output().unwrap())
}

fn write(path: &Path, content: &str, mode: u32) -> PathBuf {
    fs::write(path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    path.to_owned()
}

#[test]
fn token_secrets_that_cannot_be_are_refused_at_start() {
    let folder = tempfile::tempdir().unwrap();
    let (data, file) = (folder.path().join("data"), folder.path().join("secrets"));
    let path = file.to_str().unwrap();
    let good = "s".repeat(32);
    let cases = [
        (None, "there is no such file; make one with"),
        (Some((good.clone(), 0o640)), "its mode is 0640"),
        (Some(("s".repeat(31), 0o600)), "token secret 1 has 31 bytes; at least 32 are needed"),
        (Some((format!("{good}\nshort\n"), 0o600)), "token secret 2 has 5 bytes"),
        (Some((format!("{good}\n{good}\n"), 0o600)), "the same"),
        (Some((String::new(), 0o600)), "0 token secrets"),
    ];
    for (content, why) in cases {
        if let Some((content, mode)) = &content {
            write(&file, content, *mode);
        }
        let (error, code) = dev(&data, &["--token-secrets-file", path]);
        assert!(error.contains(why) && !error.contains(&good), "{error}");
        assert_eq!(code, Some(1), "{error}");
    }
    let (error, code) = dev_with(&data, &[("MILLRACE_TOKEN_SECRETS", "short")]);
    assert!(error.contains("MILLRACE_TOKEN_SECRETS: token secret 1 has 5 bytes"), "{error}");
    assert_eq!(code, Some(1));
    let twice = [("MILLRACE_TOKEN_SECRETS", &*good), ("MILLRACE_TOKEN_SECRETS_FILE", path)];
    let (error, code) = dev_with(&data, &twice);
    assert!(error.contains("given twice"), "{error}");
    assert_eq!(code, Some(2));
    assert!(!data.join("keys/token.secret").exists());
}

#[test]
fn options_that_cannot_be_are_named_at_start() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    for (args, why, code) in [
        (&["--trusted-proxy", "10.1.0.0/8"][..], "its first address is 10.0.0.0", 2),
        (&["--logins-per-account", "10"], "as 10/30", 2),
        (&["--google-jwks-url", "keys.example.com"], "must begin with https://", 2),
        (&["--outbox", "o", "--smtp-url", "smtp://u:hush@h"], "one way", 2),
        (&["--smtp-url", "mail.example.com:hush"], "--smtp-url: the URL of the mail server", 1),
        (&["--mail-from", "nobody"], "--mail-from: the sender", 1),
        (&["--public-url", "app.example.com"], "--public-url: the public URL", 1),
        (&["--google-client-id", "a", "--google-ca", "/nowhere/ca.pem"], "--google-ca", 1),
        (&["--argon2-memory-kib", "8", "--argon2-lanes", "2"], "--argon2-memory-kib", 1),
    ] {
        let (error, exit) = dev(&data, args);
        assert!(error.contains(why) && !error.contains("hush"), "{args:?}: {error}");
        assert_eq!(exit, Some(code), "{args:?}: {error}");
    }
}

#[test]
fn a_front_door_of_a_cluster_that_signs_people_in_must_know_how_to_reach_them() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = ["--kafka", "127.0.0.1:1", "--cql", "127.0.0.1:1", "--verify-key", "a.pem"];
    let secrets = ["ingest", "--token-secrets-file", "f"];
    let args = [&secrets[..], &cluster].concat();
    for (more, why) in [(&[][..], "--smtp-url"), (&["--outbox", "o"], "--public-url")] {
        let (error, code) = refused(&run(folder.path(), &[&args[..], more].concat()));
        assert!(error.contains(why), "{error}");
        assert_eq!(code, Some(2));
    }
}

#[test]
fn old_tokens_are_good_as_long_as_their_secret_is_one_of_two() {
    let folder = tempfile::tempdir().unwrap();
    let (data, file) = (folder.path().join("data"), folder.path().join("secrets"));
    let (old, new) = ("o".repeat(32), "n".repeat(40));
    let start = |content: &str| {
        write(&file, content, 0o600);
        Server::start_with(&data, &["--token-secrets-file", file.to_str().unwrap()])
    };
    let server = start(&old);
    make_admin(&data);
    let first = token(&server, PASSWORD);
    server.terminate();
    let server = start(&format!("{new}\n{old}\n"));
    let second = token(&server, PASSWORD);
    assert_eq!([me(&server, &first), me(&server, &second)], [200, 200]);
    server.terminate();
    let server = start(&new);
    assert_eq!([me(&server, &first), me(&server, &second)], [401, 200]);
}

#[test]
fn the_secret_of_the_data_folder_stays() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let server = Server::start(&data);
    make_admin(&data);
    let token = token(&server, PASSWORD);
    server.terminate();
    assert_eq!(me(&Server::start(&data), &token), 200);
}

const BOOTSTRAP: [(&str, &str); 6] = [
    ("MILLRACE_BO_BOOTSTRAP_SECRET", "s3cret-of-the-start"),
    ("MILLRACE_BO_BOOTSTRAP_EMAIL", "first@office.example"),
    ("MILLRACE_BO_BOOTSTRAP_PASSWORD", "Passw0rd!"),
    ("MILLRACE_BO_BOOTSTRAP_FIRST_NAME", "First"),
    ("MILLRACE_BO_BOOTSTRAP_LAST_NAME", "Person"),
    ("MILLRACE_BO_BOOTSTRAP_PHONE", ""),
];

#[test]
fn a_first_person_who_is_configured_in_part_or_wrong_is_refused_by_the_names() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    for missing in 0..BOOTSTRAP.len() {
        let mut given = BOOTSTRAP.to_vec();
        let (name, _) = given.remove(missing);
        let (error, code) = dev_with(&data, &given);
        assert_eq!(code, Some(2), "{error}");
        assert!(error.contains(&format!("give {name} too")), "{error}");
        assert!(!error.contains("s3cret") && !error.contains("Passw0rd!"), "{error}");
    }
    for (at, bad) in [(1, "office.example"), (2, "hush-hush")] {
        let mut given = BOOTSTRAP;
        given[at].1 = bad;
        let (error, code) = dev_with(&data, &given);
        assert_eq!(code, Some(1), "{error}");
        assert!(error.contains(given[at].0) && !error.contains("hush"), "{error}");
    }
}

#[test]
fn the_first_person_may_be_configured_by_files() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let secret = write(&folder.path().join("secret"), "s3cret\n", 0o600);
    let password = write(&folder.path().join("password"), "Passw0rd!\n", 0o600);
    let args = [
        "--bo-bootstrap-secret-file",
        secret.to_str().unwrap(),
        "--bo-bootstrap-password-file",
        password.to_str().unwrap(),
        "--bo-bootstrap-email",
        "first@office.example",
        "--bo-bootstrap-first-name",
        "First",
        "--bo-bootstrap-last-name",
        "Person",
        "--bo-bootstrap-phone",
        "1",
    ];
    let server = Server::start_with(&data, &args);
    let path = "/users/v1/bo/back-office/bootstrap";
    let answers = [(); 2].map(|()| post_json(&server, path, &json!({"secret": "s3cret"})).status);
    assert_eq!(answers, [201, 409]);
    server.terminate();
    write(&secret, "s3cret", 0o604);
    let (error, code) = dev(&data, &args);
    assert_eq!(code, Some(1));
    assert!(error.contains("--bo-bootstrap-secret-file") && error.contains("0604"), "{error}");
}

#[test]
fn nothing_secret_is_in_the_log_or_the_metrics() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut command = millrace(&data);
    let secret = "token-secret-".repeat(4);
    command.args(DEV).args(["--log", "debug,millrace=trace,millrace_ingest=trace"]);
    command.envs(BOOTSTRAP).env("MILLRACE_TOKEN_SECRETS", &secret);
    let server = Server::of(command);
    let key = server.field("api_key").to_owned();
    make_admin(&data);
    let access = token(&server, PASSWORD);
    assert_eq!(me(&server, &access), 200);
    assert_eq!(login(&server, EMAIL, "wrong horse").status, 400);
    let forgot = post_json(&server, "/auth/forgot-password", &json!({ "email": EMAIL }));
    assert_eq!(forgot.status, 202);
    let reset = json!({"token": "t0ken.t0ken.t0ken", "password": "wrong horse"});
    assert_eq!(post_json(&server, "/auth/reset-password", &reset).status, 400);
    let path = "/users/v1/bo/back-office/bootstrap";
    let wrong = json!({"secret": "s3cret-guess"});
    assert_eq!(post_json(&server, path, &wrong).status, 401);
    let right = json!({"secret": "s3cret-of-the-start"});
    assert_eq!(post_json(&server, path, &right).status, 201);
    let login = json!({"email": "first@office.example", "password": "Passw0rd!"});
    let login = post_json(&server, "/auth-rs/v2/bo/login", &login).json();
    eventually("the mail is there", || {
        fs::read_dir(data.join("outbox")).is_ok_and(|mut files| files.next().is_some())
    });
    let metrics = server.admin("/metrics").body;
    let (status, out, err) = server.terminate();
    assert!(status.success(), "{err}");
    assert!(err.contains("millrace_ingest"), "{err}");
    let all = format!("{metrics}{out}{err}");
    let of_office = |name: &str| login["data"][name].as_str().unwrap();
    for secret in [
        "horse",
        "t0ken",
        "s3cret",
        "Passw0rd!",
        "$argon2",
        &*secret,
        &*key,
        &*access,
        of_office("accessToken"),
        of_office("sessionToken"),
        of_office("refreshToken"),
    ] {
        assert!(!all.contains(secret), "{secret} in {all}");
    }
}
