use std::fmt;
use std::future::Future;
#[cfg(feature = "tls")]
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use tonic::body::Body;
use tonic::transport::Endpoint;
use tonic::{Code, Status};
use tower::{Layer, Service};

use crate::channel::{Adapt, Attempts, BoxError, Channels, Wrap, boxed};
use crate::error::Target;
#[cfg(feature = "tls")]
use crate::tls::Pair;
use crate::tls::Tls;
use crate::{Connection, Error, address};

/// As in the other implementations of gRPC.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// While calls are open, a connection must give a sign of life this often: one that died without a farewell is noticed. The
/// gateway allows a ping each 10 s.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

type Answer = Pin<Box<dyn Future<Output = Result<String, BoxError>> + Send>>;

/// What names the caller of a call.
#[derive(Clone)]
pub(crate) enum Bearer {
    /// An API key, as it is sent.
    Key(HeaderValue),
    /// Who is asked for a token.
    Tokens(Arc<dyn Fn() -> Answer + Send + Sync>),
}

/// How a key or token is sent. Fails with words for the caller, which do not show it.
pub(crate) fn authorization(what: &str, value: &str) -> Result<HeaderValue, String> {
    let mut header = sendable(format!("Bearer {value}")).ok_or_else(|| {
        format!("{what} cannot be sent: it has a line break, as at the end of a file, or something else but printable ASCII")
    })?;
    header.set_sensitive(true);
    Ok(header)
}

/// What HTTP lets a header be, except for the bytes that gRPC does not.
fn sendable(value: String) -> Option<HeaderValue> {
    if value.chars().all(|character| matches!(character, ' '..='~')) { value.try_into().ok() } else { None }
}

/// Where a gateway is, and who calls it. Encrypted, and trusting the system's authorities, unless asked otherwise.
#[derive(Clone)]
#[must_use = "nothing is connected before `connect`"]
pub struct Gateway {
    address: String,
    /// Fails where what was given cannot be sent; `connect` says so.
    bearer: Result<Option<Bearer>, Error>,
    project: Option<String>,
    tls: Tls,
    plaintext: bool,
    adapt: Vec<Adapt>,
    wrap: Vec<Wrap>,
}

impl Gateway {
    /// The gateway at `host:port`, `dns:///host:port` or `unix:/path`.
    pub fn at(address: impl Into<String>) -> Self {
        let (adapt, wrap) = (Vec::new(), Vec::new());
        Self { address: address.into(), bearer: Ok(None), project: None, tls: Tls::default(), plaintext: false, adapt, wrap }
    }

    /// Sends a key that the gateway's operator has made.
    pub fn api_key(mut self, key: impl Into<String>) -> Self {
        self.bearer = authorization("api_key", &key.into()).map(|header| Some(Bearer::Key(header))).map_err(wrong);
        self
    }

    /// Sends what `source` answers. It is asked for each call, so it should keep a token until shortly before the token expires.
    pub fn token<F, A>(mut self, source: F) -> Self
    where
        F: Fn() -> A + Send + Sync + 'static,
        A: Future<Output = Result<String, BoxError>> + Send + 'static,
    {
        self.bearer = Ok(Some(Bearer::Tokens(Arc::new(move || Box::pin(source())))));
        self
    }

    /// Names the project of all calls. Without it calls go to the tenant's default project.
    pub fn project(mut self, id: impl Into<String>) -> Self {
        self.project = Some(id.into());
        self
    }

    /// Trusts these certificate authorities (PEM) instead of the system's. Not together with [`plaintext`](Self::plaintext).
    #[cfg(feature = "tls")]
    pub fn authorities(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.tls.authorities = Some(pem.into());
        self
    }

    /// Presents this certificate (PEM), with its key, to gateways that want one.
    #[cfg(feature = "tls")]
    pub fn certificate(mut self, certificate: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.tls.pair = Some(Pair::Given { certificate: certificate.into(), key: key.into() });
        self
    }

    /// As [`certificate`](Self::certificate), from files. When they have changed, the next call makes a new connection with what is
    /// in them then; calls and streams under way stay with theirs. While the two do not fit, the old one is kept.
    #[cfg(feature = "tls")]
    pub fn certificate_files(mut self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.tls.pair = Some(Pair::Files { certificate: certificate.into(), key: key.into() });
        self
    }

    /// Changes how the channel is made, such as its window sizes. It comes after what this package sets.
    pub fn endpoint(mut self, adapt: impl Fn(Endpoint) -> Endpoint + Send + Sync + 'static) -> Self {
        self.adapt.push(Arc::new(adapt));
        self
    }

    /// Puts a layer of tower, such as an interceptor of tonic, around the channel. It sees each attempt of a call as it is sent: with
    /// `request_id` and credential. The first layer sees it first. A [`Status`] that it fails with ends the attempt as if it had
    /// come from the gateway.
    pub fn layer<L, B>(mut self, layer: L) -> Self
    where
        L: Layer<Attempts> + Send + Sync + 'static,
        L::Service: Service<http::Request<Body>, Response = http::Response<B>> + Clone + Send + Sync + 'static,
        <L::Service as Service<http::Request<Body>>>::Future: Send + 'static,
        <L::Service as Service<http::Request<Body>>>::Error: Into<BoxError>,
        B: tonic::codegen::Body<Data = bytes::Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        self.wrap.insert(0, Arc::new(move |inner| boxed(layer.layer(inner))));
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
    /// `INVALID_ARGUMENT` if the address, the API key, the authorities or the project cannot be used; `FAILED_PRECONDITION` outside
    /// of a Tokio runtime, which carries the connection.
    pub fn connect(self) -> Result<Connection, Error> {
        if tokio::runtime::Handle::try_current().is_err() {
            let text = "connect must be called within a Tokio runtime, which carries the connection";
            return Err(Status::new(Code::FailedPrecondition, text).into());
        }
        let project = self.project.as_deref().map(project_id).transpose()?;
        let mut endpoint = self.plain_endpoint()?.connect_timeout(CONNECT_TIMEOUT);
        endpoint =
            endpoint.http2_keep_alive_interval(PING_INTERVAL).keep_alive_timeout(PING_TIMEOUT).keep_alive_while_idle(false);
        for adapt in &self.adapt {
            endpoint = adapt(endpoint);
        }
        let tls = if self.plaintext { None } else { Some(self.tls) };
        let channels = Channels::new(endpoint, tls, self.wrap).map_err(wrong)?;
        let target = Target { address: self.address, plaintext: self.plaintext };
        Ok(Connection::new(channels, target, self.bearer?, project))
    }

    fn plain_endpoint(&self) -> Result<Endpoint, Error> {
        let target = address::checked(&self.address).map_err(wrong)?;
        if self.plaintext && self.tls.is_given() {
            return Err(wrong(
                "plaintext and authorities or a certificate exclude each other: without TLS nobody shows or checks one",
            ));
        }
        let scheme = if self.plaintext { "http" } else { "https" };
        let unusable = |error| wrong(format!("cannot connect to {}: {}", self.address, crate::error::chain(&error)));
        let uri = if target.starts_with("unix:") { target } else { format!("{scheme}://{target}") };
        Endpoint::from_shared(uri).map_err(unusable)
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
    sendable(id.to_owned()).ok_or_else(|| wrong(format!("the project must be an id of CBR, and is {id:?}")))
}

fn wrong(text: impl Into<String>) -> Error {
    Status::invalid_argument(text).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(gateway: Gateway) -> String {
        let error = gateway.connect().expect_err("it is refused");
        assert_eq!(error.code, Code::InvalidArgument);
        format!("{error} {error:?}")
    }

    #[tokio::test]
    async fn a_key_that_cannot_be_sent_is_refused_and_not_shown() {
        for key in ["s3cret\n", "s3cret\r\n", "s3crét", "s3cret\0"] {
            let text = refused(Gateway::at("localhost:1").plaintext().api_key(key));
            assert!(text.contains("api_key") && !text.contains("s3cr"), "{text}");
        }
    }

    #[tokio::test]
    async fn a_later_token_stands_for_a_key() {
        let gateway = Gateway::at("localhost:1").plaintext().api_key("s3cret\n").token(async || Ok("token".into()));
        assert!(gateway.connect().is_ok());
    }

    #[cfg(not(feature = "tls"))]
    #[tokio::test]
    async fn without_the_feature_there_is_plain_text_only() {
        let text = refused(Gateway::at("localhost:1"));
        assert!(text.contains("without the feature `tls`"), "{text}");
        assert!(Gateway::at("localhost:1").plaintext().connect().is_ok());
    }

    #[cfg(feature = "tls")]
    #[tokio::test]
    async fn authorities_are_no_use_without_tls() {
        let text = refused(Gateway::at("localhost:1").authorities("PEM").plaintext());
        assert!(text.contains("plaintext and authorities"), "{text}");
    }
}
