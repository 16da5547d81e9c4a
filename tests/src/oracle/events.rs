//! Events: there once, byte-equal, newest first.

use std::collections::{BTreeMap, HashMap};

use super::{Attempt, EventSeen, Rule, Violation, tell, violation};
use crate::model::Event;

/// What makes two attempts one event.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Identity<'h> {
    IdAndTime(&'h str, i64),
    Id(&'h str),
    /// `Idempotency-Key`, index, text.
    Key(&'h str, usize, &'h str),
    /// Without either, every attempt is an event of its own; those of one text look alike.
    None(&'h str),
}

fn identity<'h>(attempt: &Attempt<'h, Event>) -> Identity<'h> {
    match (&attempt.item.id, &attempt.item.at, &attempt.op.key) {
        (Some(id), Some(at), _) => Identity::IdAndTime(id, at.us),
        (Some(id), None, _) => Identity::Id(id),
        (None, _, Some(key)) => Identity::Key(key, attempt.sent.index, &attempt.sent.json),
        (None, _, None) => Identity::None(&attempt.sent.json),
    }
}

/// Whether the row can come from the attempt.
fn is_of(row: &EventSeen, event: &Event) -> bool {
    let properties = event.properties.as_deref().filter(|text| *text != "{}");
    row.name == event.name
        && row.properties.as_deref() == properties
        && row.extra == event.extra
        && event.id.as_ref().is_none_or(|id| *id == row.id)
        && event.at.as_ref().is_none_or(|at| at.us == row.time_us)
}

pub(super) fn check(
    user: &str,
    attempts: &[Attempt<'_, Event>],
    rows: &[EventSeen],
    found: &mut Vec<Violation>,
) {
    let mut groups: BTreeMap<Identity<'_>, Vec<&Attempt<'_, Event>>> = BTreeMap::new();
    let mut by_name: HashMap<&str, Vec<&Attempt<'_, Event>>> = HashMap::new();
    for attempt in attempts {
        groups.entry(identity(attempt)).or_default().push(attempt);
        by_name.entry(&attempt.item.name).or_default().push(attempt);
    }
    let mut counts: BTreeMap<Identity<'_>, usize> = BTreeMap::new();
    for row in rows {
        let named = by_name.get(row.name.as_str()).map_or(&[][..], Vec::as_slice);
        let own: Vec<_> = named.iter().copied().filter(|a| is_of(row, a.item)).collect();
        let Some(first) = own.first() else {
            found.push(violation(Rule::NeverSent, user, format!("event {row:?}{}", tell(named))));
            continue;
        };
        *counts.entry(identity(first)).or_default() += 1;
        if own.iter().all(|a| a.dead()) {
            found.push(violation(Rule::Erased, user, format!("event {row:?}{}", tell(&own))));
        }
        if let Some(group) = groups.get(&identity(first)) {
            replaced(user, row, &own, group, found);
        }
    }
    for (identity, group) in &groups {
        count(user, identity, group, counts.get(identity).copied().unwrap_or(0), found);
    }
    for pair in rows.windows(2) {
        if let [newer, older] = pair
            && newer.time_us < older.time_us
        {
            found.push(violation(Rule::Order, user, format!("{newer:?} before {older:?}")));
        }
    }
}

/// Other content under the same identity replaces what was there.
fn replaced(
    user: &str,
    row: &EventSeen,
    own: &[&Attempt<'_, Event>],
    group: &[&Attempt<'_, Event>],
    found: &mut Vec<Violation>,
) {
    let by_later = |a: &Attempt<'_, Event>| {
        group.iter().any(|later| later.live() && !is_of(row, later.item) && a.before(later))
    };
    let with_time = own.iter().all(|a| a.item.id.is_some() && a.item.at.is_some());
    if with_time && own.iter().all(|a| by_later(a)) {
        found.push(violation(Rule::Stale, user, format!("event {row:?}{}", tell(group))));
    }
}

fn count(
    user: &str,
    identity: &Identity<'_>,
    group: &[&Attempt<'_, Event>],
    rows: usize,
    found: &mut Vec<Violation>,
) {
    let live = group.iter().filter(|a| a.live()).count();
    let possible = group.iter().filter(|a| !a.dead()).count();
    let (least, most) = match identity {
        Identity::None(_) => (live, possible),
        _ => (live.min(1), possible.min(1)),
    };
    if rows < least {
        let text = format!("event {identity:?} is there {rows} times, not {least}{}", tell(group));
        found.push(violation(Rule::Lost, user, text));
    }
    // What is dead and still there has been reported as that.
    if rows > most.max(1) || (most > 0 && rows > most) {
        let text = format!("event {identity:?} is there {rows} times, not {most}{}", tell(group));
        found.push(violation(Rule::Twice, user, text));
    }
}
