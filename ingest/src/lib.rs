//! The front door: routes, authentication, limits, admission, acknowledgement.
//!
//! Owns HTTP and what a 202 promises. Must not know which engine the log is, nor how the store
//! keeps its rows: it speaks to [`millrace_log::Log`] and [`millrace_store::Store`]. What users and
//! the people of the back office may do is known to [`millrace_accounts`] alone.

mod accounts;
mod admin;
mod admission;
mod auth;
mod back_office;
mod body;
mod client_address;
mod connection;
mod context;
mod decode;
mod error;
mod health;
mod metrics;
mod person_request;
mod query;
mod rate;
mod read;
mod readiness;
mod refusal;
mod request_id;
mod response;
mod resume_points;
mod route;
mod server;
mod service;
mod standing;
mod write;

pub use context::{Config, Identity, Parts};
pub use readiness::{Check, Problem, Readiness, Report};
pub use server::{Bound, Server, Unclean, start};
pub use standing::{PartitionLedger, Standing, StandingsError, standings};
