//! The back-office API: what each call answers, and how it refuses.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::fixture::{Answer, Fixture};
use crate::people::{BOOTSTRAP_SECRET, OFFICE_EMAIL, OFFICE_PASSWORD, PASSWORD, signed};

const BOOTSTRAP: &str = "POST /users/v1/bo/back-office/bootstrap";
const LOGIN: &str = "POST /auth-rs/v2/bo/login";
const REFRESH: &str = "POST /auth/v1/bo/token/refresh";
const CREATE: &str = "POST /users/v1/bo/audit";

/// Somebody's tokens.
struct Tokens {
    access: String,
    session: String,
    refresh: String,
}

impl Tokens {
    fn headers(&self) -> String {
        headers(&self.access, &self.session)
    }
}

fn headers(access: &str, session: &str) -> String {
    format!("{}X-Session-Token: {session}\r\n", signed(access))
}

fn audit_user(email: &str) -> Value {
    json!({
        "firstName": "Ada", "lastName": "", "email": email, "phone": "+33 1", "lang": "fr",
        "password": OFFICE_PASSWORD,
    })
}

impl Fixture {
    async fn office(&self) -> Tokens {
        let answer = self.ask(BOOTSTRAP, "", &json!({"secret": BOOTSTRAP_SECRET})).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        self.office_login(OFFICE_EMAIL).await
    }

    async fn office_login(&self, email: &str) -> Tokens {
        let body = json!({"email": email, "password": OFFICE_PASSWORD});
        let answer = self.ask(LOGIN, "", &body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let mut body = answer.json();
        let mut token = |name: &str| body["data"][name].take().as_str().unwrap().to_owned();
        let (access, session) = (token("accessToken"), token("sessionToken"));
        Tokens { access, session, refresh: token("refreshToken") }
    }
}

fn assert_refused(answer: &Answer, status: u16, code: &str, fields: &[&str]) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(answer.headers.contains_key("www-authenticate"), status == 401);
    let body = answer.json();
    let error = body["error"].as_object().unwrap();
    assert_eq!((body.as_object().unwrap().len(), error.len()), (1, 3), "{body}");
    assert_eq!(error["code"], code);
    assert!(!error["message"].as_str().unwrap().is_empty());
    let found: Vec<_> = error["fields"].as_array().unwrap().iter().collect();
    let names: Vec<_> = found.iter().map(|field| field["field"].as_str().unwrap()).collect();
    assert_eq!(names, fields, "{body}");
    assert!(found.iter().all(|field| field["message"].is_string()));
}

#[tokio::test]
async fn the_first_person_is_made_once() {
    let fixture = Fixture::with_people().await;
    let wrong = fixture.ask(BOOTSTRAP, "", &json!({"secret": "wrong"})).await;
    assert_refused(&wrong, 401, "UNAUTHORIZED", &[]);
    let missing = fixture.ask(BOOTSTRAP, "", &json!({})).await;
    assert_refused(&missing, 400, "INVALID_REQUEST", &["secret"]);
    // A token in the head is ignored.
    let secret = json!({"secret": BOOTSTRAP_SECRET});
    let answer = fixture.ask(BOOTSTRAP, "nonsense", &secret).await;
    let mut body = answer.json();
    assert_eq!(answer.status, 201);
    assert!(body["data"]["id"].take().as_i64().unwrap() > 0);
    let expected = json!({"data": {
        "id": null, "firstName": "First", "lastName": "Person", "email": OFFICE_EMAIL,
        "phone": "+82 2 000 0000", "lang": "en",
    }});
    assert_eq!(body, expected);
    assert_refused(&fixture.ask(BOOTSTRAP, "", &secret).await, 409, "CONFLICT", &[]);
}

#[tokio::test]
async fn a_login_gives_tokens_and_a_refresh_new_ones_without_a_frame() {
    let fixture = Fixture::with_people().await;
    fixture.office().await;
    let body = json!({"email": OFFICE_EMAIL, "password": OFFICE_PASSWORD});
    let answer = fixture.ask(LOGIN, "nonsense", &body).await.json();
    assert_eq!(answer.as_object().unwrap().len(), 1);
    let data = answer["data"].as_object().unwrap();
    let names: Vec<_> = data.keys().collect();
    assert_eq!(names, ["accessToken", "expiresIn", "refreshToken", "sessionToken"]);
    assert_eq!(data["expiresIn"], "3600");

    let refresh = json!({"refreshToken": data["refreshToken"]});
    for _ in 0..2 {
        let answer = fixture.ask(REFRESH, "nonsense", &refresh).await;
        assert_eq!(answer.status, 201);
        let body = answer.json();
        let names: Vec<_> = body.as_object().unwrap().keys().collect();
        assert_eq!(names, ["accessToken", "sessionToken"]);
        let (access, session) = (&body["accessToken"], &body["sessionToken"]);
        let headers = headers(access.as_str().unwrap(), session.as_str().unwrap());
        let list = fixture.ask_with("GET /users/v1/bo", &headers, &Value::Null).await;
        assert_eq!(list.status, 200);
    }
    for (call, body, fields) in [
        (LOGIN, json!({"email": OFFICE_EMAIL, "password": "wrong"}), None),
        (LOGIN, json!({"email": "nobody@office.example", "password": "wrong"}), None),
        (LOGIN, json!({"email": "k".repeat(100_000), "password": ""}), None),
        (REFRESH, json!({"refreshToken": data["accessToken"]}), None),
        (REFRESH, json!({}), Some(&["refreshToken"][..])),
        (LOGIN, json!({"email": 1}), Some(&["email", "password"])),
        (LOGIN, json!([]), Some(&["body"])),
    ] {
        let answer = fixture.ask(call, "", &body).await;
        match fields {
            None => assert_refused(&answer, 401, "UNAUTHORIZED", &[]),
            Some(fields) => assert_refused(&answer, 400, "INVALID_REQUEST", fields),
        }
    }
}

#[tokio::test]
async fn an_audit_user_is_made_and_changed() {
    let fixture = Fixture::with_people().await;
    let headers = fixture.office().await.headers();
    let answer = fixture.ask_with(CREATE, &headers, &audit_user("Ada@office.example")).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let made = answer.json();
    let (id, key) = (made["data"]["id"].clone(), made["data"]["key"].clone());
    assert!(Uuid::try_parse(key.as_str().unwrap()).is_ok());
    let mut expected = json!({"data": {
        "id": id, "key": key, "firstName": "Ada", "lastName": "", "email": "Ada@office.example",
        "phone": "+33 1", "lang": "fr",
    }});
    assert_eq!(made, expected);

    let patch = format!("PATCH /users/v1/bo/audit/{id}");
    let answer = fixture.ask_with(&patch, &headers, &json!({"phone": "", "lang": null})).await;
    expected["data"]["phone"] = "".into();
    expected["data"]["lang"] = Value::Null;
    assert_eq!((answer.status, answer.json()), (200, expected));

    for (call, body, status, code, fields) in [
        (CREATE, audit_user("ada@OFFICE.example"), 409, "CONFLICT", &[][..]),
        (&patch, json!({"email": OFFICE_EMAIL}), 409, "CONFLICT", &[]),
        (&patch, json!({"email": "a", "lang": "ko"}), 400, "INVALID_REQUEST", &["email", "lang"]),
        ("PATCH /users/v1/bo/audit/1000000", json!({}), 404, "NOT_FOUND", &[]),
        ("PATCH /users/v1/bo/audit/one", json!({}), 400, "INVALID_REQUEST", &["userId"]),
        (
            CREATE,
            json!({}),
            400,
            "INVALID_REQUEST",
            &["firstName", "lastName", "email", "phone", "password"],
        ),
    ] {
        let answer = fixture.ask_with(call, &headers, &body).await;
        assert_refused(&answer, status, code, fields);
    }
}

#[tokio::test]
async fn everybody_is_listed_by_pages() {
    let fixture = Fixture::with_people().await;
    let headers = fixture.office().await.headers();
    for email in ["ada@office.example", "bea@office.example"] {
        fixture.ask_with(CREATE, &headers, &audit_user(email)).await;
    }
    let list = async |query: &str| {
        let call = format!("GET /users/v1/bo{query}");
        fixture.ask_with(&call, &headers, &Value::Null).await
    };
    let answer = list("").await;
    let body = answer.json();
    assert_eq!((answer.status, &body["totalCount"]), (200, &json!(3)));
    assert_eq!(body["pagination"], json!({"page": 1, "pageSize": 50}));
    assert_eq!(body.as_object().unwrap().len(), 3);
    let row = body["data"][1].as_object().unwrap();
    let names: Vec<_> = row.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "activatedAt",
            "createdAt",
            "deletedAt",
            "email",
            "firstName",
            "id",
            "key",
            "lang",
            "lastName",
            "phone",
            "type",
            "updatedAt",
        ]
    );
    assert_eq!((&body["data"][0]["type"], &row["type"]), (&json!(1), &json!(2)));
    assert_eq!(row["deletedAt"], Value::Null);
    let last = list("?page=2&pageSize=2").await.json();
    assert_eq!(last["data"], json!([body["data"][2]]));
    assert_eq!(last["pagination"], json!({"page": 2, "pageSize": 2}));
    assert_eq!(list("?page=9").await.json()["data"], json!([]));
    let head = fixture.ask_with("HEAD /users/v1/bo", &headers, &Value::Null).await;
    let length = answer.headers["content-length"].as_str();
    assert_eq!((head.status, &*head.headers["content-length"]), (200, length));
    let answer = list("?page=0&pageSize=201").await;
    assert_refused(&answer, 400, "INVALID_REQUEST", &["page", "pageSize"]);
}

#[tokio::test]
async fn both_tokens_must_be_good_and_of_one_person_who_may() {
    let fixture = Fixture::with_people().await;
    let first = fixture.office().await;
    let made = fixture.ask_with(CREATE, &first.headers(), &audit_user("ada@office.example")).await;
    let audit = fixture.office_login("ada@office.example").await;
    fixture.user("kim@example.com").await;
    let user = fixture.token("kim@example.com").await;
    let patch = format!("PATCH /users/v1/bo/audit/{}", made.json()["data"]["id"]);
    for call in [CREATE, &patch, "GET /users/v1/bo"] {
        let only_access = signed(&first.access);
        for headers in [
            &*signed(""),
            &only_access,
            &headers("", &first.session),
            &headers(&first.session, &first.access),
            &headers(&first.refresh, &first.session),
            &headers(&first.access, &audit.session),
            &headers(&user, &first.session),
            &headers(&fixture.key, &first.session),
        ] {
            let answer = fixture.ask_with(call, headers, &json!({})).await;
            assert_refused(&answer, 401, "UNAUTHORIZED", &[]);
        }
        let answer = fixture.ask_with(call, &audit.headers(), &json!({})).await;
        assert_refused(&answer, 403, "FORBIDDEN", &[]);
    }
    // The people do not mix.
    let answer = fixture.login("ada@office.example", OFFICE_PASSWORD, "").await;
    assert_eq!(answer.json()["detail"], "LOGIN_BAD_CREDENTIALS");
    let body = json!({"email": "kim@example.com", "password": PASSWORD});
    assert_refused(&fixture.ask(LOGIN, "", &body).await, 401, "UNAUTHORIZED", &[]);
    let answer = fixture.ask("GET /users/me", &first.access, &Value::Null).await;
    assert_eq!((answer.status, answer.json()), (401, json!({"detail": "Unauthorized"})));
}

#[tokio::test]
async fn bodies_must_say_that_they_are_json() {
    let fixture = Fixture::with_people().await;
    let tokens = fixture.office().await;
    let authorized = format!(
        "Authorization: Bearer {}\r\nx-session-token: {}\r\n",
        tokens.access, tokens.session
    );
    let patch = "PATCH /users/v1/bo/audit/1";
    for call in [BOOTSTRAP, LOGIN, REFRESH, CREATE, patch] {
        for content_type in
            ["", "Content-Type: text/json\r\n", "Content-Type: application/jsonx\r\n"]
        {
            let headers = format!("{authorized}{content_type}");
            let answer = fixture.ask_with(call, &headers, &json!({"phone": "1"})).await;
            assert_refused(&answer, 415, "UNSUPPORTED_MEDIA_TYPE", &[]);
        }
    }
    let headers = "Content-Type: Application/JSON ; charset=utf-8\r\n";
    let body = json!({"refreshToken": tokens.refresh});
    assert_eq!(fixture.ask_with(REFRESH, headers, &body).await.status, 201);
}
