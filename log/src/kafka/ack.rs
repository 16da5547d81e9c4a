//! The acknowledgement of one request: as many answers as it has records, in any order.

use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;

use crate::AppendError;
use crate::sync::locked;

/// Offsets in the order of the batch.
type Answer = Result<Vec<u64>, AppendError>;

/// Collects the answers of all records of a request; tells the first failure at once.
#[derive(Debug)]
pub(super) struct Ack(Mutex<State>);

#[derive(Debug)]
struct State {
    offsets: Vec<u64>,
    left: usize,
    /// Taken by whoever answers.
    done: Option<oneshot::Sender<Answer>>,
}

/// Travels with a record and comes back with its answer.
#[derive(Debug)]
pub(super) struct Ticket {
    ack: Arc<Ack>,
    index: usize,
}

impl Ack {
    /// For so many records.
    pub(super) fn new(records: usize) -> (Arc<Self>, oneshot::Receiver<Answer>) {
        let (done, answer) = oneshot::channel();
        let state = State { offsets: vec![0; records], left: records, done: Some(done) };
        (Arc::new(Self(Mutex::new(state))), answer)
    }

    /// For the record at `index` of the batch.
    pub(super) fn ticket(self: &Arc<Self>, index: usize) -> Ticket {
        Ticket { ack: Arc::clone(self), index }
    }
}

impl Ticket {
    /// Answers for the record; must be called once.
    pub(super) fn answer(self, answer: Result<u64, AppendError>) {
        let mut state = locked(&self.ack.0);
        let answer = match answer {
            Ok(offset) => {
                if let Some(slot) = state.offsets.get_mut(self.index) {
                    *slot = offset;
                }
                state.left = state.left.saturating_sub(1);
                if state.left > 0 {
                    return;
                }
                Ok(std::mem::take(&mut state.offsets))
            }
            Err(error) => Err(error),
        };
        if let Some(done) = state.done.take() {
            // Nobody waits any more: the request was given up.
            let _ = done.send(answer);
        }
    }
}

#[cfg(test)]
mod tests {
    use oneshot::error::TryRecvError;

    use super::*;

    /// Every order of `items`.
    fn orders(items: &[usize]) -> Vec<Vec<usize>> {
        if items.is_empty() {
            return vec![Vec::new()];
        }
        let mut all = Vec::new();
        for (at, &first) in items.iter().enumerate() {
            let mut rest = items.to_vec();
            rest.remove(at);
            for mut order in orders(&rest) {
                order.insert(0, first);
                all.push(order);
            }
        }
        all
    }

    #[test]
    fn offsets_stand_in_the_order_of_the_batch_whatever_order_the_answers_come_in() {
        for order in orders(&[0, 1, 2, 3, 4]) {
            let (ack, mut answer) = Ack::new(5);
            for (nth, index) in order.iter().enumerate() {
                assert_eq!(answer.try_recv(), Err(TryRecvError::Empty), "{order:?} at {nth}");
                ack.ticket(*index).answer(Ok(100 + *index as u64));
            }
            assert_eq!(answer.try_recv(), Ok(Ok(vec![100, 101, 102, 103, 104])), "{order:?}");
        }
    }

    #[test]
    fn one_failure_among_any_answers_fails_the_request_at_once() {
        let failure = || AppendError::Unavailable("no".to_owned());
        for order in orders(&[0, 1, 2, 3]) {
            for failing in 0..4 {
                let (ack, mut answer) = Ack::new(4);
                for (nth, index) in order.iter().enumerate() {
                    let fails = nth == failing;
                    let told = if fails { Err(failure()) } else { Ok(*index as u64) };
                    ack.ticket(*index).answer(told);
                    if fails {
                        assert_eq!(answer.try_recv(), Ok(Err(failure())), "{order:?} at {nth}");
                    } else if nth < failing {
                        assert_eq!(answer.try_recv(), Err(TryRecvError::Empty));
                    }
                }
            }
        }
    }

    #[test]
    fn records_that_were_never_sent_leave_the_request_without_an_answer() {
        let (ack, mut answer) = Ack::new(2);
        ack.ticket(0).answer(Ok(7));
        drop(ack);
        assert_eq!(answer.try_recv(), Err(TryRecvError::Closed));
    }
}
