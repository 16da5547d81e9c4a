//! A certificate authority of one's own and one certificate of all nodes, made with `keytool`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::plan::Plan;

/// Of the key stores; they live as long as the cluster.
const PASSWORD: &str = "millrace";

/// Whom the certificate is good for: nodes, and proxies before them.
const HOSTS: &str = "san=dns:localhost,ip:127.0.0.1,ip:127.0.0.2,ip:127.0.0.3,\
                     ip:127.0.0.11,ip:127.0.0.12,ip:127.0.0.13";

/// Where the authority's certificate is.
pub(crate) fn ca_pem(folder: &Path) -> PathBuf {
    folder.join("ca.pem")
}

/// The lines of `cassandra.yaml`.
pub(crate) fn cassandra_settings(folder: &Path) -> String {
    format!(
        "\
client_encryption_options:
  enabled: true
  optional: false
  require_client_auth: false
  store_type: PKCS12
  keystore: {}/node.p12
  keystore_password: {PASSWORD}
",
        folder.display()
    )
}

/// Makes both in the cluster's folder.
pub(crate) fn make(plan: &Plan) -> Result<()> {
    let run = |text: &str| keytool(plan, text);
    let new = "-genkeypair -keyalg EC -groupname secp256r1 -validity 30 -storetype PKCS12";
    run(&format!("{new} -keystore ca.p12 -alias ca -dname CN=millrace-test-authority -ext bc:c"))?;
    run(&format!("{new} -keystore node.p12 -alias node -dname CN=millrace-test-node"))?;
    run("-exportcert -keystore ca.p12 -alias ca -rfc -file ca.pem")?;
    run("-certreq -keystore node.p12 -alias node -file node.csr")?;
    let sign = "-gencert -keystore ca.p12 -alias ca -rfc -validity 30";
    run(&format!("{sign} -infile node.csr -outfile node.pem -ext {HOSTS}"))?;
    run("-importcert -keystore node.p12 -alias ca -noprompt -file ca.pem")?;
    run("-importcert -keystore node.p12 -alias node -noprompt -file node.pem")
}

fn keytool(plan: &Plan, text: &str) -> Result<()> {
    // The finder of `java` has seen that it is there, beside the real one.
    let program = plan.java.canonicalize()?.with_file_name("keytool");
    let mut command = Command::new(program);
    command.args(text.split_whitespace()).args(["-storepass", PASSWORD]);
    let said = command.current_dir(&plan.folder).output().context("run keytool")?;
    let out = String::from_utf8_lossy(&said.stdout).into_owned();
    ensure!(said.status.success(), "keytool {text}: {}\n{out}", said.status);
    Ok(())
}
