//! Listing the people of the back office.

use serde::Serialize;

use super::{BackOffice, BackOfficeCaller, BackOfficeError, PersonRow};
use crate::field::{FieldError, Wrong};

const PAGE_SIZE: u64 = 50;
const PAGE_SIZE_MAX: u64 = 200;

/// A page of the list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Page {
    /// Its rows, oldest first.
    pub data: Vec<PersonRow>,
    /// How many there are on all pages.
    pub total_count: usize,
    /// Which page it is.
    pub pagination: Pagination,
}

/// Which page it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Pagination {
    /// From 1.
    pub page: u64,
    /// Rows of a page.
    pub page_size: u64,
}

impl BackOffice {
    /// The back office's people, by `page` and `pageSize`.
    ///
    /// # Errors
    /// 403 unless the caller is of the back office, 400 for a page that cannot be.
    pub async fn list(
        &self,
        caller: &BackOfficeCaller,
        query: &[(String, String)],
    ) -> Result<Page, BackOfficeError> {
        caller.must_be_back_office()?;
        let pagination = pagination(query)?;
        let all = self.all_people().await?;
        let total_count = all.len();
        let Pagination { page, page_size } = pagination;
        let skip = usize::try_from((page - 1).saturating_mul(page_size)).unwrap_or(usize::MAX);
        let take = usize::try_from(page_size).unwrap_or(usize::MAX);
        let data = all.into_iter().skip(skip).take(take).collect();
        Ok(Page { data, total_count, pagination })
    }
}

fn pagination(query: &[(String, String)]) -> Result<Pagination, Vec<FieldError>> {
    let mut pagination = Pagination { page: 1, page_size: PAGE_SIZE };
    let mut errors = Vec::new();
    for (name, value) in query {
        let (number, max) = match name.as_str() {
            "page" => (&mut pagination.page, u64::from(u32::MAX)),
            "pageSize" => (&mut pagination.page_size, PAGE_SIZE_MAX),
            _ => continue,
        };
        match value.parse() {
            Ok(value) if (1..=max).contains(&value) => *number = value,
            _ => {
                let wrong = Wrong::value(&format!("it must be an integer from 1 to {max}"));
                errors.push(FieldError::new("query", name, wrong));
            }
        }
    }
    if errors.is_empty() { Ok(pagination) } else { Err(errors) }
}
