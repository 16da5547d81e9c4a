//! When a delivery is tried again, told by its row alone: a process that starts goes on with it.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use millrace_schema::time::Micros;
use millrace_store::Delivery;
use uuid::Uuid;

use crate::Config;

/// When the next attempt is due.
pub(crate) fn due_us(config: &Config, job: Uuid, delivery: &Delivery) -> Micros {
    let delay = delay(config, job, delivery.attempts);
    delivery.updated_us.saturating_add(micros(delay))
}

/// Whether no attempt is made at this time any more.
pub(crate) fn is_given_up(config: &Config, completed_us: Micros, at_us: Micros) -> bool {
    at_us > completed_us.saturating_add(micros(config.give_up_after))
}

/// Doubles from `retry_min`, with up to half of it more: the same for every process that looks.
fn delay(config: &Config, job: Uuid, attempts: u32) -> Duration {
    let Some(failures) = attempts.checked_sub(1) else { return Duration::ZERO };
    let factor = 1_u32.checked_shl(failures).unwrap_or(u32::MAX);
    let delay = config.retry_min.saturating_mul(factor).min(config.retry_max);
    let mut hasher = DefaultHasher::new();
    (job, attempts).hash(&mut hasher);
    let jitter = u32::try_from(hasher.finish() % 1024).unwrap_or(0);
    delay.saturating_add(delay.saturating_mul(jitter) / 2048)
}

fn micros(duration: Duration) -> Micros {
    Micros::try_from(duration.as_micros()).unwrap_or(Micros::MAX)
}

#[cfg(test)]
mod tests {
    use millrace_store::DeliveryState;

    use super::*;

    fn delivery(attempts: u32, updated_us: Micros) -> Delivery {
        let url = "https://example.org".to_owned();
        Delivery { url, state: DeliveryState::Pending, attempts, error: None, updated_us }
    }

    #[test]
    fn a_new_delivery_is_due_at_once() {
        assert_eq!(due_us(&Config::default(), Uuid::from_u128(1), &delivery(0, 7)), 7);
    }

    #[test]
    fn delays_double_up_to_the_longest_and_spread_by_half() {
        let config = Config::default();
        let min_us = micros(config.retry_min);
        let delay_us =
            |job, attempts| due_us(&config, Uuid::from_u128(job), &delivery(attempts, 0));
        for attempts in 1..=200 {
            let doubled = min_us.saturating_mul(1 << (attempts - 1).min(20));
            let base = doubled.min(micros(config.retry_max));
            let delays: Vec<Micros> = (0..50).map(|job| delay_us(job, attempts)).collect();
            assert!(delays.iter().all(|us| (base..base + base / 2).contains(us)), "{attempts}");
            assert!(delays.iter().collect::<std::collections::HashSet<_>>().len() > 40);
            assert_eq!(delay_us(3, attempts), delays[3], "the same whoever looks");
        }
        assert_eq!(
            due_us(&config, Uuid::from_u128(1), &delivery(u32::MAX, Micros::MAX)),
            Micros::MAX
        );
    }

    #[test]
    fn a_delivery_is_given_up_after_a_day() {
        let config = Config::default();
        let day_us = 24 * 3600 * 1_000_000;
        assert!(!is_given_up(&config, 5, 5 + day_us));
        assert!(is_given_up(&config, 5, 6 + day_us));
    }
}
