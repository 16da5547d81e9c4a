//! The bodies of the five ingestion calls and of the two log calls: read once, checked, and borrowed.
//!
//! Owns what a body may look like and the words in which it is refused. Must not know how a body
//! came here, nor whether one bad item refuses the others.
//!
//! The text is read by simd-json into a flat tape, without building a tree; what must be kept as
//! sent (items, `properties`, unknown members of events) is sliced from the body.

mod ad;
mod cursor;
mod deletion;
mod fault;
mod item;
mod locate;
mod reader;

use std::borrow::Cow;

use simd_json::{Node, StaticNode};
use uuid::Uuid;

use crate::error::ItemErrors;
use crate::limits::{ITEMS_PER_CALL, JSON_DEPTH, Limits};
use crate::record::{Device, Event, Profile, Reach};
use crate::time::Micros;
use cursor::Cursor;
use fault::Fault;
use item::Checks;
use locate::Text;
use reader::{Document, Lines, Reader};

/// How a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON document.
    Json,
    /// One JSON document a line; empty lines count for nothing.
    NdJson,
}

/// What a body brought: the good items, and what is wrong with the others.
#[derive(Debug)]
pub struct Parsed<T> {
    /// The good items, in the order of the body.
    pub items: Vec<T>,
    /// What is wrong with the others.
    pub errors: ItemErrors,
    /// How many items were sent, good and bad.
    pub total: usize,
}

/// An event, as sent.
#[derive(Clone, Debug, PartialEq)]
pub struct EventItem<'a> {
    /// Its place in the request, from 0.
    pub index: usize,
    /// Its text, exactly as sent.
    pub raw: &'a str,
    /// Who did it.
    pub user: &'a str,
    /// The client's id.
    pub id: Option<&'a str>,
    /// What it was.
    pub name: &'a str,
    /// When, if that was said.
    pub time_us: Option<Micros>,
    /// A JSON object, exactly as sent.
    pub properties: Option<&'a str>,
    /// A JSON object of the members we do not know, each exactly as sent.
    pub extra: Option<String>,
}

impl<'a> EventItem<'a> {
    /// The event under the id it goes by: its own, or one given to it.
    pub fn into_event(self, id: Cow<'a, str>) -> Event<'a> {
        Event {
            user: Cow::Borrowed(self.user),
            id,
            name: Cow::Borrowed(self.name),
            time_us: self.time_us,
            properties: self.properties.map(Cow::Borrowed),
            extra: self.extra.map(Cow::Owned),
        }
    }
}

/// A profile change, as sent.
#[derive(Clone, Debug, PartialEq)]
pub struct ProfileItem<'a> {
    /// Its place in the request, from 0.
    pub index: usize,
    /// Its text, exactly as sent.
    pub raw: &'a str,
    /// What it says.
    pub profile: Profile<'a>,
}

/// A device change, as sent.
#[derive(Clone, Debug, PartialEq)]
pub struct DeviceItem<'a> {
    /// Its place in the request, from 0.
    pub index: usize,
    /// Its text, exactly as sent.
    pub raw: &'a str,
    /// What it says.
    pub device: Device<'a>,
}

/// The deletion of one user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deletion<'a> {
    /// Whom to delete.
    pub user: &'a str,
    /// What to erase: not empty, each once, in the order of [`Reach::ALL`].
    pub erase: Vec<Reach>,
}

/// The deletion of many users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BulkDeletion<'a> {
    /// Whom to delete, each once, in the order of first mention.
    pub users: Vec<&'a str>,
    /// What to erase: not empty, each once, in the order of [`Reach::ALL`].
    pub erase: Vec<Reach>,
    /// What is wrong with the other ids.
    pub errors: ItemErrors,
    /// How many ids were sent: good, bad and repeated.
    pub total: usize,
}

/// Reads bodies. Keeps its buffers from one to the next, so reuse it; what one call returns must
/// be gone before the next.
#[derive(Default)]
pub struct Parser {
    reader: Reader,
}

impl std::fmt::Debug for Parser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parser").finish_non_exhaustive()
    }
}

impl Parser {
    /// A parser that has no buffers yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the body of an `events` call, received at `received_us`.
    ///
    /// # Errors
    /// The body as a whole is refused: unreadable, without `events`, or with too many.
    pub fn events<'a>(
        &'a mut self,
        body: &'a [u8],
        format: Format,
        limits: &Limits,
        received_us: Micros,
    ) -> Result<Parsed<EventItem<'a>>, ItemErrors> {
        let call = Call { member: "events", limits, received_us, read: item::event };
        self.items(body, format, &call)
    }

    /// Reads the body of a `profiles` call, received at `received_us`.
    ///
    /// # Errors
    /// The body as a whole is refused: unreadable, without `profiles`, or with too many.
    pub fn profiles<'a>(
        &'a mut self,
        body: &'a [u8],
        format: Format,
        limits: &Limits,
        received_us: Micros,
    ) -> Result<Parsed<ProfileItem<'a>>, ItemErrors> {
        let call = Call { member: "profiles", limits, received_us, read: item::profile };
        self.items(body, format, &call)
    }

    /// Reads the body of a `devices` call, received at `received_us`.
    ///
    /// # Errors
    /// The body as a whole is refused: unreadable, without `devices`, or with too many.
    pub fn devices<'a>(
        &'a mut self,
        body: &'a [u8],
        format: Format,
        limits: &Limits,
        received_us: Micros,
    ) -> Result<Parsed<DeviceItem<'a>>, ItemErrors> {
        let call = Call { member: "devices", limits, received_us, read: item::device };
        self.items(body, format, &call)
    }

    /// Reads the body of a bulk deletion.
    ///
    /// # Errors
    /// The body as a whole is refused: unreadable, without `user_ids`, with none or too many of
    /// them, or with an `erase` that is not understood.
    pub fn user_ids<'a>(
        &'a mut self,
        body: &'a [u8],
        format: Format,
        limits: &Limits,
    ) -> Result<BulkDeletion<'a>, ItemErrors> {
        match format {
            Format::Json => {
                let read =
                    |document: Document<'_, 'a>| deletion::user_ids(document.cursor(), limits);
                self.reader.document(body, Text::Body { member: "user_ids" }, read)?
            }
            Format::NdJson => deletion::user_id_lines(&mut self.reader, body, limits),
        }
    }

    /// Reads the body of the deletion of one user; always JSON.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn deletion<'a>(
        &'a mut self,
        body: &'a [u8],
        limits: &Limits,
    ) -> Result<Deletion<'a>, ItemErrors> {
        let read = |document: Document<'_, 'a>| deletion::one_user(document.cursor(), limits);
        self.reader.document(body, Text::Body { member: "" }, read)?
    }

    /// Reads an ad log; always JSON.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn ad_log<'a>(
        &'a mut self,
        body: &'a [u8],
        limits: &Limits,
    ) -> Result<Event<'a>, ItemErrors> {
        let read = |document: Document<'_, 'a>| ad::ad_log(document.cursor(), limits);
        self.reader.document(body, Text::Body { member: "" }, read)?
    }

    /// Reads an activity that was received at `received_us`, as the event of an id; always JSON.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn activity<'a>(
        &'a mut self,
        body: &'a [u8],
        limits: &Limits,
        received_us: Micros,
        id: Uuid,
    ) -> Result<Event<'a>, ItemErrors> {
        let read =
            |document: Document<'_, 'a>| ad::activity(document.cursor(), limits, received_us, id);
        self.reader.document(body, Text::Body { member: "" }, read)?
    }

    fn items<'a, T>(
        &'a mut self,
        body: &'a [u8],
        format: Format,
        call: &Call<'_, 'a, T>,
    ) -> Result<Parsed<T>, ItemErrors> {
        match format {
            Format::Json => {
                let read = |document: Document<'_, 'a>| call.array(document.cursor());
                self.reader.document(body, Text::Body { member: call.member }, read)?
            }
            Format::NdJson => call.lines(&mut self.reader, body),
        }
    }
}

/// One of the calls that bring items.
struct Call<'c, 'a, T> {
    member: &'static str,
    limits: &'c Limits,
    received_us: Micros,
    read: fn(&mut Cursor<'_, 'a>, &mut Checks<'_>) -> Option<T>,
}

impl<'a, T> Call<'_, 'a, T> {
    /// Reads one document whose items stand in the array of our member; the last, if it was sent
    /// twice.
    fn array(&self, mut cursor: Cursor<'_, 'a>) -> Result<Parsed<T>, ItemErrors> {
        let mut found = Err(Fault::Missing);
        root_members(&mut cursor, |cursor, key| {
            if key != self.member {
                return false;
            }
            found = self.elements(cursor);
            true
        })?;
        found.map_err(|fault| fault.alone(None, Some(self.member)))
    }

    fn elements(&self, cursor: &mut Cursor<'_, 'a>) -> Result<Parsed<T>, Fault> {
        let total = array_len(cursor, ITEMS_PER_CALL)?;
        let mut parsed = Parsed::with_capacity(total);
        cursor.elements(|cursor, index| self.item(cursor, index, &mut parsed));
        Ok(parsed)
    }

    fn lines(&self, reader: &'a mut Reader, body: &'a [u8]) -> Result<Parsed<T>, ItemErrors> {
        let lines = Lines::new(body);
        let total = lines.clone().count();
        if total > ITEMS_PER_CALL {
            return Err(Fault::TooMany { count: total, limit: ITEMS_PER_CALL }.alone(None, None));
        }
        let mut parsed = Parsed::with_capacity(total);
        reader.lines(lines, total, |index, line| match line {
            Ok(document) => self.item(&mut document.cursor(), index, &mut parsed),
            Err(fault) => fault.add_to(&mut parsed.errors, Some(index), None),
        });
        Ok(parsed)
    }

    /// Reads the next item, and keeps it if nothing is wrong with it.
    fn item(&self, cursor: &mut Cursor<'_, 'a>, index: usize, parsed: &mut Parsed<T>) {
        let before = parsed.errors.total;
        let mut checks = Checks {
            limits: self.limits,
            received_us: self.received_us,
            errors: &mut parsed.errors,
            index: Some(index),
        };
        let item = (self.read)(cursor, &mut checks);
        if parsed.errors.total == before {
            parsed.items.extend(item);
        }
    }
}

impl<T> Parsed<T> {
    fn with_capacity(total: usize) -> Self {
        Self { items: Vec::with_capacity(total), errors: ItemErrors::default(), total }
    }
}

/// Passes the members of the root; those that `ours` does not take (and pass) are ignored.
fn root_members<'a>(
    cursor: &mut Cursor<'_, 'a>,
    mut ours: impl FnMut(&mut Cursor<'_, 'a>, &'a str) -> bool,
) -> Result<(), ItemErrors> {
    let mut too_deep = false;
    let is_object = cursor.members(|cursor, key, _| {
        if !ours(cursor, key) {
            too_deep |= cursor.value().depth >= JSON_DEPTH;
        }
    });
    match (is_object, too_deep) {
        (false, _) => Err(Fault::Type("a JSON object").alone(None, None)),
        (true, true) => Err(Fault::TooDeep.alone(None, None)),
        (true, false) => Ok(()),
    }
}

/// The number of elements of the next value, which must be an array of at most `limit`. Passes the
/// value if it is not.
fn array_len(cursor: &mut Cursor<'_, '_>, limit: usize) -> Result<usize, Fault> {
    let fault = match cursor.peek() {
        Node::Array { len, .. } if len <= limit => return Ok(len),
        Node::Array { len, .. } => Fault::TooMany { count: len, limit },
        Node::Static(StaticNode::Null) => Fault::Missing,
        _ => Fault::Type("an array"),
    };
    cursor.value();
    Err(fault)
}
