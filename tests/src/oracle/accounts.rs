//! Jobs, the ledger, and the totals.

use std::collections::BTreeSet;

use super::{Circumstances, Rule, Violation};
use crate::model::{Call, Item, Kind, Op};
use crate::observe::Seen;

pub(super) fn check(
    history: &[Op],
    seen: &Seen,
    circumstances: Circumstances,
    found: &mut Vec<Violation>,
) {
    ledger(seen, found);
    jobs(history, seen, found);
    if circumstances.whole_history {
        totals(history, seen, circumstances.batches_repeated, found);
    }
}

fn ledger(seen: &Seen, found: &mut Vec<Violation>) {
    let mut wrong = |detail: String| found.push(Violation { rule: Rule::Accounting, detail });
    if seen.ledger.is_empty() {
        wrong("the ledger is empty".into());
    }
    for partition in &seen.ledger {
        let sum: u64 = partition.outcomes.values().sum();
        let dead_letters = partition.topic.ends_with(".dlq");
        if sum != partition.frontier {
            wrong(format!("the outcomes add up to {sum}, not to the frontier: {partition:?}"));
        }
        if partition.frontier != partition.log_end && !dead_letters {
            wrong(format!("the frontier is not the end of the log: {partition:?}"));
        }
    }
    if seen.accounting.pending != 0 {
        wrong(format!("{} records are pending", seen.accounting.pending));
    }
}

fn jobs(history: &[Op], seen: &Seen, found: &mut Vec<Violation>) {
    let mut wrong = |detail: String| found.push(Violation { rule: Rule::Job, detail });
    let mut known = BTreeSet::new();
    let mut open = 0;
    for op in history.iter().filter(|op| !op.refused()) {
        let Call::Delete { users, reach } = &*op.call else { continue };
        let Some(id) = op.job else {
            open += 1;
            continue;
        };
        known.insert(id);
        let Some(job) = seen.jobs.get(&id) else {
            wrong(format!("job {id} of op {} is not there", op.number));
            continue;
        };
        let n = u64::try_from(users.len()).unwrap_or(u64::MAX);
        let erase: BTreeSet<String> = reach.iter().map(|kind| kind.name().to_owned()).collect();
        let whole = (job.users, job.users_done, job.progress) == (n, n, 1.0);
        if job.status != "completed" || !whole || job.erase != erase || job.completed_at.is_none() {
            wrong(format!("job of op {} for {n} users, {erase:?}: {job:?}", op.number));
        }
    }
    let strange: Vec<_> = seen.jobs.keys().filter(|id| !known.contains(id)).collect();
    if strange.len() > open {
        wrong(format!("{} jobs, but {open} requests could be theirs: {strange:?}", strange.len()));
    }
}

/// How many records of a topic were promised, and how many more may be there.
#[derive(Default)]
struct Records {
    items: (u64, u64),
    markers: (u64, u64),
}

fn records(history: &[Op], kind: Kind) -> Records {
    let mut records = Records::default();
    let count = |range: &mut (u64, u64), op: &Op, n: usize| {
        let n = u64::try_from(n).unwrap_or(u64::MAX);
        if op.accepted() {
            range.0 += n;
        }
        range.1 += n;
    };
    for op in history.iter().filter(|op| !op.refused()) {
        match &*op.call {
            Call::Items(items) => {
                let of_kind = |item: &Item| match item {
                    Item::Event(_) => kind == Kind::Events,
                    Item::Profile(_) => kind == Kind::Profile,
                    Item::Device(_) => kind == Kind::Devices,
                };
                let n = items.iter().filter(|sent| of_kind(&sent.item)).count();
                count(&mut records.items, op, n);
            }
            Call::Delete { users, reach } if reach.contains(&kind) => {
                count(&mut records.markers, op, users.len());
            }
            Call::Delete { .. } => {}
        }
    }
    records
}

fn totals(history: &[Op], seen: &Seen, repeated: bool, found: &mut Vec<Violation>) {
    let mut compare = |what: String, n: u64, (least, most): (u64, u64)| {
        if n < least || n > most {
            let detail = format!("{what}: {n}, but it must be within {least}..={most}");
            found.push(Violation { rule: Rule::Accounting, detail });
        }
    };
    for kind in Kind::ALL {
        let topic = seen.accounting.topics.get(kind.topic()).cloned().unwrap_or_default();
        let of = |names: &[&str]| names.iter().filter_map(|n| topic.outcomes.get(*n)).sum::<u64>();
        let mut expected = records(history, kind);
        if repeated {
            (expected.items.1, expected.markers.1) = (u64::MAX, u64::MAX);
        }
        let items = of(&["stored", "duplicate", "merged", "expired"]);
        compare(format!("items of {}", kind.topic()), items, expected.items);
        compare(format!("markers of {}", kind.topic()), of(&["erased"]), expected.markers);
        let lost = of(&["dead", "skipped", "withheld"]);
        compare(format!("dead, skipped or withheld {}", kind.topic()), lost, (0, 0));
    }
}
