//! The documented examples against `millrace dev`: every status is the documented one, and no
//! secret is printed.

use anyhow::{Result, ensure};
use millrace_tests::accounts::{
    BACK_OFFICE_EMAIL, BOOTSTRAP_SECRET, CHEAP, Installation, PASSWORD,
};
use millrace_tests::walk_through::{ApiKey, Credentials, Settings, Tally, walk};

#[test]
fn every_documented_example_is_answered_as_documented() -> Result<()> {
    let mut installation = Installation::start(&CHEAP)?;
    let admin = installation.first_admin()?;
    let credentials =
        |email: &str| Some(Credentials { email: email.into(), password: PASSWORD.into() });
    let settings = Settings {
        url: format!("http://{}", installation.server.address),
        api_key: Some(ApiKey(installation.server.key.clone())),
        admin: credentials(&admin.email),
        bootstrap_secret: Some(BOOTSTRAP_SECRET.into()),
        back_office: credentials(BACK_OFFICE_EMAIL),
    };
    let mut printed = Vec::new();
    let first = walk(&settings, &mut printed)?;
    let printed = String::from_utf8(printed)?;
    assert_eq!(first, Tally { calls: 23, ..Tally::default() }, "{printed}");
    for secret in [PASSWORD, BOOTSTRAP_SECRET, &installation.server.key] {
        ensure!(!printed.contains(secret), "a secret is printed: {printed}");
    }
    ensure!(printed.contains("Bearer eyJ"), "{printed}");

    // A second bootstrap is what differs, and the rest can be done again.
    let again = walk(&settings, &mut Vec::new())?;
    assert_eq!((again.calls, again.faults.len()), (23, 1), "{again:?}");
    ensure!(again.faults[0].contains("409"), "{again:?}");

    let stranger = Settings { url: settings.url, ..Settings::default() };
    let alone = walk(&stranger, &mut Vec::new())?;
    assert_eq!((alone.faults.len(), alone.left_out.len()), (0, 3), "{alone:?}");
    Ok(())
}
