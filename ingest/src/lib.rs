//! The front door: routes, authentication, limits, admission, acknowledgement.
//!
//! Owns HTTP and what a 202 promises. Must not know which engine the log is, nor how the store
//! keeps its rows: it speaks to [`millrace_log::Log`] and [`millrace_store::Store`].

mod admin;
mod admission;
mod auth;
mod body;
mod connection;
mod context;
mod decode;
mod error;
mod health;
mod metrics;
mod query;
mod rate;
mod read;
mod readiness;
mod request_id;
mod response;
mod resume_points;
mod route;
mod server;
mod service;
mod standing;
mod write;

pub use context::{Config, Parts};
pub use readiness::{Check, Problem, Readiness, Report};
pub use server::{Server, Unclean, start};
pub use standing::{PartitionLedger, Standing, StandingsError, standings};
