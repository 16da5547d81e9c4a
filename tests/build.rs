//! Sets `python_missing` where there is no SMTP server of another language, so that the tests that
//! need it are counted as ignored.

#[path = "../millrace/build.rs"]
mod millrace;

fn main() {
    println!("cargo::rerun-if-changed=../millrace/build.rs");
    millrace::main();
}
