//! Mails to users: in the outbox folder of `millrace dev`, and over SMTP.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::common::{Server, eventually, text};
use crate::people::{EMAIL, PASSWORD, login, make_admin, me, post_json, token};

/// The mails of an outbox: head and text of each.
fn mails(outbox: &Path) -> Vec<(String, String)> {
    let files = fs::read_dir(outbox).unwrap().map(|entry| entry.unwrap().path());
    let mails = files.filter(|path| path.extension().is_some_and(|end| end == "eml"));
    mails.map(|path| parts(&text(&fs::read(path).unwrap()))).collect()
}

/// A mail is Korean by default, so its text is in base64.
fn parts(mail: &str) -> (String, String) {
    let (head, body) = mail.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("Content-Transfer-Encoding: base64"), "{head}");
    let body: String = body.split_whitespace().collect();
    (head.to_owned(), text(&STANDARD.decode(body).unwrap()))
}

fn forgot_password(server: &Server, email: &str) {
    let answer = post_json(server, "/auth/forgot-password", &json!({ "email": email }));
    assert_eq!((answer.status, answer.body.as_str()), (202, "null"));
}

/// The token of the link in a mail, which leads to `url`.
fn token_of(mail: &str, url: &str) -> String {
    let link = format!("{url}/reset-password?token=");
    let (_, rest) = mail.split_once(&link).unwrap_or_else(|| panic!("no {link} in {mail}"));
    let token = rest.split_whitespace().next().unwrap();
    token.replace("%2E", ".").replace("%2D", "-").replace("%5F", "_")
}

#[test]
fn a_forgotten_password_is_set_anew_by_the_link_of_the_mail() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let server = Server::start(&data);
    make_admin(&data);
    let old = token(&server, PASSWORD);
    forgot_password(&server, "nobody@example.com");
    forgot_password(&server, EMAIL);
    let outbox = data.join("outbox");
    eventually("the mail is there", || mails(&outbox).len() == 1);
    let (head, mail) = &mails(&outbox)[0];
    assert!(head.contains(EMAIL), "{head}");
    let link = token_of(mail, server.field("url"));
    let reset = json!({"token": link, "password": "battery staple"});
    let answer = post_json(&server, "/auth/reset-password", &reset);
    assert_eq!((answer.status, answer.body.as_str()), (200, "null"));
    let again = post_json(&server, "/auth/reset-password", &reset);
    assert_eq!(again.json(), json!({"detail": "RESET_PASSWORD_BAD_TOKEN"}));
    assert_eq!(me(&server, &old), 401);
    assert_eq!(login(&server, EMAIL, PASSWORD).status, 400);
    assert_eq!(login(&server, EMAIL, "battery staple").status, 200);
}

#[test]
fn mails_that_were_asked_for_are_written_before_the_process_ends() {
    let folder = tempfile::tempdir().unwrap();
    let (data, outbox) = (folder.path().join("data"), folder.path().join("mails"));
    let args = ["--outbox", outbox.to_str().unwrap(), "--public-url", "https://app.example/x/"];
    let server = Server::start_with(&data, &args);
    make_admin(&data);
    for _ in 0..3 {
        forgot_password(&server, EMAIL);
    }
    let (status, _, err) = server.terminate();
    assert!(status.success(), "{err}");
    let mails = mails(&outbox);
    assert_eq!(mails.len(), 3);
    for (_, mail) in &mails {
        let token = token_of(mail, "https://app.example/x");
        assert!(!err.contains(&token), "{err}");
    }
    assert!(!data.join("outbox").exists());
}

/// Takes one mail over SMTP (RFC 5321).
fn take(listener: &TcpListener) -> String {
    let (mut stream, _) = listener.accept().unwrap();
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map(Result::unwrap);
    stream.write_all(b"220 sink ESMTP\r\n").unwrap();
    loop {
        let command = lines.next().unwrap();
        if command == "DATA" {
            break;
        }
        stream.write_all(b"250 ok\r\n").unwrap();
    }
    stream.write_all(b"354 go on\r\n").unwrap();
    let data: String = lines.take_while(|line| line != ".").map(|line| line + "\r\n").collect();
    stream.write_all(b"250 taken\r\n").unwrap();
    data
}

#[test]
fn mails_go_to_the_server_that_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("smtp://{}", listener.local_addr().unwrap());
    let from = "Millrace <mill@example.com>";
    let server = Server::start_with(&data, &["--smtp-url", &url, "--mail-from", from]);
    make_admin(&data);
    let sink = std::thread::spawn(move || take(&listener));
    forgot_password(&server, EMAIL);
    let (head, mail) = parts(&sink.join().unwrap());
    assert!(head.contains(from) && head.contains(EMAIL), "{head}");
    let link = token_of(&mail, server.field("url"));
    let reset = json!({"token": link, "password": "battery staple"});
    assert_eq!(post_json(&server, "/auth/reset-password", &reset).status, 200);
    assert!(!data.join("outbox").exists());
}
