//! `ingest`: see the library `millrace`.

use std::process::ExitCode;

fn main() -> ExitCode {
    millrace::ingest()
}
