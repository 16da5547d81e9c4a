//! TLS to the nodes, by rustls.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::config::Tls;
use crate::StoreError;

/// # Errors
/// [`StoreError::Invalid`], naming the file.
pub(super) fn client(tls: &Tls) -> Result<Arc<ClientConfig>, StoreError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&tls.ca)? {
        roots.add(certificate).map_err(|e| refused(&tls.ca, &e))?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| refused(&tls.ca, &e))?
        .with_root_certificates(roots);
    let Some((certificate, key)) = &tls.identity else {
        return Ok(Arc::new(builder.with_no_client_auth()));
    };
    let private = PrivateKeyDer::from_pem_file(key).map_err(|e| refused(key, &e))?;
    let chain = certificates(certificate)?;
    let config = builder.with_client_auth_cert(chain, private);
    config.map(Arc::new).map_err(|e| refused(certificate, &e))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, StoreError> {
    let all: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).map_err(|e| refused(path, &e))?.collect();
    let all = all.map_err(|e| refused(path, &e))?;
    if all.is_empty() {
        return Err(refused(path, &"no certificate in it"));
    }
    Ok(all)
}

fn refused(path: &Path, why: &dyn std::fmt::Display) -> StoreError {
    StoreError::Invalid(format!("TLS to the database: {}: {why}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_no_certificate_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let ca = dir.path().join("ca.pem");
        for text in [None, Some("nothing")] {
            if let Some(text) = text {
                std::fs::write(&ca, text).unwrap();
            }
            let refused = client(&Tls { ca: ca.clone(), identity: None }).unwrap_err();
            assert!(refused.to_string().contains("ca.pem"), "{refused}");
        }
    }
}
