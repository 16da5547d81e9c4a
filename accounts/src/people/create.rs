//! Registering.

use std::net::IpAddr;

use millrace_schema::id::new_id;
use millrace_store::Kind;

use super::money::Money;
use super::user::{EmailOwner, Permissions, Person, Role, User};
use super::{Caller, NAME_CHARS_MAX, PasswordUse, People, PeopleError};
use super::{check_password, email, preferences};
use crate::audit::{Actor, Entry};
use crate::documents;
use crate::field::{self, FieldError, Fields};
use crate::password::{Password, PasswordHash};
use crate::retry::Tries;

/// The body of a registration.
#[derive(Clone, Debug)]
pub(super) struct UserCreate {
    email: String,
    name: String,
    password: Password,
    role: Role,
    permissions: Permissions,
    preferences: preferences::Preferences,
    budget: Money,
    credit: Money,
    is_active: bool,
    is_superuser: bool,
    is_verified: bool,
}

impl UserCreate {
    pub(super) fn parse(body: &[u8]) -> Result<Self, Vec<FieldError>> {
        let mut fields = Fields::parse(body)?;
        let email = fields.required("email", email::read);
        let name = fields.required("name", field::text_within(0, NAME_CHARS_MAX));
        let password = fields.required("password", field::text);
        let permissions = fields.required("permissions", field::permissions);
        let role = fields.required("role", Role::read);
        let budget = fields.optional("budget", Money::read).unwrap_or_default();
        let credit = fields.optional("credit", Money::read).unwrap_or_default();
        let is_active = fields.optional("is_active", field::flag).unwrap_or(true);
        let is_superuser = fields.optional("is_superuser", field::flag).unwrap_or(false);
        let is_verified = fields.optional("is_verified", field::flag).unwrap_or(false);
        let given = fields.optional("preferences", preferences::read).unwrap_or_default();
        let mut preferences = preferences::defaults();
        if let Err(wrong) = preferences::merge(&mut preferences, given) {
            fields.refuse("preferences", wrong);
        }
        let read = email.zip(name).zip(password).zip(permissions.zip(role)).map(
            |(((email, name), password), (permissions, role))| Self {
                email,
                name,
                password: Password::new(password),
                role,
                permissions,
                preferences,
                budget,
                credit,
                is_active,
                is_superuser,
                is_verified,
            },
        );
        fields.finish(read)
    }

    pub(super) fn password(&self) -> Password {
        self.password.clone()
    }

    pub(super) fn check_password(&self) -> Result<(), PeopleError> {
        check_password(&self.password, &self.email, PasswordUse::Register)
    }

    /// What is granted of it, and who does it if it is not the user's own doing.
    fn granted(self, admin: Option<&Caller>) -> Result<(Self, Option<Actor>), PeopleError> {
        match admin {
            Some(admin) => Ok((self, Some(admin.user().actor()))),
            None if self.role == Role::Admin => Err(PeopleError::Forbidden),
            None => Ok((self.without_grants(), None)),
        }
    }

    /// Registration is open, so it grants nothing.
    fn without_grants(self) -> Self {
        Self {
            permissions: Permissions::new(),
            budget: Money::default(),
            credit: Money::default(),
            is_active: true,
            is_superuser: false,
            is_verified: false,
            ..self
        }
    }
}

impl People {
    /// Registers a user. Only an admin's token lets the body grant anything; one that is not good
    /// is as none.
    ///
    /// # Errors
    /// 403 for `role: admin` without an admin's token, 400 for the password or a taken address,
    /// 429 after too many from one address of the network.
    pub async fn register(
        &self,
        token: Option<&str>,
        body: &[u8],
        from: IpAddr,
    ) -> Result<User, PeopleError> {
        let create = UserCreate::parse(body)?;
        create.clone().granted(self.admin(token, from).await?.as_ref())?;
        let password = self.first_password(&create, from).await?;
        // Who was an admin may be none any more: a thread may have been waited for long.
        let (create, actor) = create.granted(self.admin(token, from).await?.as_ref())?;
        self.create(create, password, actor).await
    }

    /// The admin of a token, if it is the good one of an admin.
    async fn admin(
        &self,
        token: Option<&str>,
        from: IpAddr,
    ) -> Result<Option<Caller>, PeopleError> {
        match self.caller(token, from).await {
            Ok(caller) => Ok(Some(caller).filter(Caller::is_admin)),
            Err(PeopleError::Unauthorized) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn first_password(
        &self,
        create: &UserCreate,
        from: IpAddr,
    ) -> Result<PasswordHash, PeopleError> {
        create.check_password()?;
        // Before it is told whether the address is taken, so that not many are tried.
        self.core.count_new(from).map_err(PeopleError::TooManyRequests)?;
        if self.core.email_owner(&create.email).await?.is_some() {
            return Err(PeopleError::RegisterEmailTaken);
        }
        Ok(self.core.hash_new(from, create.password()).await?)
    }

    /// Makes a user; without an actor it is their own doing.
    pub(super) async fn create(
        &self,
        create: UserCreate,
        password: PasswordHash,
        actor: Option<Actor>,
    ) -> Result<User, PeopleError> {
        let user = User {
            id: new_id(self.core.clock.now_us()),
            email: create.email,
            name: Some(create.name),
            role: create.role,
            budget: create.budget,
            credit: create.credit,
            campaign_count: 0,
            creative_count: 0,
            placement_count: 0,
            is_active: create.is_active,
            is_superuser: create.is_superuser,
            is_verified: create.is_verified,
            permissions: create.permissions,
            preferences: create.preferences,
        };
        let actor = actor.unwrap_or_else(|| user.actor());
        match self.add(user, Some(password), actor, "registered").await? {
            Some(user) => Ok(user),
            None => Err(PeopleError::RegisterEmailTaken),
        }
    }

    /// Adds a user; `None` if the address is taken.
    pub(super) async fn add(
        &self,
        user: User,
        password: Option<PasswordHash>,
        actor: Actor,
        description: &str,
    ) -> Result<Option<User>, PeopleError> {
        let now_us = self.core.clock.now_us();
        let entry = Entry::new("create", actor, user.resource(), description).with_new(&user);
        let row = self.core.audit.row(entry.hiding(preferences::SECRETS)).await?;
        let owner = EmailOwner::User(user.id);
        let person =
            Person { user, password, generation: 0, created_us: now_us, updated_us: now_us };
        let key = person.user.id.to_string();
        let changes = vec![
            documents::create(Kind::Email, email::key(&person.user.email), &owner)?,
            documents::create(Kind::User, key, &person)?,
        ];
        let mut tries = Tries::default();
        loop {
            if self.core.email_owner(&person.user.email).await?.is_some() {
                return Ok(None);
            }
            if self.core.store.change(changes.clone(), vec![row.clone()]).await? {
                return Ok(Some(person.user));
            }
            tries.again().await?;
        }
    }
}
