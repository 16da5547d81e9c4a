//! Command lines that contradict themselves, and what --help says.

use crate::common::{binary, run, text};

const KAFKA: [&str; 2] = ["--kafka", "127.0.0.1:1"];
const CQL: [&str; 2] = ["--cql", "127.0.0.1:1"];

#[test]
fn a_contradiction_is_named_and_is_exit_code_2() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = [KAFKA, CQL].concat();
    let with = |args: &[&'static str], more: &[&'static str]| [args, more].concat();
    let refused = [
        (with(&["ledger"], &KAFKA), "without --cql"),
        (with(&["dev"], &CQL), "without --kafka"),
        (with(&["migrate"], &[]), "give --kafka and --cql"),
        (with(&["worker", "--role", "events"], &[]), "give --kafka and --cql"),
        (with(&["ingest", "--verify-key", "a.pem"], &[]), "give --kafka and --cql"),
        (with(&["ingest"], &cluster), "--verify-key"),
        (with(&["worker"], &cluster), "--role"),
        (with(&["worker", "--role", "devices"], &cluster), "events, profiles, deletions"),
        (with(&["worker", "--role", "deletions"], &cluster), "--receipt-key"),
        (with(&["log", "inspect"], &cluster), "embedded log"),
        (with(&["ledger", "--cql-user", "u"], &cluster), "without a password"),
        (with(&["ledger", "--cql-password-file", "f"], &cluster), "without its user"),
        (with(&["migrate", "--recreated", "events.dlq"], &cluster), "events, profiles, devices"),
        (
            with(&["migrate", "--replication-factor", "1", "--min-insync-replicas", "2"], &cluster),
            "--min-insync-replicas 2 is above --replication-factor 1",
        ),
        (with(&["ledger", "--kafka", "localhost"], &CQL), "is not HOST:PORT"),
    ];
    for (args, reason) in refused {
        let output = run(folder.path(), &args);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {error}");
        assert!(error.contains(reason), "{args:?}: {error}");
    }
}

#[test]
fn the_variables_stand_for_the_flags() {
    let mut command = binary(env!("CARGO_BIN_EXE_events-worker"));
    let output = command.env("MILLRACE_KAFKA", "127.0.0.1:1").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("without --cql"), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("Usage: events-worker"), "{}", text(&output.stderr));
}

#[test]
fn a_key_to_check_with_that_is_none_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.pem");
    let path = file.to_str().unwrap();
    let args = [&["ingest", "--verify-key", path][..], &KAFKA, &CQL].concat();
    for (content, reason) in [(None, "No such file"), (Some("x"), "is not one Ed25519 public key")]
    {
        if let Some(content) = content {
            std::fs::write(&file, content).unwrap();
        }
        let output = run(folder.path(), &args);
        assert_eq!(output.status.code(), Some(1));
        let error = text(&output.stderr);
        assert!(error.contains(path) && error.contains(reason), "{error}");
    }
}

#[test]
fn a_password_is_in_no_output() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = crate::common::millrace(folder.path());
    command.args(["ledger", "--cql-user", "u", "--log", "trace"]).args(CQL);
    let output = command.env("MILLRACE_CQL_PASSWORD", "hush-hush").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let help = run(folder.path(), &["ingest", "--help"]);
    assert!(text(&help.stdout).contains("MILLRACE_CQL_PASSWORD"));
    for output in [output, help] {
        assert!(!format!("{output:?}").contains("hush-hush"));
    }
}

#[test]
fn every_command_and_binary_helps_with_examples() {
    let folder = tempfile::tempdir().unwrap();
    for command in ["dev", "ingest", "worker", "migrate"] {
        let help = run(folder.path(), &[command, "--help"]);
        assert_eq!(help.status.code(), Some(0));
        let help = text(&help.stdout);
        assert!(help.contains("Examples:") && help.contains("--kafka-prefix"), "{help}");
    }
    for path in [
        env!("CARGO_BIN_EXE_ingest"),
        env!("CARGO_BIN_EXE_events-worker"),
        env!("CARGO_BIN_EXE_profiles-worker"),
        env!("CARGO_BIN_EXE_deletions-worker"),
    ] {
        let help = binary(path).arg("--help").output().unwrap();
        assert_eq!(help.status.code(), Some(0));
        let help = text(&help.stdout);
        assert!(help.contains("--kafka-prefix") && help.contains("--admin-listen"), "{help}");
    }
}
