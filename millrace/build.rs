//! Sets `python_missing` where no other language can check a receipt, so that the test is counted
//! as ignored.

use std::process::Command;

pub(crate) fn main() {
    println!("cargo::rustc-check-cfg=cfg(python_missing)");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=PATH");
    println!("cargo::rerun-if-env-changed=CI");
    if std::env::var("CI").is_ok_and(|is| is == "true") {
        return;
    }
    let found = Command::new("python3").args(["-c", "import venv, ensurepip"]).output();
    if !found.is_ok_and(|output| output.status.success()) {
        println!("cargo::warning=no python3 with venv and pip; tests that need them are ignored");
        println!("cargo::rustc-cfg=python_missing");
    }
}
