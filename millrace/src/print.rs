//! Answers on stdout: tables for people, JSON for machines.

use std::io::{self, Write};

use anyhow::{Result, bail};
use millrace_accounts::Scope;
use millrace_ingest::PartitionLedger;
use millrace_schema::Outcome;

use crate::admin::{KeyReply, ProjectReply, Reply, UserReply, WebhookReply, broken_identity};
use crate::table::table;

/// Prints an answer.
///
/// # Errors
/// Stdout is gone, or the answer says that the accounting does not add up.
pub(crate) fn reply(reply: &Reply, json: bool) -> Result<()> {
    let text = if json { format!("{}\n", reply.to_json()) } else { text_of(reply) };
    stdout(&text)?;
    if let Reply::Ledger { partitions } = reply
        && let Some(broken) = broken_identity(partitions)
    {
        bail!("the ledger does not add up: {broken}");
    }
    Ok(())
}

/// Writes to stdout. Whoever closes it early, as `head` does, has read enough.
pub(crate) fn stdout(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

fn text_of(reply: &Reply) -> String {
    match reply {
        Reply::Project(project) => format!("Project {} is made.\n", project.id),
        Reply::Projects(projects) => projects_table(projects),
        Reply::NewKey(key) => new_key(key),
        Reply::Keys(keys) => keys_table(keys),
        Reply::Revoked { id } => format!("Key {id} is revoked.\n"),
        Reply::Webhook(webhook) => webhook_text(webhook),
        Reply::Webhooks(webhooks) => webhooks_table(webhooks),
        Reply::User(user) => format!("User {} ({}) is made.\n", user.email, user.id),
        Reply::Users(users) => users_table(users),
        Reply::Deactivated { email } => {
            format!("{email} can sign in no more, and all their tokens are dead.\n")
        }
        Reply::PasswordSet { email } => {
            format!("The password of {email} is set, and all their tokens are dead.\n")
        }
        Reply::Ledger { partitions } => ledger_table(partitions),
        Reply::Replay { partitions, records } => format!(
            "The workers read {records} records of {partitions} partitions again; `millrace \
             ledger` shows how far they are.\n"
        ),
    }
}

fn projects_table(projects: &[ProjectReply]) -> String {
    let mut rows = vec![cells(["id", "name", "created"])];
    rows.extend(projects.iter().map(|p| cells([&p.id, &p.name, &p.created_at])));
    table(&rows, 3)
}

fn new_key(key: &KeyReply) -> String {
    let token = key.api_key.as_deref().unwrap_or_default();
    let rows = [
        cells(["id", &key.id.to_string()]),
        cells(["project", &key.project_id]),
        cells(["scopes", &scopes(key)]),
        cells(["expires", key.expires_at.as_deref().unwrap_or("never")]),
    ];
    format!("{}\n{token}\n\nThe key is shown this once; keep it now.\n", table(&rows, 2))
}

fn keys_table(keys: &[KeyReply]) -> String {
    let mut rows = vec![cells(["id", "project", "scopes", "created", "expires", "revoked"])];
    rows.extend(keys.iter().map(|key| {
        cells([
            &key.id.to_string(),
            &key.project_id,
            &scopes(key),
            &key.created_at,
            key.expires_at.as_deref().unwrap_or("never"),
            key.revoked_at.as_deref().unwrap_or("-"),
        ])
    }));
    table(&rows, 6)
}

fn webhook_text(WebhookReply { project_id, url }: &WebhookReply) -> String {
    match url {
        Some(url) => format!("Receipts of project {project_id} will be sent to {url}\n"),
        None => format!("Receipts of project {project_id} will be sent nowhere.\n"),
    }
}

fn webhooks_table(webhooks: &[WebhookReply]) -> String {
    let mut rows = vec![cells(["project", "url"])];
    for WebhookReply { project_id, url } in webhooks {
        rows.push(cells([project_id, url.as_deref().unwrap_or("-")]));
    }
    table(&rows, 2)
}

fn users_table(users: &[UserReply]) -> String {
    let flag = |flag| if flag { "yes" } else { "no" };
    let mut rows = vec![cells(["id", "email", "name", "role", "admin", "active", "verified"])];
    rows.extend(users.iter().map(|user| {
        cells([
            &user.id,
            &user.email,
            user.name.as_deref().unwrap_or("-"),
            &user.role,
            flag(user.is_superuser || user.role == "admin"),
            flag(user.is_active),
            user.is_verified.map_or("-", flag),
        ])
    }));
    table(&rows, 7)
}

fn ledger_table(partitions: &[PartitionLedger]) -> String {
    let counted = |outcome: &Outcome| partitions.iter().any(|p| p.outcomes.contains_key(outcome));
    let outcomes: Vec<Outcome> = Outcome::ALL.into_iter().filter(counted).collect();
    let mut head = cells(["topic", "partition", "log start", "log end", "frontier", "pending"]);
    head.extend(outcomes.iter().map(|outcome| outcome.name().to_owned()));
    let mut rows = vec![head];
    for p in partitions {
        let pending = p.log_end.saturating_sub(p.frontier);
        let mut row = vec![p.topic.short_name().to_owned(), p.partition.to_string()];
        row.extend([p.log_start, p.log_end, p.frontier, pending].map(|n| n.to_string()));
        let count = |outcome| p.outcomes.get(outcome).copied().unwrap_or_default().to_string();
        row.extend(outcomes.iter().map(count));
        rows.push(row);
    }
    let verdict = if broken_identity(partitions).is_none() {
        "The outcomes of every partition add up to its frontier."
    } else {
        "THE OUTCOMES DO NOT ADD UP."
    };
    format!("{}\n{verdict}\n", table(&rows, 1))
}

fn scopes(key: &KeyReply) -> String {
    let names = key.scopes.iter().map(|scope| match scope {
        Scope::Write => "write",
        Scope::Delete => "delete",
        Scope::Read => "read",
    });
    names.collect::<Vec<_>>().join(",")
}

fn cells<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}
