//! Partitions of last-writer-wins cells, as a CQL database keeps them, that forget when they crash.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use millrace_store::{Cell, Claim, Completion, Erasure, JobRow, LedgerRow};
use tokio::time::Instant;

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Number(i64),
    Payload(Bytes),
    Cell(Cell),
    Claim(Claim),
    Erasure(Erasure),
    Job(JobRow),
    Sample(Vec<String>),
    Completion(Completion),
    Ledger(Box<LedgerRow>),
    /// The tombstone of one cell, written with others in one statement.
    Gone,
}

/// One statement about one partition; atomic within it.
#[derive(Clone, Debug)]
pub(crate) enum Mutation {
    Put { stamp: i64, cells: Vec<(String, Value)> },
    DeleteAll { stamp: i64 },
    DeleteCell { stamp: i64, name: String },
}

/// The cells of a partition with their stamps, and the tombstones over them.
#[derive(Clone, Default)]
pub(crate) struct Cells {
    deleted: Option<i64>,
    deleted_cells: BTreeMap<String, i64>,
    cells: BTreeMap<String, (i64, Value)>,
}

impl Cells {
    fn apply(&mut self, mutation: &Mutation) {
        match mutation {
            Mutation::DeleteAll { stamp } => self.deleted = self.deleted.max(Some(*stamp)),
            Mutation::DeleteCell { stamp, name } => {
                let deleted = self.deleted_cells.entry(name.clone()).or_insert(*stamp);
                *deleted = (*deleted).max(*stamp);
            }
            Mutation::Put { stamp, cells } => {
                for (name, value) in cells {
                    self.put(*stamp, name, value);
                }
            }
        }
    }

    /// The larger stamp wins; of equal ones a tombstone, else the larger value.
    fn put(&mut self, stamp: i64, name: &str, value: &Value) {
        if let Some((present, old)) = self.cells.get(name) {
            let wins = |old: &Value| match (value, old) {
                (Value::Gone, _) => true,
                (_, Value::Gone) => false,
                _ => format!("{value:?}") >= format!("{old:?}"),
            };
            if *present > stamp || (*present == stamp && !wins(old)) {
                return;
            }
        }
        self.cells.insert(name.to_owned(), (stamp, value.clone()));
    }

    /// A tombstone hides what is stamped at or below it.
    pub(crate) fn visible(&self) -> impl Iterator<Item = (&str, i64, &Value)> {
        self.cells.iter().filter_map(|(name, (stamp, value))| {
            self.is_visible(name, *stamp, value).then_some((name.as_str(), *stamp, value))
        })
    }

    fn is_visible(&self, name: &str, stamp: i64, value: &Value) -> bool {
        let deleted = self.deleted.max(self.deleted_cells.get(name).copied());
        deleted < Some(stamp) && *value != Value::Gone
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        let (stamp, value) = self.cells.get(name)?;
        self.is_visible(name, *stamp, value).then_some(value)
    }
}

#[derive(Default)]
struct Partition {
    /// What no crash can take back.
    safe: Cells,
    /// What one may: (acknowledged, mutation).
    young: Vec<(Instant, Mutation)>,
    view: Option<Arc<Cells>>,
}

/// All partitions.
#[derive(Default)]
pub(crate) struct Table {
    partitions: BTreeMap<String, Partition>,
}

impl Table {
    pub(crate) fn apply(&mut self, key: &str, mutation: Mutation, settle: Duration) {
        let partition = self.partitions.entry(key.to_owned()).or_default();
        let now = Instant::now();
        let old = partition.young.partition_point(|(at, _)| now - *at >= settle);
        for (_, mutation) in partition.young.drain(..old) {
            partition.safe.apply(&mutation);
        }
        if let Some(view) = &mut partition.view {
            Arc::make_mut(view).apply(&mutation);
        }
        partition.young.push((now, mutation));
    }

    pub(crate) fn read(&mut self, key: &str) -> Arc<Cells> {
        self.partitions.get_mut(key).map(Partition::view).unwrap_or_default()
    }

    pub(crate) fn under(&mut self, prefix: &str) -> Vec<(String, Arc<Cells>)> {
        let range = self.partitions.range_mut(prefix.to_owned()..);
        let found = range.take_while(|(key, _)| key.starts_with(prefix));
        found.map(|(key, partition)| (key.clone(), partition.view())).collect()
    }

    /// Forgets some of what is younger than `settle`, in each partition for itself: everything
    /// since some moment, or whatever chance has it.
    pub(crate) fn crash(&mut self, rng: &mut Rng, settle: Duration) {
        let now = Instant::now();
        for partition in self.partitions.values_mut() {
            let cut = settle.mul_f64(rng.f64());
            let since_a_moment = rng.bool();
            partition.young.retain(|(at, _)| {
                let age = now - *at;
                age >= settle || if since_a_moment { age >= cut } else { rng.bool() }
            });
            partition.view = None;
        }
    }
}

impl Partition {
    fn view(&mut self) -> Arc<Cells> {
        let fold = || {
            let mut view = self.safe.clone();
            self.young.iter().for_each(|(_, mutation)| view.apply(mutation));
            Arc::new(view)
        };
        self.view.get_or_insert_with(fold).clone()
    }
}
