//! The outbox folder: where mails are when nothing is configured.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use anyhow::Result;
use millrace_tests::accounts::PASSWORD;
use millrace_tests::mail::{Mail, outbox};
use millrace_tests::site::Site;
use millrace_tests::world::until;
use serde_json::json;

use crate::support::{accepted, done, english, forgot};

#[test]
fn without_a_mail_server_mails_are_files_that_only_their_owner_can_read() -> Result<()> {
    let site = Site::start(|launch| launch)?;
    let folder = site.data().join("outbox");
    site.register("u@example.com", &english())?;
    forgot(&site, "nobody@example.com")?;
    forgot(&site, "u@example.com")?;
    let all = |count: usize| {
        until("a mail", || outbox(&folder).ok().filter(|paths| paths.len() >= count))
    };
    let paths = all(1)?;
    let [path] = &paths[..] else { panic!("{paths:?}") };
    assert_eq!(fs::metadata(path)?.permissions().mode() & 0o777, 0o600);
    let mail = Mail::parse(&fs::read_to_string(path)?)?;
    assert_eq!(mail.header("To"), Some("u@example.com"));
    assert_eq!(mail.header("Subject"), Some("Reset your password"));
    let public = format!("http://{}/reset-password?token=", site.server.address);
    assert!(mail.link()?.starts_with(&public), "{mail:?}");
    let reset = json!({"token": mail.token()?, "password": "another horse 10"});
    done(&site.post("/auth/reset-password", &reset)?)?;
    assert_eq!(site.login("u@example.com", PASSWORD)?.status, 400);
    site.token("u@example.com", "another horse 10")?;

    accepted(&site.post("/auth/request-verify-token", &json!({"email": "u@example.com"}))?)?;
    let paths = all(2)?;
    let mail = Mail::parse(&fs::read_to_string(&paths[1])?)?;
    let answer = site.post("/auth/verify", &json!({"token": mail.token()?}))?;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(outbox(&folder)?.len(), 2);
    Ok(())
}

#[test]
fn the_outbox_may_be_another_folder_and_speak_korean() -> Result<()> {
    let elsewhere = tempfile::tempdir()?;
    let folder = elsewhere.path().join("mails");
    let at = folder.display().to_string();
    let site = Site::start(|launch| launch.args(&["--outbox", &at]))?;
    site.register("u@example.com", &json!({}))?;
    forgot(&site, "u@example.com")?;
    let paths = until("a mail", || outbox(&folder).ok().filter(|paths| !paths.is_empty()))?;
    let mail = Mail::parse(&fs::read_to_string(&paths[0])?)?;
    assert!(mail.text.starts_with("안녕하세요."), "{}", mail.text);
    assert!(outbox(&site.data().join("outbox"))?.is_empty());
    Ok(())
}

#[test]
fn a_server_that_is_stopped_sends_its_mails_first() -> Result<()> {
    let site = Site::start(|launch| launch)?;
    let emails: Vec<String> = (0..5).map(|number| format!("u{number}@example.com")).collect();
    for email in &emails {
        site.register(email, &english())?;
    }
    for email in &emails {
        forgot(&site, email)?;
    }
    let (folder, data) = (site.folder().to_owned(), site.data());
    let (status, _) = site.server.terminate()?;
    assert!(status.success(), "{status}");
    assert_eq!(outbox(&data.join("outbox"))?.len(), emails.len());
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            let log = fs::read_to_string(path)?;
            assert!(!log.contains("were not sent"), "{log}");
        }
    }
    Ok(())
}
