//! A certification authority of the tests' own, for 127.0.0.1.
//!
//! Owns certificates and their files. Must not know who serves with them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;

/// An authority, and the certificate of a server that it signed, all as PEM files.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The authority's certificate: whom to trust.
    pub authority: PathBuf,
    /// The server's certificate.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl Certificate {
    /// Makes both, with files in `folder`.
    ///
    /// # Errors
    /// They cannot be made or written.
    pub fn new(folder: &Path) -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, "authority of a test");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let key = KeyPair::generate()?;
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()])?;
        let certificate = params.signed_by(&key, &issuer)?;
        let file = |name: &str, pem: String| {
            let path = folder.join(name);
            fs::write(&path, pem).with_context(|| path.display().to_string())?;
            anyhow::Ok(path)
        };
        Ok(Self {
            authority: file("authority.pem", issuer.pem())?,
            certificate: file("server.pem", certificate.pem())?,
            key: file("server.key", key.serialize_pem())?,
        })
    }

    /// What a server that uses it needs.
    ///
    /// # Errors
    /// The files are gone.
    pub fn server_config(&self) -> Result<Arc<ServerConfig>> {
        let certificate = rustls::pki_types::CertificateDer::from_pem_file(&self.certificate)?;
        let key = PrivateKeyDer::from_pem_file(&self.key)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)?;
        Ok(Arc::new(config))
    }
}
