//! What can be typed about deletions.

use std::fmt;
use std::num::{NonZeroUsize, ParseIntError};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::{Args, Subcommand, ValueEnum};
use hyper::Uri;
use millrace_schema::limits::USER_IDS_PER_CALL;
use millrace_schema::record::Reach;
use uuid::Uuid;

use crate::folder::Layout;

/// What stands for standard input.
const STDIN: &str = "-";
/// Characters of a submission's name.
const SUBMISSION_CHARS_MAX: usize = 128;

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum DeletionCommand {
    /// Erase the users of a list: cut it into jobs, send them, follow them to the end
    Submit(Box<SubmitOptions>),
    /// List the deletion jobs of the project, newest first
    List(ListOptions),
    /// Show one job
    Show(ShowOptions),
    /// Follow jobs to their end; exit 1 unless all of them are completed
    Wait(WaitOptions),
    /// Get the signed receipt of a completed job
    Receipt(ReceiptOptions),
    /// Check a receipt: its signature, the ids it stands for, the receipts before it
    Verify(VerifyOptions),
}

impl DeletionCommand {
    pub(crate) const fn server(&self) -> &ServerOptions {
        match self {
            Self::Submit(options) => &options.server,
            Self::List(options) => &options.server,
            Self::Show(options) => &options.server,
            Self::Wait(options) => &options.server,
            Self::Receipt(options) => &options.server,
            Self::Verify(options) => &options.server,
        }
    }

    /// What contradicts itself or is missing.
    pub(super) fn problem(&self, data: &Path) -> Option<String> {
        let own = match self {
            Self::Submit(options) => options.problem(),
            Self::Verify(options) if !options.calls_the_project() => return options.problem(),
            Self::Verify(options) => options.problem(),
            _ => None,
        };
        own.or_else(|| self.server().problem(data))
    }
}

/// Which server, as whom.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Server")]
pub(crate) struct ServerOptions {
    /// Where the API is
    #[arg(long, env = "MILLRACE_SERVER", default_value = "http://127.0.0.1:8080")]
    #[arg(hide_env_values = true, value_name = "URL")]
    pub(crate) server: ServerUrl,

    /// The project [default: with no --key, the demo of the data folder]
    #[arg(long, env = "MILLRACE_PROJECT", value_name = "ID", hide_env_values = true)]
    pub(crate) project: Option<String>,

    /// An API key of the project [default: with no --project, the demo of the data folder]. Better
    /// in the variable: other users of this machine can see flags
    #[arg(long, env = "MILLRACE_API_KEY", value_name = "KEY", hide_env_values = true)]
    pub(crate) key: Option<ApiKey>,

    /// CA certificates to trust besides those of the system
    #[arg(long, env = "MILLRACE_CA", value_name = "FILE", hide_env_values = true)]
    pub(crate) ca: Option<PathBuf>,
}

impl ServerOptions {
    /// Whether nobody said as whom.
    pub(crate) const fn is_anonymous(&self) -> bool {
        self.project.is_none() && self.key.is_none()
    }

    fn problem(&self, data: &Path) -> Option<String> {
        let missing = match (&self.project, &self.key) {
            (Some(_), Some(_)) => return None,
            (Some(_), None) => "--key (MILLRACE_API_KEY) is missing",
            (None, Some(_)) => "--project (MILLRACE_PROJECT) is missing",
            (None, None) if !self.server.is_this_machine() => {
                "--project and --key (MILLRACE_PROJECT, MILLRACE_API_KEY) are missing"
            }
            (None, None) if Layout::new(data).demo().is_file() => return None,
            (None, None) => {
                "--project and --key (MILLRACE_PROJECT, MILLRACE_API_KEY) are missing, and there \
                 is no demo project in the data folder (--data) to stand for them"
            }
        };
        Some(missing.to_owned())
    }
}

/// The address of a server, without a slash at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerUrl(String);

impl ServerUrl {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the server is one of this machine, as `millrace dev` is.
    pub(crate) fn is_this_machine(&self) -> bool {
        let uri: Option<Uri> = self.0.parse().ok();
        let host = uri.as_ref().and_then(Uri::host).unwrap_or_default();
        matches!(host, "127.0.0.1" | "localhost" | "[::1]")
    }
}

impl FromStr for ServerUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "it must be as in http://127.0.0.1:8080 or https://millrace.example";
        let uri: Uri = text.parse().map_err(|_| WRONG)?;
        let known = matches!(uri.scheme_str(), Some("http" | "https"));
        if !known || uri.host().is_none_or(str::is_empty) || uri.query().is_some() {
            return Err(WRONG);
        }
        Ok(Self(text.trim_end_matches('/').to_owned()))
    }
}

/// An API key. Shown to nobody.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ApiKey(pub(crate) String);

impl From<String> for ApiKey {
    fn from(key: String) -> Self {
        Self(key)
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey")
    }
}

/// How a list of ids is read and cut.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "The list")]
pub(crate) struct InputOptions {
    /// What the list is [default: by the file's name, .csv, .ndjson or .jsonl; else by its first
    /// character]. gzip and zstd are recognised by themselves
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<FormatName>,

    /// CSV: the column with the ids; a name of the first row, or a number from 1 if the first row
    /// holds ids already [default: user_id]
    #[arg(long, value_name = "NAME|N")]
    pub(crate) column: Option<Column>,

    /// CSV: what separates the columns
    #[arg(long, value_name = "CHARACTER", default_value = ",", value_parser = delimiter)]
    pub(crate) delimiter: u8,

    /// Leave bad lines out, instead of refusing the list
    #[arg(long)]
    pub(crate) skip_bad: bool,

    /// Take white space at the beginning or the end of an id for a part of it, instead of refusing
    /// the line
    #[arg(long)]
    pub(crate) keep_spaces: bool,

    /// Ids of one job
    #[arg(long, value_name = "N", default_value_t = IdsPerJob::default())]
    pub(crate) ids_per_job: IdsPerJob,
}

impl InputOptions {
    fn problem(&self) -> Option<String> {
        let other = self.format.filter(|format| *format != FormatName::Csv)?;
        self.column.as_ref().map(|_| format!("--column is for CSV, and --format is {other}"))
    }
}

/// What a list is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FormatName {
    /// One id a line
    Lines,
    /// One {"user_id": "…"} a line
    Ndjson,
    /// A column of a table
    Csv,
}

impl fmt::Display for FormatName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lines => "lines",
            Self::Ndjson => "ndjson",
            Self::Csv => "csv",
        })
    }
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Column {
    Named(String),
    /// From 1.
    Numbered(NonZeroUsize),
}

impl FromStr for Column {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Ok(Self::Named(text.to_owned()));
        }
        text.parse().map(Self::Numbered)
    }
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => f.write_str(name),
            Self::Numbered(number) => number.fmt(f),
        }
    }
}

/// 1 to [`USER_IDS_PER_CALL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IdsPerJob(NonZeroUsize);

impl IdsPerJob {
    pub(crate) const fn get(self) -> usize {
        self.0.get()
    }
}

impl Default for IdsPerJob {
    fn default() -> Self {
        Self(NonZeroUsize::new(USER_IDS_PER_CALL).unwrap_or(NonZeroUsize::MIN))
    }
}

impl FromStr for IdsPerJob {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let within = |n: &NonZeroUsize| n.get() <= USER_IDS_PER_CALL;
        let number = text.parse().ok().filter(within).map(Self);
        number.ok_or_else(|| format!("it must be 1 to {USER_IDS_PER_CALL}"))
    }
}

impl fmt::Display for IdsPerJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  millrace deletion submit ids.txt                     one id a line
  millrace deletion submit users.csv.gz --column email_id
  millrace deletion submit users.ndjson --erase events,devices
  psql -Atc 'select id from gone' | millrace deletion submit - --submission gone-2026-11
  millrace deletion submit ids.txt --no-wait | xargs millrace deletion wait

The whole file is read and checked before anything is sent. Which jobs were accepted is kept in
FILE.millrace-submission until all of them are completed: after an interruption the same command
continues, and no user is deleted by two jobs. Of standard input nothing can be kept; name it with
--submission, and send the same again with the same name.")]
pub(crate) struct SubmitOptions {
    /// The list; `-` is standard input
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    #[command(flatten)]
    pub(crate) input: InputOptions,

    /// What to erase [default: everything]
    #[arg(long, value_name = "WHAT", value_delimiter = ',')]
    pub(crate) erase: Vec<ReachName>,

    /// End when all jobs are accepted, and print their ids
    #[arg(long)]
    pub(crate) no_wait: bool,

    /// Jobs that are sent at once
    #[arg(long, value_name = "N", default_value = "2")]
    #[arg(value_parser = clap::value_parser!(u8).range(1..=16))]
    pub(crate) parallel: u8,

    /// Forget that the file was submitted before, and begin anew
    #[arg(long)]
    pub(crate) new: bool,

    /// Of standard input: a name of its own, so that the same input sent again makes no new jobs
    #[arg(long, value_name = "NAME", value_parser = submission)]
    pub(crate) submission: Option<String>,

    #[command(flatten)]
    pub(crate) server: ServerOptions,
}

impl SubmitOptions {
    pub(crate) fn is_stdin(&self) -> bool {
        self.file.as_os_str() == STDIN
    }

    /// What to erase, each once; empty: everything.
    pub(crate) fn erase(&self) -> Vec<Reach> {
        let mut erase: Vec<Reach> = self.erase.iter().map(|name| Reach::from(*name)).collect();
        erase.sort_unstable();
        erase.dedup();
        erase
    }

    fn problem(&self) -> Option<String> {
        if self.submission.is_some() && self.file.is_file() {
            return Some(
                "--submission is for standard input; a file is continued by itself".to_owned(),
            );
        }
        if self.new && self.is_stdin() {
            return Some("--new is for files; give standard input another --submission".to_owned());
        }
        self.input.problem()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReachName {
    /// The profile and its properties
    Profile,
    /// The devices
    Devices,
    /// The events
    Events,
}

impl From<ReachName> for Reach {
    fn from(name: ReachName) -> Self {
        match name {
            ReachName::Profile => Self::Profile,
            ReachName::Devices => Self::Devices,
            ReachName::Events => Self::Events,
        }
    }
}

#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  millrace deletion list                   the newest 100
  millrace deletion list --all
  millrace deletion list --all --json | jq -r '.jobs[] | select(.status == \"failed\") | .job_id'

With --json one object {\"jobs\", \"next_cursor\"} a page is printed, as the server sends it.")]
pub(crate) struct ListOptions {
    /// All pages
    #[arg(long)]
    pub(crate) all: bool,

    /// Begin where another page ended
    #[arg(long, value_name = "CURSOR")]
    pub(crate) cursor: Option<String>,

    #[command(flatten)]
    pub(crate) server: ServerOptions,
}

#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Example:
  millrace deletion show 0194728c-61d0-7c3a-9a51-3b1f0c2d4e5f")]
pub(crate) struct ShowOptions {
    /// The job
    #[arg(value_name = "JOB")]
    pub(crate) job: Uuid,

    #[command(flatten)]
    pub(crate) server: ServerOptions,
}

#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  millrace deletion wait 0194728c-61d0-7c3a-9a51-3b1f0c2d4e5f
  millrace deletion wait $(millrace deletion submit ids.txt --no-wait)")]
pub(crate) struct WaitOptions {
    /// The jobs
    #[arg(value_name = "JOB", required = true)]
    pub(crate) jobs: Vec<Uuid>,

    #[command(flatten)]
    pub(crate) server: ServerOptions,
}

#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  millrace deletion receipt 0194728c-61d0-7c3a-9a51-3b1f0c2d4e5f -o receipt.jwt
  millrace deletion receipt 0194728c-61d0-7c3a-9a51-3b1f0c2d4e5f --decoded | jq .residuals")]
pub(crate) struct ReceiptOptions {
    /// The job
    #[arg(value_name = "JOB")]
    pub(crate) job: Uuid,

    /// Where to write it [default: stdout]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,

    /// What it says, as JSON, instead of the token; unchecked, see `millrace deletion verify`
    #[arg(long)]
    pub(crate) decoded: bool,

    #[command(flatten)]
    pub(crate) server: ServerOptions,
}

#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  millrace deletion verify 0194728c-61d0-7c3a-9a51-3b1f0c2d4e5f --ids ids.txt --chain
  millrace deletion verify receipt.jwt --jwks jwks.json --ids users.csv    (needs no server)
  millrace deletion verify receipt.jwt --jwks https://millrace.example/.well-known/jwks.json

The ids may come in any order and more than once. Of a list that was cut into several jobs the part
is found that the receipt is about; give the --ids-per-job, --skip-bad and --keep-spaces that it was
submitted with. Exit code 1 says that something does not hold.")]
pub(crate) struct VerifyOptions {
    /// A file with the receipt, `-` for standard input, or the id of a job
    #[arg(value_name = "RECEIPT")]
    pub(crate) receipt: String,

    /// The list of ids that the receipt is to be about
    #[arg(long, value_name = "FILE")]
    pub(crate) ids: Option<PathBuf>,

    /// The public keys: a file or a URL [default: those of the server]
    #[arg(long, value_name = "FILE|URL")]
    pub(crate) jwks: Option<String>,

    /// Also check every receipt before it, back to the project's first
    #[arg(long)]
    pub(crate) chain: bool,

    #[command(flatten)]
    pub(crate) input: InputOptions,
    #[command(flatten)]
    pub(crate) server: ServerOptions,
}

impl VerifyOptions {
    /// The job whose receipt is meant; a file of that name goes first.
    pub(crate) fn job(&self) -> Option<Uuid> {
        if Path::new(&self.receipt).exists() { None } else { self.receipt.parse().ok() }
    }

    /// Whether receipts are asked for, which takes a key.
    pub(crate) fn calls_the_project(&self) -> bool {
        self.chain || self.job().is_some()
    }

    fn problem(&self) -> Option<String> {
        if self.receipt == STDIN && self.ids.as_ref().is_some_and(|ids| ids.as_os_str() == STDIN) {
            return Some("the receipt and --ids cannot both be standard input".to_owned());
        }
        self.input.problem()
    }
}

fn delimiter(text: &str) -> Result<u8, &'static str> {
    match text.as_bytes() {
        b"\\t" => Ok(b'\t'),
        [byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\r' | b'\n') => Ok(*byte),
        _ => Err("it must be one ASCII character, or \\t"),
    }
}

fn submission(text: &str) -> Result<String, String> {
    let good = (1..=SUBMISSION_CHARS_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_graphic());
    let wrong = || format!("it must be 1 to {SUBMISSION_CHARS_MAX} ASCII characters, no spaces");
    good.then(|| text.to_owned()).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;
    use crate::cli::{Cli, Command};

    fn command(args: &[&str]) -> DeletionCommand {
        let args = [&["millrace", "deletion"], args].concat();
        let Command::Deletion(command) = Cli::try_parse_from(args).unwrap().command else {
            panic!("another command")
        };
        command
    }

    fn refused(args: &[&str]) -> String {
        let args = [&["millrace", "deletion"], args].concat();
        Cli::try_parse_from(args).unwrap_err().to_string()
    }

    const AS_SOMEONE: [&str; 4] = ["--project", "p", "--key", "secret"];

    #[test]
    fn every_command_shows_examples() {
        let cli = Cli::command();
        let deletion = cli.find_subcommand("deletion").unwrap();
        for command in deletion.get_subcommands() {
            let help = command.get_after_help().unwrap().to_string();
            let usage = format!("  millrace deletion {}", command.get_name());
            assert!(help.contains(&usage), "{help}");
        }
    }

    #[test]
    fn a_key_without_a_project_and_the_other_way_round_are_no_one() {
        let nowhere = Path::new("/nowhere");
        let problem = |args: &[&str]| command(&[&["list"], args].concat()).problem(nowhere);
        assert_eq!(problem(&AS_SOMEONE), None);
        assert!(problem(&AS_SOMEONE[..2]).unwrap().contains("--key"));
        assert!(problem(&AS_SOMEONE[2..]).unwrap().contains("--project"));
        assert!(problem(&[]).unwrap().contains("no demo"));
    }

    #[test]
    fn the_demo_key_stands_in_on_this_machine_only() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("demo.json"), "{}").unwrap();
        let problem = |server| command(&["list", "--server", server]).problem(folder.path());
        assert_eq!(problem("http://127.0.0.1:1/"), None);
        assert_eq!(problem("http://[::1]:1"), None);
        assert!(problem("http://millrace.example").unwrap().contains("are missing"));
    }

    #[test]
    fn a_receipt_in_a_file_is_checked_without_a_key() {
        let nowhere = Path::new("/nowhere");
        assert_eq!(command(&["verify", "receipt.jwt"]).problem(nowhere), None);
        let chained = command(&["verify", "receipt.jwt", "--chain"]);
        assert!(chained.problem(nowhere).unwrap().contains("--key"));
        let job = command(&["verify", "0194728c-61d0-7c3a-9a51-3b1f0c2d4e5f"]);
        assert!(job.problem(nowhere).unwrap().contains("--key"));
    }

    #[test]
    fn a_key_is_shown_to_nobody() {
        let text = format!("{:?}", command(&[&["list"], &AS_SOMEONE[..]].concat()));
        assert!(text.contains("ApiKey") && !text.contains("secret"), "{text}");
    }

    #[test]
    fn values_out_of_their_limits_are_refused_by_name() {
        let jobs = refused(&["submit", "f", "--ids-per-job", "100001"]);
        assert!(jobs.contains("--ids-per-job") && jobs.contains("1 to 100000"), "{jobs}");
        assert!(refused(&["submit", "f", "--erase", "profile,all"]).contains("devices"));
        assert!(refused(&["submit", "-", "--submission", "a b"]).contains("no spaces"));
        assert!(refused(&["submit", "f", "--delimiter", "ab"]).contains("one ASCII character"));
        assert!(refused(&["submit", "f", "--column", "0"]).contains("--column"));
        assert!(refused(&["list", "--server", "localhost:1"]).contains("http://127.0.0.1:8080"));
        assert!(refused(&["wait"]).contains("<JOB>"));
    }

    #[test]
    fn options_that_exclude_each_other_are_named() {
        let problem = |args: &[&str]| {
            command(&[args, &AS_SOMEONE].concat()).problem(Path::new("/nowhere")).unwrap()
        };
        let column = problem(&["submit", "f", "--format", "lines", "--column", "a"]);
        assert!(column.contains("--column") && column.contains("lines"), "{column}");
        assert!(problem(&["submit", "-", "--new"]).contains("--submission"));
        assert!(problem(&["submit", "Cargo.toml", "--submission", "a"]).contains("by itself"));
        assert!(problem(&["verify", "-", "--ids", "-"]).contains("standard input"));
    }

    #[test]
    fn what_is_erased_comes_in_one_order_and_once() {
        let args = ["submit", "f", "--erase", "events,profile", "--erase", "events"];
        let DeletionCommand::Submit(options) = command(&args) else { panic!("another command") };
        assert_eq!(options.erase(), [Reach::Profile, Reach::Events]);
    }
}
