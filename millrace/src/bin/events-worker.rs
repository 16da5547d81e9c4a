//! `events-worker`: see the library `millrace`.

use std::process::ExitCode;

fn main() -> ExitCode {
    millrace::worker(millrace::Role::Events)
}
