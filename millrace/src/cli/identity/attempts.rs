//! How often something may be tried.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use millrace_accounts::{Limits, Rate};

const BURST_MAX: u32 = 1_000_000;
const SECONDS_MIN: f64 = 0.001;
const SECONDS_MAX: f64 = 24.0 * 3600.0;

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Accounts")]
pub(crate) struct AttemptOptions {
    /// Failed logins of one account: so many at once, then one more each so many seconds; each
    /// front door counts for itself
    #[arg(long, env = "MILLRACE_LOGINS_PER_ACCOUNT", hide_env_values = true)]
    #[arg(value_name = "BURST/SECONDS")]
    #[arg(default_value_t = RateOption(Limits::default().logins_per_account))]
    logins_per_account: RateOption,

    /// Failed logins from one address
    #[arg(long, env = "MILLRACE_LOGINS_PER_ADDRESS", hide_env_values = true)]
    #[arg(value_name = "BURST/SECONDS")]
    #[arg(default_value_t = RateOption(Limits::default().logins_per_address))]
    logins_per_address: RateOption,

    /// Passwords hashed for one account: at every login, right or wrong, and at every change of a
    /// password
    #[arg(long, env = "MILLRACE_HASHES_PER_ACCOUNT", hide_env_values = true)]
    #[arg(value_name = "BURST/SECONDS")]
    #[arg(default_value_t = RateOption(Limits::default().hashes_per_account))]
    hashes_per_account: RateOption,

    /// Passwords hashed for one address, also for accounts that it makes
    #[arg(long, env = "MILLRACE_HASHES_PER_ADDRESS", hide_env_values = true)]
    #[arg(value_name = "BURST/SECONDS")]
    #[arg(default_value_t = RateOption(Limits::default().hashes_per_address))]
    hashes_per_address: RateOption,

    /// Mails to one account
    #[arg(long, env = "MILLRACE_MAILS_PER_ACCOUNT", hide_env_values = true)]
    #[arg(value_name = "BURST/SECONDS")]
    #[arg(default_value_t = RateOption(Limits::default().mails_per_account))]
    mails_per_account: RateOption,

    /// Mails that one address asks for
    #[arg(long, env = "MILLRACE_MAILS_PER_ADDRESS", hide_env_values = true)]
    #[arg(value_name = "BURST/SECONDS")]
    #[arg(default_value_t = RateOption(Limits::default().mails_per_address))]
    mails_per_address: RateOption,
}

impl AttemptOptions {
    pub(crate) const fn limits(&self) -> Limits {
        Limits {
            logins_per_account: self.logins_per_account.0,
            logins_per_address: self.logins_per_address.0,
            hashes_per_account: self.hashes_per_account.0,
            hashes_per_address: self.hashes_per_address.0,
            mails_per_account: self.mails_per_account.0,
            mails_per_address: self.mails_per_address.0,
        }
    }
}

/// A rate, written as `10/30`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct RateOption(Rate);

impl fmt::Display for RateOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.0.burst, self.0.period.as_secs_f64())
    }
}

impl FromStr for RateOption {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.split_once('/').and_then(|(burst, seconds)| {
            let burst = burst.parse().ok().filter(|burst| (1..=BURST_MAX).contains(burst))?;
            let seconds = seconds.parse().ok();
            let seconds = seconds.filter(|s| (SECONDS_MIN..=SECONDS_MAX).contains(s))?;
            Some(Self(Rate { burst, period: Duration::from_secs_f64(seconds) }))
        });
        parsed.ok_or_else(|| {
            format!(
                "write BURST/SECONDS, as 10/30: ten at once, then one more each 30 s; the first \
                 from 1 to {BURST_MAX}, the second from {SECONDS_MIN} to {SECONDS_MAX}"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_burst_and_seconds() {
        let rate: RateOption = "10/30".parse().unwrap();
        assert_eq!(rate.0, Rate { burst: 10, period: Duration::from_secs(30) });
        assert_eq!(rate.to_string(), "10/30");
        let rate: RateOption = "600/0.1".parse().unwrap();
        assert_eq!(rate.0, Rate { burst: 600, period: Duration::from_millis(100) });
        assert_eq!(rate.to_string(), "600/0.1");
        let malformed = ["", "10", "/", "1/", "1/1/1", "1/NaN"];
        let beyond = ["0/1", "1/0", "-1/1", "1/-1", "1000001/1", "1/86401", "1/0.0009", "1/inf"];
        for bad in malformed.into_iter().chain(beyond) {
            assert!(bad.parse::<RateOption>().unwrap_err().contains("10/30"), "{bad}");
        }
    }
}
