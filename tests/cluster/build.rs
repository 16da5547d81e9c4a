//! Sets `cluster_missing` where no server can be started, so that tests are counted as ignored.

#[path = "src/java.rs"]
mod java;

fn main() {
    println!("cargo::rustc-check-cfg=cfg(cluster_missing)");
    println!("cargo::rerun-if-changed=src/java.rs");
    for name in ["PATH", "JAVA_HOME", "JAVA17_HOME", "CI", "MILLRACE_REQUIRE_CLUSTER"] {
        println!("cargo::rerun-if-env-changed={name}");
    }
    let is = |name: &str, value: &str| std::env::var(name).is_ok_and(|is| is == value);
    if is("CI", "true") || is("MILLRACE_REQUIRE_CLUSTER", "1") {
        return;
    }
    match java::find() {
        Ok(java::Tools { java, maven }) => {
            println!("cargo::rerun-if-changed={}", java.display());
            println!("cargo::rerun-if-changed={}", maven.display());
        }
        Err(missing) => {
            println!("cargo::warning={missing}; tests on real servers are ignored");
            println!("cargo::rustc-cfg=cluster_missing");
        }
    }
}
