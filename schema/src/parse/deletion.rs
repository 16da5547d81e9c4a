//! The two deletion calls: whom, and what.

use std::collections::HashSet;

use simd_json::Node;

use super::cursor::Cursor;
use super::fault::Fault;
use super::item::{self, Checks};
use super::reader::{Lines, Reader};
use super::{BulkDeletion, Deletion, array_len, root_members};
use crate::error::ItemErrors;
use crate::limits::{Limits, USER_IDS_PER_CALL};
use crate::record::Reach;

const ERASE: &str = "erase";
const USER_ID: &str = "user_id";
const USER_IDS: &str = "user_ids";

/// Reads `{"user_id": …, "erase": […]}`.
pub(super) fn one_user<'a>(
    mut cursor: Cursor<'_, 'a>,
    limits: &Limits,
) -> Result<Deletion<'a>, ItemErrors> {
    let start = cursor.offset();
    let (mut user, mut erase) = (None, Ok(None));
    root_members(&mut cursor, |cursor, key| {
        match key {
            USER_ID => user = Some(cursor.value()).filter(|v| !v.is_null()),
            ERASE => erase = reach(cursor),
            _ => return false,
        }
        true
    })?;
    let mut errors = ItemErrors::default();
    let mut checks = Checks { limits, received_us: 0, errors: &mut errors, index: None };
    let bytes = cursor.text_from(start).len();
    if bytes > limits.item_bytes {
        checks.refuse(None, Fault::ItemTooLarge { bytes, limit: limits.item_bytes });
    }
    let user = checks.user_id(USER_ID, user);
    let erase = erase.map_err(|fault| checks.refuse(Some(ERASE), fault));
    match (user, erase) {
        (Some(user), Ok(erase)) if errors.is_empty() => {
            Ok(Deletion { user, erase: erase.unwrap_or_else(|| Reach::ALL.to_vec()) })
        }
        _ => Err(errors),
    }
}

/// Reads `{"user_ids": […], "erase": […]}`.
pub(super) fn user_ids<'a>(
    mut cursor: Cursor<'_, 'a>,
    limits: &Limits,
) -> Result<BulkDeletion<'a>, ItemErrors> {
    let (mut ids, mut erase) = (Err(Fault::Missing), Ok(None));
    root_members(&mut cursor, |cursor, key| {
        match key {
            USER_IDS => ids = id_array(cursor, limits),
            ERASE => erase = reach(cursor),
            _ => return false,
        }
        true
    })?;
    match (ids, erase) {
        (Ok(ids), Ok(erase)) => Ok(ids.into_deletion(erase)),
        (ids, erase) => {
            let mut errors = ItemErrors::default();
            match ids {
                Ok(ids) => errors = ids.errors,
                Err(fault) => fault.add_to(&mut errors, None, Some(USER_IDS)),
            }
            if let Err(fault) = erase {
                fault.add_to(&mut errors, None, Some(ERASE));
            }
            Err(errors)
        }
    }
}

/// Reads one `{"user_id": …}` a line.
pub(super) fn user_id_lines<'a>(
    reader: &'a mut Reader,
    body: &'a [u8],
    limits: &Limits,
) -> Result<BulkDeletion<'a>, ItemErrors> {
    let lines = Lines::new(body);
    let total = lines.clone().count();
    count_within(total).map_err(|fault| fault.alone(None, None))?;
    let mut ids = Ids::with_capacity(total);
    reader.lines(lines, total, |index, line| match line {
        Ok(document) => ids.line(&mut document.cursor(), index, limits),
        Err(fault) => fault.add_to(&mut ids.errors, Some(index), None),
    });
    Ok(ids.into_deletion(None))
}

const fn count_within(count: usize) -> Result<(), Fault> {
    match count {
        0 => Err(Fault::Empty),
        1..=USER_IDS_PER_CALL => Ok(()),
        _ => Err(Fault::TooMany { count, limit: USER_IDS_PER_CALL }),
    }
}

fn id_array<'a>(cursor: &mut Cursor<'_, 'a>, limits: &Limits) -> Result<Ids<'a>, Fault> {
    let total = array_len(cursor, USER_IDS_PER_CALL)?;
    let mut ids = Ids::with_capacity(total);
    cursor.elements(|cursor, index| {
        let value = cursor.value();
        let user = ids.checks(index, limits).user_id(USER_IDS, Some(value));
        ids.add(user);
    });
    count_within(total)?;
    Ok(ids)
}

/// The ids read so far.
struct Ids<'a> {
    users: Vec<&'a str>,
    seen: HashSet<&'a str>,
    errors: ItemErrors,
    total: usize,
}

impl<'a> Ids<'a> {
    fn with_capacity(total: usize) -> Self {
        Self {
            users: Vec::with_capacity(total),
            seen: HashSet::with_capacity(total),
            errors: ItemErrors::default(),
            total,
        }
    }

    fn checks<'e>(&'e mut self, index: usize, limits: &'e Limits) -> Checks<'e> {
        Checks { limits, received_us: 0, errors: &mut self.errors, index: Some(index) }
    }

    fn add(&mut self, user: Option<&'a str>) {
        if let Some(user) = user
            && self.seen.insert(user)
        {
            self.users.push(user);
        }
    }

    fn line(&mut self, cursor: &mut Cursor<'_, 'a>, index: usize, limits: &Limits) {
        let before = self.errors.total;
        let mut checks = self.checks(index, limits);
        let Some(found) = item::members(cursor, &mut checks, &[USER_ID, ERASE], |_| {}) else {
            return;
        };
        let [user_id, erase] = found.ours;
        if erase.is_some() {
            let fault = Fault::Value("holds for a whole job; send the ids as JSON `user_ids`");
            checks.refuse(Some(ERASE), fault);
        }
        let user = checks.user_id(USER_ID, user_id);
        if self.errors.total == before {
            self.add(user);
        }
    }

    fn into_deletion(self, erase: Option<Vec<Reach>>) -> BulkDeletion<'a> {
        BulkDeletion {
            users: self.users,
            erase: erase.unwrap_or_else(|| Reach::ALL.to_vec()),
            errors: self.errors,
            total: self.total,
        }
    }
}

/// Reads `erase`; none if it is `null`.
fn reach(cursor: &mut Cursor<'_, '_>) -> Result<Option<Vec<Reach>>, Fault> {
    const ALLOWED: Fault = Fault::Value("must hold only \"profile\", \"devices\" and \"events\"");
    /// In the order of [`Reach::ALL`].
    const NAMES: [&str; 3] = ["profile", "devices", "events"];
    let mut named = [false; NAMES.len()];
    let mut all_known = true;
    let is_array = cursor.elements(|cursor, _| {
        let known = match cursor.value().node {
            Node::String(name) => NAMES.iter().zip(&mut named).find(|(known, _)| **known == name),
            _ => None,
        };
        match known {
            Some((_, named)) => *named = true,
            None => all_known = false,
        }
    });
    if !is_array {
        let value = cursor.value();
        return if value.is_null() { Ok(None) } else { Err(Fault::Type("an array")) };
    }
    if !all_known {
        return Err(ALLOWED);
    }
    let reaches: Vec<Reach> =
        Reach::ALL.into_iter().zip(named).filter(|(_, named)| *named).map(|(r, _)| r).collect();
    if reaches.is_empty() { Err(Fault::Empty) } else { Ok(Some(reaches)) }
}
