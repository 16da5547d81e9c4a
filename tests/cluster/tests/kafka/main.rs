//! The log on Kafka, against real brokers.

#[macro_use]
#[path = "../../../../log/tests/suite/mod.rs"]
mod suite;

mod conformance;
mod fixture;
mod foreign;
mod groups;
mod outages;
mod topics;
