//! The log record: what one item becomes, and its JSON form, the same on every engine.
//!
//! A value is one JSON object, UTF-8, without line breaks of its own. Common members: `v` (format
//! version, 1), `kind`, `project`, `user` (absent only for a device that belongs to nobody) and
//! `received_us` (microseconds, stamped once by the front door). Per kind:
//!
//! | kind | members |
//! | --- | --- |
//! | `event` | `id`, `name`, `time_us`?, `properties`?, `extra`? (unknown item members, as sent) |
//! | `profile` | `time_us`?, `properties`? |
//! | `device` | `device_id`, `time_us`?, `fields` (strings), `properties`?, `unlink` |
//! | `erase` | `job`: a marker; what stands before it in its partition and belongs to its user dies |
//! | `job` | `job`, `users`, `erase`, `fence`, `salt`, `ids_hash`, `sample`: the seal of a deletion |
//! | `refused` | `id`, `reason`, `body`, `base64`?, `body_bytes`: a log call's body that can be no event |
//!
//! `time_us` is absent where the client sent no timestamp: the worker decides then. Unknown
//! members are ignored by readers of the same version. `properties` and `extra` are the exact text
//! that was sent.

mod refused;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::time::Micros;
use crate::topic::Topic;
pub use refused::Refused;

/// The format's version; a reader refuses a higher one.
pub const VERSION: u32 = 1;

/// Header of a dead letter: the topic it comes from.
pub const HEADER_ORIGIN_TOPIC: &str = "millrace-origin-topic";
/// Header of a dead letter: the partition it comes from, decimal.
pub const HEADER_ORIGIN_PARTITION: &str = "millrace-origin-partition";
/// Header of a dead letter, and of its replay: the offset it had at its first acceptance, decimal.
pub const HEADER_ORIGIN_OFFSET: &str = "millrace-origin-offset";
/// Header of a dead letter, and of its replay: the partition's monotone time at that offset,
/// microseconds, decimal.
pub const HEADER_ORIGIN_TIME_US: &str = "millrace-origin-time-us";
/// Header of a dead letter: why it could not be stored.
pub const HEADER_ERROR: &str = "millrace-error";
/// Header of a record that waited in the spool while the log was away.
pub const HEADER_SPOOLED: &str = "millrace-spooled";

/// One record of the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Record<'a> {
    /// The project it belongs to.
    pub project: Cow<'a, str>,
    /// When the front door took it, microseconds.
    pub received_us: Micros,
    /// What it says.
    pub body: Body<'a>,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq)]
pub enum Body<'a> {
    /// Something a user did.
    Event(Event<'a>),
    /// A change of a user's properties.
    Profile(Profile<'a>),
    /// A change of a device.
    Device(Device<'a>),
    /// A user's data of this topic ends here.
    Marker(Marker<'a>),
    /// A deletion job, sealed: all its markers are in the log.
    Job(Job),
    /// What was sent and can be no event: on its way to the dead letters.
    Refused(Refused<'a>),
}

/// Something a user did.
#[derive(Clone, Debug, PartialEq)]
pub struct Event<'a> {
    /// Who did it.
    pub user: Cow<'a, str>,
    /// The client's id, or the one given at the door.
    pub id: Cow<'a, str>,
    /// What it was.
    pub name: Cow<'a, str>,
    /// When, if that was said (the door says it for ids of its own making).
    pub time_us: Option<Micros>,
    /// A JSON object, as sent.
    pub properties: Option<Cow<'a, str>>,
    /// A JSON object of the members we do not know, as sent.
    pub extra: Option<Cow<'a, str>>,
}

/// A change of a user's properties.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile<'a> {
    /// Whose.
    pub user: Cow<'a, str>,
    /// When it changed, if that was said.
    pub time_us: Option<Micros>,
    /// A JSON object, as sent; `null` removes.
    pub properties: Option<Cow<'a, str>>,
}

/// A change of a device.
#[derive(Clone, Debug, PartialEq)]
pub struct Device<'a> {
    /// Whose; nobody's when it is unlinked without naming a user.
    pub user: Option<Cow<'a, str>>,
    /// Which.
    pub device_id: Cow<'a, str>,
    /// When it changed, if that was said.
    pub time_us: Option<Micros>,
    /// The device's own fields that were sent: (name, text).
    pub fields: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// A JSON object, as sent; `null` removes.
    pub properties: Option<Cow<'a, str>>,
    /// The device leaves its user.
    pub unlink: bool,
}

/// A user's data of this topic ends here.
#[derive(Clone, Debug, PartialEq)]
pub struct Marker<'a> {
    /// Whose.
    pub user: Cow<'a, str>,
    /// By which job.
    pub job: Uuid,
}

/// What a deletion reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// The profile and its properties.
    Profile,
    /// The devices and their claims.
    Devices,
    /// The events.
    Events,
}

impl Reach {
    /// Everything, the default.
    pub const ALL: [Self; 3] = [Self::Profile, Self::Devices, Self::Events];

    /// The topic whose records it reaches.
    pub const fn topic(self) -> Topic {
        match self {
            Self::Profile => Topic::Profiles,
            Self::Devices => Topic::Devices,
            Self::Events => Topic::Events,
        }
    }
}

/// Where the markers of a job stand in one partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fence {
    /// The topic.
    pub topic: Topic,
    /// The partition.
    pub partition: u32,
    /// Offset of the first marker.
    pub first: u64,
    /// Offset of the last marker.
    pub last: u64,
    /// Number of markers.
    pub count: u64,
}

/// A deletion job, sealed: all its markers are in the log. The default is of nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Its id.
    pub job: Uuid,
    /// Number of users, duplicates merged.
    pub users: u64,
    /// What it reaches.
    pub erase: Vec<Reach>,
    /// Where its markers stand.
    pub fence: Vec<Fence>,
    /// Salt of `ids_hash`, hexadecimal.
    pub salt: String,
    /// SHA-256 over the salt's bytes and then, of each id in ascending byte order, its length (4
    /// bytes, little-endian) and its bytes; hexadecimal.
    pub ids_hash: String,
    /// A few of the ids, to be read back at the end and then forgotten.
    pub sample: Vec<String>,
}

/// Why a value is not a record of ours.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Not text.
    #[error("not a record: {0}")]
    Utf8(#[from] simdutf8::basic::Utf8Error),
    /// Not the JSON we write.
    #[error("not a record: {0}")]
    Json(#[from] serde_json::Error),
    /// A body that is not the base64 it is said to be.
    #[error("not a record: the body is not base64: {0}")]
    Base64(#[from] base64::DecodeError),
    /// Written by a later version.
    #[error("record format version {0}, but this version reads up to {VERSION}")]
    Version(u32),
    /// A kind we do not know.
    #[error("unknown record kind {0:?}")]
    Kind(String),
    /// A member its kind needs is absent.
    #[error("a record of kind {kind:?} needs {member:?}")]
    Missing {
        /// The kind.
        kind: &'static str,
        /// The member.
        member: &'static str,
    },
}

impl Record<'_> {
    /// Appends the JSON form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut w = Members { out };
        w.out.extend_from_slice(b"{\"v\":1,\"kind\":\"");
        w.out.extend_from_slice(self.body.kind().as_bytes());
        w.out.push(b'"');
        w.string("project", &self.project);
        if let Some(user) = self.body.user() {
            w.string("user", user);
        }
        w.json("received_us", &self.received_us);
        match &self.body {
            Body::Event(event) => {
                w.string("id", &event.id);
                w.string("name", &event.name);
                w.optional("time_us", event.time_us.as_ref());
                w.raw("properties", event.properties.as_deref());
                w.raw("extra", event.extra.as_deref());
            }
            Body::Profile(profile) => {
                w.optional("time_us", profile.time_us.as_ref());
                w.raw("properties", profile.properties.as_deref());
            }
            Body::Device(device) => {
                w.string("device_id", &device.device_id);
                w.optional("time_us", device.time_us.as_ref());
                w.fields(&device.fields);
                w.raw("properties", device.properties.as_deref());
                w.json("unlink", &device.unlink);
            }
            Body::Marker(marker) => w.json("job", &marker.job),
            Body::Job(job) => {
                w.json("job", &job.job);
                w.json("users", &job.users);
                w.json("erase", &job.erase);
                w.json("fence", &job.fence);
                w.json("salt", &job.salt);
                w.json("ids_hash", &job.ids_hash);
                w.json("sample", &job.sample);
            }
            Body::Refused(refused) => {
                let (body, is_base64) = refused.body_text();
                w.string("id", &refused.id);
                w.string("reason", &refused.reason);
                w.string("body", &body);
                w.optional("base64", is_base64.then_some(&true));
                w.json("body_bytes", &refused.body_bytes);
            }
        }
        w.out.push(b'}');
    }
}

impl<'a> Record<'a> {
    /// Reads the JSON form; text is borrowed from `value` where it can be.
    ///
    /// # Errors
    /// Anything that [`Record::encode`] does not write.
    pub fn decode(value: &'a [u8]) -> Result<Self, DecodeError> {
        // One fast pass over the whole, instead of one over every string.
        let text = simdutf8::basic::from_utf8(value)?;
        // Another version may have other members: it is named before they are missed.
        let wire: Wire<'a> =
            serde_json::from_str(text).map_err(|error| other_version(text, error))?;
        if wire.v != VERSION {
            return Err(DecodeError::Version(wire.v));
        }
        let project = wire.project.clone();
        let received_us = wire.received_us;
        Ok(Self { project, received_us, body: wire.into_body()? })
    }
}

fn other_version(text: &str, error: serde_json::Error) -> DecodeError {
    #[derive(Deserialize)]
    struct Versioned {
        v: u32,
    }
    match serde_json::from_str(text) {
        Ok(Versioned { v }) if v != VERSION => DecodeError::Version(v),
        _ => error.into(),
    }
}

impl Body<'_> {
    /// The `kind` member.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Event(_) => "event",
            Self::Profile(_) => "profile",
            Self::Device(_) => "device",
            Self::Marker(_) => "erase",
            Self::Job(_) => "job",
            Self::Refused(_) => "refused",
        }
    }

    /// The user it concerns.
    pub fn user(&self) -> Option<&str> {
        match self {
            Self::Event(event) => Some(&event.user),
            Self::Profile(profile) => Some(&profile.user),
            Self::Device(device) => device.user.as_deref(),
            Self::Marker(marker) => Some(&marker.user),
            Self::Job(_) | Self::Refused(_) => None,
        }
    }
}

/// Writes members of an object whose first member is there already.
struct Members<'o> {
    out: &'o mut Vec<u8>,
}

impl Members<'_> {
    fn name(&mut self, name: &str) {
        self.out.extend_from_slice(b",\"");
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    fn json<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) {
        self.name(name);
        write_json(self.out, value);
    }

    fn string(&mut self, name: &str, text: &str) {
        self.json(name, text);
    }

    fn optional<T: Serialize>(&mut self, name: &str, value: Option<&T>) {
        if let Some(value) = value {
            self.json(name, value);
        }
    }

    fn raw(&mut self, name: &str, json: Option<&str>) {
        if let Some(json) = json {
            self.name(name);
            self.out.extend_from_slice(json.as_bytes());
        }
    }

    fn fields(&mut self, fields: &[(Cow<'_, str>, Cow<'_, str>)]) {
        self.name("fields");
        self.out.push(b'{');
        for (i, (name, text)) in fields.iter().enumerate() {
            if i > 0 {
                self.out.push(b',');
            }
            write_json(self.out, name);
            self.out.push(b':');
            write_json(self.out, text);
        }
        self.out.push(b'}');
    }
}

/// Appends a value's JSON text.
pub fn write_json<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    let written = serde_json::to_writer(&mut *out, value);
    debug_assert!(written.is_ok(), "strings, numbers and lists of them always serialize");
}

/// The members of every kind, as they are read.
#[derive(Deserialize)]
struct Wire<'a> {
    v: u32,
    #[serde(borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    project: Cow<'a, str>,
    #[serde(borrow)]
    user: Option<Text<'a>>,
    received_us: Micros,
    #[serde(borrow)]
    id: Option<Text<'a>>,
    #[serde(borrow)]
    name: Option<Text<'a>>,
    time_us: Option<Micros>,
    #[serde(borrow)]
    properties: Option<&'a RawValue>,
    #[serde(borrow)]
    extra: Option<&'a RawValue>,
    #[serde(borrow)]
    device_id: Option<Text<'a>>,
    #[serde(borrow)]
    fields: Option<Fields<'a>>,
    #[serde(default)]
    unlink: bool,
    job: Option<Uuid>,
    users: Option<u64>,
    erase: Option<Vec<Reach>>,
    fence: Option<Vec<Fence>>,
    salt: Option<String>,
    ids_hash: Option<String>,
    sample: Option<Vec<String>>,
    #[serde(borrow)]
    reason: Option<Text<'a>>,
    #[serde(borrow)]
    body: Option<Text<'a>>,
    #[serde(default)]
    base64: bool,
    body_bytes: Option<u64>,
}

impl<'a> Wire<'a> {
    fn into_body(self) -> Result<Body<'a>, DecodeError> {
        let raw = |value: Option<&'a RawValue>| value.map(|v| Cow::Borrowed(v.get()));
        match &*self.kind {
            "event" => Ok(Body::Event(Event {
                user: text(self.user, "event", "user")?,
                id: text(self.id, "event", "id")?,
                name: text(self.name, "event", "name")?,
                time_us: self.time_us,
                properties: raw(self.properties),
                extra: raw(self.extra),
            })),
            "profile" => Ok(Body::Profile(Profile {
                user: text(self.user, "profile", "user")?,
                time_us: self.time_us,
                properties: raw(self.properties),
            })),
            "device" => Ok(Body::Device(Device {
                user: self.user.map(|t| t.0),
                device_id: text(self.device_id, "device", "device_id")?,
                time_us: self.time_us,
                fields: self.fields.map(|f| f.0).unwrap_or_default(),
                properties: raw(self.properties),
                unlink: self.unlink,
            })),
            "erase" => Ok(Body::Marker(Marker {
                user: text(self.user, "erase", "user")?,
                job: need(self.job, "erase", "job")?,
            })),
            "job" => Ok(Body::Job(Job {
                job: need(self.job, "job", "job")?,
                users: need(self.users, "job", "users")?,
                erase: need(self.erase, "job", "erase")?,
                fence: need(self.fence, "job", "fence")?,
                salt: need(self.salt, "job", "salt")?,
                ids_hash: need(self.ids_hash, "job", "ids_hash")?,
                sample: need(self.sample, "job", "sample")?,
            })),
            "refused" => Ok(Body::Refused(Refused {
                id: text(self.id, "refused", "id")?,
                reason: text(self.reason, "refused", "reason")?,
                body: Refused::body_of(text(self.body, "refused", "body")?, self.base64)?,
                body_bytes: need(self.body_bytes, "refused", "body_bytes")?,
            })),
            _ => Err(DecodeError::Kind(self.kind.into_owned())),
        }
    }
}

fn need<T>(value: Option<T>, kind: &'static str, member: &'static str) -> Result<T, DecodeError> {
    value.ok_or(DecodeError::Missing { kind, member })
}

fn text<'a>(
    value: Option<Text<'a>>,
    kind: &'static str,
    member: &'static str,
) -> Result<Cow<'a, str>, DecodeError> {
    need(value, kind, member).map(|t| t.0)
}

/// Text that is borrowed unless it holds an escape. (`Option<Cow<str>>` alone would always copy.)
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// A JSON object of strings, in the order of the text.
struct Fields<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of strings")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some((name, text)) = map.next_entry::<Text<'de>, Text<'de>>()? {
                    fields.push((name.0, text.0));
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(body: Body<'_>) {
        let record = Record { project: "p\"1".into(), received_us: 7, body };
        let mut bytes = Vec::new();
        record.encode(&mut bytes);
        assert_eq!(Record::decode(&bytes).unwrap(), record);
    }

    #[test]
    fn every_kind_survives_its_json_form() {
        round_trip(Body::Event(Event {
            user: "u\n1".into(),
            id: "id".into(),
            name: "mkt_purchase".into(),
            time_us: Some(-5),
            properties: Some(r#"{"mkt_revenue": 123456789012345678901234567890.10}"#.into()),
            extra: Some(r#"{"x":1}"#.into()),
        }));
        let user = Cow::Borrowed("u");
        round_trip(Body::Profile(Profile { user: user.clone(), time_us: None, properties: None }));
        round_trip(Body::Device(Device {
            user: None,
            device_id: "gaid:1".into(),
            time_us: Some(1),
            fields: vec![("platform".into(), "android".into()), ("token".into(), "\u{1}".into())],
            properties: Some("{}".into()),
            unlink: true,
        }));
        round_trip(Body::Marker(Marker { user, job: Uuid::from_u128(9) }));
        round_trip(Body::Job(Job {
            job: Uuid::from_u128(9),
            users: 2,
            erase: Reach::ALL.to_vec(),
            fence: vec![Fence { topic: Topic::Events, partition: 1, first: 3, last: 9, count: 2 }],
            salt: "00".into(),
            ids_hash: "ff".into(),
            sample: vec!["u".into()],
        }));
        for body in [&b"{\"type\": 1}"[..], b"\xff\0"] {
            let (id, reason) = ("1".to_owned(), "`type` must be a string".to_owned());
            round_trip(Body::Refused(Refused::new(id, reason, body)));
        }
    }

    #[test]
    fn what_is_not_ours_is_refused_with_its_reason() {
        let reason = |text: &str| Record::decode(text.as_bytes()).unwrap_err().to_string();
        assert!(reason("").starts_with("not a record"));
        assert!(reason("null").starts_with("not a record"));
        let head = r#"{"v":1,"project":"p","received_us":1"#;
        assert_eq!(reason(&format!(r#"{head},"kind":"x"}}"#)), r#"unknown record kind "x""#);
        assert_eq!(
            reason(&format!(r#"{head},"kind":"event","user":"u","name":"n"}}"#)),
            r#"a record of kind "event" needs "id""#
        );
        let later = r#"{"v":2,"project":"p","received_us":1,"kind":"event"}"#;
        assert!(reason(later).starts_with("record format version 2"));
        let quite_other = r#"{"v":3,"project":{"id":7},"kind":[]}"#;
        assert!(reason(quite_other).starts_with("record format version 3"));
    }

    #[test]
    fn text_without_escapes_is_borrowed() {
        let bytes = br#"{"v":1,"kind":"profile","project":"p","user":"u","received_us":1}"#;
        let record = Record::decode(bytes).unwrap();
        assert!(matches!(record.project, Cow::Borrowed(_)));
        assert!(matches!(record.body, Body::Profile(Profile { user: Cow::Borrowed(_), .. })));
    }
}
