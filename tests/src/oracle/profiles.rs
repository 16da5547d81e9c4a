//! Cells that merge: the latest time wins, then the later acceptance. Profiles, and device fields.

use std::collections::{BTreeMap, BTreeSet};

use super::{Attempt, Rule, Violation, tell, violation};
use crate::model::{At, Profile};
use crate::observe::PropertySeen;

/// How far from the time of receipt a client's time must be to be told apart from it.
const MARGIN_US: i64 = 6 * 3600 * 1_000_000;

/// One writing of one cell.
pub(super) struct Cell<'a, 'h, T> {
    pub(super) attempt: &'a Attempt<'h, T>,
    pub(super) at: Option<&'a At>,
    pub(super) value: Option<&'a str>,
}

/// Whether a time lies before (-1) or after (1) the run for certain; 0: explicit times cannot be
/// told from times of receipt.
pub(super) fn side_of_now(at: &At) -> i64 {
    let now = millrace_schema::time::wall_clock_us();
    match at.us - now {
        d if d < -MARGIN_US => -1,
        d if d > MARGIN_US => 1,
        _ => 0,
    }
}

/// Whether the first time is later than the second for certain; `None`: they are equal, or both
/// are times of receipt, so that the order of acceptance decides.
pub(super) fn later(a: Option<&At>, b: Option<&At>) -> Option<bool> {
    match (a, b) {
        (Some(a), Some(b)) if a.us != b.us => Some(a.us > b.us),
        (Some(_), Some(_)) | (None, None) => None,
        (Some(a), None) => Some(side_of_now(a) > 0),
        (None, Some(b)) => Some(side_of_now(b) < 0),
    }
}

/// Whether a live writing overrides the other for certain.
fn overrides<T>(by: &Cell<'_, '_, T>, what: &Cell<'_, '_, T>) -> bool {
    if !by.attempt.live() || by.value == what.value {
        return false;
    }
    later(by.at, what.at).unwrap_or_else(|| what.attempt.before(by.attempt))
}

/// Judges one cell: `seen` is its value, and its time where that is shown.
pub(super) fn check_cell<T>(
    user: &str,
    name: &str,
    writings: &[Cell<'_, '_, T>],
    seen: Option<(&str, Option<i64>)>,
    found: &mut Vec<Violation>,
) {
    let all: Vec<_> = writings.iter().map(|w| w.attempt).collect();
    let possible =
        |w: &&Cell<'_, '_, T>| !w.attempt.dead() && !writings.iter().any(|by| overrides(by, w));
    let Some((value, time_us)) = seen else {
        let lost = writings.iter().any(|w| w.attempt.live());
        if lost && !writings.iter().filter(possible).any(|w| w.value.is_none()) {
            found.push(violation(Rule::Lost, user, format!("{name} is absent{}", tell(&all))));
        }
        return;
    };
    let own: Vec<_> = writings.iter().filter(|w| w.value == Some(value)).collect();
    let rule = if own.is_empty() {
        Rule::NeverSent
    } else if own.iter().all(|w| w.attempt.dead()) {
        Rule::Erased
    } else {
        let at = |w: &Cell<'_, '_, T>| match (w.at, time_us) {
            (Some(at), Some(us)) => at.us == us,
            _ => true,
        };
        if own.iter().any(|w| possible(w) && at(w)) {
            return;
        }
        Rule::Stale
    };
    let text = format!("{name} is {value:.200} of {time_us:?}{}", tell(&all));
    found.push(violation(rule, user, text));
}

pub(super) fn check(
    user: &str,
    attempts: &[Attempt<'_, Profile>],
    seen: Option<&BTreeMap<String, PropertySeen>>,
    found: &mut Vec<Violation>,
) {
    let all: Vec<_> = attempts.iter().collect();
    if seen.is_none() && attempts.iter().any(Attempt::live) {
        found.push(violation(Rule::Lost, user, format!("no profile{}", tell(&all))));
        return;
    }
    if seen.is_some() && attempts.iter().all(Attempt::dead) {
        let rule = if attempts.is_empty() { Rule::NeverSent } else { Rule::Erased };
        found.push(violation(rule, user, format!("a profile {seen:?}{}", tell(&all))));
        return;
    }
    let nothing = BTreeMap::new();
    let seen = seen.unwrap_or(&nothing);
    let sent = attempts.iter().flat_map(|a| a.item.properties.keys());
    let names: BTreeSet<&String> = sent.chain(seen.keys()).collect();
    for name in names {
        let of = |a: &'_ Attempt<'_, Profile>| a.item.properties.contains_key(name);
        let writings: Vec<_> = attempts.iter().filter(|a| of(a)).map(|a| cell(a, name)).collect();
        let seen = seen.get(name).map(|p| (p.value.as_str(), Some(p.time_us)));
        check_cell(user, name, &writings, seen, found);
    }
}

fn cell<'a, 'h>(attempt: &'a Attempt<'h, Profile>, name: &str) -> Cell<'a, 'h, Profile> {
    let value = attempt.item.properties.get(name).and_then(|value| value.as_deref());
    Cell { attempt, at: attempt.item.at.as_ref(), value }
}
