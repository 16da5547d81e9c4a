//! One item of a bulk call: its members found, checked, and borrowed.

use std::borrow::Cow;

use simd_json::{Node, StaticNode};

use super::cursor::{Cursor, Value};
use super::fault::Fault;
use super::{DeviceItem, EventItem, ProfileItem};
use crate::error::ItemErrors;
use crate::limits::{self, Limits};
use crate::record::{Device, Profile};
use crate::time::Micros;
use crate::timestamp;

/// The checks of one item, and where their faults go.
#[derive(Debug)]
pub(super) struct Checks<'e> {
    pub(super) limits: &'e Limits,
    pub(super) received_us: Micros,
    pub(super) errors: &'e mut ItemErrors,
    /// Which item; none in the call that has only one.
    pub(super) index: Option<usize>,
}

impl Checks<'_> {
    pub(super) fn refuse(&mut self, field: Option<&'static str>, fault: Fault) {
        fault.add_to(self.errors, self.index, field);
    }

    fn refuse_field<T>(&mut self, field: &'static str, fault: Fault) -> Option<T> {
        self.refuse(Some(field), fault);
        None
    }

    /// The index of a bulk call's item.
    fn item_index(&self) -> usize {
        self.index.unwrap_or_default()
    }

    fn required<T>(&mut self, field: &'static str, found: Option<T>) -> Option<T> {
        if found.is_none() {
            self.refuse(Some(field), Fault::Missing);
        }
        found
    }

    fn string<'a>(&mut self, field: &'static str, value: Value<'a>) -> Option<&'a str> {
        match value.node {
            Node::String(text) => Some(text),
            _ => self.refuse_field(field, Fault::Type("a string")),
        }
    }

    pub(super) fn required_string<'a>(
        &mut self,
        field: &'static str,
        value: Option<Value<'a>>,
    ) -> Option<&'a str> {
        let value = self.required(field, value)?;
        self.string(field, value)
    }

    /// A required string of 1 to `limit` bytes.
    pub(super) fn required_text<'a>(
        &mut self,
        field: &'static str,
        value: Option<Value<'a>>,
        limit: usize,
    ) -> Option<&'a str> {
        let value = self.required(field, value)?;
        self.text(field, value, limit)
    }

    /// A string of 1 to `limit` bytes.
    fn text<'a>(&mut self, field: &'static str, value: Value<'a>, limit: usize) -> Option<&'a str> {
        let text = self.string(field, value)?;
        if text.is_empty() || text.len() > limit {
            return self.refuse_field(field, Fault::Bytes { bytes: text.len(), limit });
        }
        Some(text)
    }

    pub(super) fn user_id<'a>(
        &mut self,
        field: &'static str,
        value: Option<Value<'a>>,
    ) -> Option<&'a str> {
        let value = self.required(field, value)?;
        let user = self.text(field, value, limits::USER_ID_BYTES)?;
        if user.starts_with(limits::RESERVED_USER_ID_PREFIX) {
            let fault = Fault::Value("begins with `ad_log:`, which is reserved; use another id");
            return self.refuse_field(field, fault);
        }
        Some(user)
    }

    fn platform<'a>(&mut self, value: Option<Value<'a>>) -> Option<&'a str> {
        let value = self.required("platform", value)?;
        let platform = self.string("platform", value)?;
        let (chars, limit) = (platform.chars().count(), limits::PLATFORM_CHARS);
        if chars == 0 || chars > limit {
            return self.refuse_field("platform", Fault::Chars { chars, limit });
        }
        Some(platform)
    }

    fn time_us(&mut self, value: Option<Value<'_>>) -> Option<Micros> {
        let text = self.string("timestamp", value?)?;
        match timestamp::parse_us(text, self.received_us) {
            Ok(time_us) => Some(time_us),
            Err(error) => self.refuse_field("timestamp", Fault::Timestamp(error)),
        }
    }

    /// An object, as sent.
    fn properties<'a>(&mut self, value: Option<Value<'a>>) -> Option<&'a str> {
        let value = value?;
        match value.node {
            Node::Object { .. } => Some(value.raw),
            _ => self.refuse_field("properties", Fault::Type("a JSON object")),
        }
    }

    /// A switch; none if it is not one.
    fn flag(&mut self, field: &'static str, value: Option<Value<'_>>) -> Option<bool> {
        match value.map(|v| v.node) {
            None => Some(false),
            Some(Node::Static(StaticNode::Bool(flag))) => Some(flag),
            Some(_) => self.refuse_field(field, Fault::Type("true or false")),
        }
    }
}

/// The members of one item: ours by name, the last of each; absent where `null` was sent.
pub(super) struct Members<'a, const N: usize> {
    pub(super) ours: [Option<Value<'a>>; N],
    /// The item, exactly as sent.
    pub(super) raw: &'a str,
}

/// Reads the members of the next item; `unknown` takes the text of each that is not ours. None,
/// and the fault noted, if the item is not an object.
pub(super) fn members<'a, const N: usize>(
    cursor: &mut Cursor<'_, 'a>,
    checks: &mut Checks<'_>,
    names: &[&'static str; N],
    mut unknown: impl FnMut(&'a str),
) -> Option<Members<'a, N>> {
    let start = cursor.offset();
    let mut ours = [None; N];
    let mut too_deep = None;
    let is_object = cursor.members(|cursor, key, key_start| {
        let value = cursor.value();
        let ours = names.iter().zip(&mut ours).find(|(name, _)| **name == key);
        if value.depth >= limits::JSON_DEPTH {
            too_deep = Some(ours.as_ref().map(|(name, _)| **name));
        }
        match ours {
            Some((_, slot)) => *slot = Some(value).filter(|v| !v.is_null()),
            None => unknown(cursor.text_from(key_start)),
        }
    });
    if !is_object {
        cursor.value();
        checks.refuse(None, Fault::Type("a JSON object"));
        return None;
    }
    let raw = cursor.text_from(start);
    if let Some(field) = too_deep {
        checks.refuse(field, Fault::TooDeep);
    }
    if raw.len() > checks.limits.item_bytes {
        let fault = Fault::ItemTooLarge { bytes: raw.len(), limit: checks.limits.item_bytes };
        checks.refuse(None, fault);
    }
    Some(Members { ours, raw })
}

const EVENT: [&str; 5] = ["name", "user_id", "id", "timestamp", "properties"];

pub(super) fn event<'a>(
    cursor: &mut Cursor<'_, 'a>,
    checks: &mut Checks<'_>,
) -> Option<EventItem<'a>> {
    let mut extra: Option<String> = None;
    let found = members(cursor, checks, &EVENT, |member| {
        match &mut extra {
            Some(extra) => extra.push(','),
            None => extra = Some("{".to_owned()),
        }
        if let Some(extra) = &mut extra {
            extra.push_str(member);
        }
    })?;
    let [name, user_id, id, timestamp, properties] = found.ours;
    let name = checks.required("name", name);
    let name = name.and_then(|v| checks.text("name", v, limits::NAME_BYTES));
    let user = checks.user_id("user_id", user_id);
    let id = id.and_then(|v| checks.text("id", v, limits::ID_BYTES));
    let time_us = checks.time_us(timestamp);
    let properties = checks.properties(properties);
    if let Some(extra) = &mut extra {
        extra.push('}');
    }
    Some(EventItem {
        index: checks.item_index(),
        raw: found.raw,
        user: user?,
        id,
        name: name?,
        time_us,
        properties,
        extra,
    })
}

const PROFILE: [&str; 3] = ["user_id", "timestamp", "properties"];

pub(super) fn profile<'a>(
    cursor: &mut Cursor<'_, 'a>,
    checks: &mut Checks<'_>,
) -> Option<ProfileItem<'a>> {
    let found = members(cursor, checks, &PROFILE, |_| {})?;
    let [user_id, timestamp, properties] = found.ours;
    let user = checks.user_id("user_id", user_id);
    let time_us = checks.time_us(timestamp);
    let properties = checks.properties(properties);
    Some(ProfileItem {
        index: checks.item_index(),
        raw: found.raw,
        profile: Profile {
            user: Cow::Borrowed(user?),
            time_us,
            properties: properties.map(Cow::Borrowed),
        },
    })
}

const DEVICE: [&str; 12] = [
    "device_id",
    "user_id",
    "remove_user_id",
    "timestamp",
    "properties",
    "platform",
    "token",
    "gaid",
    "app_set_id",
    "app_local_id",
    "idfa",
    "idfv",
];
/// The optional strings of a device: the last of its members.
const DEVICE_STRINGS: usize = 6;

pub(super) fn device<'a>(
    cursor: &mut Cursor<'_, 'a>,
    checks: &mut Checks<'_>,
) -> Option<DeviceItem<'a>> {
    let found = members(cursor, checks, &DEVICE, |_| {})?;
    let [device_id, user_id, remove, timestamp, properties, platform, optional @ ..] = found.ours;
    let device_id = checks.required("device_id", device_id);
    let device_id = device_id.and_then(|v| checks.text("device_id", v, limits::DEVICE_ID_BYTES));
    let unlink = checks.flag("remove_user_id", remove);
    let user = match (user_id, unlink) {
        (None, Some(true) | None) => None,
        _ => checks.user_id("user_id", user_id),
    };
    let time_us = checks.time_us(timestamp);
    let properties = checks.properties(properties);
    let mut fields = Vec::with_capacity(1 + DEVICE_STRINGS);
    if let Some(platform) = checks.platform(platform) {
        fields.push((Cow::Borrowed("platform"), Cow::Borrowed(platform)));
    }
    let names = DEVICE.iter().skip(DEVICE.len() - DEVICE_STRINGS);
    for (name, value) in names.zip(optional) {
        if let Some(text) = value.and_then(|v| checks.string(name, v)) {
            fields.push((Cow::Borrowed(*name), Cow::Borrowed(text)));
        }
    }
    Some(DeviceItem {
        index: checks.item_index(),
        raw: found.raw,
        device: Device {
            user: user.map(Cow::Borrowed),
            device_id: Cow::Borrowed(device_id?),
            time_us,
            fields,
            properties: properties.map(Cow::Borrowed),
            unlink: unlink?,
        },
    })
}
