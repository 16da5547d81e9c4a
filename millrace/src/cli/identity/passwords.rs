//! What a password's hash costs.

use clap::Args;
use millrace_accounts::PasswordSettings;

/// Another cost is put to use as people sign in: their passwords are hashed anew then.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Accounts")]
pub(crate) struct CostOptions {
    /// Memory that one hash of a password (Argon2id) takes; who changes the cost changes it for
    /// each password at the next login
    #[arg(long, env = "MILLRACE_ARGON2_MEMORY_KIB", hide_env_values = true, value_name = "KIB")]
    #[arg(default_value_t = PasswordSettings::default().memory_kib)]
    #[arg(value_parser = clap::value_parser!(u32).range(8..=4_194_304))]
    argon2_memory_kib: u32,

    /// Passes over that memory
    #[arg(long, env = "MILLRACE_ARGON2_PASSES", hide_env_values = true, value_name = "PASSES")]
    #[arg(default_value_t = PasswordSettings::default().passes)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000))]
    argon2_passes: u32,

    /// Lanes of that memory; each needs 8 KiB
    #[arg(long, env = "MILLRACE_ARGON2_LANES", hide_env_values = true, value_name = "LANES")]
    #[arg(default_value_t = PasswordSettings::default().lanes)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=64))]
    argon2_lanes: u32,
}

/// What hashes cost, and how many are made at once.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Accounts")]
pub(crate) struct PasswordOptions {
    #[command(flatten)]
    cost: CostOptions,

    /// Passwords hashed at once, on threads that yield to the front door [default: half of the
    /// processors]
    #[arg(long, env = "MILLRACE_PASSWORD_THREADS", hide_env_values = true, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=256))]
    password_threads: Option<u32>,

    /// Passwords that may wait to be hashed; beyond them requests get 503 [default: 16 for each
    /// thread]
    #[arg(long, env = "MILLRACE_PASSWORD_QUEUE", hide_env_values = true, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=100_000))]
    password_queue: Option<u32>,
}

const QUEUE_PER_THREAD: usize = 16;

impl CostOptions {
    /// That cost, and the default of all else.
    pub(crate) fn settings(&self) -> PasswordSettings {
        PasswordSettings {
            memory_kib: self.argon2_memory_kib,
            passes: self.argon2_passes,
            lanes: self.argon2_lanes,
            ..PasswordSettings::default()
        }
    }
}

impl PasswordOptions {
    pub(crate) fn settings(&self) -> PasswordSettings {
        let count = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
        let threads = self.password_threads.map_or(PasswordSettings::default().threads, count);
        PasswordSettings {
            threads,
            queue: self.password_queue.map_or(QUEUE_PER_THREAD * threads, count),
            ..self.cost.settings()
        }
    }
}
