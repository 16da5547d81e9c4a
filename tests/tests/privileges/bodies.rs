//! Tokens in bodies: each is good for one thing, and only as long as what it is bound to lasts.

use std::fs;

use anyhow::{Context, Result, ensure};
use millrace_tests::accounts::{
    CHEAP, Installation, PASSWORD, Person, Signed, TOKEN_SECRET, json_request, login_request, text,
};
use millrace_tests::client::{Answer, Request};
use millrace_tests::forge::{self, Keys, with};
use serde_json::{Value, json};

const OTHER_PASSWORD: &str = "Another-horse-8-battery!";

/// A call that takes a token in its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Reset,
    Verify,
    Refresh,
}

impl Place {
    const ALL: [Self; 3] = [Self::Verify, Self::Reset, Self::Refresh];

    fn request(self, token: &str) -> Request {
        let (path, body) = match self {
            Self::Reset => {
                ("/auth/reset-password", json!({"token": token, "password": OTHER_PASSWORD}))
            }
            Self::Verify => ("/auth/verify", json!({"token": token})),
            Self::Refresh => ("/auth/v1/bo/token/refresh", json!({"refreshToken": token})),
        };
        json_request("POST", path, body.to_string())
    }

    /// Whether this is how a token that is not good is refused.
    fn refuses(self, answer: &Answer) -> bool {
        let body: Value = answer.json().unwrap_or_default();
        match self {
            Self::Reset => {
                answer.status == 400 && body == json!({"detail": "RESET_PASSWORD_BAD_TOKEN"})
            }
            Self::Verify => {
                answer.status == 400 && body == json!({"detail": "VERIFY_USER_BAD_TOKEN"})
            }
            Self::Refresh => answer.status == 401 && body["error"]["code"] == "UNAUTHORIZED",
        }
    }

    const fn success(self) -> u16 {
        match self {
            Self::Reset | Self::Verify => 200,
            Self::Refresh => 201,
        }
    }
}

struct Scene {
    installation: Installation,
    admin: Person,
    office: Signed,
}

impl Scene {
    fn set() -> Result<Self> {
        let mut installation = Installation::start(&CHEAP)?;
        let admin = installation.first_admin()?;
        let office = installation.bootstrap()?;
        Ok(Self { installation, admin, office })
    }

    fn refused(&mut self, place: Place, token: &str, what: &str) -> Result<()> {
        let answer = self.installation.send(&place.request(token))?;
        let (status, text) = (answer.status, answer.text());
        ensure!(place.refuses(&answer), "{place:?} with {what}: {status} {text}");
        Ok(())
    }

    fn taken(&mut self, place: Place, token: &str) -> Result<Answer> {
        self.installation.expect(&place.request(token), place.success())
    }

    /// The token of a mail.
    fn mailed(&mut self, place: Place, email: &str) -> Result<String> {
        let path = match place {
            Place::Reset => "/auth/forgot-password",
            Place::Verify => "/auth/request-verify-token",
            Place::Refresh => anyhow::bail!("nobody mails that"),
        };
        self.installation.mailed_token(path, email)
    }

    fn update(&mut self, by: &str, change: &Value) -> Result<()> {
        self.installation.json(("PATCH", "/user/info"), by, change, 200).map(|_| ())
    }
}

#[test]
fn a_token_in_a_body_is_good_for_its_own_call_only() -> Result<()> {
    let mut scene = Scene::set()?;
    let user = scene.installation.join(None, &json!({}))?;
    let (reset, verify) =
        (scene.mailed(Place::Reset, &user.email)?, scene.mailed(Place::Verify, &user.email)?);
    let Signed { access, session, refresh } = scene.office.clone();
    let key = scene.installation.server.key.clone();
    let kinds = [
        (Some(Place::Reset), reset),
        (Some(Place::Verify), verify),
        (Some(Place::Refresh), refresh),
        (None, user.token),
        (None, access),
        (None, session),
        (None, key),
        (None, String::new()),
        (None, "a.b.c".to_owned()),
        (None, "x".repeat(100_000)),
    ];
    let keys = scene.installation.data().join("keys");
    let strange = Keys::generate(fs::read_to_string(keys.join("signing.pub.pem"))?)?;
    // Verify comes before Reset, for a new password ends its token too.
    for place in Place::ALL {
        for (own, token) in kinds.iter().filter(|(own, _)| *own != Some(place)) {
            scene.refused(place, token, &format!("a token of {own:?}"))?;
        }
        let genuine = kinds.iter().find(|(own, _)| *own == Some(place));
        let (_, genuine) = genuine.context("no genuine token")?;
        let (_, claims) = forge::parts(genuine)?;
        let now_s = jiff::Timestamp::now().as_second();
        let mut forged = forge::tampered(genuine)?;
        forged.extend(forge::unsigned(genuine)?);
        forged.extend(strange.confused(genuine, TOKEN_SECRET.as_bytes())?);
        for (name, value) in [
            ("exp", json!(now_s - 1)),
            ("exp", Value::Null),
            ("aud", json!("somebody")),
            ("aud", Value::Null),
            ("iss", json!("somebody")),
            ("sub", json!("00000000-0000-0000-0000-000000000000")),
            ("sub", Value::Null),
        ] {
            forged.push(forge::hs256(&with(&claims, name, value), TOKEN_SECRET)?);
        }
        for (number, token) in forged.iter().enumerate() {
            scene.refused(place, token, &format!("forgery {number}"))?;
        }
        // Signed anew as it was, and so it is not the signing that the others fail at.
        scene.taken(place, &forge::hs256(&claims, TOKEN_SECRET)?)?;
    }
    Ok(())
}

#[test]
fn a_reset_token_dies_with_the_password_it_replaces() -> Result<()> {
    let mut scene = Scene::set()?;
    let user = scene.installation.join(None, &json!({}))?;
    let (first, second) =
        (scene.mailed(Place::Reset, &user.email)?, scene.mailed(Place::Reset, &user.email)?);
    scene.taken(Place::Reset, &first)?;
    scene.refused(Place::Reset, &first, "a token that was used")?;
    scene.refused(Place::Reset, &second, "a token of the password before")?;
    let me = scene.installation.send(&Request::get("/users/me").bearer(&user.token))?;
    ensure!(me.status == 401, "signed in after a reset: {}", me.status);
    scene.installation.expect(&login_request(&user.email, PASSWORD), 400)?;
    scene.installation.expect(&login_request(&user.email, OTHER_PASSWORD), 200)?;

    let user = scene.installation.join(None, &json!({}))?;
    let token = scene.mailed(Place::Reset, &user.email)?;
    scene.update(&user.token, &json!({"password": OTHER_PASSWORD}))?;
    scene.refused(Place::Reset, &token, "a token from before a change")?;

    let user = scene.installation.join(None, &json!({}))?;
    let token = scene.mailed(Place::Reset, &user.email)?;
    let admin = scene.admin.token.clone();
    scene.update(&admin, &json!({"id": user.id, "is_active": false}))?;
    scene.refused(Place::Reset, &token, "a token of who is not active")?;
    scene.installation.json(("DELETE", "/users"), &admin, &json!({"id": user.id}), 200)?;
    scene.refused(Place::Reset, &token, "a token of who is deleted")
}

#[test]
fn a_verify_token_dies_with_the_address_it_is_for() -> Result<()> {
    let mut scene = Scene::set()?;
    let user = scene.installation.join(None, &json!({}))?;
    let token = scene.mailed(Place::Verify, &user.email)?;
    let shown: Value = scene.taken(Place::Verify, &token)?.json()?;
    ensure!(shown["is_verified"] == true && shown["id"] == *user.id, "{shown}");
    let again = scene.installation.expect(&Place::Verify.request(&token), 400)?;
    let body: Value = again.json()?;
    ensure!(body == json!({"detail": "VERIFY_USER_ALREADY_VERIFIED"}), "{body}");

    let user = scene.installation.join(None, &json!({}))?;
    let token = scene.mailed(Place::Verify, &user.email)?;
    let email = scene.installation.new_email();
    scene.update(&user.token, &json!({"email": email}))?;
    scene.refused(Place::Verify, &token, "a token of the address before")
}

#[test]
fn a_refresh_token_dies_with_the_password_and_with_the_person() -> Result<()> {
    let mut scene = Scene::set()?;
    let office = scene.office.clone();
    let again: Value = scene.taken(Place::Refresh, &office.refresh)?.json()?;
    ensure!(again.get("data").is_none(), "it is wrapped: {again}");
    let (access, session) = (text(&again, "accessToken")?, text(&again, "sessionToken")?);
    let list = Request::get("/users/v1/bo").bearer(&access).header("x-session-token", &session);
    scene.installation.expect(&list, 200)?;
    // It is not rotated.
    scene.taken(Place::Refresh, &office.refresh)?;

    for (args, input) in [
        (&["user", "set-password", "--password-stdin"][..], OTHER_PASSWORD),
        (&["user", "deactivate"][..], ""),
    ] {
        let (email, _) = scene.installation.new_audit_user(&office)?;
        let signed = scene.installation.office_signed_in(&email)?;
        scene.taken(Place::Refresh, &signed.refresh)?;
        let (command, flags) = args.split_at(2);
        scene.installation.command(&[command, &[&email], flags].concat(), input)?;
        scene.refused(Place::Refresh, &signed.refresh, &format!("a token from before {args:?}"))?;
    }
    Ok(())
}

#[test]
fn a_logout_ends_one_token_and_a_password_change_ends_all() -> Result<()> {
    let mut scene = Scene::set()?;
    let one = scene.installation.join(None, &json!({}))?;
    let other = scene.installation.signed_in(&one.email)?;
    let me = |person: &Person| Request::get("/users/me").bearer(&person.token);
    let logout = Request::post("/auth/jwt/logout", "").bearer(&one.token);
    let answer = scene.installation.expect(&logout, 204)?;
    ensure!(answer.body.is_empty(), "{}", answer.text());
    scene.installation.expect(&me(&one), 401)?;
    scene.installation.expect(&me(&other), 200)?;
    let third = scene.installation.signed_in(&one.email)?;
    scene.update(&third.token, &json!({"password": OTHER_PASSWORD}))?;
    scene.installation.expect(&me(&other), 401)?;
    scene.installation.expect(&me(&third), 401)?;
    Ok(())
}
