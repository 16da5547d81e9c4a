//! Consents of users to versions of a policy.

use millrace_schema::time::{Micros, format_us};
use millrace_store::Kind;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{Caller, People, PeopleError, email};
use crate::audit::{Actor, Entry};
use crate::documents::{self, Stored};
use crate::field::{self, FieldError, Fields, Wrong};
use crate::retry::Tries;

const VERSION_CHARS_MAX: usize = 64;
const CHANNEL_CHARS_MAX: usize = 64;
/// Policy versions that one user consents to or not.
const CONSENTS_MAX: usize = 100;

/// A consent, as shown. Times are RFC 3339.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Consent {
    /// Where it was given: `web_login`.
    pub consent_channel: String,
    /// When it was given.
    pub consent_date: String,
    /// When it was first kept.
    pub created_at: String,
    /// Whether it is one.
    pub is_agreed: bool,
    /// To which version of the policy.
    pub policy_version: String,
    /// When `is_agreed` changed last.
    pub updated_at: String,
    /// Whose it is.
    pub user_id: Uuid,
}

/// A consent, as kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ConsentRow {
    user_id: Uuid,
    policy_version: String,
    consent_channel: String,
    is_agreed: bool,
    consent_us: Micros,
    created_us: Micros,
    updated_us: Micros,
}

impl From<ConsentRow> for Consent {
    fn from(row: ConsentRow) -> Self {
        Self {
            consent_channel: row.consent_channel,
            consent_date: format_us(row.consent_us),
            created_at: format_us(row.created_us),
            is_agreed: row.is_agreed,
            policy_version: row.policy_version,
            updated_at: format_us(row.updated_us),
            user_id: row.user_id,
        }
    }
}

/// What the keys of a user's consents begin with.
pub(super) fn prefix(user: Uuid) -> String {
    format!("{user}/")
}

#[derive(Debug)]
struct ConsentUpsert {
    email: String,
    user_id: Uuid,
    policy_version: String,
    consent_channel: String,
    is_agreed: bool,
    consent_us: Option<Micros>,
    created_us: Option<Micros>,
    updated_us: Option<Micros>,
}

impl ConsentUpsert {
    fn parse(body: &[u8]) -> Result<Self, Vec<FieldError>> {
        let mut fields = Fields::parse(body)?;
        let channel = fields.required("consent_channel", field::text_within(0, CHANNEL_CHARS_MAX));
        let address = fields.required("email", email::read);
        let is_agreed = fields.required("is_agreed", field::flag);
        let version = fields.required("policy_version", version);
        let user_id = fields.required("user_id", field::uuid);
        let consent_us = fields.optional("consent_date", field::date_time);
        let created_us = fields.optional("created_at", field::date_time);
        let updated_us = fields.optional("updated_at", field::date_time);
        let read = channel.zip(address).zip(is_agreed).zip(version.zip(user_id)).map(
            |(((consent_channel, email), is_agreed), (policy_version, user_id))| Self {
                email,
                user_id,
                policy_version,
                consent_channel,
                is_agreed,
                consent_us,
                created_us,
                updated_us,
            },
        );
        fields.finish(read)
    }

    /// The consent after this: of one that is there already only the answer changes.
    fn applied(&self, found: Option<ConsentRow>, now_us: Micros) -> ConsentRow {
        let updated_us = self.updated_us.unwrap_or(now_us);
        match found {
            Some(found) => ConsentRow { is_agreed: self.is_agreed, updated_us, ..found },
            None => ConsentRow {
                user_id: self.user_id,
                policy_version: self.policy_version.clone(),
                consent_channel: self.consent_channel.clone(),
                is_agreed: self.is_agreed,
                consent_us: self.consent_us.unwrap_or(now_us),
                created_us: self.created_us.unwrap_or(now_us),
                updated_us,
            },
        }
    }
}

/// It becomes part of a key.
fn version(value: &RawValue) -> Result<String, Wrong> {
    let version = field::text_within(1, VERSION_CHARS_MAX)(value)?;
    if version.chars().any(char::is_control) {
        return Err(Wrong::value("a policy version has no control characters"));
    }
    Ok(version)
}

impl People {
    /// Keeps a consent of the caller, or of anyone if the caller is an admin.
    ///
    /// # Errors
    /// 403 for another's id, 404 for an unknown user, 422 for an address that is not theirs.
    pub async fn set_consent(&self, caller: &Caller, body: &[u8]) -> Result<Consent, PeopleError> {
        let upsert = ConsentUpsert::parse(body)?;
        caller.must_be_admin_or(upsert.user_id)?;
        let mut tries = Tries::default();
        loop {
            if let Some(consent) = self.try_consent(caller.user().actor(), &upsert).await? {
                return Ok(consent.into());
            }
            tries.again().await?;
        }
    }

    /// `None`: something was changed meanwhile.
    async fn try_consent(
        &self,
        actor: Actor,
        upsert: &ConsentUpsert,
    ) -> Result<Option<ConsentRow>, PeopleError> {
        let store = &*self.core.store;
        let person = self.person(upsert.user_id).await?.ok_or(PeopleError::NotFound)?;
        let user = &person.value.user;
        if email::key(&user.email) != email::key(&upsert.email) {
            let wrong = Wrong::value("it must be the address of the user");
            return Err(PeopleError::field("body", "email", wrong));
        }
        let prefix = prefix(user.id);
        let key = format!("{prefix}{}", upsert.policy_version);
        let found = documents::load::<ConsentRow>(store, Kind::Consent, &key).await?;
        if found.is_none() {
            let others = store.documents(Kind::Consent, &prefix, None, CONSENTS_MAX).await?;
            if others.len() >= CONSENTS_MAX {
                let reason = format!("a user has at most {CONSENTS_MAX} policy versions");
                let wrong = Wrong::value(&reason);
                return Err(PeopleError::field("body", "policy_version", wrong));
            }
        }
        let (version, old) = match found {
            Some(Stored { version, value }) => (Some(version), Some(value)),
            None => (None, None),
        };
        let row = upsert.applied(old.clone(), self.core.clock.now_us());
        let resource = format!("consent:{key}");
        let (entry, change) = match (version, old) {
            (Some(version), Some(old)) => (
                Entry::new("update", actor, resource, "consent changed")
                    .with_difference(&Consent::from(old), &Consent::from(row.clone())),
                documents::replace(Kind::Consent, key, version, &row)?,
            ),
            _ => (
                Entry::new("create", actor, resource, "consent kept")
                    .with_new(&Consent::from(row.clone())),
                documents::create(Kind::Consent, key, &row)?,
            ),
        };
        // The user in a new version: a deletion that did not see this consent fails.
        let id = user.id.to_string();
        let touched = documents::replace(Kind::User, id, person.version, &person.value)?;
        let audit = vec![self.core.audit.row(entry).await?];
        let is_changed = store.change(vec![change, touched], audit).await?;
        Ok(is_changed.then_some(row))
    }

    /// The consents of a user, by policy version.
    ///
    /// # Errors
    /// 422 for what is no id, 403 for another's, 404 for an unknown user.
    pub async fn consents(&self, caller: &Caller, id: &str) -> Result<Vec<Consent>, PeopleError> {
        let id = field::uuid_text(id).map_err(|w| PeopleError::field("path", "user_id", w))?;
        caller.must_be_admin_or(id)?;
        self.person(id).await?.ok_or(PeopleError::NotFound)?;
        let store = &*self.core.store;
        let found = documents::load_all::<ConsentRow>(store, Kind::Consent, &prefix(id)).await?;
        Ok(found.into_iter().map(|(_, consent)| consent.value.into()).collect())
    }
}
