//! Black-box tests of the real binary over HTTP, and the delivery oracle.
//!
//! Owns traffic, faults, and the judgement of what came of them. What is not about one engine's
//! files ([`shim`], [`process`]) is neutral: it knows requests and answers only.

pub mod client;
pub mod encoding;
pub mod generator;
pub mod model;
pub mod observe;
pub mod oracle;
pub mod process;
pub mod sender;
pub mod shim;
pub mod world;
