use std::os::unix::fs::PermissionsExt;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

use super::*;

fn settings(transport: MailTransport) -> MailSettings {
    MailSettings {
        from: "Millrace <no-reply@example.com>".to_owned(),
        public_url: "http://127.0.0.1:8080".to_owned(),
        transport,
    }
}

fn mail(language: &str) -> Mail {
    Mail {
        purpose: Purpose::Verify,
        to: "u@example.com".to_owned(),
        language: language.to_owned(),
        token: "a.b+c".to_owned(),
    }
}

/// Takes one mail over SMTP (RFC 5321) and returns its data; answers `first` to the first `MAIL`.
async fn sink(listener: TcpListener, mut first: Option<&'static str>) -> String {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (read, mut write) = stream.into_split();
        let mut lines = BufReader::new(read).lines();
        write.write_all(b"220 sink ESMTP\r\n").await.unwrap();
        let (mut data, mut in_data) = (String::new(), false);
        while let Ok(Some(line)) = lines.next_line().await {
            let answer = match &*line {
                "." if in_data => {
                    write.write_all(b"250 taken\r\n").await.unwrap();
                    return data;
                }
                line if in_data => {
                    data.push_str(line);
                    data.push('\n');
                    continue;
                }
                "DATA" => {
                    in_data = true;
                    "354 go on"
                }
                "QUIT" => break,
                line if line.starts_with("MAIL") => first.take().unwrap_or("250 ok"),
                _ => "250 ok",
            };
            if write.write_all(format!("{answer}\r\n").as_bytes()).await.is_err() {
                break;
            }
        }
    }
}

async fn sent_over_smtp(first: Option<&'static str>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("smtp://{}", listener.local_addr().unwrap());
    let (mailer, postman) = Mailer::new(settings(MailTransport::Smtp(url))).unwrap();
    let sink = tokio::spawn(sink(listener, first));
    mailer.post(&mail("en"), false);
    mailer.post(&mail("en"), true);
    drop(mailer);
    postman.run().await;
    sink.await.unwrap()
}

#[tokio::test]
async fn a_mail_is_sent_over_smtp() {
    let data = sent_over_smtp(None).await;
    for line in [
        "From: Millrace <no-reply@example.com>",
        "To: u@example.com",
        "Subject: Verify your e-mail address",
    ] {
        assert!(data.contains(line), "{data}");
    }
    let text = data.replace("=\n", "").replace("=3D", "=");
    assert!(text.contains("http://127.0.0.1:8080/verify?token=a%2Eb%2Bc"), "{text}");
}

#[tokio::test]
async fn a_server_that_is_busy_is_tried_again() {
    assert!(sent_over_smtp(Some("451 try later")).await.contains("To: u@example.com"));
}

#[tokio::test]
async fn a_mail_of_the_outbox_is_for_its_owner_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("outbox");
    let (mailer, postman) = Mailer::new(settings(MailTransport::Outbox(path.clone()))).unwrap();
    mailer.post(&mail("ko-KR"), true);
    mailer.post(&mail("fr"), true);
    drop(mailer);
    postman.run().await;
    let files: Vec<_> =
        std::fs::read_dir(&path).unwrap().map(|file| file.unwrap().path()).collect();
    let texts: Vec<_> = files.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
    assert_eq!(texts.len(), 2);
    for subject in ["Subject: =?utf-8?", "Subject: Verify your e-mail"] {
        assert!(texts.iter().any(|text| text.contains(subject)), "{subject}: {texts:?}");
    }
    let mode = std::fs::metadata(&files[0]).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn mails_beyond_the_queue_are_dropped_without_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let outbox = MailTransport::Outbox(folder.path().to_owned());
    let (mailer, postman) = Mailer::new(settings(outbox)).unwrap();
    for _ in 0..QUEUE + 5 {
        mailer.post(&mail("en"), true);
    }
    assert_eq!(postman.queue.len(), QUEUE);
}

#[test]
fn settings_that_cannot_be_are_refused_without_their_secrets() {
    let bad = |settings| Mailer::new(settings).unwrap_err().to_string();
    let url = "smtp//user:s3cret@host".to_owned();
    let message = bad(settings(MailTransport::Smtp(url.clone())));
    assert!(message.contains("smtp://") && !message.contains("s3cret"), "{message}");
    let smtp = MailTransport::Smtp("smtp://h".to_owned());
    let from = MailSettings { from: "nobody".to_owned(), ..settings(smtp.clone()) };
    assert!(bad(from).contains("sender"));
    let link = MailSettings { public_url: "example.com".to_owned(), ..settings(smtp) };
    assert!(bad(link).contains("public URL"));
    assert!(!format!("{:?}", settings(MailTransport::Smtp(url))).contains("s3cret"));
}
