//! Where JDK 17 and Maven are. Also compiled into the build script, so it uses `std` alone.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The programs that servers are fetched and run with.
#[derive(Debug)]
pub(crate) struct Tools {
    /// `java` of a JDK 17: Cassandra 5 does not start on any later one.
    pub(crate) java: PathBuf,
    /// `mvn`.
    pub(crate) maven: PathBuf,
}

/// Finds both, or says in one line which is missing.
pub(crate) fn find() -> Result<Tools, String> {
    let java = candidates().into_iter().find(|java| is_jdk_17(java));
    let maven = on_path("mvn").into_iter().next();
    let missing = match (java, maven) {
        (Some(java), Some(maven)) => return Ok(Tools { java, maven }),
        (None, Some(_)) => "JDK 17",
        (Some(_), None) => "Maven",
        (None, None) => "JDK 17 and Maven",
    };
    Err(format!(
        "{missing} not found: real servers need `java` and `keytool` of a JDK 17 \
         (JAVA17_HOME, JAVA_HOME, PATH or /usr/lib/jvm) and `mvn` (PATH)"
    ))
}

fn candidates() -> Vec<PathBuf> {
    let homes = ["JAVA17_HOME", "JAVA_HOME"].into_iter().filter_map(std::env::var_os);
    let mut found: Vec<PathBuf> = homes.map(|home| Path::new(&home).join("bin/java")).collect();
    found.extend(on_path("java"));
    let installed = std::fs::read_dir("/usr/lib/jvm").into_iter().flatten().flatten();
    found.extend(installed.map(|home| home.path().join("bin/java")));
    found.retain(|java| java.is_file());
    found
}

fn on_path(program: &str) -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(program));
    found.filter(|file| file.is_file()).collect()
}

/// Whether it is Java 17, and with the tools of a JDK beside it.
fn is_jdk_17(java: &Path) -> bool {
    let Ok(real) = java.canonicalize() else { return false };
    if !real.with_file_name("keytool").is_file() {
        return false;
    }
    let answer = Command::new(java).arg("-version").output();
    answer.is_ok_and(|said| String::from_utf8_lossy(&said.stderr).contains("version \"17"))
}
