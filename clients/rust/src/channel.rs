use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{Request, Response};
use tonic::body::Body;
use tonic::transport::Endpoint;
use tower::util::BoxCloneSyncService;
use tower::{Service, ServiceExt};

use crate::tls::{Stamp, Tls};

pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What carries each attempt of a call: the channel, and the layers of the caller around it.
pub type Attempts = BoxCloneSyncService<Request<Body>, Response<Body>, BoxError>;

/// Changes how the channel is made.
pub(crate) type Adapt = Arc<dyn Fn(Endpoint) -> Endpoint + Send + Sync>;

/// Puts a layer around the channel.
pub(crate) type Wrap = Arc<dyn Fn(Attempts) -> Attempts + Send + Sync>;

/// The channel; and where the caller's certificate comes from files, a new one when these have changed.
#[derive(Clone)]
pub(crate) struct Channels(Arc<Inner>);

struct Inner {
    endpoint: Endpoint,
    tls: Option<Tls>,
    wrap: Vec<Wrap>,
    current: Mutex<(Option<Stamp>, Attempts)>,
}

impl Channels {
    /// Fails with words for the caller.
    pub(crate) fn new(endpoint: Endpoint, tls: Option<Tls>, wrap: Vec<Wrap>) -> Result<Self, String> {
        let stamp = tls.as_ref().and_then(Tls::stamp);
        let first = made(&endpoint, tls.as_ref(), &wrap)?;
        Ok(Self(Arc::new(Inner { endpoint, tls, wrap, current: Mutex::new((stamp, first)) })))
    }

    /// For the next attempt.
    pub(crate) fn current(&self) -> Attempts {
        let Inner { endpoint, tls, wrap, current } = &*self.0;
        let stamp = tls.as_ref().and_then(Tls::stamp);
        let mut current = current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.0 != stamp
            && let Ok(renewed) = made(endpoint, tls.as_ref(), wrap)
        {
            *current = (stamp, renewed);
        }
        current.1.clone()
    }
}

fn made(endpoint: &Endpoint, tls: Option<&Tls>, wrap: &[Wrap]) -> Result<Attempts, String> {
    let endpoint = match tls {
        Some(tls) => tls.around(endpoint.clone())?,
        None => endpoint.clone(),
    };
    let channel = boxed(endpoint.connect_lazy());
    Ok(wrap.iter().fold(channel, |inner, wrap| wrap(inner)))
}

/// The service in a form that does not show its type.
pub(crate) fn boxed<S, B>(service: S) -> Attempts
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: tonic::codegen::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    Attempts::new(service.map_err(Into::into).map_response(|answer| answer.map(Body::new)))
}
