//! What can be set of sending receipts to webhooks.

use std::path::PathBuf;

use clap::Args;
use millrace_schema::net::Net;

/// Where receipts may be sent.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Webhooks")]
pub(crate) struct WebhookOptions {
    /// A net of addresses that webhooks may have though they are private, loopback or the like, and
    /// with http:// too, as 10.0.0.0/8; may be repeated
    #[arg(long = "webhook-allow-net", env = "MILLRACE_WEBHOOK_ALLOW_NET", hide_env_values = true)]
    #[arg(value_name = "CIDR", value_delimiter = ',')]
    pub(crate) allow_nets: Vec<Net>,

    /// CA certificates (PEM) that webhooks may have besides those that the system trusts
    #[arg(long = "webhook-ca", env = "MILLRACE_WEBHOOK_CA", hide_env_values = true)]
    #[arg(value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
}
