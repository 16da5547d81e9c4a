//! A broker's settings, its storage, and its command line (KRaft, broker and controller in one).

use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::plan::{Kind, Plan, ServerPlan};

/// Any 22 characters of URL-safe base64 that make 16 bytes.
const CLUSTER_ID: &str = "TWlsbHJhY2VUZXN0MDAwMA";

/// Without the listing of all settings, and to the very end.
const LOG4J: &str = r#"<Configuration status="warn" shutdownHook="disable">
  <Appenders>
    <Console name="console"><PatternLayout pattern="%d %-5p %c{1} %m%n"/></Console>
  </Appenders>
  <Loggers>
    <Logger name="org.apache.kafka.common.config" level="warn"/>
    <Logger name="kafka.server.KafkaConfig" level="warn"/>
    <Root level="info"><AppenderRef ref="console"/></Root>
  </Loggers>
</Configuration>
"#;

pub(crate) fn prepare(plan: &Plan, server: &ServerPlan) -> Result<()> {
    let folder = plan.folder_of(server);
    fs::write(folder.join("log4j2.xml"), LOG4J)?;
    let properties = folder.join("server.properties");
    fs::write(&properties, settings(plan, server))?;
    let mut format = plan.java(server, &plan.kafka_jars);
    format.args(["-Xmx64m", "-XX:TieredStopAtLevel=1", "kafka.tools.StorageTool", "format"]);
    format.args(["-t", CLUSTER_ID, "-c"]).arg(&properties);
    let said = format.output().context("format a broker's storage")?;
    let text = String::from_utf8_lossy(&said.stderr).into_owned();
    ensure!(said.status.success(), "format a broker's storage: {}\n{text}", said.status);
    Ok(())
}

pub(crate) fn command(plan: &Plan, server: &ServerPlan) -> Command {
    let mut java = plan.java(server, &plan.kafka_jars);
    java.args(["-Xmx256m", "-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError"]);
    java.args(["-Dlog4j2.configurationFile=log4j2.xml", "kafka.Kafka", "server.properties"]);
    java
}

fn settings(plan: &Plan, server: &ServerPlan) -> String {
    let count = plan.of(Kind::Broker).count();
    let voter = |broker: &ServerPlan| format!("{}@{}", broker.number, broker.control);
    let voters: Vec<String> = plan.of(Kind::Broker).map(voter).collect();
    let ServerPlan { number, listen, advertised, internal, control, .. } = server;
    let (data, voters) = (plan.folder_of(server).join("data"), voters.join(","));
    let data = data.display();
    let in_sync = if count == 3 { 2 } else { 1 };
    let mut text = format!(
        "\
process.roles=broker,controller
node.id={number}
controller.quorum.voters={voters}
controller.listener.names=CONTROLLER
inter.broker.listener.name=INTERNAL
listeners=PLAINTEXT://{listen},INTERNAL://{internal},CONTROLLER://{control}
advertised.listeners=PLAINTEXT://{advertised},INTERNAL://{internal}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}

auto.create.topics.enable=false
default.replication.factor={count}
min.insync.replicas={in_sync}
offsets.topic.replication.factor={count}
transaction.state.log.replication.factor={count}
transaction.state.log.min.isr={in_sync}
share.coordinator.state.topic.replication.factor={count}
share.coordinator.state.topic.min.isr={in_sync}
"
    );
    text.push_str(FAST);
    for (name, value) in &plan.shape.broker_settings {
        let _ = writeln!(text, "{name}={value}");
    }
    text
}

/// Quick to start, to notice a death and to come back, on little memory.
const FAST: &str = "
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=500
offsets.topic.num.partitions=4
transaction.state.log.num.partitions=4
share.coordinator.state.topic.num.partitions=4
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
controller.quorum.election.timeout.ms=500
controller.quorum.fetch.timeout.ms=1000
log.cleaner.dedupe.buffer.size=8388608
log.segment.delete.delay.ms=1000
num.network.threads=2
num.io.threads=4
";
