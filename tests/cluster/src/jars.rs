//! The class path of each product: fetched once with Maven, kept below the target folder.
//!
//! Kafka and Cassandra need different versions of the same libraries: one folder each.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

/// A product and what it runs on.
pub(crate) struct Product {
    name: &'static str,
    pom: &'static str,
}

/// The broker.
pub(crate) const KAFKA: Product = Product { name: "kafka", pom: include_str!("../kafka.xml") };

/// The database.
pub(crate) const CASSANDRA: Product =
    Product { name: "cassandra", pom: include_str!("../cassandra.xml") };

impl Product {
    /// The folder with its jars; fetched if it is not there.
    pub(crate) fn jars(&self, maven: &Path, cache: &Path) -> Result<PathBuf> {
        let home = cache.join(format!("{}-{}", self.name, self.version()?));
        let jars = home.join("lib");
        if jars.is_dir() {
            return Ok(jars);
        }
        fs::create_dir_all(&home)?;
        let lock = File::create(home.join("lock"))?;
        lock.lock()?;
        // Another process may have fetched them meanwhile.
        if !jars.is_dir() {
            self.fetch(maven, &home, &jars)?;
        }
        Ok(jars)
    }

    /// Into a folder of another name first: one that was interrupted never looks complete.
    fn fetch(&self, maven: &Path, home: &Path, jars: &Path) -> Result<()> {
        let fetching = tempfile::Builder::new().prefix("fetching-").tempdir_in(home)?;
        let (pom, lib) = (fetching.path().join("pom.xml"), fetching.path().join("lib"));
        fs::write(&pom, self.pom)?;
        let mut command = Command::new(maven);
        command.args(["-q", "-B", "-f"]).arg(&pom).arg("dependency:copy-dependencies");
        command.arg(format!("-DoutputDirectory={}", lib.display()));
        let said = command.output().context("run mvn")?;
        if !said.status.success() {
            let text = String::from_utf8_lossy(&said.stdout).into_owned();
            bail!("mvn could not fetch the jars of {}: {}\n{text}", self.name, said.status);
        }
        let count = fs::read_dir(&lib).map_or(0, Iterator::count);
        ensure!(count > 0, "mvn fetched no jar of {}", self.name);
        fs::rename(&lib, jars).context("put the fetched jars in place")
    }

    /// The project's own version, which its dependency takes over.
    fn version(&self) -> Result<&'static str> {
        let rest = self.pom.split_once("<version>").map(|(_, rest)| rest);
        let version = rest.and_then(|rest| rest.split_once("</version>"));
        Ok(version.with_context(|| format!("{}.xml names no version", self.name))?.0)
    }
}
