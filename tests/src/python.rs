//! A Python of our own, with packages from the registry.
//!
//! Owns making it, once, and running scripts in it. Must not know what they do.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// A Python with packages.
#[derive(Clone, Debug)]
pub struct Python(PathBuf);

impl Python {
    /// One with `packages`, made in `folder` unless it is there. `None`, and why on stderr, if the
    /// registry cannot be reached; in CI that fails.
    ///
    /// # Errors
    /// It cannot be made, in CI.
    pub fn with(folder: &Path, packages: &[&str]) -> Result<Option<Self>> {
        let (python, complete) = (folder.join("bin/python"), folder.join("complete"));
        if complete.exists() {
            return Ok(Some(Self(python)));
        }
        let install = ["-m", "pip", "install", "--quiet"];
        let made = run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder))
            .and_then(|()| run(Command::new(&python).args(install).args(packages)));
        match made {
            Ok(()) => fs::write(complete, "")?,
            Err(why) if std::env::var("CI").as_deref() == Ok("true") => return Err(why),
            Err(why) => {
                eprintln!("SKIPPED: {packages:?} cannot be installed: {why:#}");
                return Ok(None);
            }
        }
        Ok(Some(Self(python)))
    }

    /// A command that runs a script.
    pub fn script(&self, text: &str) -> Command {
        let mut command = Command::new(&self.0);
        command.args(["-c", text]);
        command
    }
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}: {said}", output.status);
    Ok(())
}
