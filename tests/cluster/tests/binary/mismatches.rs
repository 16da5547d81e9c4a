//! A cluster that has something else than it must: every process ends, and says what to do.

use millrace_cluster::Cluster;

use crate::install::{Install, text};

/// What `millrace` says on standard error when it is refused.
fn error(install: &Install, args: &[&str]) -> String {
    let output = install.run(args);
    assert_eq!(output.status.code(), Some(1), "{args:?}: {}", text(&output.stdout));
    text(&output.stderr)
}

#[test]
#[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]
fn without_a_migration_everything_ends_and_names_it() {
    let install = Install::new(Cluster::shared().unwrap(), "unmigrated");
    // Makes the keys.
    let refused = error(&install, &["project", "list"]);
    assert!(refused.contains("the database cannot be used: there is no keyspace"), "{refused}");
    assert!(refused.contains("`millrace migrate`"), "{refused}");
    for launch in [install.door(), install.worker("deletions")] {
        let refused = install.refused(&launch);
        assert!(refused.contains("`millrace migrate`"), "{refused}");
    }
}

#[test]
#[cfg_attr(cluster_missing, ignore = "JDK 17 or Maven is missing")]
fn another_keyspace_prefix_or_number_of_partitions_is_refused() {
    let install = Install::new(Cluster::shared().unwrap(), "mismatch").migrated();
    install.run_json(&["project", "list"]);
    let other = format!("{}x", install.name);
    let ways = [
        (["--cql-keyspace", &other], "there is no keyspace"),
        (["--kafka-prefix", &other], "is missing"),
        (["--partitions", "3"], "2 partitions, wanted 3"),
    ];
    for (option, reason) in ways {
        let refused = error(&install, &[&["ledger"][..], &option].concat());
        assert!(refused.contains(reason), "{refused}");
        let worker = ["worker", "--role", "profiles"];
        let refused = install.refused(&install.launch(&[&worker[..], &option].concat()));
        assert!(refused.contains(reason), "{refused}");
    }
    let migrate = ["migrate", "--replication-factor", "1"];
    for (option, reason) in [
        (["--partitions", "3"], "2 partitions, wanted 3"),
        (["--log-retention-seconds", "60"], "retention.ms is \"604800000\", wanted 60000"),
    ] {
        let refused = error(&install, &[&migrate[..], &option].concat());
        assert!(refused.contains(reason), "{refused}");
    }
}
