//! The oracle against histories made by hand: it is silent where a promise is kept and speaks
//! where one is broken.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::*;
use crate::model::{At, Call, History, Kind, Outcome, Sent};
use crate::observe::{AccountingSeen, PartitionSeen, PropertySeen};
use crate::receipts::Keys;

const DAY_US: i64 = 24 * 3600 * 1_000_000;

/// A history under construction, and what is seen.
struct Scene {
    history: History,
    seen: Seen,
}

fn at(us: i64) -> At {
    At { text: String::new(), us: 1_700_000_000_000_000 + us }
}

fn event(id: Option<&str>, time_us: Option<i64>, text: &str) -> Item {
    Item::Event(Event {
        user: "u".into(),
        id: id.map(str::to_owned),
        name: "n".into(),
        at: time_us.map(at),
        properties: Some(text.into()),
        extra: BTreeMap::new(),
    })
}

fn profile(time_us: Option<i64>, value: Option<&str>) -> Item {
    let properties = BTreeMap::from([("p".to_owned(), value.map(str::to_owned))]);
    Item::Profile(Profile { user: "u".into(), at: time_us.map(at), properties })
}

fn device(user: Option<&str>, time_us: Option<i64>, unlink: bool) -> Item {
    Item::Device(Device {
        user: user.map(str::to_owned),
        device_id: "d".into(),
        at: time_us.map(at),
        cells: BTreeMap::new(),
        unlink,
    })
}

impl Scene {
    fn new(users: &[&str]) -> Self {
        let partition = PartitionSeen {
            topic: "millrace.events".into(),
            partition: 0,
            log_start: 0,
            log_end: 0,
            frontier: 0,
            outcomes: BTreeMap::new(),
        };
        let users = users.iter().map(|u| ((*u).to_owned(), UserSeen::default())).collect();
        let accounting = AccountingSeen { topics: BTreeMap::new(), pending: 0 };
        let (jobs, receipts, keys) = (BTreeMap::new(), BTreeMap::new(), Keys::default());
        let seen = Seen { users, jobs, receipts, keys, ledger: vec![partition], accounting };
        Self { history: History::default(), seen }
    }

    fn begin(&self, item: Item) -> usize {
        let json = format!("{item:?}");
        let call = Call::Items(vec![Sent { index: 0, json, item }]);
        self.history.begin(Arc::new(call), None)
    }

    fn accept(&self, item: Item) {
        let number = self.begin(item);
        self.history.end(number, Outcome::Accepted, None);
    }

    fn begin_deletion(&self, user: &str) -> usize {
        let users = BTreeSet::from([user.to_owned()]);
        self.history.begin(Arc::new(Call::Delete { users, reach: Kind::ALL.into() }), None)
    }

    fn delete(&self, user: &str) {
        let number = self.begin_deletion(user);
        self.history.end(number, Outcome::Accepted, None);
    }

    fn see(&mut self, user: &str) -> &mut UserSeen {
        self.seen.users.entry(user.to_owned()).or_default()
    }

    fn see_event(&mut self, id: &str, time_us: i64, text: &str) {
        let row = EventSeen {
            id: id.into(),
            name: "n".into(),
            time_us: at(time_us).us,
            properties: Some(text.into()),
            extra: BTreeMap::new(),
        };
        self.see("u").events.push(row);
    }

    fn see_property(&mut self, value: &str, time_us: i64) {
        let seen = PropertySeen { value: value.into(), time_us: at(time_us).us };
        self.see("u").profile = Some(BTreeMap::from([("p".into(), seen)]));
    }

    fn see_device(&mut self, user: &str) {
        self.see(user).devices.insert("d".into(), BTreeMap::new());
    }

    fn rules(&self) -> BTreeSet<Rule> {
        let found = check(&self.history.snapshot(), &self.seen, Circumstances::default());
        found.into_iter().map(|v| v.rule).collect()
    }

    fn expect(&self, rules: &[Rule]) {
        assert_eq!(self.rules(), rules.iter().copied().collect::<BTreeSet<_>>());
    }
}

#[test]
fn an_accepted_event_must_be_there_once_with_its_bytes() {
    let mut scene = Scene::new(&["u"]);
    scene.accept(event(Some("1"), Some(0), "{\"a\":1.0}"));
    scene.expect(&[Rule::Lost]);
    scene.see_event("1", 0, "{\"a\":1.0}");
    scene.expect(&[]);
    scene.see_event("1", 0, "{\"a\":1.0}");
    scene.expect(&[Rule::Twice]);
    scene.see("u").events.clear();
    scene.see_event("1", 0, "{\"a\":1}");
    scene.expect(&[Rule::Lost, Rule::NeverSent]);
}

#[test]
fn a_retry_with_its_id_is_one_event_and_without_one_as_many_as_were_accepted() {
    let mut scene = Scene::new(&["u"]);
    scene.accept(event(Some("1"), None, "{\"a\":1}"));
    scene.accept(event(Some("1"), None, "{\"a\":1}"));
    scene.see_event("1", 0, "{\"a\":1}");
    scene.expect(&[]);
    scene.accept(event(None, None, "{\"b\":1}"));
    scene.begin(event(None, None, "{\"b\":1}"));
    scene.expect(&[Rule::Lost]);
    scene.see_event("x", 0, "{\"b\":1}");
    scene.expect(&[]);
    scene.see_event("y", 0, "{\"b\":1}");
    scene.expect(&[]);
    scene.see_event("z", 0, "{\"b\":1}");
    scene.expect(&[Rule::Twice]);
}

#[test]
fn later_content_of_an_event_replaces_earlier_content() {
    let mut scene = Scene::new(&["u"]);
    scene.accept(event(Some("1"), Some(0), "{\"a\":1}"));
    scene.accept(event(Some("1"), Some(0), "{\"a\":2}"));
    scene.see_event("1", 0, "{\"a\":1}");
    scene.expect(&[Rule::Stale]);
    scene.see("u").events.clear();
    scene.see_event("1", 0, "{\"a\":2}");
    scene.expect(&[]);
}

#[test]
fn what_was_accepted_before_a_deletion_is_dead_and_what_came_after_lives() {
    let mut scene = Scene::new(&["u"]);
    scene.accept(event(Some("1"), Some(0), "{}"));
    scene.accept(profile(None, Some("1")));
    scene.delete("u");
    scene.expect(&[]);
    scene.see_property("1", 0);
    assert!(scene.rules().contains(&Rule::Erased));
    scene.accept(profile(None, Some("2")));
    assert!(scene.rules().contains(&Rule::Erased));
    scene.see_property("2", 0);
    assert!(!scene.rules().contains(&Rule::Erased));
    scene.see("u").profile = None;
    assert!(scene.rules().contains(&Rule::Lost));
}

#[test]
fn what_overlaps_a_deletion_and_what_was_never_answered_may_be_there_or_not() {
    let mut scene = Scene::new(&["u"]);
    let deletion = scene.begin_deletion("u");
    scene.accept(profile(None, Some("1")));
    scene.expect(&[]);
    scene.see_property("1", 0);
    scene.expect(&[]);
    scene.history.leave_open(deletion, "no answer".into());
    scene.expect(&[]);
    scene.history.process_ended();
    scene.accept(profile(None, Some("2")));
    scene.expect(&[Rule::Stale]);
    scene.see("u").profile = None;
    scene.expect(&[Rule::Lost]);
}

#[test]
fn a_refused_item_is_never_seen() {
    let mut scene = Scene::new(&["u"]);
    let number = scene.begin(profile(None, Some("1")));
    scene.history.end(number, Outcome::Refused(400), None);
    scene.expect(&[]);
    scene.see_property("1", 0);
    scene.expect(&[Rule::NeverSent]);
}

#[test]
fn the_later_time_wins_and_then_the_later_acceptance() {
    let mut scene = Scene::new(&["u"]);
    scene.accept(profile(Some(20), Some("1")));
    scene.accept(profile(Some(10), Some("2")));
    scene.see_property("2", 10);
    scene.expect(&[Rule::Stale]);
    scene.see_property("1", 20);
    scene.expect(&[]);
    scene.see_property("1", 10);
    scene.expect(&[Rule::Stale]);
    scene.accept(profile(Some(20), Some("3")));
    scene.see_property("1", 20);
    scene.expect(&[Rule::Stale]);
    scene.see_property("3", 20);
    scene.expect(&[]);
    scene.accept(profile(Some(30), None));
    scene.expect(&[Rule::Stale]);
    scene.see("u").profile = Some(BTreeMap::new());
    scene.expect(&[]);
}

#[test]
fn a_device_is_seen_with_its_last_owner_only() {
    let mut scene = Scene::new(&["u", "v"]);
    scene.accept(device(Some("u"), Some(10), false));
    scene.expect(&[Rule::Lost]);
    scene.see_device("u");
    scene.expect(&[]);
    scene.accept(device(Some("v"), Some(20), false));
    scene.expect(&[Rule::Owner]);
    scene.see_device("v");
    scene.expect(&[Rule::Owner, Rule::Twice]);
    scene.see("u").devices.clear();
    scene.expect(&[]);
    scene.accept(device(Some("v"), Some(30), true));
    scene.expect(&[Rule::Owner]);
    scene.see("v").devices.clear();
    scene.expect(&[]);
}

#[test]
fn a_device_that_nobody_owns_or_that_was_erased_is_not_seen() {
    let mut scene = Scene::new(&["u"]);
    scene.accept(device(Some("u"), None, false));
    scene.accept(device(None, None, true));
    scene.expect(&[]);
    scene.see_device("u");
    scene.expect(&[Rule::Owner]);
    scene.accept(device(Some("u"), None, false));
    scene.expect(&[]);
    scene.delete("u");
    assert!(scene.rules().contains(&Rule::Erased));
}

#[test]
fn a_device_whose_last_owner_is_erased_goes_back_to_the_one_before() {
    let mut scene = Scene::new(&["u", "v"]);
    scene.accept(device(Some("u"), Some(10), false));
    scene.accept(device(Some("v"), Some(20), false));
    scene.delete("v");
    assert!(scene.rules().contains(&Rule::Lost));
    scene.see_device("u");
    assert!(!scene.rules().contains(&Rule::Lost) && !scene.rules().contains(&Rule::Owner));
}

#[test]
fn equal_times_of_two_users_are_decided_by_acceptance_or_open_where_it_overlapped() {
    let mut scene = Scene::new(&["u", "v"]);
    scene.accept(device(Some("u"), Some(10), false));
    scene.accept(device(Some("v"), Some(10), false));
    scene.see_device("u");
    scene.expect(&[Rule::Owner]);
    let again = scene.begin(device(Some("u"), Some(10), false));
    scene.accept(device(Some("v"), Some(10), false));
    scene.history.end(again, Outcome::Accepted, None);
    scene.expect(&[]);
    scene.see("u").devices.clear();
    scene.see_device("v");
    scene.expect(&[]);
}

#[test]
fn outcomes_must_add_up_to_the_frontier_and_the_frontier_be_the_end() {
    let mut scene = Scene::new(&[]);
    scene.seen.ledger[0].log_end = 1;
    scene.expect(&[Rule::Accounting]);
    scene.seen.ledger[0].frontier = 1;
    scene.expect(&[Rule::Accounting]);
    scene.seen.ledger[0].outcomes.insert("stored".into(), 1);
    scene.expect(&[]);
    scene.seen.accounting.pending = 1;
    scene.expect(&[Rule::Accounting]);
}

#[test]
fn a_time_of_receipt_is_later_than_any_time_long_ago() {
    let long_ago = At { text: String::new(), us: millrace_schema::time::wall_clock_us() - DAY_US };
    assert_eq!(profiles::later(None, Some(&long_ago)), Some(true));
    assert_eq!(profiles::later(Some(&long_ago), None), Some(false));
}
