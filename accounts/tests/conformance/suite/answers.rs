//! What the calls answer while the store fails them, and what is stored then.

use millrace_accounts::{BackOfficeCaller, BackOfficeError, Caller, Password, PeopleError, User};
use serde_json::json;

use super::probe::Fault;
use super::world::{FIRST, HERE, PASSWORD, Process, SECRET, World, credentials, form};
use super::{body, new_audit_user, new_user};

/// Status and `Retry-After` of a refusal; 200 for none.
type Told = (u16, Option<u64>);

/// Who and what the calls are about.
struct Scene {
    boss: Caller,
    /// For whom other changes are than for the next one.
    users: Vec<(User, Caller)>,
    by: BackOfficeCaller,
    audit_user: i64,
}

impl Scene {
    async fn new(process: &Process) -> Self {
        let boss = process.admin("boss@example.com").await;
        let mut users = Vec::new();
        for n in 0..3 {
            let address = format!("u{n}@example.com");
            let user = process.user(&address).await;
            users.push((user, process.caller(&address).await));
        }
        let by = process.operator().await;
        let new = new_audit_user("a@example.com");
        let audit_user = process.office.create_audit_user(&by, &new).await.unwrap().id;
        Self { boss, users, by, audit_user }
    }
}

const CHANGES: [&str; 15] = [
    "register",
    "login",
    "update_info",
    "update_budget",
    "set_consent",
    "change_consent",
    "move_email",
    "set_password",
    "logout",
    "deactivate",
    "delete_user",
    "create_audit_user",
    "update_audit_user",
    "back_office_login",
    "back_office_password",
];

/// Makes a change.
async fn change(process: &Process, scene: &Scene, call: &str) -> Told {
    let Process { people, office, .. } = process;
    let Scene { boss, users, by, audit_user } = scene;
    let ((user, caller), other, third) = (&users[0], &users[1].0, &users[2].0);
    let update = async |change: serde_json::Value| process.update(boss, change).await.map(drop);
    let consent = json!({
        "consent_channel": "web_login", "email": third.email, "is_agreed": call == "set_consent",
        "policy_version": "1.0.0", "user_id": third.id,
    });
    let audit_id = audit_user.to_string();
    let done = match call {
        "register" => {
            people.register(None, &new_user("new@example.com", json!({})), HERE).await.map(drop)
        }
        "login" => people.login(&form(&user.email, PASSWORD), HERE).await.map(drop),
        "update_info" => update(json!({"id": user.id, "name": "Another name"})).await,
        "update_budget" => {
            people.update_budget(boss, &body(&json!({"id": user.id, "budget": 7}))).await.map(drop)
        }
        "set_consent" | "change_consent" => {
            people.set_consent(boss, &body(&consent)).await.map(drop)
        }
        "move_email" => update(json!({"id": other.id, "email": "moved@example.com"})).await,
        "set_password" => {
            let password = Password::new("another one".to_owned());
            people.set_password_as_operator(&user.email, password).await.map(drop)
        }
        "logout" => people.logout(caller).await,
        "deactivate" => people.deactivate_as_operator(&user.email).await.map(drop),
        "delete_user" => people.delete_user(boss, &body(&json!({"id": third.id}))).await.map(drop),
        _ => {
            let done = match call {
                "create_audit_user" => {
                    office.create_audit_user(by, &new_audit_user("b@example.com")).await.map(drop)
                }
                "update_audit_user" => {
                    let change = json!({"email": "c@example.com", "lang": "fr"});
                    office.update_audit_user(by, &audit_id, &body(&change)).await.map(drop)
                }
                "back_office_login" => {
                    office.login(&credentials(FIRST, PASSWORD), HERE).await.map(drop)
                }
                _ => office.set_password_as_operator(FIRST, "An0ther!one").await.map(drop),
            };
            return told_of_office(done);
        }
    };
    told(done)
}

fn told<T>(answer: Result<T, PeopleError>) -> Told {
    answer.map_or_else(|error| (error.status(), error.retry_after_s()), |_| (200, None))
}

fn told_of_office<T>(answer: Result<T, BackOfficeError>) -> Told {
    answer.map_or_else(|error| (error.status(), error.retry_after_s()), |_| (200, None))
}

const AWAY: Told = (503, Some(1));

pub(crate) async fn while_the_store_is_away_every_call_says_so_and_changes_nothing(world: &World) {
    let process = world.first();
    let Process { people, office, .. } = process;
    let scene = Scene::new(process).await;
    let token = process.token("boss@example.com").await;
    let signed_in = process.sign_in(FIRST).await;
    let before = world.books().await;
    world.set(Fault::Away);
    for call in CHANGES {
        assert_eq!(change(process, &scene, call).await, AWAY, "{call}");
    }
    let address = body(&json!({"email": "u0@example.com"}));
    let id = scene.users[0].0.id.to_string();
    for (call, told) in [
        ("caller", told(people.caller(Some(&token), HERE).await)),
        ("forgot_password", told(people.forgot_password(&address, HERE).await)),
        ("request_verify", told(people.request_verify(&address, HERE).await)),
        ("users", told(people.users(&scene.boss, &[]).await)),
        ("consents", told(people.consents(&scene.boss, &id).await)),
        ("logs", told(people.logs(&scene.boss, &[]).await)),
        ("bootstrap", told_of_office(office.bootstrap(SECRET, HERE).await)),
        ("list", told_of_office(office.list(&scene.by, &[]).await)),
        ("refresh", {
            let refresh = body(&json!({"refreshToken": signed_in.refresh_token}));
            told_of_office(office.refresh(&refresh).await)
        }),
        ("back office's caller", {
            let (access, session) = (&signed_in.access_token, &signed_in.session_token);
            told_of_office(office.caller(Some(access), Some(session), HERE).await)
        }),
    ] {
        assert_eq!(told, AWAY, "{call}");
    }
    world.set(Fault::None);
    assert_eq!(world.books().await, before);
    for call in CHANGES {
        assert_eq!(change(process, &scene, call).await, (200, None), "{call}");
    }
    world.books().await;
}

pub(crate) async fn a_change_whose_answer_is_lost_is_whole(world: &World) {
    let [one, other, _] = &world.processes;
    let scene = Scene::new(one).await;
    for call in CHANGES {
        let before = world.books().await;
        world.set(Fault::AnswersLost);
        assert_eq!(change(one, &scene, call).await, AWAY, "{call}");
        world.set(Fault::None);
        let after = world.books().await;
        assert_eq!(after.entries.len(), before.entries.len() + 1, "{call} happened, once");
        // Who asks again is told of what has happened.
        let again = change(other, &scene, call).await;
        let expected = match call {
            "register" => (400, None),
            "create_audit_user" => (409, None),
            "delete_user" => (404, None),
            _ => (200, None),
        };
        assert_eq!(again, expected, "{call}");
        world.books().await;
    }
}

pub(crate) async fn a_change_whose_documents_others_were_faster_to_change_is_tried_again(
    world: &World,
) {
    let process = world.first();
    let scene = Scene::new(process).await;
    // What writes nothing but its own documents is never beaten.
    for call in CHANGES.iter().filter(|call| !call.contains("log")) {
        process.store.beat(3);
        assert_eq!(change(process, &scene, call).await, (200, None), "{call}");
        assert_eq!(process.store.beaten(), 0, "{call}");
    }
    world.books().await;
    process.store.beat(u32::MAX);
    let before = world.books().await;
    assert_eq!(change(process, &scene, "update_info").await, (200, None), "nothing to change");
    assert_eq!(change(process, &scene, "deactivate").await.0, 200, "nothing to change");
    assert_eq!(change(process, &scene, "set_password").await, AWAY);
    process.store.beat(0);
    assert_eq!(world.books().await, before);
}
