//! Encodings: unknown, broken, and bombs.

use anyhow::{Context, Result, ensure};
use millrace_tests::encoding::Encoding;

use crate::support::{CALLS, EVENTS, Target};

#[test]
fn an_unknown_encoding_is_415_and_a_known_one_is_taken() -> Result<()> {
    let mut target = Target::start(&[])?;
    for name in ["compress", "x-zip", "gzip, gzip", "lzma", "utf-8", "", "gzip;q=1"] {
        for call in CALLS {
            let request = target.client.call(call.path, call.good).header("Content-Encoding", name);
            let refusal = match name {
                "" => continue,
                _ => target.refused(&request, 415).context(name)?,
            };
            ensure!(refusal.code == "UNSUPPORTED_ENCODING", "{refusal:?}");
        }
    }
    for call in CALLS {
        for encoding in Encoding::COMPRESSING {
            let body = encoding.encode(call.good.as_bytes())?;
            let name = encoding.name().unwrap_or_default();
            let request = target.client.call(call.path, body).header("Content-Encoding", name);
            let answer = target.client.send(&request)?;
            ensure!(answer.status == 202, "{name} {}: {}", call.path, answer.text());
        }
    }
    target.alive()
}

#[test]
fn a_broken_encoding_is_refused() -> Result<()> {
    let mut target = Target::start(&[])?;
    for encoding in Encoding::COMPRESSING {
        let name = encoding.name().unwrap_or_default();
        let whole = encoding.encode(EVENTS.good.as_bytes())?;
        let plain = EVENTS.good.as_bytes().to_vec();
        let mut bodies = vec![plain, Vec::new(), vec![0xff; 100], vec![0; 100]];
        bodies.extend((0..whole.len()).map(|end| whole[..end].to_vec()));
        for body in bodies {
            let shown = format!("{name} {} of {} bytes", body.len(), whole.len());
            let request = target.client.call(EVENTS.path, body).header("Content-Encoding", name);
            target.refused(&request, 400).context(shown)?;
        }
    }
    target.untouched()
}

#[test]
fn a_bomb_is_refused_and_costs_bounded_memory() -> Result<()> {
    const INFLATED: usize = 256 * 1024 * 1024;
    // What a body may take, twice over, and room for the rest.
    const BOUND: u64 = 96 * 1024 * 1024;
    let mut target = Target::start(&[])?;
    target.refused(&target.client.call(EVENTS.path, vec![b'x'; 11 << 20]), 413)?;
    let before = target.server.resident_bytes()?;
    let zeros = vec![b' '; INFLATED];
    for encoding in Encoding::COMPRESSING {
        let name = encoding.name().unwrap_or_default();
        let bomb = encoding.encode(&zeros)?;
        ensure!(bomb.len() < 1 << 20, "{name}: {} bytes are no bomb", bomb.len());
        for call in CALLS {
            let request =
                target.client.call(call.path, bomb.clone()).header("Content-Encoding", name);
            let refusal = target.refused(&request, 413).context(name)?;
            ensure!(refusal.code == "BODY_TOO_LARGE", "{refusal:?}");
        }
    }
    let most = target.server.resident_bytes_max()?;
    ensure!(most < before + BOUND, "{before} bytes before, {most} at the most");
    target.untouched()
}
