//! Bad input over HTTP, for each of the five calls: nothing panics, nothing is stored, nothing
//! hangs, and every answer has its status, code and message.

mod bodies;
mod encodings;
mod fields;
mod framing;
mod keys;
mod limits;
mod support;
