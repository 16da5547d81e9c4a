//! Changing users: partial bodies, of which only what differs counts.

use millrace_store::{DocumentChange, Kind};
use uuid::Uuid;

use super::money::Money;
use super::user::{EmailOwner, Permissions, Person, Role, User};
use super::{Caller, PasswordUse, People, PeopleError, check_password, email, preferences};
use crate::audit::{Actor, Entry};
use crate::documents::{self, Stored};
use crate::field::{self, FieldError, Fields};
use crate::password::{Password, PasswordHash};
use crate::retry::Tries;

const NAME_CHARS_MIN: usize = 4;
const NAME_CHARS_MAX: usize = 32;

/// The body of an update: what is absent stays. `role` cannot be changed.
#[derive(Clone, Debug, Default)]
pub(super) struct UserUpdate {
    budget: Option<Money>,
    credit: Option<Money>,
    campaign_count: Option<i64>,
    creative_count: Option<i64>,
    placement_count: Option<i64>,
    name: Option<String>,
    permissions: Option<Permissions>,
    preferences: Option<preferences::Preferences>,
    email: Option<String>,
    password: Option<Password>,
    is_active: Option<bool>,
    is_superuser: Option<bool>,
    is_verified: Option<bool>,
}

impl UserUpdate {
    /// Reads a body, and whose it is, if it says so.
    fn parse(body: &[u8]) -> Result<(Option<Uuid>, Self), Vec<FieldError>> {
        let mut fields = Fields::parse(body)?;
        let id = fields.optional("id", field::uuid);
        let update = Self::read(&mut fields);
        fields.finish(Some((id, update)))
    }

    /// Reads a body that must say whose it is.
    pub(super) fn parse_with_id(body: &[u8]) -> Result<(Uuid, Self), Vec<FieldError>> {
        let mut fields = Fields::parse(body)?;
        let id = fields.required("id", field::uuid);
        let update = Self::read(&mut fields);
        fields.finish(id.map(|id| (id, update)))
    }

    /// An update of the password alone.
    pub(super) fn of_password(password: Password) -> Self {
        Self { password: Some(password), ..Self::default() }
    }

    /// An update that deactivates.
    pub(super) fn deactivation() -> Self {
        Self { is_active: Some(false), ..Self::default() }
    }

    fn read(fields: &mut Fields<'_>) -> Self {
        Self {
            budget: fields.optional("budget", Money::read),
            credit: fields.optional("credit", Money::read),
            campaign_count: fields.optional("campaign_count", field::count),
            creative_count: fields.optional("creative_count", field::count),
            placement_count: fields.optional("placement_count", field::count),
            name: fields.optional("name", field::text),
            permissions: fields.optional("permissions", field::permissions),
            preferences: fields.optional("preferences", preferences::read),
            email: fields.optional("email", email::read),
            password: fields.optional("password", field::text).map(Password::new),
            is_active: fields.optional("is_active", field::flag),
            is_superuser: fields.optional("is_superuser", field::flag),
            is_verified: fields.optional("is_verified", field::flag),
        }
    }

    /// Only the money of it.
    fn only_money(self) -> Self {
        Self { budget: self.budget, credit: self.credit, ..Self::default() }
    }

    /// Puts what only admins may change into a user.
    fn put_privileged(&self, user: &mut User) {
        put(&mut user.budget, &self.budget);
        put(&mut user.credit, &self.credit);
        put(&mut user.campaign_count, &self.campaign_count);
        put(&mut user.creative_count, &self.creative_count);
        put(&mut user.placement_count, &self.placement_count);
        put(&mut user.permissions, &self.permissions);
        put(&mut user.is_active, &self.is_active);
        put(&mut user.is_superuser, &self.is_superuser);
        put(&mut user.is_verified, &self.is_verified);
    }

    /// Puts what users may change of themselves into a user.
    fn put_own(&self, user: &mut User) -> Result<(), PeopleError> {
        if let Some(name) = self.name.as_ref().filter(|name| user.name.as_ref() != Some(*name)) {
            field::length_within(name, NAME_CHARS_MIN, NAME_CHARS_MAX)
                .map_err(|wrong| PeopleError::field("body", "name", wrong))?;
            user.name = Some(name.clone());
        }
        if let Some(change) = &self.preferences {
            preferences::merge(&mut user.preferences, change.clone())
                .map_err(|wrong| PeopleError::field("body", "preferences", wrong))?;
        }
        if let Some(address) = &self.email {
            if email::key(address) != email::key(&user.email) {
                user.is_verified = false;
            }
            user.email.clone_from(address);
        }
        Ok(())
    }
}

fn put<T: Clone>(into: &mut T, value: &Option<T>) {
    if let Some(value) = value {
        into.clone_from(value);
    }
}

/// Who changes a user.
#[derive(Clone, Copy, Debug)]
pub(super) enum By<'c> {
    /// Whoever runs the installation.
    Operator,
    /// A caller, what they may of themselves or others.
    Info(&'c Caller),
    /// A caller, the money of others.
    Budget(&'c Caller),
}

impl By<'_> {
    const fn caller(&self) -> Option<&Caller> {
        match self {
            Self::Operator => None,
            Self::Info(caller) | Self::Budget(caller) => Some(caller),
        }
    }

    fn actor(&self) -> Actor {
        self.caller().map_or(Actor::Operator, |caller| caller.user().actor())
    }
}

/// Who may change what of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Power {
    /// Everything.
    Admin,
    /// What users may change of themselves.
    Own,
    /// The money of advertisers; of others nothing, whether they exist or not.
    Budgets,
}

impl Power {
    /// What who has it is told of a user who is not there.
    const fn unknown(self) -> PeopleError {
        match self {
            Self::Budgets => PeopleError::Forbidden,
            Self::Admin | Self::Own => PeopleError::NotFound,
        }
    }
}

impl Caller {
    fn power_over(&self, id: Uuid) -> Result<Power, PeopleError> {
        self.must_be_admin_or(id)?;
        Ok(if self.is_admin() { Power::Admin } else { Power::Own })
    }

    fn power_over_budgets(&self) -> Result<Power, PeopleError> {
        match self.user() {
            user if user.is_admin() => Ok(Power::Admin),
            user if user.may_change_budgets() => Ok(Power::Budgets),
            _ => Err(PeopleError::Forbidden),
        }
    }
}

impl People {
    /// Changes a user: themselves, or anyone if the caller is an admin.
    ///
    /// # Errors
    /// 401 when the token died meanwhile, 403 for another's id or for what only admins change, 400
    /// for the password or a taken address, 409 when no admin would stay, 429 after too many
    /// passwords.
    pub async fn update_info(&self, caller: &Caller, body: &[u8]) -> Result<User, PeopleError> {
        let (id, update) = UserUpdate::parse(body)?;
        self.update(By::Info(caller), id.unwrap_or(caller.id()), update).await
    }

    /// Changes the budget and credit of a user; the rest of the body changes nothing.
    ///
    /// # Errors
    /// 403 unless the caller is an admin, or has the right and the user is an advertiser.
    pub async fn update_budget(&self, caller: &Caller, body: &[u8]) -> Result<User, PeopleError> {
        caller.power_over_budgets()?;
        let (id, update) = UserUpdate::parse_with_id(body)?;
        self.update(By::Budget(caller), id, update.only_money()).await
    }

    pub(super) async fn update(
        &self,
        by: By<'_>,
        id: Uuid,
        update: UserUpdate,
    ) -> Result<User, PeopleError> {
        let mut hash = None;
        let mut tries = Tries::default();
        loop {
            // Read before the right is looked at: whose own token dies after that changes the
            // version.
            let person = self.person(id).await?;
            let power = self.power(by, id).await?;
            let person = person.ok_or_else(|| power.unknown())?;
            let user = changed(&person.value.user, power, &update)?;
            if let (Some(password), None) = (&update.password, &hash) {
                check_password(password, &user.email, PasswordUse::Update)?;
                self.must_be_free(&person.value.user, &user).await?;
                hash = Some(self.hash_by(by, password.clone()).await?);
                // A thread may have been waited for long.
                continue;
            }
            if user == person.value.user && hash.is_none() {
                return Ok(user);
            }
            if self.keep(by, person, &user, hash.clone()).await? {
                return Ok(user);
            }
            tries.again().await?;
        }
    }

    /// What they may change of a user now.
    async fn power(&self, by: By<'_>, id: Uuid) -> Result<Power, PeopleError> {
        match by {
            By::Operator => Ok(Power::Admin),
            By::Info(caller) => self.anew(caller).await?.power_over(id),
            By::Budget(caller) => self.anew(caller).await?.power_over_budgets(),
        }
    }

    async fn hash_by(&self, by: By<'_>, password: Password) -> Result<PasswordHash, PeopleError> {
        Ok(match by.caller() {
            Some(caller) => self.core.hash(&caller.user().email, caller.from, password).await?,
            None => self.core.passwords.hash(password).await?,
        })
    }

    /// Keeps a changed user; `false`: something was changed meanwhile.
    async fn keep(
        &self,
        by: By<'_>,
        stored: Stored<Person>,
        user: &User,
        password: Option<PasswordHash>,
    ) -> Result<bool, PeopleError> {
        let old = stored.value.user.clone();
        let Some(mut changes) = self.move_email(&old, user).await? else { return Ok(false) };
        // The operator can make another.
        if by.caller().is_some() && old.is_active_admin() && !user.is_active_admin() {
            changes.push(self.another_admin_stays(user.id).await?);
        }
        let what = if password.is_some() { "changed, the password too" } else { "changed" };
        let entry = Entry::new("update", by.actor(), user.resource(), what);
        let entry = entry.with_difference(&old, user).hiding(preferences::SECRETS);
        let row = self.core.audit.row(entry).await?;
        let mut person = Person { user: user.clone(), ..stored.value };
        if let Some(password) = password {
            person.set_password(password);
        }
        if old.is_active && !user.is_active {
            person.end_tokens();
        }
        person.updated_us = self.core.clock.now_us();
        let key = user.id.to_string();
        changes.push(documents::replace(Kind::User, key, stored.version, &person)?);
        Ok(self.core.store.change(changes, vec![row]).await?)
    }

    /// What gives a user another address; nothing if it is the same but for its case. `None`: the
    /// old one was changed meanwhile.
    async fn move_email(
        &self,
        old: &User,
        new: &User,
    ) -> Result<Option<Vec<DocumentChange>>, PeopleError> {
        let (old_key, new_key) = (email::key(&old.email), email::key(&new.email));
        if old_key == new_key {
            return Ok(Some(Vec::new()));
        }
        self.must_be_free(old, new).await?;
        let Some(held) = self.core.email_owner(&old.email).await? else { return Ok(None) };
        let changes = vec![
            documents::remove(Kind::Email, old_key, held.version),
            documents::create(Kind::Email, new_key, &EmailOwner::User(old.id))?,
        ];
        Ok(Some(changes))
    }

    /// Another address must be nobody's.
    async fn must_be_free(&self, old: &User, new: &User) -> Result<(), PeopleError> {
        let is_same = email::key(&old.email) == email::key(&new.email);
        if !is_same && self.core.email_owner(&new.email).await?.is_some() {
            return Err(PeopleError::UpdateEmailTaken);
        }
        Ok(())
    }
}

/// The user after an update, if the power suffices.
fn changed(user: &User, power: Power, update: &UserUpdate) -> Result<User, PeopleError> {
    let mut changed = user.clone();
    update.put_privileged(&mut changed);
    let is_allowed = match power {
        Power::Admin => true,
        Power::Own => changed == *user,
        Power::Budgets => user.role == Role::Advertiser,
    };
    if !is_allowed {
        return Err(PeopleError::Forbidden);
    }
    update.put_own(&mut changed)?;
    Ok(changed)
}
