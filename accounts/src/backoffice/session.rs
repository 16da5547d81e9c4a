//! Signing in to the back office, and staying signed in.

use std::fmt;
use std::net::IpAddr;

use millrace_store::Kind as DocumentKind;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::person::{Kind, Person};
use super::{BackOffice, BackOfficeError};
use crate::audit::{Actor, Entry};
use crate::claims::US_PER_SECOND;
use crate::documents;
use crate::field::{self, Fields};
use crate::password::{Password, Verdict};
use crate::token::{ACCESS_S, BackOfficeAccess, Refresh, Session};

/// The answer to a login.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SignedIn {
    /// Good for an hour.
    pub access_token: String,
    /// Good for a day.
    pub session_token: String,
    /// Good for 30 days.
    pub refresh_token: String,
    /// Seconds that the access token is good for, as a text.
    pub expires_in: String,
}

/// The answer to a refresh.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Refreshed {
    /// Good for an hour.
    pub access_token: String,
    /// Good for a day.
    pub session_token: String,
}

impl fmt::Debug for SignedIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SignedIn(..)")
    }
}

impl fmt::Debug for Refreshed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Refreshed(..)")
    }
}

/// A session, as kept. It ends by itself, or when the person's generation moves on.
#[derive(Debug, Serialize, Deserialize)]
struct SessionRow {
    generation: u64,
}

fn session_key(person: i64, session: Uuid) -> String {
    format!("back_office/{person}/{session}")
}

/// A person who is signed in.
#[derive(Clone, Debug)]
pub struct BackOfficeCaller {
    person: Person,
    /// Of the access token, and of the session token.
    sessions: [Uuid; 2],
    /// Where they call from.
    pub(super) from: IpAddr,
}

impl BackOfficeCaller {
    pub(super) fn must_be_back_office(&self) -> Result<(), BackOfficeError> {
        match self.person.kind {
            Kind::BackOffice => Ok(()),
            Kind::Audit => Err(BackOfficeError::Forbidden),
        }
    }

    pub(super) fn actor(&self) -> Actor {
        self.person.actor()
    }
}

impl BackOffice {
    /// Signs in by a body with `email` and `password`, sent from an address of the network.
    ///
    /// # Errors
    /// 401 for whatever is wrong with the credentials, 429 after too many of those, or of all.
    pub async fn login(&self, body: &[u8], from: IpAddr) -> Result<SignedIn, BackOfficeError> {
        let mut fields = Fields::parse(body)?;
        let address = fields.required("email", field::text);
        let password = fields.required("password", field::text);
        let (address, password) = fields.finish(address.zip(password))?;
        self.core.count_login(&address, from).map_err(BackOfficeError::TooManyRequests)?;
        let person = self.person_of(&address).await?;
        let known = person.as_ref().map(|person| person.value.password.clone());
        let verdict = match self.core.passwords.verify(Password::new(password), known).await {
            Ok(verdict) => verdict,
            Err(error) => {
                self.core.forget_login(&address, from);
                return Err(error.into());
            }
        };
        let (Verdict::Right { rehashed }, Some(person)) = (verdict, person) else {
            return Err(BackOfficeError::BadCredentials);
        };
        self.core.logins.forgive(&address, from);
        if !person.value.is_active() {
            return Err(BackOfficeError::BadCredentials);
        }
        if let Some(password) = rehashed {
            // If the person was changed meanwhile, the next login does it.
            let changed = Person { password, ..person.value.clone() };
            self.replace(person.version, &changed, Vec::new()).await?;
        }
        self.sign_in(&person.value).await
    }

    async fn sign_in(&self, person: &Person) -> Result<SignedIn, BackOfficeError> {
        let session = Uuid::new_v4();
        let sub = person.shown.id.to_string();
        let refresh = Refresh::new(&self.core.clock, sub, session);
        let row = SessionRow { generation: person.generation };
        let key = session_key(person.shown.id, session);
        let kept = documents::create(DocumentKind::Session, key, &row)?;
        let kept = documents::expiring(kept, refresh.exp.saturating_mul(US_PER_SECOND));
        let entry = Entry::new("login", person.actor(), person.resource(), "signed in");
        let audit = vec![self.core.audit.row(entry).await?];
        let Refreshed { access_token, session_token } = self.tokens(person, session)?;
        let refresh_token = self.core.tokens.sign(&refresh)?;
        self.core.store.change(vec![kept], audit).await?;
        Ok(SignedIn {
            access_token,
            session_token,
            refresh_token,
            expires_in: ACCESS_S.to_string(),
        })
    }

    fn tokens(&self, person: &Person, session: Uuid) -> Result<Refreshed, BackOfficeError> {
        let (clock, tokens) = (&self.core.clock, &self.core.tokens);
        let id = person.shown.id.to_string();
        let access = BackOfficeAccess::new(clock, id.clone(), session);
        Ok(Refreshed {
            access_token: tokens.sign(&access)?,
            session_token: tokens.sign(&Session::new(clock, id, session.to_string()))?,
        })
    }

    /// New access and session tokens of a session. The refresh token stays as it is.
    ///
    /// # Errors
    /// 401 for a token that is not, or no longer, good.
    pub async fn refresh(&self, body: &[u8]) -> Result<Refreshed, BackOfficeError> {
        let mut fields = Fields::parse(body)?;
        let token = fields.required("refreshToken", field::text);
        let token = fields.finish(token)?;
        let token = self.core.tokens.read::<Refresh>(&token);
        let token = token.ok_or(BackOfficeError::BadRefreshToken)?;
        let person = self.in_session(&token.sub, token.session).await?;
        self.tokens(&person.ok_or(BackOfficeError::BadRefreshToken)?, token.session)
    }

    /// Whom an access token and a session token stand for that came from an address of the network,
    /// if it is the same person.
    ///
    /// # Errors
    /// [`BackOfficeError::Unauthorized`] if either is missing or not good.
    pub async fn caller(
        &self,
        access: Option<&str>,
        session: Option<&str>,
        from: IpAddr,
    ) -> Result<BackOfficeCaller, BackOfficeError> {
        let tokens = &self.core.tokens;
        let access = access.and_then(|token| tokens.read::<BackOfficeAccess>(token));
        let session = session.and_then(|token| tokens.read::<Session>(token));
        let (access, session) = access.zip(session).ok_or(BackOfficeError::Unauthorized)?;
        let session_id = Uuid::try_parse(&session.session_id);
        let session_id = session_id.map_err(|_| BackOfficeError::Unauthorized)?;
        if access.sub != session.user_id {
            return Err(BackOfficeError::Unauthorized);
        }
        self.in_sessions(&access.sub, [access.session, session_id], from).await
    }

    /// A caller as they are now: since they called, their sessions may have ended.
    pub(super) async fn anew(
        &self,
        caller: &BackOfficeCaller,
    ) -> Result<BackOfficeCaller, BackOfficeError> {
        self.in_sessions(&caller.person.shown.id.to_string(), caller.sessions, caller.from).await
    }

    async fn in_sessions(
        &self,
        person: &str,
        sessions: [Uuid; 2],
        from: IpAddr,
    ) -> Result<BackOfficeCaller, BackOfficeError> {
        let [access, session] = sessions;
        let mut found = self.in_session(person, access).await?;
        if session != access && found.is_some() {
            found = self.in_session(person, session).await?;
        }
        let person = found.ok_or(BackOfficeError::Unauthorized)?;
        Ok(BackOfficeCaller { person, sessions, from })
    }

    /// The person of a session that still is one.
    async fn in_session(
        &self,
        person: &str,
        session: Uuid,
    ) -> Result<Option<Person>, BackOfficeError> {
        let Ok(id) = person.parse::<i64>() else { return Ok(None) };
        let Some(person) = self.person(id).await? else { return Ok(None) };
        let key = session_key(id, session);
        let store = &*self.core.store;
        let kept = documents::load::<SessionRow>(store, DocumentKind::Session, &key).await?;
        let is_one = kept.is_some_and(|kept| kept.value.generation == person.value.generation);
        Ok(Some(person.value).filter(|person| is_one && person.is_active()))
    }
}
