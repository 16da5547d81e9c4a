//! How receipts get to their webhooks.

use millrace_store::{Delivery, DeliveryState, Store};
use uuid::Uuid;

fn delivery(state: DeliveryState, attempts: u32) -> Delivery {
    let error = (attempts > 0).then(|| "503 Service Unavailable".to_owned());
    Delivery { url: "https://example.com/hook".into(), state, attempts, error, updated_us: 7 }
}

pub(crate) async fn a_delivery_is_read_back_as_it_was_put<S: Store>(store: &S) {
    let [one, two, none] = [1, 2, 3].map(Uuid::from_u128);
    let (first, second) = (delivery(DeliveryState::Pending, 0), delivery(DeliveryState::Failed, 9));
    store.put_delivery("p", one, first.clone()).await.unwrap();
    store.put_delivery("p", two, second.clone()).await.unwrap();
    let read = store.deliveries("p", vec![two, none, one, two]).await.unwrap();
    assert_eq!(read, [Some(second.clone()), None, Some(first), Some(second.clone())]);
    assert_eq!(store.deliveries("p2", vec![one]).await.unwrap(), [None]);
    assert!(store.deliveries("p", Vec::new()).await.unwrap().is_empty());
    let later = delivery(DeliveryState::Pending, 1);
    store.put_delivery("p", one, later.clone()).await.unwrap();
    assert_eq!(store.deliveries("p", vec![one]).await.unwrap(), [Some(later)]);
}

pub(crate) async fn only_pending_deliveries_are_open<S: Store>(store: &S) {
    let [one, two, three] = [1, 2, 3].map(Uuid::from_u128);
    assert!(store.open_deliveries().await.unwrap().is_empty());
    let pending = delivery(DeliveryState::Pending, 0);
    for (project, job) in [("p", one), ("p", two), ("p2", one), ("p", three)] {
        store.put_delivery(project, job, pending.clone()).await.unwrap();
    }
    store.put_delivery("p", two, delivery(DeliveryState::Delivered, 1)).await.unwrap();
    store.put_delivery("p", three, delivery(DeliveryState::Failed, 5)).await.unwrap();
    let again = delivery(DeliveryState::Pending, 4);
    store.put_delivery("p2", one, again.clone()).await.unwrap();
    let mut open = store.open_deliveries().await.unwrap();
    open.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(open, [("p".to_owned(), one, pending), ("p2".to_owned(), one, again)]);
}
