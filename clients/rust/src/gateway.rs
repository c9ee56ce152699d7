use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use http::uri::Authority;
use rustls::pki_types::{CertificateDer, pem::PemObject};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};
use tonic::{Code, Status};

use crate::{Connection, Error};

/// As in the other implementations of gRPC.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Answer = Pin<Box<dyn Future<Output = Result<String, BoxError>> + Send>>;

/// Who is asked for the bearer of a call: an API key or a token.
pub(crate) type Bearer = Arc<dyn Fn() -> Answer + Send + Sync>;

/// Where a gateway is, and who calls it. Encrypted, and trusting the system's authorities, unless asked otherwise.
#[derive(Clone)]
#[must_use = "nothing is connected before `connect`"]
pub struct Gateway {
    address: String,
    bearer: Option<Bearer>,
    project: Option<String>,
    authorities: Option<Vec<u8>>,
    plaintext: bool,
}

impl Gateway {
    /// The gateway at `host:port`.
    pub fn at(address: impl Into<String>) -> Self {
        Self { address: address.into(), bearer: None, project: None, authorities: None, plaintext: false }
    }

    /// Sends a key that the gateway's operator has made.
    pub fn api_key(self, key: impl Into<String>) -> Self {
        let key = key.into();
        self.token(move || std::future::ready(Ok(key.clone())))
    }

    /// Sends what `source` answers. It is asked for each call, so it should keep a token until shortly before the token expires.
    pub fn token<F, A>(mut self, source: F) -> Self
    where
        F: Fn() -> A + Send + Sync + 'static,
        A: Future<Output = Result<String, BoxError>> + Send + 'static,
    {
        self.bearer = Some(Arc::new(move || Box::pin(source())));
        self
    }

    /// Names the project of all calls. Without it calls go to the tenant's default project.
    pub fn project(mut self, id: impl Into<String>) -> Self {
        self.project = Some(id.into());
        self
    }

    /// Trusts these certificate authorities (PEM) instead of the system's.
    pub fn authorities(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.authorities = Some(pem.into());
        self
    }

    /// Does without TLS. The API key travels readable: for a gateway on this machine only.
    pub fn plaintext(mut self) -> Self {
        self.plaintext = true;
        self
    }

    /// Makes a connection for the generated clients. Nothing is sent before the first call.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` if the address, the authorities or the project cannot be used; `FAILED_PRECONDITION` outside of a Tokio
    /// runtime, which carries the connection.
    pub fn connect(self) -> Result<Connection, Error> {
        if tokio::runtime::Handle::try_current().is_err() {
            let text = "connect must be called within a Tokio runtime, which carries the connection";
            return Err(Status::new(Code::FailedPrecondition, text).into());
        }
        let project = self.project.as_deref().map(project_id).transpose()?;
        let channel = self.endpoint()?.connect_timeout(CONNECT_TIMEOUT).connect_lazy();
        Ok(Connection::new(channel, self.address, self.bearer, project))
    }

    fn endpoint(&self) -> Result<Endpoint, Error> {
        let usable = self.address.parse::<Authority>().is_ok_and(|parsed| parsed.port_u16().is_some());
        if !usable {
            return Err(wrong(format!("the address must be host:port, and is {:?}", self.address)));
        }
        let scheme = if self.plaintext { "http" } else { "https" };
        let unusable = |error| wrong(format!("cannot connect to {}: {}", self.address, crate::error::chain(&error)));
        let endpoint = Endpoint::from_shared(format!("{scheme}://{}", self.address)).map_err(unusable)?;
        if self.plaintext {
            return Ok(endpoint);
        }
        endpoint.tls_config(self.tls()?).map_err(unusable)
    }

    fn tls(&self) -> Result<ClientTlsConfig, Error> {
        let Some(pem) = &self.authorities else {
            return Ok(ClientTlsConfig::new().with_native_roots());
        };
        let found = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
        if found.is_ok_and(|certificates| !certificates.is_empty()) {
            Ok(ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)))
        } else {
            Err(wrong("authorities: no certificate in what was given; it must be PEM"))
        }
    }
}

impl fmt::Debug for Gateway {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Gateway");
        shown.field("address", &self.address).field("project", &self.project).finish_non_exhaustive()
    }
}

fn project_id(id: &str) -> Result<HeaderValue, Error> {
    id.parse().map_err(|_| wrong(format!("the project must be an id of CBR, and is {id:?}")))
}

fn wrong(text: impl Into<String>) -> Error {
    Status::invalid_argument(text).into()
}
