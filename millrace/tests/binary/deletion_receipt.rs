//! Receipts: got, read, and checked, here and by a library of another language.

use std::fs;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::between::Between;
use crate::common::text;
use crate::deletion::{Place, failed, ids};

/// A place where a list of 25 was submitted in three jobs, and the id of the newest.
fn submitted() -> (Place, String, String) {
    let place = Place::new();
    let list = place.file("ids.txt", ids(25));
    place.ok(&["submit", &list, "--ids-per-job", "10", "--parallel", "1"]);
    let newest = receipts(&place).last().unwrap()["job_id"].as_str().unwrap().to_owned();
    (place, list, newest)
}

/// What all receipts say, by number.
fn receipts(place: &Place) -> Vec<Value> {
    let jobs = place.jobs();
    let decoded = jobs.iter().map(|job| {
        let job = job["job_id"].as_str().unwrap();
        serde_json::from_str::<Value>(&place.ok(&["receipt", job, "--decoded"])).unwrap()
    });
    let mut receipts: Vec<Value> = decoded.collect();
    receipts.sort_by_key(|receipt| receipt["number"].as_u64());
    receipts
}

/// A token that says another number of users, under the same signature.
fn forged(token: &str) -> String {
    let [header, claims, signature] = token.trim().split('.').collect::<Vec<_>>()[..] else {
        panic!("no token: {token}")
    };
    let claims = String::from_utf8(URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
    let changed = claims.replacen(r#""users":"#, r#""users":9"#, 1);
    assert_ne!(changed, claims);
    format!("{header}.{}.{signature}", URL_SAFE_NO_PAD.encode(changed))
}

#[test]
fn receipts_are_numbered_chained_and_about_their_ids() {
    let (place, list, newest) = submitted();
    let all = receipts(&place);
    let numbers: Vec<u64> = all.iter().map(|r| r["number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [1, 2, 3]);
    let args = ["verify", &newest, "--ids", &list, "--ids-per-job", "10", "--chain"];
    let text = place.ok(&args);
    for part in
        ["receipt    3 of project demo", "holds  signature", "of ids.txt", "3 receipts back"]
    {
        let text = text.replace(&list, "ids.txt");
        assert!(text.contains(part), "{part}: {text}");
    }
    let report: Value =
        serde_json::from_str(&place.ok(&[&args[..], &["--json"]].concat())).unwrap();
    assert_eq!((&report["holds"], &report["receipt"]), (&Value::Bool(true), &all[2]));
    assert_eq!(report["checks"].as_array().unwrap().len(), 3);
}

#[test]
fn a_chain_with_a_receipt_missing_exchanged_or_tampered_with_does_not_hold() {
    let (place, _, newest) = submitted();
    let jobs: Vec<String> =
        receipts(&place).iter().map(|r| r["job_id"].as_str().unwrap().to_owned()).collect();
    let tokens: Vec<String> = jobs.iter().map(|job| place.ok(&["receipt", job])).collect();
    let between = Between::new(place.server.address(), &[]);
    let (first, second) = (format!("/{}/receipt?", jobs[0]), format!("/{}/receipt?", jobs[1]));
    let verified = || {
        let args = ["verify", &newest, "--chain"];
        let output = place.command_at(&between.url, &args).output().unwrap();
        assert!(failed(&output, 1).contains("the receipt does not hold: chain"));
        text(&output.stdout)
    };
    let wrong = format!("receipt 2, of job {}, is not the one whose hash", jobs[1]);
    between.answer(&second, "200 OK", &forged(&tokens[1]));
    assert!(verified().contains(&wrong), "{}", verified());
    between.answer(&first, "200 OK", &tokens[1]);
    between.answer(&second, "200 OK", &tokens[0]);
    assert!(verified().contains(&wrong), "{}", verified());
    between.leave(&second);
    let wrong = format!("receipt 1, of job {}, is not the one whose hash", jobs[0]);
    assert!(verified().contains(&wrong), "{}", verified());
    between.leave(&first);
    between.answer(&second, "404 Not Found", "{}");
    let missing = format!("receipt 2, of job {}, is missing: 404", jobs[1]);
    assert!(verified().contains(&missing), "{}", verified());
}

#[test]
fn a_list_in_another_order_is_the_same_and_another_list_is_not() {
    let place = Place::new();
    let list = place.file("ids.txt", "a\nb\nc\nb\n");
    place.ok(&["submit", &list]);
    let job = place.jobs()[0]["job_id"].as_str().unwrap().to_owned();
    let turned = place.file("turned.csv", "user_id\nc\nb\na\na\n");
    assert!(place.ok(&["verify", &job, "--ids", &turned]).contains("the 3 users"));
    let other = place.file("other.txt", "a\nb\nd\n");
    let said = place.fails(&["verify", &job, "--ids", &other]);
    assert!(said.contains("does not hold: ids"), "{said}");
}

#[test]
fn a_receipt_in_a_file_is_verified_with_a_file_of_keys_and_no_server() {
    let (place, _, newest) = submitted();
    let token = place.path("receipt.jwt").to_str().unwrap().to_owned();
    place.ok(&["receipt", &newest, "-o", &token]);
    let keys = place.server.get("/.well-known/jwks.json", "").body;
    let jwks = place.file("jwks.json", &keys);
    let nowhere = |args: &[&str]| place.command_at("http://127.0.0.1:1", args).output().unwrap();
    let output = nowhere(&["verify", &token, "--jwks", &jwks]);
    assert!(output.status.success(), "{}", text(&output.stderr));

    let forged = place.file("forged.jwt", forged(&fs::read_to_string(&token).unwrap()));
    let output = nowhere(&["verify", &forged, "--jwks", &jwks]);
    let said = failed(&output, 1);
    assert!(said.contains("does not hold: signature"), "{said}");
    assert!(text(&output.stdout).contains("FAILS  signature"), "{}", text(&output.stdout));
    let none = place.file("none.json", r#"{"keys":[]}"#);
    let output = nowhere(&["verify", &token, "--jwks", &none]);
    assert!(text(&output.stdout).contains("not among the keys"), "{}", text(&output.stdout));
    failed(&output, 1);

    let url = format!("{}/.well-known/jwks.json", place.server.field("url"));
    let piped =
        place.piped(&["verify", "-", "--jwks", &url], &fs::read(Path::new(&token)).unwrap());
    assert!(piped.status.success(), "{}", text(&piped.stderr));
}

#[cfg_attr(python_missing, ignore = "no python3 with venv and pip")]
#[test]
fn py_jwt_verifies_a_receipt_with_the_keys_of_the_server_and_nothing_else() {
    let Some(python) = python::with_py_jwt() else { return };
    let place = Place::new();
    let list = place.file("ids.txt", "zo\u{e9}\nb\na\nb\n");
    place.ok(&["submit", &list]);
    let job = place.jobs()[0]["job_id"].as_str().unwrap().to_owned();
    let token = place.ok(&["receipt", &job]);
    let jwks = format!("{}/.well-known/jwks.json", place.server.field("url"));
    let good = python.verify(&jwks, &token, &list);
    let claims: Value = serde_json::from_str(&good.unwrap()).unwrap();
    assert_eq!(claims, receipts(&place)[0]);
    let refused = python.verify(&jwks, &forged(&token), &list).unwrap_err();
    assert!(refused.contains("InvalidSignatureError"), "{refused}");
}

/// A Python of our own, with PyJWT from the registry.
mod python {
    use std::fs;
    use std::path::{Path, PathBuf};
    use std::process::Command;

    use crate::common::text;

    const SCRIPT: &str = r#"
import hashlib, json, sys, jwt
url, token, ids = sys.argv[1:]
key = jwt.PyJWKClient(url).get_signing_key_from_jwt(token)
options = {"require": ["iss", "iat", "jti"], "verify_aud": False}
claims = jwt.decode(token, key.key, algorithms=["EdDSA"], issuer="millrace", options=options)
assert jwt.get_unverified_header(token)["typ"] == "deletion-receipt+jwt"
digest = hashlib.sha256(bytes.fromhex(claims["ids"]["salt"]))
for id in sorted(set(open(ids, "rb").read().splitlines())):
    digest.update(len(id).to_bytes(4, "little") + id)
assert digest.hexdigest() == claims["ids"]["hash"]
print(json.dumps(claims))
"#;

    pub(super) struct Python(PathBuf);

    /// `None`, and why on stderr, if the registry cannot be reached; in CI that fails.
    pub(super) fn with_py_jwt() -> Option<Python> {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("py-jwt");
        let (python, complete) = (folder.join("bin/python"), folder.join("complete"));
        if complete.exists() {
            return Some(Python(python));
        }
        let install = ["-m", "pip", "install", "--quiet", "PyJWT[crypto]>=2.8,<3"];
        let installed = run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))
            .and_then(|_| run(Command::new(&python).args(install)));
        match installed {
            Ok(_) => fs::write(complete, "").unwrap(),
            Err(why) => {
                assert!(std::env::var("CI").as_deref() != Ok("true"), "{why}");
                eprintln!("SKIPPED: PyJWT cannot be installed: {why}");
                return None;
            }
        }
        Some(Python(python))
    }

    impl Python {
        /// What the receipt says, or what Python said.
        pub(super) fn verify(&self, jwks: &str, token: &str, ids: &str) -> Result<String, String> {
            run(Command::new(&self.0).args(["-c", SCRIPT, jwks, token.trim(), ids]))
        }
    }

    fn run(command: &mut Command) -> Result<String, String> {
        let output = command.output().map_err(|error| error.to_string())?;
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }
}
