//! A user is read, changed and written back; what others changed meanwhile stays.

use millrace_accounts::PeopleError;
use serde_json::{Value, json};

use super::world::{HERE, World, form};
use super::{at_once, body, new_user, the_winner};

pub(crate) async fn changes_of_a_user_at_once_are_all_kept(world: &World) {
    let boss = world.first().admin("boss@example.com").await;
    let user = world.first().user("u@example.com").await;
    let changes = [
        json!({"budget": 0.3}),
        json!({"credit": 12}),
        json!({"campaign_count": 1}),
        json!({"creative_count": 2}),
        json!({"placement_count": 3}),
        json!({"name": "Another name"}),
        json!({"email": "v@example.com"}),
        json!({"permissions": {"campaign": ["r", "w"]}}),
        json!({"preferences": {"a": 1}}),
        json!({"preferences": {"b": {"c": 2}}}),
        json!({"preferences": {"etc": {"language": "en"}}}),
        json!({"is_superuser": true}),
    ];
    let updates = world.in_turn().zip(changes.clone()).map(|(process, mut change)| {
        let boss = boss.clone();
        change["id"] = json!(user.id);
        async move { process.update(&boss, change).await.unwrap() }
    });
    at_once(updates).await;
    let books = world.books().await;
    let (version, person) = &books.users[&user.id.to_string()];
    assert_eq!(*version, 1 + 12);
    let user = &person["user"];
    for change in changes {
        assert!(contains(user, &change), "{change} in {user}");
    }
    let preferences = &user["preferences"];
    assert_eq!((&preferences["a"], &preferences["b"]["c"]), (&json!(1), &json!(2)));
}

/// Whether an object has all that another has.
fn contains(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => part
            .iter()
            .all(|(name, part)| whole.get(name).is_some_and(|whole| contains(whole, part))),
        _ => whole == part,
    }
}

pub(crate) async fn an_owner_who_writes_back_what_they_read_undoes_nothing(world: &World) {
    let boss = world.first().admin("boss@example.com").await;
    let owner = world.first().user("owner@example.com").await;
    let caller = world.first().caller("owner@example.com").await;
    for round in 1..=8 {
        let [one, other, _] = &world.processes;
        let read =
            one.people.caller(Some(&one.token("owner@example.com").await), HERE).await.unwrap();
        let mut whole = serde_json::to_value(read.user()).unwrap();
        whole["name"] = json!(format!("Name {round}"));
        let budget = json!({"id": owner.id, "budget": round});
        let (written, given) =
            tokio::join!(one.update(&caller, whole), other.update(&boss, budget));
        let given = given.unwrap();
        if let Err(error) = &written {
            assert_eq!(*error, PeopleError::Forbidden, "the budget was another by then");
        }
        let now = one.people.users(&boss, &[("id".to_owned(), owner.id.to_string())]).await;
        let now = now.unwrap().remove(0);
        assert_eq!(now.budget, given.budget);
        let is_renamed = now.name == Some(format!("Name {round}"));
        assert_eq!(is_renamed, written.is_ok());
    }
    world.books().await;
}

pub(crate) async fn a_token_of_a_mail_is_good_for_one_of_two_at_once(world: &World) {
    let first = world.first();
    let english = json!({"preferences": {"etc": {"language": "en"}}});
    first.people.register(None, &new_user("u@example.com", english), HERE).await.unwrap();
    let address = body(&json!({"email": "u@example.com"}));
    first.people.forgot_password(&address, HERE).await.unwrap();
    let token = mailed_token(world).await;
    let passwords = ["the first password", "the second password", "the third password"];
    let resets = world.in_turn().zip(passwords).map(|(process, password)| {
        let reset = body(&json!({"token": token, "password": password}));
        async move { process.people.reset_password(&reset, HERE).await.map(|()| password) }
    });
    let (winner, refused) = the_winner(at_once(resets).await);
    assert_eq!(refused, vec![PeopleError::BadResetToken; 2]);
    for password in passwords {
        let form = form("u@example.com", &password.replace(' ', "+"));
        let login = first.people.login(&form, HERE).await;
        assert_eq!(login.is_ok(), password == winner);
    }
    world.books().await;
}

/// The token of the only mail, whatever its encoding did to it.
async fn mailed_token(world: &World) -> String {
    let mail = loop {
        let mut files = std::fs::read_dir(world.outbox()).unwrap().map(|file| file.unwrap().path());
        match files.find(|path| path.extension().is_some_and(|is| is == "eml")) {
            Some(path) => break std::fs::read_to_string(path).unwrap(),
            None => tokio::task::yield_now().await,
        }
    };
    let text = mail.replace("=\r\n", "").replace("=3D", "=");
    let link = text.split("token=").nth(1).unwrap();
    let link: String = link.chars().take_while(|c| !c.is_whitespace()).collect();
    link.replace("%2E", ".").replace("%2D", "-").replace("%5F", "_")
}
