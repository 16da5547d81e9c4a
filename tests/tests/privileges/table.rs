//! What every call answers every kind of caller.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use millrace_tests::accounts::{CHEAP, Installation};
use millrace_tests::client::{Answer, Request};
use serde_json::{Value, json};

use crate::call::{Call, Credential};
use crate::caller::{Caller, Standing};
use crate::stage::Stage;

/// The statuses of a call, by [`Standing`].
#[rustfmt::skip]
const fn row(call: Call) -> [u16; 11] {
    use Call::*;
    match call {
        //                  no-  user oth- re-  with ad-  sup- aud- of-  key  key
        //                  body      er   tail the  min  er   it   fice      to
        //                                 er   right                         read
        // Whoever calls: a bearer plays no part, but for what a registration grants.
        Register        => [201, 201, 201, 201, 201, 201, 201, 201, 201, 201, 201],
        RegisterAdmin   => [403, 403, 403, 403, 403, 201, 201, 403, 403, 403, 403],
        Login           => [200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200],
        Google          => [501, 501, 501, 501, 501, 501, 501, 501, 501, 501, 501],
        ForgotPassword  => [202, 202, 202, 202, 202, 202, 202, 202, 202, 202, 202],
        ResetPassword   => [200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200],
        RequestVerify   => [202, 202, 202, 202, 202, 202, 202, 202, 202, 202, 202],
        Verify          => [200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200],
        Bootstrap       => [409, 409, 409, 409, 409, 409, 409, 409, 409, 409, 409],
        OfficeLogin     => [200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200],
        Refresh         => [201, 201, 201, 201, 201, 201, 201, 201, 201, 201, 201],
        // Users.
        Logout          => [401, 204, 204, 204, 204, 204, 204, 401, 401, 401, 401],
        Me              => [401, 200, 200, 200, 200, 200, 200, 401, 401, 401, 401],
        SetConsent      => [401, 200, 403, 403, 403, 200, 200, 401, 401, 401, 401],
        Consents        => [401, 200, 403, 403, 403, 200, 200, 401, 401, 401, 401],
        UpdateBudget    => [401, 403, 403, 403, 200, 200, 200, 401, 401, 401, 401],
        UpdateInfo      => [401, 200, 403, 403, 403, 200, 200, 401, 401, 401, 401],
        Users           => [401, 403, 403, 403, 403, 200, 200, 401, 401, 401, 401],
        DeleteUser      => [401, 403, 403, 403, 403, 200, 200, 401, 401, 401, 401],
        AuditLog        => [401, 403, 403, 403, 403, 200, 200, 401, 401, 401, 401],
        // Keys.
        AdLog           => [401, 401, 401, 401, 401, 401, 401, 401, 401, 200, 403],
        Activity        => [401, 401, 401, 401, 401, 401, 401, 401, 401, 200, 403],
        Events          => [401, 401, 401, 401, 401, 401, 401, 401, 401, 202, 403],
        UserEvents      => [401, 401, 401, 401, 401, 401, 401, 401, 401, 200, 200],
        // The back office.
        CreateAuditUser => [401, 401, 401, 401, 401, 401, 401, 403, 201, 401, 401],
        UpdateAuditUser => [401, 401, 401, 401, 401, 401, 401, 403, 200, 401, 401],
        OfficePeople    => [401, 401, 401, 401, 401, 401, 401, 403, 200, 401, 401],
    }
}

/// What a call answers a caller.
const fn cell(call: Call, caller: Caller) -> u16 {
    row(call)[caller.standing() as usize]
}

/// The body that goes with a refusal, in the shape of the call's API; `None`: any.
fn refusal(call: Call, status: u16) -> Option<Value> {
    let is_ingestion = matches!(call, Call::Events | Call::UserEvents);
    match (call.credential(), status) {
        (_, 401) if is_ingestion => Some(json!({"code": "UNAUTHORIZED"})),
        (_, 403) if is_ingestion => Some(json!({"code": "FORBIDDEN"})),
        (Credential::Access | Credential::Key, 401) => Some(json!({"detail": "Unauthorized"})),
        (Credential::Access | Credential::Key, 403) => Some(json!({"detail": "Forbidden"})),
        (Credential::Pair, 401) => Some(json!({"error": {"code": "UNAUTHORIZED"}})),
        (Credential::Pair, 403) => Some(json!({"error": {"code": "FORBIDDEN"}})),
        (Credential::Pair, 409) => Some(json!({"error": {"code": "CONFLICT"}})),
        _ => None,
    }
}

/// Whether everything in `part` is in `whole`.
fn holds(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => {
            part.iter().all(|(name, value)| whole.get(name).is_some_and(|of| holds(of, value)))
        }
        _ => whole == part,
    }
}

fn differs(call: Call, status: u16, answer: &Answer) -> Option<String> {
    let text = answer.text();
    if answer.status != status {
        return Some(format!("{}, not {status}: {text:.200}", answer.status));
    }
    let body = refusal(call, status)?;
    let found: Value = answer.json().unwrap_or_default();
    (!holds(&found, &body)).then(|| format!("{status} without {body}: {text:.200}"))
}

#[test]
fn every_call_answers_every_kind_of_caller_as_the_table_says() -> Result<()> {
    let mut stage = Stage::set()?;
    let mut tried = BTreeSet::new();
    let (mut requests, mut wrong) = (0, Vec::new());
    for call in Call::ALL {
        // First those who are refused, and then nothing may have changed.
        let is_refused = |caller: &Caller| cell(*call, *caller) >= 400;
        let (refused, allowed): (Vec<Caller>, Vec<Caller>) =
            Caller::ALL.iter().copied().partition(is_refused);
        let before = stage.snapshot()?;
        for caller in refused {
            requests += try_cell(&mut stage, *call, caller, &mut wrong)?;
            tried.insert((*call, caller));
        }
        if stage.snapshot()? != before {
            wrong.push(format!("{call:?}: who was refused has changed something"));
        }
        for caller in allowed {
            requests += try_cell(&mut stage, *call, caller, &mut wrong)?;
            tried.insert((*call, caller));
        }
    }
    println!("{} cells, {requests} requests", tried.len());
    ensure!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
    ensure!(tried.len() == Call::ALL.len() * Caller::ALL.len(), "{} cells", tried.len());
    ensure!(!stage.installation.server.panicked()?, "{}", stage.installation.server.stderr());
    Ok(())
}

/// Makes the call in every way in which the caller may come. How many there were.
fn try_cell(
    stage: &mut Stage,
    call: Call,
    caller: Caller,
    wrong: &mut Vec<String>,
) -> Result<usize> {
    let status = cell(call, caller);
    let ways = stage.ways(call, caller)?;
    ensure!(!ways.is_empty(), "{caller:?} cannot come to {call:?}");
    for (number, way) in ways.iter().enumerate() {
        let request = way.put(stage.request(call)?);
        let answer = stage.installation.send(&request)?;
        if let Some(how) = differs(call, status, &answer) {
            wrong.push(format!("{call:?}, {caller:?} (way {number}): {how}"));
        }
    }
    Ok(ways.len())
}

#[test]
fn the_table_has_a_cell_for_every_call_and_caller() {
    // The kinds, and those that the specification adds.
    assert_eq!(Caller::ALL.len(), 25);
    assert_eq!(Standing::ALL.len(), row(Call::Me).len());
    for (column, standing) in Standing::ALL.iter().enumerate() {
        assert_eq!(*standing as usize, column);
        let stands = Caller::ALL.iter().any(|caller| caller.standing() == *standing);
        assert!(stands, "nobody stands as {standing:?}");
    }
    // 16 calls of the accounts, 2 log calls, 6 of the back office, 2 of the ingestion.
    let operations: BTreeSet<_> = Call::ALL.iter().map(|call| call.operation()).collect();
    assert_eq!(operations.len(), 26);
    for call in Call::ALL {
        for caller in Caller::ALL {
            let status = cell(*call, *caller);
            assert!((200..600).contains(&status), "{call:?} {caller:?}: {status}");
        }
    }
}

#[test]
fn every_documented_operation_of_people_is_in_the_table() -> Result<()> {
    let mut installation = Installation::start(&CHEAP)?;
    let answer = installation.send(&Request::get("/openapi.json"))?;
    let document: Value = answer.json()?;
    let known: BTreeSet<_> = Call::ALL.iter().map(|call| call.operation()).collect();
    let mut documented = BTreeSet::new();
    for (path, item) in document["paths"].as_object().into_iter().flatten() {
        let own = ["/auth", "/privacy", "/user", "/logs", "/app"];
        let methods = item.as_object().into_iter().flatten().map(|(method, _)| method);
        for method in methods.filter(|_| own.iter().any(|start| path.starts_with(start))) {
            let method = method.to_ascii_uppercase();
            if ["GET", "POST", "PATCH", "PUT", "DELETE"].contains(&&*method) {
                documented.insert((method, path.clone()));
            }
        }
    }
    for (method, path) in &documented {
        let is_known = known.iter().any(|(m, p)| m == method && same_path(p, path));
        ensure!(is_known, "{method} {path} is documented and not in the table");
    }
    let ingestion = |path: &str| path.starts_with("/v1/");
    for (method, path) in known.into_iter().filter(|(_, path)| !ingestion(path)) {
        let is_documented = documented.iter().any(|(m, p)| m == method && same_path(p, path));
        ensure!(is_documented, "{method} {path} is in the table and not documented");
    }
    Ok(())
}

/// The same path, whatever its parameters are called.
fn same_path(one: &str, other: &str) -> bool {
    let shape = |path: &str| {
        path.split('/').map(|s| if s.starts_with('{') { "{}" } else { s }.to_owned()).collect()
    };
    let (one, other): (Vec<String>, Vec<String>) = (shape(one), shape(other));
    one == other
}
