//! Reading the audit log.

use millrace_store::AuditQuery;

use super::{Caller, People, PeopleError};
use crate::audit::AuditLog;
use crate::field::{self, FieldError};

/// Entries of one answer.
const ENTRIES_MAX: usize = 1_000;

impl People {
    /// Entries of the audit log, newest first, at most 1,000; by `event_types` (repeated),
    /// `user_id`, `user_email`, `start_date` and `end_date` (inclusive) only those.
    ///
    /// # Errors
    /// 403 unless the caller is an admin, 422 for what is no id or date.
    pub async fn logs(
        &self,
        caller: &Caller,
        query: &[(String, String)],
    ) -> Result<Vec<AuditLog>, PeopleError> {
        caller.must_be_admin()?;
        Ok(self.core.audit.read(filter(query)?).await?)
    }
}

fn filter(query: &[(String, String)]) -> Result<AuditQuery, Vec<FieldError>> {
    let mut filter = AuditQuery { limit: ENTRIES_MAX, ..AuditQuery::default() };
    let mut errors = Vec::new();
    for (name, value) in query {
        let wrong = match name.as_str() {
            "event_types" => {
                filter.event_types.push(value.clone());
                continue;
            }
            "user_email" => {
                filter.user_email = Some(value.clone());
                continue;
            }
            "user_id" => field::uuid_text(value).map(|id| filter.user_id = Some(id)),
            "start_date" => field::moment(value).map(|at| filter.from_us = Some(at.start_us)),
            "end_date" => field::moment(value).map(|at| filter.to_us = Some(at.end_us)),
            _ => continue,
        };
        errors.extend(wrong.err().map(|wrong| FieldError::new("query", name, wrong)));
    }
    if errors.is_empty() { Ok(filter) } else { Err(errors) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    #[test]
    fn types_repeat_and_days_are_inclusive() {
        let found = filter(&query(&[
            ("event_types", "create"),
            ("event_types", "login"),
            ("start_date", "2025-01-17"),
            ("end_date", "2025-01-17"),
            ("user_email", "a@b.co"),
            ("unknown", "ignored"),
        ]))
        .unwrap();
        assert_eq!(found.event_types, ["create", "login"]);
        assert_eq!(found.to_us.unwrap() - found.from_us.unwrap(), 86_400_000_000);
        assert_eq!(found.limit, 1_000);
    }

    #[test]
    fn each_bad_parameter_is_named() {
        let errors = filter(&query(&[("user_id", "7"), ("start_date", "soon")])).unwrap_err();
        let kinds: Vec<&str> = errors.iter().map(|error| error.kind).collect();
        assert_eq!(kinds, ["uuid_parsing", "datetime_parsing"]);
    }
}
