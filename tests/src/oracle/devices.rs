//! Devices: who owns them, and what is known of them.

use std::collections::{BTreeMap, BTreeSet};

use super::profiles::{Cell, check_cell, later};
use super::{Attempt, Circumstances, Index, Rule, UserSeen, Violation, tell, violation};
use crate::model::Device;

/// All that was ever said about the owner of one device.
struct Claims<'i, 'h> {
    all: Vec<&'i Attempt<'h, Device>>,
    circumstances: Circumstances,
}

impl<'i, 'h> Claims<'i, 'h> {
    fn of(index: &'i Index<'h>, device_id: &str, circumstances: Circumstances) -> Self {
        let attempts = index.users.values().flat_map(|a| &a.devices).chain(&index.nobody);
        let all = attempts.filter(|a| a.item.device_id == device_id).collect();
        Self { all, circumstances }
    }

    /// Whether `a` counts as earlier than `b` for certain. Where the times are equal, or both are
    /// times of receipt, the order of acceptance decides; between users only a steady clock tells
    /// it, and within one request nothing does.
    fn before(&self, a: &Attempt<'_, Device>, b: &Attempt<'_, Device>) -> bool {
        if let Some(later) = later(b.item.at.as_ref(), a.item.at.as_ref()) {
            return later;
        }
        if a.item.user == b.item.user {
            return a.before(b);
        }
        !self.circumstances.clock_jumped && a.op.before(b.op)
    }

    /// Whether the user may own the device: by a claim that no live claim overrides.
    fn may_own(&self, user: &str) -> bool {
        let mut own = self
            .all
            .iter()
            .filter(|a| !a.item.unlink && !a.dead() && a.item.user.as_deref() == Some(user));
        own.any(|own| {
            let overrides = |by: &&&Attempt<'_, Device>| {
                let mine = by.item.user.as_deref() == Some(user);
                // Another user's unlink says nothing of this user's link.
                let speaks = by.item.user.is_none() || !by.item.unlink || mine;
                let same = mine && !by.item.unlink;
                by.live() && speaks && !same && self.before(own, by)
            };
            !self.all.iter().any(|by| overrides(&by))
        })
    }

    /// Whether nobody may own it: every live link may have ended, or may have been followed by
    /// another user's link that has ended. One that is erased leaves the device to whom it was
    /// taken from.
    fn may_be_nobodys(&self) -> bool {
        let mut live = self.all.iter().filter(|a| a.live() && !a.item.unlink);
        live.all(|link| {
            let moved = |to: &&Attempt<'_, Device>| {
                let away = !to.item.unlink && to.item.user != link.item.user;
                away && !self.before(to, link) && self.may_have_ended(to)
            };
            self.may_have_ended(link) || self.all.iter().any(moved) || self.superseded(link)
        })
    }

    /// Whether an unlink by its user, or by nobody, may count as later than a link.
    fn may_have_ended(&self, link: &Attempt<'_, Device>) -> bool {
        self.all.iter().any(|unlink| {
            let speaks = unlink.item.user.is_none() || unlink.item.user == link.item.user;
            unlink.item.unlink && speaks && !unlink.dead() && !self.before(unlink, link)
        })
    }

    /// Whether another live link of another user counts as later for certain: that one decides.
    fn superseded(&self, link: &Attempt<'_, Device>) -> bool {
        self.all.iter().any(|by| {
            by.live() && !by.item.unlink && by.item.user != link.item.user && self.before(link, by)
        })
    }
}

pub(super) fn check(
    index: &Index<'_>,
    seen: &BTreeMap<String, UserSeen>,
    circumstances: Circumstances,
    found: &mut Vec<Violation>,
) {
    let mut owners: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (user, what) in seen {
        for (device_id, cells) in &what.devices {
            owners.entry(device_id).or_default().insert(user);
            check_row(index, user, device_id, cells, found);
        }
        // A device of which a seen user ever was told must be accounted for.
        for attempt in index.users.get(user.as_str()).iter().flat_map(|a| &a.devices) {
            owners.entry(&attempt.item.device_id).or_default();
        }
    }
    for (device_id, owners) in owners {
        let claims = Claims::of(index, device_id, circumstances);
        check_owners(&claims, device_id, &owners, seen, found);
    }
}

fn check_owners(
    claims: &Claims<'_, '_>,
    device_id: &str,
    owners: &BTreeSet<&str>,
    seen: &BTreeMap<String, UserSeen>,
    found: &mut Vec<Violation>,
) {
    let told = || format!("device {device_id:?} is seen with {owners:?}{}", tell(&claims.all));
    if owners.len() > 1 {
        found.push(Violation { rule: Rule::Twice, detail: told() });
    }
    for owner in owners {
        let mut own = claims.all.iter().filter(|a| a.item.user.as_deref() == Some(*owner));
        if own.clone().next().is_some() && own.all(|a| a.dead()) {
            found.push(Violation { rule: Rule::Erased, detail: told() });
        } else if !claims.may_own(owner) {
            found.push(Violation { rule: Rule::Owner, detail: told() });
        }
    }
    let users = claims.all.iter().filter_map(|a| a.item.user.as_deref());
    let all_seen = users.into_iter().all(|user| seen.contains_key(user));
    if owners.is_empty() && all_seen && !claims.may_be_nobodys() {
        found.push(Violation { rule: Rule::Lost, detail: told() });
    }
}

fn check_row(
    index: &Index<'_>,
    user: &str,
    device_id: &str,
    cells: &BTreeMap<String, String>,
    found: &mut Vec<Violation>,
) {
    let attempts = index.users.get(user).map_or(&[][..], |a| a.devices.as_slice());
    let own: Vec<_> = attempts.iter().filter(|a| a.item.device_id == device_id).collect();
    if own.is_empty() {
        let text = format!("device {device_id:?} {cells:?}");
        found.push(violation(Rule::NeverSent, user, text));
        return;
    }
    let sent = own.iter().flat_map(|a| a.item.cells.keys());
    let names: BTreeSet<&String> = sent.chain(cells.keys()).collect();
    for name in names {
        let of = own.iter().filter(|a| a.item.cells.contains_key(name));
        let writings: Vec<_> = of.map(|a| cell(a, name)).collect();
        let seen = cells.get(name).map(|value| (value.as_str(), None));
        check_cell(user, &format!("device {device_id:?} {name}"), &writings, seen, found);
    }
}

fn cell<'a, 'h>(attempt: &'a Attempt<'h, Device>, name: &str) -> Cell<'a, 'h, Device> {
    let value = attempt.item.cells.get(name).and_then(|value| value.as_deref());
    Cell { attempt, at: attempt.item.at.as_ref(), value }
}
