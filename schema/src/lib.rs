//! What is said: wire types, limits, validation, the log record, errors, the closed lists.
//!
//! Owns every name and number that two rooms must agree on. Must not know how a record is
//! stored, sent or served: nothing of ours is imported here.

pub mod counts;
pub mod cql;
pub mod disk;
pub mod error;
pub mod id;
pub mod limits;
pub mod net;
pub mod openapi;
pub mod parse;
pub mod receipt;
pub mod record;
pub mod time;
pub mod timestamp;
pub mod topic;
pub mod user;

pub use counts::{Counts, Outcome};
pub use record::Record;
pub use topic::Topic;
pub use user::UserKey;
