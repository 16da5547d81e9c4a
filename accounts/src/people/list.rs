//! Listing users.

use millrace_store::Kind;
use uuid::Uuid;

use super::user::{Person, Role, User};
use super::{Caller, People, PeopleError};
use crate::documents;
use crate::field::{self, FieldError};

impl People {
    /// Users, oldest first; by `id` and `role` only those.
    ///
    /// # Errors
    /// 403 unless the caller is an admin, 422 for what is no id or role.
    pub async fn users(
        &self,
        caller: &Caller,
        query: &[(String, String)],
    ) -> Result<Vec<User>, PeopleError> {
        caller.must_be_admin()?;
        let (id, role) = filter(query)?;
        let mut users = match id {
            Some(id) => {
                self.person(id).await?.map(|person| person.value.user).into_iter().collect()
            }
            None => self.all_users().await?,
        };
        users.retain(|user| role.is_none_or(|role| user.role == role));
        Ok(users)
    }

    /// All users, oldest first; for the operator.
    ///
    /// # Errors
    /// The store is away.
    pub async fn all_users(&self) -> Result<Vec<User>, PeopleError> {
        let all = documents::load_all::<Person>(&*self.core.store, Kind::User, "").await?;
        Ok(all.into_iter().map(|(_, person)| person.value.user).collect())
    }
}

fn filter(query: &[(String, String)]) -> Result<(Option<Uuid>, Option<Role>), Vec<FieldError>> {
    let (mut id, mut role, mut errors) = (None, None, Vec::new());
    for (name, value) in query {
        let wrong = match name.as_str() {
            "id" => field::uuid_text(value).map(|found| id = Some(found)).err(),
            "role" => {
                role = Role::from_name(value);
                role.is_none().then(Role::none_such)
            }
            _ => None,
        };
        errors.extend(wrong.map(|wrong| FieldError::new("query", name, wrong)));
    }
    if errors.is_empty() { Ok((id, role)) } else { Err(errors) }
}
