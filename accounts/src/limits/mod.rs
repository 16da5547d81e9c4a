//! How often something may be tried: token buckets (GCRA) in bounded memory. Must not know what
//! is counted.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use millrace_schema::time::Micros;

/// Keys remembered. Beyond it, those that are nearest to being free again are forgotten.
const KEYS_MAX: usize = 100_000;

/// So many at once, and then one more each period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// At once; at least 1.
    pub burst: u32,
    /// Until one more may pass.
    pub period: Duration,
}

/// A bucket for each key.
#[derive(Debug)]
pub(crate) struct Buckets {
    period_us: i64,
    /// How far ahead of now a full bucket's debt may lie.
    ahead_us: i64,
    keys_max: usize,
    hasher: RandomState,
    /// By the key's hash: when its debt is paid off. A collision only makes two share a bucket.
    paid_off_us: Mutex<HashMap<u64, Micros>>,
}

impl Buckets {
    pub(crate) fn new(rate: Rate) -> Self {
        let period_us = i64::try_from(rate.period.as_micros()).unwrap_or(i64::MAX);
        Self {
            period_us,
            ahead_us: period_us.saturating_mul(i64::from(rate.burst.max(1)) - 1),
            keys_max: KEYS_MAX,
            hasher: RandomState::new(),
            paid_off_us: Mutex::default(),
        }
    }

    /// Takes one of a key's.
    ///
    /// # Errors
    /// How long to wait for the next.
    pub(crate) fn take(&self, key: impl Hash, now_us: Micros) -> Result<(), Duration> {
        let hash = self.hasher.hash_one(key);
        let mut all = self.lock();
        // A clock that was set back must not lock anybody out for longer than a full bucket does.
        let latest = now_us.saturating_add(self.ahead_us).saturating_add(self.period_us);
        let paid_off_us = all.get(&hash).map_or(now_us, |us| (*us).clamp(now_us, latest));
        let wait_us = paid_off_us.saturating_sub(now_us).saturating_sub(self.ahead_us);
        if wait_us > 0 {
            return Err(Duration::from_micros(wait_us.unsigned_abs()));
        }
        if all.len() >= self.keys_max {
            forget(&mut all, now_us, self.keys_max);
        }
        all.insert(hash, paid_off_us.saturating_add(self.period_us));
        Ok(())
    }

    /// Gives one back that should not count.
    pub(crate) fn give_back(&self, key: impl Hash) {
        let hash = self.hasher.hash_one(key);
        if let Some(paid_off_us) = self.lock().get_mut(&hash) {
            *paid_off_us = paid_off_us.saturating_sub(self.period_us);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Micros>> {
        self.paid_off_us.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes room: drops the free keys, and, should that not be a quarter, those that will be so first.
fn forget(all: &mut HashMap<u64, Micros>, now_us: Micros, keys_max: usize) {
    all.retain(|_, paid_off_us| *paid_off_us > now_us);
    let keep = keys_max / 4 * 3;
    if all.len() <= keep {
        return;
    }
    let mut times: Vec<Micros> = all.values().copied().collect();
    let surplus = times.len() - keep;
    let (_, cut_us, _) = times.select_nth_unstable(surplus.saturating_sub(1));
    let cut_us = *cut_us;
    all.retain(|_, paid_off_us| *paid_off_us > cut_us);
}

/// What counts as one address: an IPv4 address, or the /64 of an IPv6 one, which is what one
/// subscriber has.
pub(crate) fn subscriber(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & !u128::from(u64::MAX)).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START_US: Micros = 1_737_092_362_000_000;

    fn buckets() -> Buckets {
        Buckets::new(Rate { burst: 3, period: Duration::from_secs(10) })
    }

    #[test]
    fn a_burst_passes_and_then_one_each_period() {
        let buckets = buckets();
        for _ in 0..3 {
            assert_eq!(buckets.take("a", START_US), Ok(()));
        }
        assert_eq!(buckets.take("a", START_US), Err(Duration::from_secs(10)));
        assert_eq!(buckets.take("b", START_US), Ok(()), "another key is not touched");
        let later_us = START_US + 10_000_000;
        assert_eq!(buckets.take("a", later_us), Ok(()));
        assert_eq!(buckets.take("a", later_us), Err(Duration::from_secs(10)));
    }

    #[test]
    fn what_is_given_back_may_be_taken_again() {
        let buckets = buckets();
        for _ in 0..10 {
            assert_eq!(buckets.take("a", START_US), Ok(()));
            buckets.give_back("a");
        }
    }

    #[test]
    fn a_clock_that_was_set_back_locks_nobody_out_for_long() {
        let buckets = buckets();
        let _ = buckets.take("a", START_US + 3_600_000_000);
        assert_eq!(buckets.take("a", START_US), Err(Duration::from_secs(10)));
    }

    #[test]
    fn memory_is_bounded_and_the_most_indebted_are_remembered() {
        let mut buckets = buckets();
        buckets.keys_max = 100;
        for _ in 0..3 {
            buckets.take("guessed", START_US).unwrap();
        }
        for key in 0..1_000 {
            buckets.take(key, START_US).unwrap();
            assert!(buckets.lock().len() <= 100);
        }
        assert!(buckets.take("guessed", START_US).is_err());
    }

    #[test]
    fn an_ipv6_subscriber_is_one_address() {
        let of = |text: &str| subscriber(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    }
}
