//! What the operator does at the command line, without a caller.

use super::create::UserCreate;
use super::update::{By, UserUpdate};
use super::user::User;
use super::{People, PeopleError};
use crate::audit::Actor;
use crate::password::Password;

impl People {
    /// Makes a user from the body of a registration, with all that it grants.
    ///
    /// # Errors
    /// As [`People::register`] for an admin.
    pub async fn create_as_operator(&self, body: &[u8]) -> Result<User, PeopleError> {
        let create = UserCreate::parse(body)?;
        create.check_password()?;
        let password = self.core.passwords.hash(create.password()).await?;
        self.create(create, password, Some(Actor::Operator)).await
    }

    /// Deactivates the user of an address; every token dies.
    ///
    /// # Errors
    /// 404 for an unknown user.
    pub async fn deactivate_as_operator(&self, address: &str) -> Result<User, PeopleError> {
        self.update_as_operator(address, UserUpdate::deactivation()).await
    }

    /// Sets the password of the user of an address; every token dies.
    ///
    /// # Errors
    /// 404 for an unknown user, 400 for the password.
    pub async fn set_password_as_operator(
        &self,
        address: &str,
        password: Password,
    ) -> Result<User, PeopleError> {
        self.update_as_operator(address, UserUpdate::of_password(password)).await
    }

    async fn update_as_operator(
        &self,
        address: &str,
        update: UserUpdate,
    ) -> Result<User, PeopleError> {
        let person = self.person_of(address).await?.ok_or(PeopleError::NotFound)?;
        self.update(By::Operator, person.value.user.id, update).await
    }
}
