//! The real binaries on real servers: what a user types, and what comes of it.

mod away;
mod install;
mod mismatches;
mod one_process;
mod people;
mod processes;
mod recreated;
