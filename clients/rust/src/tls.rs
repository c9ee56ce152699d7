//! What needs rustls.

use std::error::Error as StdError;
use std::path::PathBuf;
use std::time::SystemTime;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use rustls::{AlertDescription, CertificateError};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use crate::error::{Kind, chain};

/// When each of two files was changed.
pub(crate) type Stamp = [Option<SystemTime>; 2];

/// Whom a caller trusts, and what it shows.
#[derive(Clone, Default)]
pub(crate) struct Tls {
    /// PEM; None: the system's.
    pub(crate) authorities: Option<Vec<u8>>,
    pub(crate) pair: Option<Pair>,
}

/// The caller's own certificate and its key, in PEM.
#[derive(Clone)]
pub(crate) enum Pair {
    Given { certificate: Vec<u8>, key: Vec<u8> },
    Files { certificate: PathBuf, key: PathBuf },
}

impl Tls {
    pub(crate) fn is_given(&self) -> bool {
        self.authorities.is_some() || self.pair.is_some()
    }

    /// The endpoint with what it is now. Fails with words for the caller.
    pub(crate) fn around(&self, endpoint: Endpoint) -> Result<Endpoint, String> {
        endpoint.tls_config(self.config()?).map_err(|error| chain(&error))
    }

    fn config(&self) -> Result<ClientTlsConfig, String> {
        let mut config = match &self.authorities {
            None => ClientTlsConfig::new().with_native_roots(),
            Some(pem) if has_certificate(pem) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)),
            Some(_) => return Err("authorities: no certificate in what was given; it must be PEM".into()),
        };
        if let Some(pair) = &self.pair {
            config = config.identity(pair.identity()?);
        }
        Ok(config)
    }

    /// Changes whenever the files do; None: there are none.
    pub(crate) fn stamp(&self) -> Option<Stamp> {
        let Some(Pair::Files { certificate, key }) = &self.pair else { return None };
        Some([certificate, key].map(|file| std::fs::metadata(file).and_then(|about| about.modified()).ok()))
    }
}

impl Pair {
    fn identity(&self) -> Result<Identity, String> {
        let read = |file: &PathBuf| std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()));
        let (certificate, key) = match self {
            Self::Given { certificate, key } => (certificate.clone(), key.clone()),
            Self::Files { certificate, key } => (read(certificate)?, read(key)?),
        };
        if !has_certificate(&certificate) {
            return Err("certificate: no certificate in what was given; it must be PEM".into());
        }
        if PrivateKeyDer::from_pem_slice(&key).is_err() {
            return Err("certificate: no private key in what was given; it must be PEM, and without a password".into());
        }
        Ok(Identity::from_pem(certificate, key))
    }
}

/// Who ended a call, if it was for a certificate or for a port without TLS.
pub(crate) fn kind(cause: &(dyn StdError + 'static)) -> Option<Kind> {
    match cause.downcast_ref()? {
        rustls::Error::InvalidCertificate(
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. },
        ) => Some(Kind::ExpiredCertificate),
        rustls::Error::InvalidCertificate(_) => Some(Kind::Untrusted),
        rustls::Error::InvalidMessage(_) => Some(Kind::PlaintextExpected),
        _ => None,
    }
}

/// Whether the other side has refused TLS since it speaks no HTTP/2 (true), or for another reason.
pub(crate) fn speaks_otherwise(cause: &(dyn StdError + 'static)) -> Option<bool> {
    match cause.downcast_ref()? {
        rustls::Error::AlertReceived(alert) => Some(*alert == AlertDescription::NoApplicationProtocol),
        _ => None,
    }
}

fn has_certificate(pem: &[u8]) -> bool {
    let found = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    found.is_ok_and(|certificates| !certificates.is_empty())
}
