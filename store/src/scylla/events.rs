//! Events of a user: four partitions, merged into one order while they are read page by page.

use std::collections::VecDeque;

use bytes::Bytes;
use futures::future::try_join_all;
use millrace_schema::UserKey;
use millrace_schema::time::Micros;
use scylla::response::PagingState;

use super::connection::Connection;
use super::statements::Prepared;
use super::value::{Value, key, values};
use super::write::{BUCKETS, user_of};
use crate::{EventQuery, EventRow, Stamp, StoreError};

/// Events asked for at once, of one partition.
const PAGE_EVENTS: usize = 100;

type Line = (i64, String, Option<Bytes>, Option<i64>);

/// One partition, read as far as it was needed.
struct Cursor<'q> {
    prepared: &'q Prepared,
    values: Vec<Value<'q>>,
    page_rows: i32,
    ready: VecDeque<EventRow>,
    /// Where the next page begins; `None`: there is none.
    next: Option<PagingState>,
}

impl Connection {
    pub(super) async fn events(
        &self,
        user: &UserKey,
        query: &EventQuery,
    ) -> Result<Vec<EventRow>, StoreError> {
        let (project, id) = user_of(user)?;
        let before = upper_bound(query);
        if let Some((_, before)) = before {
            key(before)?;
        }
        let is_empty = before.is_some_and(|(time_us, _)| Some(time_us) < query.from_us);
        if query.limit == 0 || is_empty {
            return Ok(Vec::new());
        }
        let page_rows = i32::try_from(query.limit.min(PAGE_EVENTS)).unwrap_or(1);
        let cursor = |bucket: i32| {
            let from_us = query.from_us.unwrap_or(Micros::MIN);
            let mut values = values![project, id, bucket, from_us];
            let mut prepared = &self.statements.events;
            if let Some((time_us, id)) = before {
                values.extend(values![time_us, id]);
                prepared = &self.statements.events_before;
            }
            let next = Some(PagingState::start());
            Cursor { prepared, values, page_rows, ready: VecDeque::new(), next }
        };
        let mut cursors: Vec<Cursor<'_>> = (0..BUCKETS).map(cursor).collect();
        self.merge(&mut cursors, query.limit).await
    }

    async fn merge(
        &self,
        cursors: &mut [Cursor<'_>],
        limit: usize,
    ) -> Result<Vec<EventRow>, StoreError> {
        let mut rows = Vec::new();
        while rows.len() < limit {
            try_join_all(cursors.iter_mut().map(|cursor| self.fill(cursor))).await?;
            let newest = cursors.iter_mut().max_by(|a, b| order(a).cmp(&order(b)));
            let Some(row) = newest.and_then(|cursor| cursor.ready.pop_front()) else { break };
            rows.push(row);
        }
        Ok(rows)
    }

    /// Reads on until there is a row, or the end.
    async fn fill(&self, cursor: &mut Cursor<'_>) -> Result<(), StoreError> {
        while cursor.ready.is_empty()
            && let Some(from) = cursor.next.take()
        {
            let Cursor { prepared, values, page_rows, .. } = cursor;
            let (lines, next): (Vec<Line>, _) =
                self.page(prepared, values, from, *page_rows).await?;
            cursor.ready = lines.into_iter().filter_map(event).collect();
            cursor.next = next;
        }
        Ok(())
    }
}

/// Strictly older than this: (time, id). An id of nothing is older than any of the same time.
fn upper_bound(query: &EventQuery) -> Option<(Micros, &str)> {
    let to = query.to_us.map(|to_us| (to_us, ""));
    let before = query.before.as_ref().map(|(time_us, id)| (*time_us, id.as_str()));
    match (to, before) {
        (Some(to), Some(before)) => Some(to.min(before)),
        (to, before) => to.or(before),
    }
}

/// What of a partition comes next; a partition at its end comes last.
fn order<'c>(cursor: &'c Cursor<'_>) -> Option<(Micros, &'c str)> {
    cursor.ready.front().map(|row| (row.time_us, row.id.as_str()))
}

fn event((time_us, id, payload, stamp): Line) -> Option<EventRow> {
    Some(EventRow { time_us, id, stamp: Stamp(stamp?), payload: payload? })
}
