//! The commands about people, and what the audit log says of commands.

use std::path::Path;

use serde_json::{Value, json};

use crate::common::{Server, millrace, run, run_json, run_with, text};
use crate::people::{EMAIL, PASSWORD, login, logs, make_admin, me, post_json, token};

fn list(data: &Path) -> Vec<Value> {
    run_json(data, &["user", "list"])["users"].as_array().unwrap().clone()
}

fn set_password(data: &Path, email: &str, password: &str) -> String {
    let args = ["user", "set-password", email, "--password-stdin"];
    let output = run_with(data, &args, password);
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

#[test]
fn an_admin_signs_in_until_deactivated() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let server = Server::start(&data);
    let made = make_admin(&data);
    assert_eq!(list(&data), std::slice::from_ref(&made));
    assert_eq!((&made["is_superuser"], &made["is_active"]), (&json!(true), &json!(true)));

    let token = token(&server, PASSWORD);
    let me_now = server.get("/users/me", &token).json();
    assert_eq!((&me_now["id"], &me_now["role"]), (&made["id"], &json!("admin")));
    assert_eq!(server.get("/users", &token).status, 200);
    let done = run_json(&data, &["user", "deactivate", "ann@example.com"]);
    assert_eq!(done, json!({"email": "ann@example.com", "is_active": false}));
    assert_eq!(me(&server, &token), 401);
    let refused = login(&server, EMAIL, PASSWORD);
    assert_eq!(refused.json(), json!({"detail": "LOGIN_BAD_CREDENTIALS"}));
    assert_eq!(list(&data)[0]["is_active"], false);
    let table = text(&run(&data, &["user", "list"]).stdout);
    assert!(table.contains(EMAIL) && table.lines().count() == 2, "{table}");
}

#[test]
fn another_password_ends_every_token() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let server = Server::start(&data);
    make_admin(&data);
    let old = token(&server, PASSWORD);
    assert_eq!(me(&server, &old), 200);
    let said = set_password(&data, EMAIL, "battery staple\n");
    assert!(said.contains(EMAIL) && !said.contains("battery"), "{said}");
    assert_eq!(me(&server, &old), 401);
    assert_eq!(login(&server, EMAIL, PASSWORD).status, 400);
    assert_eq!(me(&server, &token(&server, "battery staple")), 200);
}

#[test]
fn who_was_made_without_a_server_signs_in_at_the_next_one() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    assert!(Server::start(&data).terminate().0.success());
    make_admin(&data);
    set_password(&data, EMAIL, "battery staple");
    let server = Server::start_with(&data, &["--argon2-memory-kib", "1024"]);
    // The second time with the hash of another cost.
    for _ in 0..2 {
        assert_eq!(me(&server, &token(&server, "battery staple")), 200);
    }
}

#[test]
fn a_password_set_without_a_server_is_hashed_at_the_cost_that_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    assert!(Server::start(&data).terminate().0.success());
    make_admin(&data);
    let set = ["user", "set-password", EMAIL, "--password-stdin"];
    let create = ["user", "create", "--email", "bo@example.com", "--name", "Bo"];
    let create = [&create[..], &["--role", "retailer", "--password-stdin"]].concat();
    for command in [&set[..], &create] {
        // Of what cannot be a cost nothing else tells.
        let cost = ["--argon2-memory-kib", "8", "--argon2-lanes", "2"];
        let output = run_with(&data, &[command, &cost].concat(), PASSWORD);
        let error = text(&output.stderr);
        assert!(error.contains("--argon2-memory-kib"), "{command:?}: {error}");
        let cost = ["--argon2-memory-kib", "8", "--argon2-passes", "1"];
        let output = run_with(&data, &[command, &cost].concat(), PASSWORD);
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
}

#[test]
fn what_cannot_be_is_refused_by_the_name_of_its_flag() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let _server = Server::start(&data);
    make_admin(&data);
    let create = |email: &'static str, name: &'static str, role: &'static str| {
        ["user", "create", "--email", email, "--name", name, "--role", role, "--password-stdin"]
    };
    let long: &'static str = "n".repeat(251).leak();
    let unknown = ["user", "set-password", "nobody@example.com", "--password-stdin"];
    let refused = [
        (&create("ann@example.com", "Ann", "admin")[..], "hush hush", 1, "--email: ann@example"),
        (&create("ann.example.com", "Ann", "admin"), "hush hush", 1, "--email: value is not"),
        (&create("bo@example.com", long, "admin"), "hush hush", 1, "--name: String should"),
        (&create("bo@example.com", "Bo", "boss"), "hush hush", 2, "advertiser, retailer, admin"),
        (&create("bo@example.com", "Bo", "admin")[..8], "hush hush", 2, "--password-stdin"),
        (&create("bo@example.com", "Bo", "admin"), "hush", 1, "at least 8 characters"),
        (&create("bo@example.com", "Bo", "admin"), "bo@example.com", 1, "not be the e-mail"),
        (&create("bo@example.com", "Bo", "admin"), "", 1, "there is no password on stdin"),
        (&create("bo@example.com", "Bo", "admin"), "hush\nhush", 1, "more than one line"),
        (&unknown, "hush hush", 1, "there is nobody with the address"),
        (&unknown[..3], "hush hush", 2, "--password-stdin"),
        (&["user", "deactivate", "nobody@example.com"], "", 1, "millrace user list"),
        (&["user", "deactivate"], "", 2, "<EMAIL>"),
    ];
    for (args, input, code, why) in refused {
        let output = run_with(&data, args, input);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {error}");
        assert!(error.contains(why) && !error.contains("hush"), "{args:?}: {error}");
    }
    assert_eq!(list(&data).len(), 1);
}

#[test]
fn commands_about_people_help_with_examples() {
    let folder = tempfile::tempdir().unwrap();
    for command in ["create", "deactivate", "set-password"] {
        let help = run(folder.path(), &["user", command, "--help"]);
        let help = text(&help.stdout);
        assert!(help.contains(&format!("millrace user {command}")), "{help}");
    }
}

/// The variables of the first person of the back office.
const BOOTSTRAP: [(&str, &str); 7] = [
    ("SECRET", "the bootstrap secret"),
    ("EMAIL", "First@Office.example"),
    ("PASSWORD", "Passw0rd!"),
    ("FIRST_NAME", "First"),
    ("LAST_NAME", "Person"),
    ("PHONE", "+82 2 000 0000"),
    ("LANG", "en"),
];

#[test]
fn people_of_the_back_office_are_managed_alike() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut command = millrace(&data);
    command.args(["dev", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
    for (name, value) in BOOTSTRAP {
        command.env(format!("MILLRACE_BO_BOOTSTRAP_{name}"), value);
    }
    let server = Server::of(command);
    let bootstrap = |secret| {
        post_json(&server, "/users/v1/bo/back-office/bootstrap", &json!({ "secret": secret }))
            .status
    };
    let login = |password| {
        let body = json!({"email": "first@office.example", "password": password});
        post_json(&server, "/auth-rs/v2/bo/login", &body).status
    };
    assert_eq!([bootstrap("guess"), bootstrap("the bootstrap secret")], [401, 201]);
    assert_eq!(login("Passw0rd!"), 200);
    let shown = list(&data);
    assert_eq!(
        (&shown[0]["role"], &shown[0]["name"]),
        (&json!("back_office"), &json!("First Person"))
    );

    let weak = ["user", "set-password", "first@office.example", "--password-stdin"];
    let weak = run_with(&data, &weak, "hush hush");
    assert_eq!(weak.status.code(), Some(1));
    assert!(text(&weak.stderr).contains("the password on stdin is refused"));
    set_password(&data, "first@office.example", "An0ther!");
    assert_eq!([login("Passw0rd!"), login("An0ther!")], [401, 200]);
    run_json(&data, &["user", "deactivate", "first@office.example"]);
    assert_eq!(login("An0ther!"), 401);
    assert_eq!(list(&data)[0]["is_active"], false);
}

/// Changes a project, a key and a webhook.
fn change(data: &Path, project: &str) -> String {
    run_json(data, &["project", "create", project]);
    let key = run_json(data, &["key", "create", "--project", project]);
    let url = "https://hooks.example.org/s3cret?key=s3cret";
    run_json(data, &["project", "webhook", "set", project, url]);
    run_json(data, &["project", "webhook", "clear", project]);
    run_json(data, &["key", "revoke", key["id"].as_str().unwrap()]);
    key["api_key"].as_str().unwrap().to_owned()
}

#[test]
fn every_change_at_the_command_line_is_in_the_audit_log_without_its_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    assert!(Server::start(&data).terminate().0.success());
    let first = change(&data, "before");
    make_admin(&data);
    let server = Server::start(&data);
    let second = change(&data, "beside");
    let logs = logs(&server, &token(&server, PASSWORD));
    let of = |resource: &str, description: &str| {
        let is = |log: &&Value| {
            let about = log["affected_resource"].as_str().unwrap();
            about.starts_with(resource)
                && log["description"].as_str().unwrap() == format!("{description} by the operator")
        };
        logs.iter().filter(is).count()
    };
    for project in ["before", "beside"] {
        let project = format!("project:{project}");
        for description in ["project made", "webhook set", "webhook cleared"] {
            assert_eq!(of(&project, description), 1, "{project} {description}: {logs:?}");
        }
    }
    // The demo key too.
    assert_eq!((of("key:", "key made"), of("key:", "key revoked")), (3, 2), "{logs:?}");
    assert_eq!(of("user:", "registered"), 1, "{logs:?}");
    let whole = json!(logs).to_string();
    assert!(whole.contains("https://hooks.example.org"), "{whole}");
    for secret in [&first, &second, "s3cret", PASSWORD, "$argon2"] {
        assert!(!whole.contains(secret), "{whole}");
    }
}
