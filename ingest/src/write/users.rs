//! Ids of many users in one buffer: as many as a call may bring, of as many calls as may be under
//! way, must fit in memory.

/// Ids of users, each once, ascending.
pub(super) struct Users {
    text: String,
    /// Where each ends in `text`.
    ends: Vec<usize>,
}

impl Users {
    /// Of ids that ascend.
    pub(super) fn of(ids: &[&str]) -> Self {
        let mut users = Self {
            text: String::with_capacity(ids.iter().map(|id| id.len()).sum()),
            ends: Vec::with_capacity(ids.len()),
        };
        for id in ids {
            users.text.push_str(id);
            users.ends.push(users.text.len());
        }
        users
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub(super) fn get(&self, at: usize) -> Option<&str> {
        let start = if at == 0 { 0 } else { *self.ends.get(at - 1)? };
        self.text.get(start..*self.ends.get(at)?)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).filter_map(|at| self.get(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_come_back_in_their_order() {
        let users = Users::of(&["a", "bc", "é"]);
        assert_eq!(users.iter().collect::<Vec<_>>(), ["a", "bc", "é"]);
        assert_eq!((users.len(), users.get(1), users.get(3)), (3, Some("bc"), None));
        assert!(Users::of(&[]).is_empty());
    }
}
