//! The commands that manage an installation, run here or by the server that holds the data folder.
//!
//! Owns what a command is, its answer, and the way to the server: HTTP over a Unix socket in the
//! data folder. Must not know how commands are typed or printed.

mod body;
mod client;
mod command;
mod ledger;
mod replay;
mod reply;
mod server;
mod users;

pub(crate) use client::send;
pub(crate) use command::{AccountCommand, Backend, Command, ledger};
pub(crate) use ledger::broken_identity;
pub(crate) use replay::replay;
pub(crate) use reply::{KeyReply, ProjectReply, Reply, UserReply, WebhookReply};
pub(crate) use server::AdminSocket;
pub(crate) use users::{UserCommand, Users};
