//! Black-box tests of the real binary over HTTP, and the delivery oracle.
//!
//! Owns traffic, faults, and the judgement of what came of them. What is not about one engine's
//! files ([`shim`], [`process`]) is neutral: it knows requests and answers only.
//!
//! `cargo test -p millrace-tests` runs everything. Variables:
//!
//! | variable | meaning |
//! | --- | --- |
//! | `MILLRACE_ORACLE_ROUNDS` | how often the oracle kills the process (30) |
//! | `MILLRACE_ORACLE_SEED` | traffic and moments of an earlier run, as it was printed |
//! | `MILLRACE_KEEP` | if set, folders with data and standard error stay, and are named |
//! | `MILLRACE_BIN` | the binary under test; without it `millrace` is built |
//! | `MILLRACE_BROKEN_BIN` | the same for `broken`, where tests of another package use it |
//!
//! `src/bin/broken.rs` is the same binary with a rule broken on purpose, and `tests/breakages.rs`
//! shows that the oracle reports each.
//! `src/bin/walk-through.rs` makes the documented calls about people against any server, and
//! `schemathesis/run.py` holds every call against `openapi.yaml`.

pub mod accounts;
pub mod client;
pub mod crowd;
pub mod encoding;
pub mod forge;
pub mod generator;
pub mod jwks;
pub mod latency;
pub mod mail;
pub mod model;
pub mod observe;
pub mod oracle;
pub mod process;
pub mod python;
pub mod readiness;
pub mod receipts;
pub mod sender;
pub mod shim;
pub mod site;
pub mod split;
pub mod system;
pub mod tls;
pub mod walk_through;
pub mod watch;
pub mod world;
