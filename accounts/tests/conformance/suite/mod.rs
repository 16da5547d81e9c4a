//! What the accounts must do over every store, told through their own calls. Each test gets an
//! empty store and three processes over it.

pub(crate) mod answers;
pub(crate) mod audit;
pub(crate) mod back_office;
pub(crate) mod changes;
pub(crate) mod consents;
pub(crate) mod deletions;
pub(crate) mod emails;
pub(crate) mod sessions;

pub(crate) mod books;
mod probe;
pub(crate) mod world;

use std::future::Future;

use serde_json::{Value, json};

pub(crate) use world::World;

/// Calls a macro with the names of all tests.
macro_rules! every_test {
    ($run:ident) => {
        $run! {
            emails:
                of_a_hundred_that_register_one_address_exactly_one_wins,
                a_user_and_an_audit_user_do_not_share_an_address,
                of_many_that_move_to_one_address_exactly_one_wins,
                an_address_that_is_left_is_taken_by_one_or_is_free,
                two_that_want_each_others_address_keep_their_own,
                the_first_person_does_not_take_a_users_address;
            back_office:
                of_many_bootstraps_at_once_exactly_one_makes_the_first_person,
                ids_are_positive_and_unique_in_every_process,
                changes_of_an_audit_user_at_once_are_all_kept,
                of_audit_users_that_move_to_one_address_exactly_one_wins;
            changes:
                changes_of_a_user_at_once_are_all_kept,
                an_owner_who_writes_back_what_they_read_undoes_nothing,
                a_token_of_a_mail_is_good_for_one_of_two_at_once;
            deletions:
                an_update_against_a_deletion_is_whole_or_not_at_all,
                of_many_deletions_of_a_user_one_deletes,
                the_last_admin_stays_when_all_delete_each_other;
            consents:
                consents_to_one_version_at_once_are_one,
                consents_to_many_versions_at_once_are_all_kept;
            sessions:
                who_signs_out_in_one_process_is_out_in_all,
                all_tokens_die_everywhere_with_deactivation_deletion_and_another_password,
                a_back_office_session_ends_everywhere,
                a_login_with_the_old_password_does_not_outlive_it;
            audit:
                every_change_of_a_user_has_its_entry,
                every_change_of_the_back_office_and_of_keys_has_its_entry,
                entries_are_chosen_by_type_person_and_day,
                no_more_than_a_thousand_entries_are_shown_the_newest_first;
            answers:
                while_the_store_is_away_every_call_says_so_and_changes_nothing,
                a_change_whose_answer_is_lost_is_whole,
                a_change_whose_documents_others_were_faster_to_change_is_tried_again;
        }
    };
}
pub(crate) use every_test;

/// Runs calls at once; what became of each.
pub(crate) async fn at_once<T: Send + 'static>(
    calls: impl IntoIterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Vec<T> {
    let calls: Vec<_> = calls.into_iter().map(tokio::spawn).collect();
    let mut answers = Vec::new();
    for call in calls {
        answers.push(call.await.unwrap());
    }
    answers
}

/// Of calls of which one must succeed: its answer, and the refusals of the others.
pub(crate) fn the_winner<T: std::fmt::Debug, E>(answers: Vec<Result<T, E>>) -> (T, Vec<E>) {
    let (mut won, mut refused) = (Vec::new(), Vec::new());
    for answer in answers {
        match answer {
            Ok(answer) => won.push(answer),
            Err(error) => refused.push(error),
        }
    }
    assert_eq!(won.len(), 1, "{won:?} have won");
    (won.remove(0), refused)
}

pub(crate) fn body(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

/// The body that registers an advertiser, with other members.
pub(crate) fn new_user(email: &str, members: Value) -> Vec<u8> {
    let mut user = json!({
        "email": email, "name": "Somebody", "password": world::PASSWORD, "role": "advertiser",
        "permissions": {},
    });
    for (name, value) in members.as_object().unwrap() {
        user[name] = value.clone();
    }
    body(&user)
}

pub(crate) fn new_audit_user(email: &str) -> Vec<u8> {
    body(&json!({
        "firstName": "Ada", "lastName": "Lovelace", "email": email, "phone": "1",
        "password": world::PASSWORD,
    }))
}
