//! A node's settings, its command line, and `nodetool`.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::plan::{CommitLog, Kind, Plan, ServerPlan};
use crate::tls;

/// One token each, a third of the ring apart.
const TOKENS: [i64; 3] =
    [-9_223_372_036_854_775_808, -3_074_457_345_618_258_603, 3_074_457_345_618_258_602];

const EXPORTS: [&str; 8] = [
    "java.base/jdk.internal.misc",
    "java.base/jdk.internal.ref",
    "java.base/sun.nio.ch",
    "java.base/java.lang.ref",
    "java.management.rmi/com.sun.jmx.remote.internal.rmi",
    "java.rmi/sun.rmi.registry",
    "java.rmi/sun.rmi.server",
    "java.sql/java.sql",
];

const OPENS: [&str; 16] = [
    "java.base/java.lang.module",
    "java.base/jdk.internal.loader",
    "java.base/jdk.internal.ref",
    "java.base/jdk.internal.reflect",
    "java.base/jdk.internal.math",
    "java.base/jdk.internal.module",
    "java.base/jdk.internal.util.jar",
    "java.base/sun.nio.ch",
    "java.base/java.io",
    "java.base/java.lang",
    "java.base/java.lang.reflect",
    "java.base/java.util",
    "java.base/java.util.concurrent",
    "java.base/java.util.concurrent.atomic",
    "java.base/java.nio",
    "jdk.management/com.sun.management.internal",
];

const LOGBACK: &str = r#"<configuration>
  <appender name="console" class="ch.qos.logback.core.ConsoleAppender">
    <target>System.err</target>
    <encoder><pattern>%date %-5level %logger{0} %msg%n</pattern></encoder>
  </appender>
  <root level="INFO"><appender-ref ref="console"/></root>
</configuration>
"#;

pub(crate) fn prepare(plan: &Plan, server: &ServerPlan) -> Result<()> {
    let folder = plan.folder_of(server);
    fs::write(folder.join("logback.xml"), LOGBACK)?;
    fs::write(folder.join("cassandra.yaml"), settings(plan, server))?;
    Ok(())
}

pub(crate) fn command(plan: &Plan, server: &ServerPlan) -> Command {
    let folder = plan.folder_of(server);
    let folder = folder.display();
    let mut java = java(plan, server);
    java.args(match plan.of(Kind::Node).count() {
        1 => &["-Xmx512m"][..],
        // Several share few cores: code that is soon compiled is worth more than fast code.
        _ => &["-Xmx256m", "-XX:TieredStopAtLevel=1"],
    });
    java.args(["-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError", "-Xss512k"]);
    java.arg(format!("-Dcassandra.config=file://{folder}/cassandra.yaml"));
    java.arg(format!("-Dcassandra.storagedir={folder}/data"));
    java.arg(format!("-Dcassandra.jmx.local.port={}", server.control.port()));
    java.args(["-Dcassandra-foreground=yes", "-Dcassandra.skip_wait_for_gossip_to_settle=0"]);
    java.args(["-Dcassandra.ring_delay_ms=100", "-Dcassandra.superuser_setup_delay_ms=0"]);
    java.arg("org.apache.cassandra.service.CassandraDaemon");
    java
}

/// Runs `nodetool` and returns what it printed.
pub(crate) fn nodetool(plan: &Plan, server: &ServerPlan, args: &[&str]) -> Result<String> {
    let mut java = java(plan, server);
    java.args(["-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
    java.args(["org.apache.cassandra.tools.NodeTool", "-p", &server.control.port().to_string()]);
    let said = java.args(args).output().context("run nodetool")?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&said.stdout), text(&said.stderr));
    ensure!(said.status.success(), "nodetool {args:?}: {}\n{out}{err}", said.status);
    Ok(out)
}

fn java(plan: &Plan, server: &ServerPlan) -> Command {
    let mut java = plan.java(server, &plan.cassandra_jars);
    let logback = plan.folder_of(server).join("logback.xml");
    java.arg(format!("-Dlogback.configurationFile=file://{}", logback.display()));
    for (option, packages) in [("--add-exports", &EXPORTS[..]), ("--add-opens", &OPENS[..])] {
        for package in packages {
            java.arg(option).arg(format!("{package}=ALL-UNNAMED"));
        }
    }
    java.args(["--add-exports", "jdk.unsupported/sun.misc=ALL-UNNAMED"]);
    java
}

fn settings(plan: &Plan, server: &ServerPlan) -> String {
    // Every node is a seed: they start at the same time, and none waits for another.
    let seeds: Vec<String> = plan.of(Kind::Node).map(|node| node.internal.to_string()).collect();
    let data = plan.folder_of(server).join("data");
    let (data, seeds) = (data.display(), seeds.join(","));
    let token = if plan.of(Kind::Node).count() == 1 { 0 } else { TOKENS[server.number - 1] };
    let mut text = format!(
        "\
cluster_name: millrace-test
num_tokens: 1
initial_token: {token}
auto_bootstrap: false
partitioner: org.apache.cassandra.dht.Murmur3Partitioner
endpoint_snitch: SimpleSnitch
seed_provider:
  - class_name: org.apache.cassandra.locator.SimpleSeedProvider
    parameters: [{{seeds: '{seeds}'}}]
listen_address: {internal_host}
storage_port: {storage}
start_native_transport: true
rpc_address: {host}
broadcast_rpc_address: {shown}
native_transport_port: {cql}
data_file_directories: ['{data}/data']
commitlog_directory: {data}/commitlog
saved_caches_directory: {data}/saved_caches
hints_directory: {data}/hints
cdc_raw_directory: {data}/cdc
",
        internal_host = server.internal.ip(),
        storage = server.internal.port(),
        host = server.listen.ip(),
        shown = server.advertised.ip(),
        cql = server.listen.port(),
    );
    text.push_str(CALM);
    text.push_str(match plan.shape.commit_log {
        CommitLog::Periodic => "commitlog_sync: periodic\ncommitlog_sync_period: 10000ms\n",
        CommitLog::Batch => "commitlog_sync: batch\n",
    });
    if plan.shape.passwords {
        text.push_str("authenticator: PasswordAuthenticator\nauthorizer: CassandraAuthorizer\n");
    }
    if plan.shape.tls {
        text.push_str(&tls::cassandra_settings(&plan.folder));
    }
    for (name, value) in &plan.shape.node_settings {
        let _ = writeln!(text, "{name}: {value}");
    }
    text
}

/// Nothing that a slow machine would trip over, nothing that outlives a dropped table.
const CALM: &str = "\
auto_snapshot: false
snapshot_before_compaction: false
dynamic_snitch: false
read_request_timeout: 10s
range_request_timeout: 20s
write_request_timeout: 10s
cas_contention_timeout: 5s
truncate_request_timeout: 60s
request_timeout: 20s
native_transport_timeout: 60s
";
