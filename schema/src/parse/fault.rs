//! What can be wrong with a body, and the words for it.

use crate::error::{ErrorCode, ItemError, ItemErrors};
use crate::limits::{ERRORS_LISTED, JSON_DEPTH};
use crate::timestamp::TimestampError;

/// One thing that is wrong. Becomes text only if it is listed; what it is about is put in front.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    #[error("the {what} is not valid JSON at byte {byte}{}: {reason}", InItem(*.item))]
    Syntax { what: &'static str, byte: usize, item: Option<usize>, reason: String },
    #[error(
        "the {what} holds a number beyond the range of a double at byte {byte}{}; send a string",
        InItem(*.item)
    )]
    NumberOutOfRange { what: &'static str, byte: usize, item: Option<usize> },
    #[error("nests arrays and objects deeper than {JSON_DEPTH} levels; flatten it")]
    TooDeep,
    #[error("is {bytes} bytes long; at most {limit} are accepted, so make it smaller")]
    ItemTooLarge { bytes: usize, limit: usize },
    #[error("is required")]
    Missing,
    #[error("must be {0}")]
    Type(&'static str),
    #[error("is {bytes} bytes long; it must be 1 to {limit}")]
    Bytes { bytes: usize, limit: usize },
    #[error("is {chars} characters long; it must be 1 to {limit}")]
    Chars { chars: usize, limit: usize },
    #[error("{0}")]
    Value(&'static str),
    #[error("{0}")]
    Timestamp(TimestampError),
    #[error("holds {count} items; at most {limit} are accepted in one call, so split it")]
    TooMany { count: usize, limit: usize },
    #[error("must hold at least one item")]
    Empty,
}

/// ", in item 17", where that is known.
struct InItem(Option<usize>);

impl std::fmt::Display for InItem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.map_or(Ok(()), |index| write!(f, ", in item {index}"))
    }
}

impl Fault {
    const fn code(&self) -> ErrorCode {
        match self {
            Self::Syntax { .. } => ErrorCode::InvalidJson,
            Self::NumberOutOfRange { .. } => ErrorCode::NumberOutOfRange,
            Self::TooDeep => ErrorCode::TooDeep,
            Self::ItemTooLarge { .. } => ErrorCode::ItemTooLarge,
            Self::Missing => ErrorCode::MissingField,
            Self::Type(_) => ErrorCode::InvalidType,
            Self::Bytes { .. } | Self::Chars { .. } => ErrorCode::InvalidLength,
            Self::Value(_) => ErrorCode::InvalidValue,
            Self::Timestamp(_) => ErrorCode::InvalidTimestamp,
            Self::TooMany { .. } | Self::Empty => ErrorCode::InvalidCount,
        }
    }

    /// Counts it, and lists it if there is room.
    pub(super) fn add_to(
        self,
        errors: &mut ItemErrors,
        index: Option<usize>,
        field: Option<&'static str>,
    ) {
        if errors.errors.len() >= ERRORS_LISTED {
            errors.total += 1;
            return;
        }
        let message = match (field, index, &self) {
            (None, _, Self::Syntax { .. } | Self::NumberOutOfRange { .. }) => self.to_string(),
            (Some(field), ..) => format!("`{field}` {self}"),
            (None, Some(_), _) => format!("the item {self}"),
            (None, None, _) => format!("the body {self}"),
        };
        errors.push(ItemError {
            index,
            field: field.map(str::to_owned),
            code: self.code(),
            message,
        });
    }

    /// The refusal of a whole body for this alone.
    pub(super) fn alone(self, index: Option<usize>, field: Option<&'static str>) -> ItemErrors {
        let mut errors = ItemErrors::default();
        self.add_to(&mut errors, index, field);
        errors
    }
}
