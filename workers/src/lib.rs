//! Log → store: what a record means.
//!
//! Owns merging, ordering, erasing and accounting, once for every engine. Must not know HTTP, nor
//! how an engine keeps its bytes. Each assigned partition is a task of its own ([`partition`]);
//! what a record changes is decided by plain functions from (record, state) to writes ([`role`]).

mod arrival;
mod completion;
mod config;
mod dead_letter;
mod erasures;
mod merge;
mod meters;
mod partition;
mod positions;
mod progress;
mod role;
mod service;

pub use completion::{Receipts, Sign};
pub use config::Config;
pub use service::{StopError, Workers, start};
