//! Turns `openapi.yaml`, which people write, into the JSON that is served.

use std::error::Error;
use std::path::Path;
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=openapi.yaml");
    let yaml = fs::read_to_string("openapi.yaml")?;
    let document: serde_json::Value = serde_saphyr::from_str(&yaml)?;
    let out = env::var("OUT_DIR")?;
    fs::write(Path::new(&out).join("openapi.json"), document.to_string())?;
    Ok(())
}
