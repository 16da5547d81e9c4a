//! What a write is to the database: statements about one partition each, none atomic with another.

use millrace_store::{Change, Write};

use crate::cells::{Mutation, Value};
use crate::database::Sabotage;

/// Four buckets of a user's events, by time alone.
fn bucket(time_us: i64) -> i64 {
    (time_us / 1_000_000).rem_euclid(4)
}

/// The statements of a write, each about a partition of its own.
pub(crate) fn statements(write: &Write, sabotage: Sabotage) -> Vec<(String, Mutation)> {
    let stamp = write.stamp.0;
    let put = |cells| Mutation::Put { stamp, cells };
    let number = |name: &str, n: &i64| (name.to_owned(), Value::Number(*n));
    let erase = Mutation::DeleteAll { stamp };
    match &write.change {
        Change::PutEvent { user, time_us, id, payload, .. } => {
            let cells = vec![(format!("{time_us} {id}"), Value::Payload(payload.clone()))];
            vec![(format!("events {user} {}", bucket(*time_us)), put(cells))]
        }
        Change::PutEventTime { user, id, time_us, .. } => {
            vec![(format!("ids {user}"), put(vec![number(id, time_us)]))]
        }
        Change::EraseEvents { user } => {
            let events = (0..4).map(|n| format!("events {user} {n}"));
            let keys = events.chain([format!("ids {user}")]);
            keys.map(|key| (key, erase.clone())).collect()
        }
        Change::PutProfile { user, created_us, updated_us, cells } => {
            let cells = cells.iter().map(|(n, c)| (format!("p {n}"), Value::Cell(c.clone())));
            let times = [number("created", created_us), number("updated", updated_us)];
            vec![(format!("profile {user}"), put(cells.chain(times).collect()))]
        }
        Change::EraseProfile { user } => vec![(format!("profile {user}"), erase)],
        Change::PutDevice { user, device_id, updated_us, cells } => {
            let name = |name: &str| format!("d {device_id}|{name}");
            let cells = cells.iter().map(|(n, c)| (name(n), Value::Cell(c.clone())));
            let updated = number(&name(""), updated_us);
            vec![(format!("devices {user}"), put(cells.chain([updated]).collect()))]
        }
        Change::EndLife { user } => {
            vec![(format!("devices {user}"), put(vec![number("life", &stamp)]))]
        }
        Change::EraseDevices { user } => vec![(format!("devices {user}"), erase)],
        Change::PutClaim { device_id, claim, .. } => {
            let name = format!("{:?}", claim.holder);
            let cells = vec![(name, Value::Claim(claim.clone()))];
            vec![(format!("claims {device_id}"), put(cells))]
        }
        Change::EraseClaim { user, device_id } => {
            let name = format!("{:?}", Some(&user.user));
            vec![(format!("claims {device_id}"), Mutation::DeleteCell { stamp, name })]
        }
        Change::PutErasure { user, topic, erasure } => {
            let mut name = format!("{:020} {}", erasure.offset, erasure.job);
            if sabotage == Sabotage::ErasuresByJob {
                name = erasure.job.to_string();
            }
            let cells = vec![(name, Value::Erasure(erasure.clone()))];
            vec![(format!("erasures {user} {topic}"), put(cells))]
        }
        Change::PutJob { job } => {
            let (id, sample) = (job.job.job.to_string(), job.job.sample.clone());
            let mut row = job.clone();
            row.job.sample.clear();
            let sample = ("sample".to_owned(), Value::Sample(sample));
            let row = put(vec![("job".to_owned(), Value::Job(row)), sample]);
            let open = put(vec![number(&id, &0)]);
            vec![("open".to_owned(), open), (format!("job {id}"), row)]
        }
    }
}
