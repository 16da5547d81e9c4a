//! One connection to the cluster: statements are sent through here, and nowhere else.
//!
//! Owns the bound on what is in flight, the back-off between tries and the metrics of statements.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use backon::{ExponentialBuilder, Retryable};
use futures::future::try_join_all;
use metrics::{Gauge, counter, gauge, histogram};
use scylla::client::session::Session;
use scylla::deserialize::row::DeserializeRow;
use scylla::errors::ExecutionError;
use scylla::response::query_result::QueryResult;
use scylla::response::{PagingState, PagingStateResponse};
use scylla::statement::batch::{Batch, BatchStatement, BatchType};
use scylla::value::{CqlValue, Row};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::config::Config;
use super::documents::Changes;
use super::failure::{failed, is_worth_another_try, no_rows, other_rows, unreadable};
use super::generation::Generations;
use super::statements::{Kind, Prepared, Profiles, Statements};
use super::value::Value;
use crate::StoreError;

/// The rows of one answer.
const PAGE_ROWS: i32 = 500;
/// Tries after the first, of a statement that may be repeated.
const RETRIES: usize = 3;
/// So many gathered statements that erase count as one request. If each counted, too few batches
/// would be in flight to keep the database busy.
const ERASURES_PER_REQUEST: usize = 4;

pub(super) struct Connection {
    pub(super) session: Session,
    pub(super) statements: Statements,
    pub(super) generations: Generations,
    pub(super) changes: Changes,
    pub(super) local_datacenter: Option<String>,
    profiles: Profiles,
    permits: Semaphore,
    /// What erases needs some of these first.
    erase_permits: Semaphore,
    erasures_max: usize,
}

/// A statement with its values.
pub(super) struct Bound<'w> {
    pub(super) prepared: &'w Prepared,
    pub(super) values: Vec<Value<'w>>,
}

impl Connection {
    pub(super) fn new(
        session: Session,
        statements: Statements,
        profiles: Profiles,
        generations: Generations,
        config: &Config,
    ) -> Self {
        let changes = Changes::default();
        let permits = Semaphore::new(config.in_flight_max);
        let erasures_max = config.erasures_max();
        let erase_permits = Semaphore::new(erasures_max);
        Self {
            session,
            statements,
            generations,
            changes,
            local_datacenter: config.local_datacenter.clone(),
            profiles,
            permits,
            erase_permits,
            erasures_max,
        }
    }

    /// All rows, from the first page to the last; a page over tombstones may be empty.
    pub(super) async fn rows<R>(
        &self,
        prepared: &Prepared,
        values: &[Value<'_>],
    ) -> Result<Vec<R>, StoreError>
    where
        R: for<'f, 'm> DeserializeRow<'f, 'm>,
    {
        let mut rows = Vec::new();
        let mut at = Some(PagingState::start());
        while let Some(from) = at {
            let (mut page, next) = self.page(prepared, values, from, PAGE_ROWS).await?;
            rows.append(&mut page);
            at = next;
        }
        Ok(rows)
    }

    /// The rows of each of some values, in their order.
    pub(super) async fn rows_of_each<R>(
        &self,
        prepared: &Prepared,
        each: Vec<Vec<Value<'_>>>,
    ) -> Result<Vec<Vec<R>>, StoreError>
    where
        R: for<'f, 'm> DeserializeRow<'f, 'm>,
    {
        try_join_all(each.iter().map(|values| self.rows(prepared, values))).await
    }

    /// The first row.
    pub(super) async fn row<R>(
        &self,
        prepared: &Prepared,
        values: &[Value<'_>],
    ) -> Result<Option<R>, StoreError>
    where
        R: for<'f, 'm> DeserializeRow<'f, 'm>,
    {
        Ok(self.rows(prepared, values).await?.into_iter().next())
    }

    /// One page, and where the next one begins.
    pub(super) async fn page<R>(
        &self,
        prepared: &Prepared,
        values: &[Value<'_>],
        from: PagingState,
        page_rows: i32,
    ) -> Result<(Vec<R>, Option<PagingState>), StoreError>
    where
        R: for<'f, 'm> DeserializeRow<'f, 'm>,
    {
        let mut statement = prepared.statement.clone();
        statement.set_page_size(page_rows.max(1));
        let send = || self.session.execute_single_page(&statement, values, from.clone());
        let (result, next) = self.send(prepared.kind, send).await?;
        Ok((decode(result)?, following(next)))
    }

    /// Sends a write.
    pub(super) async fn write(
        &self,
        prepared: &Prepared,
        values: &[Value<'_>],
    ) -> Result<(), StoreError> {
        let send = || self.session.execute_unpaged(&prepared.statement, values);
        self.send(prepared.kind, send).await.map(drop)
    }

    /// Sends writes as one: to one partition, or to partitions of the same nodes.
    pub(super) async fn write_together(&self, writes: Vec<Bound<'_>>) -> Result<(), StoreError> {
        let kind = if is_erasing(&writes) { Kind::Erase } else { Kind::Write };
        let _share = match kind {
            Kind::Erase => self.share_of_erasing(writes.len()).await,
            _ => None,
        };
        if let [one] = &*writes {
            return self.write(one.prepared, &one.values).await;
        }
        let statement = |bound: &Bound<'_>| BatchStatement::from(bound.prepared.statement.clone());
        let statements = writes.iter().map(statement).collect();
        let mut batch = Batch::new_with_statements(BatchType::Unlogged, statements);
        batch.set_is_idempotent(true);
        batch.set_execution_profile_handle(Some(self.profiles.get(kind)));
        let values: Vec<_> = writes.iter().map(|bound| &*bound.values).collect();
        self.send(kind, || self.session.batch(&batch, &values)).await.map(drop)
    }

    /// Waits until so many more statements may erase.
    async fn share_of_erasing(&self, statements: usize) -> Option<SemaphorePermit<'_>> {
        let requests = statements.div_ceil(ERASURES_PER_REQUEST).min(self.erasures_max);
        self.erase_permits.acquire_many(u32::try_from(requests).ok()?).await.ok()
    }

    /// Sends a conditional write; whether its condition held. An error: nobody knows.
    pub(super) async fn apply(
        &self,
        prepared: &Prepared,
        values: &[Value<'_>],
    ) -> Result<bool, StoreError> {
        let send = || self.session.execute_unpaged(&prepared.statement, values);
        has_held(self.send(prepared.kind, send).await?)
    }

    /// Sends conditional writes to one partition, as one; whether all conditions held. An error:
    /// nobody knows.
    pub(super) async fn apply_together(&self, writes: Vec<Bound<'_>>) -> Result<bool, StoreError> {
        let statement = |bound: &Bound<'_>| BatchStatement::from(bound.prepared.statement.clone());
        let statements = writes.iter().map(statement).collect();
        let mut batch = Batch::new_with_statements(BatchType::Unlogged, statements);
        batch.set_execution_profile_handle(Some(self.profiles.get(Kind::Lwt)));
        let values: Vec<_> = writes.iter().map(|bound| &*bound.values).collect();
        has_held(self.send(Kind::Lwt, || self.session.batch(&batch, &values)).await?)
    }

    async fn send<T, F, S>(&self, kind: Kind, send: S) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, ExecutionError>>,
        S: Fn() -> F,
    {
        // Positions do not queue behind rows.
        let _permit = match kind {
            Kind::Read | Kind::Write | Kind::Erase => self.permits.acquire().await.ok(),
            Kind::Ledger | Kind::Lwt | Kind::Serial | Kind::Poll => None,
        };
        let _in_flight = InFlight::new(kind);
        let started = Instant::now();
        let retries = if matches!(kind, Kind::Lwt) { 0 } else { RETRIES };
        let delays = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(25))
            .with_max_delay(Duration::from_millis(400))
            .with_max_times(retries)
            .with_jitter();
        let answer = send.retry(delays).when(is_worth_another_try).await;
        histogram!("millrace_cql_seconds", "kind" => kind.name()).record(started.elapsed());
        answer.map_err(|error| {
            counter!("millrace_cql_errors_total", "kind" => kind.name()).increment(1);
            failed(&error)
        })
    }
}

/// Whether writes do nothing but erase.
pub(super) fn is_erasing(writes: &[Bound<'_>]) -> bool {
    writes.iter().all(|bound| bound.prepared.kind == Kind::Erase)
}

/// Counted while it lives: a caller may give up waiting at any time.
struct InFlight(Gauge);

impl InFlight {
    fn new(kind: Kind) -> Self {
        let gauge = gauge!("millrace_cql_in_flight", "kind" => kind.name());
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

fn has_held(result: QueryResult) -> Result<bool, StoreError> {
    // Where it held, Cassandra answers with this column alone.
    let rows: Vec<Row> = decode(result)?;
    let applied = rows.first().and_then(|row| row.columns.first());
    Ok(matches!(applied, Some(Some(CqlValue::Boolean(true)))))
}

fn following(next: PagingStateResponse) -> Option<PagingState> {
    match next.into_paging_control_flow() {
        ControlFlow::Continue(state) => Some(state),
        ControlFlow::Break(()) => None,
    }
}

pub(super) fn decode<R>(result: QueryResult) -> Result<Vec<R>, StoreError>
where
    R: for<'f, 'm> DeserializeRow<'f, 'm>,
{
    let result = result.into_rows_result().map_err(|e| no_rows(&e))?;
    let rows = result.rows::<R>().map_err(|e| other_rows(&e))?;
    rows.map(|row| row.map_err(|e| unreadable(&e))).collect()
}
