//! A client that is not ours: Apache's, which reads the topics as anybody may.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use millrace_cluster::Cluster;

const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/oracle/Foreign.java");

/// A record as Apache's client reads it.
#[derive(Clone, Debug)]
pub(crate) struct Read {
    pub(crate) partition: u32,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: BTreeMap<String, String>,
}

/// The first records of a topic, `count` of them; fewer if there are no more.
pub(crate) fn read(cluster: &Cluster, topic: &str, count: usize) -> Result<Vec<Read>> {
    let mut java = cluster.brokers()[0].client_java();
    java.args(["-XX:TieredStopAtLevel=1", PROGRAM, &cluster.bootstrap(), topic]);
    let said = java.arg(count.to_string()).output().context("run the foreign client")?;
    let error = String::from_utf8_lossy(&said.stderr).into_owned();
    ensure!(said.status.success(), "the foreign client: {}\n{error}", said.status);
    let said = String::from_utf8(said.stdout)?;
    let records = said.lines().filter_map(|line| line.strip_prefix("record "));
    records.map(|line| record(line).with_context(|| line.to_owned())).collect()
}

fn record(line: &str) -> Result<Read> {
    let mut words = line.split(' ');
    let mut next = || words.next().context("too short");
    let partition = next()?.parse()?;
    next()?.parse::<u64>().context("no offset")?;
    let (key, value) = (bytes(next()?)?, bytes(next()?)?);
    let mut headers = BTreeMap::new();
    for header in words {
        let (name, value) = header.split_once("=").context("no header")?;
        let value = bytes(value)?.context("a header without a value")?;
        headers.insert(name.to_owned(), String::from_utf8(value)?);
    }
    Ok(Read { partition, key, value, headers })
}

fn bytes(word: &str) -> Result<Option<Vec<u8>>> {
    if word == "-" {
        return Ok(None);
    }
    Ok(Some(STANDARD.decode(word.strip_prefix('b').context("neither bytes nor none")?)?))
}
