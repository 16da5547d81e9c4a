//! The front door over HTTP, on the embedded engines.

mod calls;
mod fixture;
mod refusals;
mod shutdown;
