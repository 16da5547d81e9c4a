//! What became of each record: the closed list of outcomes, and their counts per project.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What became of one record. Every record ends in exactly one; the sum over a partition is its
/// frontier, always.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// An event was written.
    Stored,
    /// An event whose id, sent without a timestamp, had been stored before: it replaces the one
    /// before, under the time of that.
    Duplicate,
    /// A profile or device change was merged into its row (or found older than what is there).
    Merged,
    /// A marker erased a user's data of this topic.
    Erased,
    /// A record that took a detour was withheld, because its user was deleted after it.
    Withheld,
    /// A deletion job was registered.
    Registered,
    /// The record could not be stored and was put among the dead letters.
    Dead,
    /// The log's retention overtook the worker, or the event's retention was over on arrival.
    Expired,
    /// An offset without a record (Kafka's control records, or a repair of the embedded log).
    Skipped,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 9] = [
        Self::Stored,
        Self::Duplicate,
        Self::Merged,
        Self::Erased,
        Self::Withheld,
        Self::Registered,
        Self::Dead,
        Self::Expired,
        Self::Skipped,
    ];

    /// The name in JSON and in metrics labels.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Duplicate => "duplicate",
            Self::Merged => "merged",
            Self::Erased => "erased",
            Self::Withheld => "withheld",
            Self::Registered => "registered",
            Self::Dead => "dead",
            Self::Expired => "expired",
            Self::Skipped => "skipped",
        }
    }
}

/// Counts of outcomes per project. What belongs to no project (a gap, an undecodable record) is
/// counted under the empty name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Counts(BTreeMap<String, BTreeMap<Outcome, u64>>);

impl Counts {
    /// Adds `n` records of a project that ended in `outcome`.
    pub fn add(&mut self, project: &str, outcome: Outcome, n: u64) {
        if !self.0.contains_key(project) {
            self.0.insert(project.to_owned(), BTreeMap::new());
        }
        if let Some(outcomes) = self.0.get_mut(project) {
            *outcomes.entry(outcome).or_default() += n;
        }
    }

    /// Adds all counts of another.
    pub fn merge(&mut self, other: &Self) {
        for (project, outcomes) in &other.0 {
            for (outcome, n) in outcomes {
                self.add(project, *outcome, *n);
            }
        }
    }

    /// The counts of one project.
    pub fn of(&self, project: &str) -> BTreeMap<Outcome, u64> {
        self.0.get(project).cloned().unwrap_or_default()
    }

    /// The counts summed over all projects.
    pub fn by_outcome(&self) -> BTreeMap<Outcome, u64> {
        let mut sum = BTreeMap::new();
        for (outcome, n) in self.0.values().flatten() {
            *sum.entry(*outcome).or_default() += n;
        }
        sum
    }

    /// The sum of everything: equals the frontier.
    pub fn total(&self) -> u64 {
        self.0.values().flat_map(BTreeMap::values).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_survive_json_and_add_up() {
        let mut counts = Counts::default();
        counts.add("p", Outcome::Stored, 3);
        counts.add("", Outcome::Dead, 1);
        counts.add("p", Outcome::Stored, 1);
        let json = serde_json::to_string(&counts).unwrap();
        assert_eq!(json, r#"{"":{"dead":1},"p":{"stored":4}}"#);
        assert_eq!(serde_json::from_str::<Counts>(&json).unwrap(), counts);
        assert_eq!(counts.total(), 5);
    }

    #[test]
    fn names_are_those_of_the_json_form() {
        for outcome in Outcome::ALL {
            assert_eq!(serde_json::to_string(&outcome).unwrap(), format!("\"{}\"", outcome.name()));
        }
    }
}
