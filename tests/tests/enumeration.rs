//! Nobody learns from an answer, or from how long it took, whether there is an account.
//!
//! Durations are compared as ratios of medians of interleaved requests; only a ratio that no load
//! makes, three times in a row, is a failure. `-- --nocapture` shows them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use millrace_tests::accounts::{
    BACK_OFFICE_EMAIL, CHEAP, Installation, PASSWORD, json_request, login_request,
    office_login_request, user_create,
};
use millrace_tests::client::{Answer, Request};
use millrace_tests::latency::{Ratio, quantile};
use serde_json::json;

/// A ratio of medians that load does not make of two equal things.
const FACTOR: f64 = 1.5;
const ATTEMPTS: usize = 3;
/// People of each kind.
const EACH: usize = 8;
const WRONG: &str = "Wrong-horse-9-battery";
const UNKNOWN: &str = "unknown";
/// Who measures does it alone.
static ALONE: Mutex<()> = Mutex::new(());

/// Addresses by what there is behind them.
struct Addresses(BTreeMap<&'static str, Vec<String>>);

impl Addresses {
    /// People of every kind, and a lot of addresses of nobody.
    fn new(installation: &mut Installation) -> Result<Self> {
        let admin = installation.first_admin()?;
        let office = installation.bootstrap()?;
        let mut of: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
        for number in 0..EACH {
            let mut add = |kind, email: &str| of.entry(kind).or_default().push(email.to_owned());
            add("user", &installation.join(None, &json!({}))?.email);
            let korean = json!({"preferences": {"etc": {"language": "ko"}}});
            add("Korean user", &installation.join(None, &korean)?.email);
            let verified = json!({"is_verified": true});
            add("verified", &installation.join(Some(&admin), &verified)?.email);
            let inactive = installation.join(None, &json!({}))?;
            let change = json!({"id": inactive.id, "is_active": false});
            installation.json(("PATCH", "/user/info"), &admin.token, &change, 200)?;
            add("inactive", &inactive.email);
            add("audit user", &installation.new_audit_user(&office)?.0);
            add(UNKNOWN, &format!("nobody-{number}@example.com"));
        }
        let (gone, _) = installation.new_audit_user(&office)?;
        installation.command(&["user", "deactivate", &gone], "")?;
        of.insert("inactive audit user", vec![gone]);
        of.insert("back-office user", vec![BACK_OFFICE_EMAIL.to_owned()]);
        Ok(Self(of))
    }

    fn get(&self, kind: &str, number: usize) -> Result<&str> {
        let all = self.0.get(kind).with_context(|| format!("nobody is {kind}"))?;
        Ok(&all[number % all.len()])
    }
}

/// A call that must answer alike, whoever it is about.
struct Case {
    name: &'static str,
    request: fn(&str) -> Request,
    /// Besides [`UNKNOWN`].
    kinds: &'static [&'static str],
    status: u16,
    /// What the body is.
    body: &'static str,
}

fn register(email: &str, more: &serde_json::Value) -> Request {
    json_request("POST", "/auth/register", user_create(email, more).to_string())
}

fn mail_request(path: &str, email: &str) -> Request {
    json_request("POST", path, json!({"email": email}).to_string())
}

const PEOPLE: &[&str] =
    &["user", "Korean user", "verified", "inactive", "audit user", "back-office user"];

/// The calls that hash a password.
const HASHING: [Case; 2] = [
    Case {
        name: "login",
        request: |email| login_request(email, WRONG),
        kinds: PEOPLE,
        status: 400,
        body: r#"{"detail":"LOGIN_BAD_CREDENTIALS"}"#,
    },
    Case {
        name: "back-office login",
        request: |email| office_login_request(email, WRONG),
        kinds: &["user", "inactive", "audit user", "inactive audit user", "back-office user"],
        status: 401,
        body: "UNAUTHORIZED",
    },
];

const OTHERS: [Case; 6] = [
    // The right password does not tell either.
    Case {
        name: "login of who is not active",
        request: |email| login_request(email, PASSWORD),
        kinds: &["inactive", "audit user"],
        status: 400,
        body: r#"{"detail":"LOGIN_BAD_CREDENTIALS"}"#,
    },
    Case {
        name: "back-office login of who is not active",
        request: |email| office_login_request(email, PASSWORD),
        kinds: &["inactive audit user", "user"],
        status: 401,
        body: "UNAUTHORIZED",
    },
    Case {
        name: "forgot-password",
        request: |email| mail_request("/auth/forgot-password", email),
        kinds: PEOPLE,
        status: 202,
        body: "null",
    },
    Case {
        name: "request-verify-token",
        request: |email| mail_request("/auth/request-verify-token", email),
        kinds: PEOPLE,
        status: 202,
        body: "null",
    },
    // Whether an address is taken is told only to whom it could be given.
    Case {
        name: "register with a refused password",
        request: |email| register(email, &json!({"password": "short"})),
        kinds: PEOPLE,
        status: 400,
        body: "REGISTER_INVALID_PASSWORD",
    },
    Case {
        name: "register as an admin",
        request: |email| register(email, &json!({"role": "admin"})),
        kinds: PEOPLE,
        status: 403,
        body: r#"{"detail":"Forbidden"}"#,
    },
];

/// An answer but for what tells requests apart.
fn shown(answer: &Answer) -> String {
    let own = ["x-request-id", "date"];
    let headers: Vec<_> =
        answer.headers.iter().filter(|(name, _)| !own.contains(&&**name)).collect();
    format!("{} {headers:?} {}", answer.status, answer.text())
}

/// Makes the call about everybody in turn, in an order of chance. How long each took, by kind.
fn measure(
    installation: &mut Installation,
    addresses: &Addresses,
    case: &Case,
    rounds: usize,
    rng: &mut fastrand::Rng,
) -> Result<BTreeMap<&'static str, Vec<Duration>>> {
    let mut kinds: Vec<&'static str> = case.kinds.iter().copied().chain([UNKNOWN]).collect();
    let mut took: BTreeMap<&'static str, Vec<Duration>> = BTreeMap::new();
    let mut first = None;
    for round in 0..rounds {
        rng.shuffle(&mut kinds);
        for kind in &kinds {
            let request = (case.request)(addresses.get(kind, round)?);
            let since = Instant::now();
            let answer = installation.send(&request)?;
            took.entry(kind).or_default().push(since.elapsed());
            let answer = shown(&answer);
            let expected = answer.starts_with(&case.status.to_string());
            ensure!(expected && answer.contains(case.body), "{} of {kind}: {answer}", case.name);
            let first = first.get_or_insert_with(|| answer.clone());
            ensure!(*first == answer, "{} of {kind}: {answer}, and of another {first}", case.name);
        }
    }
    Ok(took)
}

/// Which kinds take longer or shorter than nobody, beyond what load makes.
fn beyond(
    case: &Case,
    took: &BTreeMap<&'static str, Vec<Duration>>,
    rng: &mut fastrand::Rng,
) -> Result<BTreeSet<&'static str>> {
    let unknown = took.get(UNKNOWN).context("nobody was asked for")?;
    let mut beyond = BTreeSet::new();
    for (kind, times) in took.iter().filter(|(kind, _)| **kind != UNKNOWN) {
        let ratio = Ratio::of(times, unknown, rng);
        let (n, median) = (times.len(), quantile(unknown, 0.5));
        println!("{}: {kind}/unknown {ratio}, n={n}, unknown {median:?}", case.name);
        if ratio.is_beyond(FACTOR) {
            beyond.insert(*kind);
        }
    }
    Ok(beyond)
}

fn all_alike(args: &[&str], cases: &[&Case], rounds: usize) -> Result<()> {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut installation = Installation::start(args)?;
    let addresses = Addresses::new(&mut installation)?;
    let mut rng = fastrand::Rng::new();
    for case in cases {
        let mut always: BTreeSet<&str> = case.kinds.iter().copied().collect();
        for _ in 0..ATTEMPTS {
            let took = measure(&mut installation, &addresses, case, rounds, &mut rng)?;
            always = &always & &beyond(case, &took, &mut rng)?;
            if always.is_empty() {
                break;
            }
        }
        ensure!(always.is_empty(), "{}: {always:?} differ {ATTEMPTS} times", case.name);
    }
    Ok(())
}

#[test]
fn who_has_an_account_is_not_to_be_seen() -> Result<()> {
    let cases: Vec<&Case> = HASHING.iter().chain(&OTHERS).collect();
    all_alike(&CHEAP, &cases, 300)
}

#[test]
fn who_has_an_account_is_not_to_be_seen_at_the_default_cost_of_a_hash() -> Result<()> {
    let cases: Vec<&Case> = HASHING.iter().collect();
    all_alike(&[], &cases, 30)
}
