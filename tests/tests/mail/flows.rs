//! What a mail says, and what its link is good for.

use anyhow::{Result, ensure};
use millrace_tests::accounts::{PASSWORD, user_create};
use millrace_tests::client::{Answer, Request};
use millrace_tests::process::Launch;
use millrace_tests::site::refusal;
use serde_json::{Value, json};

use crate::support::{FROM, PUBLIC_URL, Post, accepted, done, english, has_first_password};

const NEW: &str = "another horse 10";

/// A refusal of 400 with this code.
fn is(answer: &Answer, code: &str) -> Result<()> {
    let found = refusal(answer)?;
    ensure!(found == (400, json!(code)), "{found:?}, not {code}");
    Ok(())
}

#[cfg_attr(python_missing, ignore = "no python3 with venv and pip")]
#[test]
fn a_forgotten_password_is_set_once_by_the_link_of_a_mail() -> Result<()> {
    let Some(post) = Post::open(|launch| launch)? else { return Ok(()) };
    post.site.register("Kim.Lee@Example.com", &english())?;
    let session = post.site.token("kim.lee@example.com", PASSWORD)?;
    let taken = post.forgot("KIM.LEE@example.com")?;
    assert_eq!(
        (&*taken.from, &taken.to[..]),
        ("no-reply@example.com", &["Kim.Lee@Example.com".to_owned()][..])
    );
    let mail = &taken.mail;
    assert_eq!(mail.header("From"), Some(FROM));
    assert_eq!(mail.header("To"), Some("Kim.Lee@Example.com"));
    assert_eq!(mail.header("Subject"), Some("Reset your password"));
    assert!(mail.header("Date").is_some() && mail.header("Message-ID").is_some(), "{mail:?}");
    let link = format!("{PUBLIC_URL}/reset-password?token=");
    assert!(mail.link()?.starts_with(&link), "{mail:?}");

    let token = mail.token()?;
    let weak = refusal(&post.reset(&token, "short")?)?;
    assert_eq!((weak.0, &weak.1["code"]), (400, &json!("RESET_PASSWORD_INVALID_PASSWORD")));
    let own = refusal(&post.reset(&token, "kim.lee@example.com")?)?;
    assert_eq!((own.0, &own.1["code"]), (400, &json!("RESET_PASSWORD_INVALID_PASSWORD")));
    done(&post.reset(&token, NEW)?)?;
    is(&post.site.login("kim.lee@example.com", PASSWORD)?, "LOGIN_BAD_CREDENTIALS")?;
    post.site.token("kim.lee@example.com", NEW)?;
    assert_eq!(post.site.me(&session)?.status, 401, "the sessions from before are over");
    is(&post.reset(&token, "yet another 11")?, "RESET_PASSWORD_BAD_TOKEN")?;
    post.site.token("kim.lee@example.com", NEW)?;
    Ok(())
}

#[cfg_attr(python_missing, ignore = "no python3 with venv and pip")]
#[test]
fn a_mail_is_in_the_language_of_its_user() -> Result<()> {
    let Some(post) = Post::open(|launch| launch)? else { return Ok(()) };
    let reset = [
        ("비밀번호 재설정", "안녕하세요.\n\n비밀번호 재설정 요청을 받았습니다."),
        ("Reset your password", "Hello,\n\nsomeone asked to reset the password"),
    ];
    let verify = [
        ("이메일 주소 확인", "안녕하세요.\n\n이메일 주소를 확인하려면"),
        ("Verify your e-mail address", "Hello,\n\nto verify your e-mail address"),
    ];
    let table = [
        ("default", json!({}), 0),
        ("ko", json!({"etc": {"language": "ko"}}), 0),
        ("ko-kr", json!({"etc": {"language": "ko-KR"}}), 0),
        ("en", english(), 1),
        ("en-gb", json!({"etc": {"language": "en-GB"}}), 1),
        ("fr", json!({"etc": {"language": "fr"}}), 1),
    ];
    for (name, preferences, language) in table {
        let email = format!("{name}@example.com");
        post.site.register(&email, &preferences)?;
        for (mail, words) in
            [(post.forgot(&email)?.mail, &reset), (post.request_verify(&email)?.mail, &verify)]
        {
            let (subject, start): (&str, &str) = words[language];
            assert_eq!(mail.header("Subject"), Some(subject), "{name}");
            assert!(mail.text.starts_with(start), "{name}: {}", mail.text);
        }
    }
    Ok(())
}

#[cfg_attr(python_missing, ignore = "no python3 with venv and pip")]
#[test]
fn an_address_is_verified_once() -> Result<()> {
    let Some(post) = Post::open(|launch| launch)? else { return Ok(()) };
    let user = post.site.register("u@example.com", &english())?;
    assert_eq!(user["is_verified"], json!(false));
    let mail = post.request_verify("u@example.com")?.mail;
    assert!(mail.link()?.starts_with(&format!("{PUBLIC_URL}/verify?token=")), "{mail:?}");
    let answer = post.verify(&mail.token()?)?;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let mut verified = user;
    verified["is_verified"] = json!(true);
    assert_eq!(answer.json::<Value>()?, verified);
    is(&post.verify(&mail.token()?)?, "VERIFY_USER_ALREADY_VERIFIED")?;
    let again = json!({"email": "u@example.com"});
    accepted(&post.site.post("/auth/request-verify-token", &again)?)?;
    post.expect_none()
}

#[cfg_attr(python_missing, ignore = "no python3 with venv and pip")]
#[test]
fn a_changed_address_must_be_verified_anew() -> Result<()> {
    let Some(post) = Post::open(|launch| launch)? else { return Ok(()) };
    post.site.register("old@example.com", &english())?;
    let session = post.site.token("old@example.com", PASSWORD)?;
    let old = post.request_verify("old@example.com")?.mail.token()?;
    let changed = post.site.update(&session, &json!({"email": "new@example.com"}))?;
    assert_eq!(changed.status, 200, "{}", changed.text());
    is(&post.verify(&old)?, "VERIFY_USER_BAD_TOKEN")?;
    let taken = post.request_verify("new@example.com")?;
    assert_eq!(taken.to, ["new@example.com"]);
    assert_eq!(post.verify(&taken.mail.token()?)?.status, 200);
    let changed = post.site.update(&session, &json!({"email": "newer@example.com"}))?;
    assert_eq!(changed.json::<Value>()?["is_verified"], json!(false));
    is(&post.verify(&taken.mail.token()?)?, "VERIFY_USER_BAD_TOKEN")
}

#[cfg_attr(python_missing, ignore = "no python3 with venv and pip")]
#[test]
fn a_reset_token_dies_with_the_password_that_it_is_to_replace() -> Result<()> {
    let Some(post) = Post::open(|launch| launch)? else { return Ok(()) };
    post.site.register("u@example.com", &english())?;
    let (first, second) = (post.forgot("u@example.com")?, post.forgot("u@example.com")?);
    let session = post.site.token("u@example.com", PASSWORD)?;
    let changed = post.site.update(&session, &json!({"password": NEW}))?;
    assert_eq!(changed.status, 200, "{}", changed.text());
    for taken in [first, second] {
        is(&post.reset(&taken.mail.token()?, PASSWORD)?, "RESET_PASSWORD_BAD_TOKEN")?;
    }
    let (third, fourth) = (post.forgot("u@example.com")?, post.forgot("u@example.com")?);
    done(&post.reset(&fourth.mail.token()?, PASSWORD)?)?;
    is(&post.reset(&third.mail.token()?, NEW)?, "RESET_PASSWORD_BAD_TOKEN")?;
    post.site.token("u@example.com", PASSWORD)?;
    Ok(())
}

#[cfg_attr(python_missing, ignore = "no python3 with venv and pip")]
#[test]
fn a_token_is_good_for_what_it_was_sent_for_only() -> Result<()> {
    let Some(post) = Post::open(|launch| launch)? else { return Ok(()) };
    post.site.register("u@example.com", &english())?;
    let session = post.site.token("u@example.com", PASSWORD)?;
    let reset = post.forgot("u@example.com")?.mail.token()?;
    let verify = post.request_verify("u@example.com")?.mail.token()?;
    let tampered = format!("{}A{}", &reset[..reset.len() - 9], &reset[reset.len() - 8..]);
    for token in [&verify, &session, &tampered, "", "a.b.c", "\u{0}"] {
        is(&post.reset(token, NEW)?, "RESET_PASSWORD_BAD_TOKEN")?;
    }
    for token in [&reset, &session, "", "a.b.c"] {
        is(&post.verify(token)?, "VERIFY_USER_BAD_TOKEN")?;
    }
    for token in [&reset, &verify] {
        assert_eq!(post.site.me(token)?.status, 401);
    }
    assert!(has_first_password(&post.site, "u@example.com")?);
    Ok(())
}

#[cfg_attr(python_missing, ignore = "no python3 with venv and pip")]
#[test]
fn who_has_no_account_or_may_not_use_it_gets_no_mail() -> Result<()> {
    let Some(post) = Post::open(|launch| launch)? else { return Ok(()) };
    post.site.register("gone@example.com", &english())?;
    let (reset, verify) =
        (post.forgot("gone@example.com")?, post.request_verify("gone@example.com")?);
    post.site.command(&["user", "deactivate", "gone@example.com"], "")?;
    is(&post.reset(&reset.mail.token()?, NEW)?, "RESET_PASSWORD_BAD_TOKEN")?;
    is(&post.verify(&verify.mail.token()?)?, "VERIFY_USER_BAD_TOKEN")?;
    for email in ["nobody@example.com", "gone@example.com"] {
        for path in ["/auth/forgot-password", "/auth/request-verify-token"] {
            accepted(&post.site.post(path, &json!({"email": email}))?)?;
        }
    }
    post.expect_none()
}

#[cfg_attr(python_missing, ignore = "no python3 with venv and pip")]
#[test]
fn nothing_that_a_user_writes_becomes_a_header() -> Result<()> {
    let Some(post) = Post::open(|launch| launch)? else { return Ok(()) };
    for email in [
        "a@b.co\r\nBcc: victim@example.com",
        "a@b.co\nBcc: victim@example.com",
        "a@b.co\r\n\r\nhello",
        "a@b.co>\r\nRCPT TO:<victim@example.com",
        "a@b.co,victim@example.com",
        "Kim <a@b.co>",
    ] {
        let body = user_create(email, &json!({}));
        assert_eq!(post.site.post("/auth/register", &body)?.status, 422, "{email:?}");
        for path in ["/auth/forgot-password", "/auth/request-verify-token"] {
            let answer = post.site.post(path, &json!({"email": email}))?;
            assert_eq!(answer.status, 422, "{path} {email:?}");
        }
    }
    let language = json!({"etc": {"language": "en\r\nBcc: victim@example.com"}});
    let mut body = user_create("u@example.com", &json!({"preferences": language}));
    body["name"] = json!("Kim\r\nBcc: victim@example.com");
    let answer = post.site.post("/auth/register", &body)?;
    assert_eq!(answer.status, 201, "{}", answer.text());
    for taken in [post.forgot("u@example.com")?, post.request_verify("u@example.com")?] {
        assert_eq!(taken.to, ["u@example.com"]);
        let mut names: Vec<String> =
            taken.mail.headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
        names.sort();
        let expected = [
            "auto-submitted",
            "content-transfer-encoding",
            "content-type",
            "date",
            "from",
            "message-id",
            "mime-version",
            "subject",
            "to",
        ];
        assert_eq!(names, expected);
        assert!(!taken.mail.text.contains("victim"), "{}", taken.mail.text);
    }
    Ok(())
}

#[cfg_attr(python_missing, ignore = "no python3 with venv and pip")]
#[test]
fn where_it_is_demanded_only_who_has_verified_the_address_signs_in() -> Result<()> {
    let demanding = |launch: Launch| launch.arg("--verified-email-required");
    let Some(post) = Post::open(demanding)? else { return Ok(()) };
    post.site.register("u@example.com", &english())?;
    is(&post.site.login("u@example.com", PASSWORD)?, "LOGIN_USER_NOT_VERIFIED")?;
    is(&post.site.login("u@example.com", NEW)?, "LOGIN_BAD_CREDENTIALS")?;
    let token = post.request_verify("u@example.com")?.mail.token()?;
    assert_eq!(post.verify(&token)?.status, 200);
    post.site.token("u@example.com", PASSWORD)?;
    Ok(())
}

#[cfg_attr(python_missing, ignore = "no python3 with venv and pip")]
#[test]
fn who_verifies_or_resets_is_in_the_audit_log() -> Result<()> {
    let Some(post) = Post::open(|launch| launch)? else { return Ok(()) };
    let user = post.site.register("u@example.com", &english())?;
    let verify = post.request_verify("u@example.com")?.mail.token()?;
    let reset = post.forgot("u@example.com")?.mail.token()?;
    assert_eq!(post.verify(&verify)?.status, 200);
    done(&post.reset(&reset, NEW)?)?;
    let admin = ["user", "create", "--email", "admin@example.com", "--name", "Admin"];
    let rest = ["--role", "admin", "--password-stdin"];
    post.site.command(&[&admin[..], &rest].concat(), PASSWORD)?;
    let admin = post.site.token("admin@example.com", PASSWORD)?;
    let target = "/logs?user_email=u%40example.com&event_types=update";
    let answer = post.site.send(&Request::get(target).bearer(&admin))?;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let entries: Vec<Value> = answer.json()?;
    let changes: Vec<_> = entries
        .iter()
        .map(|entry| (&entry["user_id"], &entry["old_value"], &entry["new_value"]))
        .collect();
    let verified = (&user["id"], &json!({"is_verified": false}), &json!({"is_verified": true}));
    assert_eq!(changes, [(&user["id"], &json!({}), &json!({})), verified], "the newest first");
    let text = answer.text();
    for secret in [&verify, &reset, NEW, PASSWORD, "argon2"] {
        assert!(!text.contains(secret), "{text}");
    }
    Ok(())
}
