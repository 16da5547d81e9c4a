//! The front door: routes, authentication, limits, admission, acknowledgement.
//!
//! Owns HTTP and what a 202 promises. Must not know which engine the log is, nor how the store
//! keeps its rows: it speaks to [`millrace_log::Log`] and [`millrace_store::Store`].

mod admission;
mod body;
mod context;
mod decode;
mod error;
mod query;
mod read;
mod response;
mod route;

pub use context::{Check, Config, Parts};
