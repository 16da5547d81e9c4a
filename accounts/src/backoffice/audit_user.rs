//! Making and changing audit users.

use millrace_store::{DocumentChange, Kind as DocumentKind};
use uuid::Uuid;

use super::person::{AuditUser, Kind, Lang, Person};
use super::{BackOffice, BackOfficeCaller, BackOfficeError, person, rules};
use crate::audit::{Actor, Entry};
use crate::counter::ID_MAX;
use crate::documents::{self, Stored};
use crate::field::{FieldError, Fields, Wrong};
use crate::password::{Password, PasswordHash};
use crate::people::{EmailOwner, email};
use crate::retry::Tries;

/// The body that makes a person.
#[derive(Clone, Debug)]
pub(super) struct NewPerson {
    first_name: String,
    last_name: String,
    email: String,
    phone: String,
    password: Password,
    lang: Option<Lang>,
}

impl NewPerson {
    pub(super) fn address(&self) -> &str {
        &self.email
    }

    pub(super) fn password(&self) -> Password {
        self.password.clone()
    }

    pub(super) fn parse(body: &[u8]) -> Result<Self, Vec<FieldError>> {
        let mut fields = Fields::parse(body)?;
        let first_name = fields.required("firstName", rules::name);
        let last_name = fields.required("lastName", rules::name);
        let email = fields.required("email", rules::email);
        let phone = fields.required("phone", rules::phone);
        let password = fields.required("password", rules::password).map(Password::new);
        let lang = fields.optional("lang", rules::lang);
        let read = first_name.zip(last_name).zip(email.zip(phone)).zip(password).map(
            |(((first_name, last_name), (email, phone)), password)| Self {
                first_name,
                last_name,
                email,
                phone,
                password,
                lang,
            },
        );
        fields.finish(read)
    }
}

/// The body that changes an audit user: what is absent stays.
#[derive(Clone, Debug)]
struct AuditUserUpdate {
    first_name: Option<String>,
    last_name: Option<String>,
    email: Option<String>,
    phone: Option<String>,
    /// `Some(None)`: not said any more.
    lang: Option<Option<Lang>>,
}

impl AuditUserUpdate {
    fn parse(body: &[u8]) -> Result<Self, Vec<FieldError>> {
        let mut fields = Fields::parse(body)?;
        let update = Self {
            first_name: fields.optional("firstName", rules::name),
            last_name: fields.optional("lastName", rules::name),
            email: fields.optional("email", rules::email),
            phone: fields.optional("phone", rules::phone),
            lang: match fields.is_null("lang") {
                true => Some(None),
                false => fields.optional("lang", rules::lang).map(Some),
            },
        };
        fields.finish(Some(update))
    }

    fn applied(&self, to: &AuditUser) -> AuditUser {
        AuditUser {
            id: to.id,
            key: to.key,
            first_name: self.first_name.as_ref().unwrap_or(&to.first_name).clone(),
            last_name: self.last_name.as_ref().unwrap_or(&to.last_name).clone(),
            email: self.email.as_ref().unwrap_or(&to.email).clone(),
            phone: self.phone.as_ref().unwrap_or(&to.phone).clone(),
            lang: self.lang.unwrap_or(to.lang),
        }
    }
}

impl BackOffice {
    /// Makes an audit user.
    ///
    /// # Errors
    /// 401 when a session ended meanwhile, 403 unless the caller is of the back office, 409 for a
    /// used address, 429 after too many from one address of the network.
    pub async fn create_audit_user(
        &self,
        caller: &BackOfficeCaller,
        body: &[u8],
    ) -> Result<AuditUser, BackOfficeError> {
        caller.must_be_back_office()?;
        let new = NewPerson::parse(body)?;
        self.core.count_new(caller.from).map_err(BackOfficeError::TooManyRequests)?;
        let mut tries = Tries::default();
        loop {
            if self.core.email_owner(new.address()).await?.is_some() {
                return Err(BackOfficeError::EmailTaken);
            }
            let hash = self.core.hash_new(caller.from, new.password()).await?;
            // A thread may have been waited for long.
            let caller = self.anew(caller).await?;
            caller.must_be_back_office()?;
            // A database that forgets when it is killed may give an id that is somebody's.
            let made = self.add(new.clone(), hash, Kind::Audit, caller.actor(), &[]).await?;
            if let Some(made) = made {
                return Ok(made);
            }
            tries.again().await?;
        }
    }

    /// Adds a person together with other changes; `None` if the address is used, or if those
    /// cannot be.
    pub(super) async fn add(
        &self,
        new: NewPerson,
        password: PasswordHash,
        kind: Kind,
        actor: Actor,
        with: &[DocumentChange],
    ) -> Result<Option<AuditUser>, BackOfficeError> {
        let now_us = self.core.clock.now_us();
        let shown = AuditUser {
            id: self.ids.next().await?,
            key: Uuid::new_v4(),
            first_name: new.first_name,
            last_name: new.last_name,
            email: new.email,
            phone: new.phone,
            lang: new.lang,
        };
        let person = Person {
            shown,
            kind,
            password,
            generation: 0,
            created_us: now_us,
            updated_us: now_us,
            deleted_us: None,
        };
        let entry =
            Entry::new("create", actor, person.resource(), "person of the back office made");
        let row = self.core.audit.row(entry.with_new(&person.shown)).await?;
        let owner = EmailOwner::BackOffice(person.shown.id);
        let mut changes = with.to_vec();
        let address = email::key(&person.shown.email);
        changes.push(documents::create(DocumentKind::Email, address, &owner)?);
        let key = person::key(person.shown.id);
        changes.push(documents::create(DocumentKind::BackOffice, key, &person)?);
        if !self.core.store.change(changes, vec![row]).await? {
            return Ok(None);
        }
        Ok(Some(person.shown))
    }

    /// Changes an audit user.
    ///
    /// # Errors
    /// 403 unless the caller is of the back office, 404 for who is no audit user, 409 for a used
    /// address.
    pub async fn update_audit_user(
        &self,
        caller: &BackOfficeCaller,
        id: &str,
        body: &[u8],
    ) -> Result<AuditUser, BackOfficeError> {
        caller.must_be_back_office()?;
        let id = parse_id(id)?;
        let update = AuditUserUpdate::parse(body)?;
        let mut tries = Tries::default();
        loop {
            let person = self.person(id).await?.filter(|person| person.value.kind == Kind::Audit);
            let person = person.ok_or(BackOfficeError::NotFound)?;
            let shown = update.applied(&person.value.shown);
            if shown == person.value.shown {
                return Ok(shown);
            }
            if self.keep(caller.actor(), person, &shown).await? {
                return Ok(shown);
            }
            tries.again().await?;
        }
    }

    /// `false`: something was changed meanwhile.
    async fn keep(
        &self,
        actor: Actor,
        stored: Stored<Person>,
        shown: &AuditUser,
    ) -> Result<bool, BackOfficeError> {
        let Stored { version, value: person } = stored;
        let mut changes = Vec::new();
        let (old_key, new_key) = (email::key(&person.shown.email), email::key(&shown.email));
        if old_key != new_key {
            if self.core.email_owner(&shown.email).await?.is_some() {
                return Err(BackOfficeError::EmailTaken);
            }
            let Some(held) = self.core.email_owner(&person.shown.email).await? else {
                return Ok(false);
            };
            changes.push(documents::remove(DocumentKind::Email, old_key, held.version));
            let owner = EmailOwner::BackOffice(shown.id);
            changes.push(documents::create(DocumentKind::Email, new_key, &owner)?);
        }
        let entry = Entry::new("update", actor, person.resource(), "audit user changed");
        let row = self.core.audit.row(entry.with_difference(&person.shown, shown)).await?;
        let updated_us = self.core.clock.now_us();
        let person = Person { shown: shown.clone(), updated_us, ..person };
        let key = person::key(shown.id);
        changes.push(documents::replace(DocumentKind::BackOffice, key, version, &person)?);
        Ok(self.core.store.change(changes, vec![row]).await?)
    }
}

fn parse_id(text: &str) -> Result<i64, BackOfficeError> {
    let id = text.parse::<i64>().ok().filter(|id| id.unsigned_abs() <= ID_MAX.unsigned_abs());
    id.ok_or_else(|| {
        let wrong = Wrong::new("int_parsing", "Input should be an integer within ±(2^53-1)");
        BackOfficeError::field("path", "userId", wrong)
    })
}
