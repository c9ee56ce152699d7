use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use tokio::time::{Instant, sleep, timeout_at};
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Service, ServiceExt};

use crate::channel::{BoxError, Channels};
use crate::error::{Error, Target, chain};
use crate::gateway::{Bearer, authorization};
use crate::policy::{POLICIES, Policy};
use crate::request_id;
use crate::retry::{Retry, Throttle};

const TIMEOUT: &str = "grpc-timeout";
const AUTHORIZATION: &str = "authorization";
const PROJECT: &str = "x-cbr-project-id";

/// A connection to a gateway, to be given to the generated clients; they hold a clone each, and all share it.
///
/// It stands where other programs have a [`Channel`](tonic::transport::Channel), and does what gRPC's service config asks for and tonic does not do:
/// deadlines, repeats, and what they need, a `request_id` for each change.
#[derive(Clone)]
pub struct Connection {
    channels: Channels,
    shared: Arc<Shared>,
}

struct Shared {
    target: Arc<Target>,
    bearer: Option<Bearer>,
    project: Option<HeaderValue>,
    throttle: Throttle,
}

impl Connection {
    pub(crate) fn new(channels: Channels, target: Target, bearer: Option<Bearer>, project: Option<HeaderValue>) -> Self {
        let throttle = Throttle::new(POLICIES.throttling);
        Self { channels, shared: Arc::new(Shared { target: Arc::new(target), bearer, project, throttle }) }
    }

    /// A call with one answer, which is read to its end: only then is it known whether it has to be repeated.
    async fn unary(&self, request: Request<Body>, policy: &Policy) -> Result<Response<Body>, Error> {
        let (mut head, body) = request.into_parts();
        let deadline = Instant::now() + own_timeout(&head.headers).unwrap_or(policy.timeout).min(policy.timeout);
        let encoded = body.collect().await?.to_bytes();
        let (body, id) = request_id::fill(head.uri.path(), encoded)?;
        let attempts = async {
            self.shared.identify(&mut head.headers).await?;
            let mut retry = Retry::new(policy.retries.as_ref(), &self.shared.throttle);
            loop {
                let failure = match self.attempt(&head, body.clone(), deadline).await {
                    Ok(answer) => {
                        retry.succeeded();
                        return Ok(answer);
                    }
                    Err(failure) => failure,
                };
                match retry.pause_after(&failure) {
                    Some(pause) => sleep(pause).await,
                    None => return Err(failure),
                }
            }
        };
        let result = timeout_at(deadline, attempts).await.unwrap_or_else(|_| Err(late()));
        result.map_err(|status| Error::of(status, &self.shared.target, id))
    }

    async fn attempt(&self, head: &Parts, body: Bytes, deadline: Instant) -> Result<Response<Body>, Status> {
        let mut request = Request::from_parts(head.clone(), Body::new(Full::new(body)));
        request.headers_mut().insert(TIMEOUT, timeout_until(deadline));
        let answer = self.channels.current().oneshot(request).await.map_err(|error| unanswered(error, Some(deadline)))?;
        let (head, body) = answer.into_parts();
        let body = body.collect().await.map_err(|error| lost(error.into(), Some(deadline)))?;
        let status = Status::from_header_map(&head.headers).or_else(|| Status::from_header_map(body.trailers()?));
        match (status, head.status.as_u16()) {
            (Some(status), _) if status.code() != Code::Ok => Err(status),
            // What stands between us and the gateway has answered instead of it.
            (None, http @ (429 | 502 | 503 | 504)) => Err(Status::unavailable(format!("HTTP status {http}"))),
            _ => Ok(Response::from_parts(head, Body::new(body))),
        }
    }

    /// A stream is opened once, and has no deadline but the caller's: `Watch` opens it again.
    async fn stream(&self, mut request: Request<Body>) -> Result<Response<Body>, Error> {
        let target = self.shared.target.clone();
        let typed = move |status| Error::of(status, &target, String::new());
        let deadline = own_timeout(request.headers()).map(|own| Instant::now() + own);
        let opening = async {
            self.shared.identify(request.headers_mut()).await?;
            self.channels.current().oneshot(request).await.map_err(|error| unanswered(error, deadline))
        };
        let opened = match deadline {
            Some(deadline) => timeout_at(deadline, opening).await.unwrap_or_else(|_| Err(late())),
            None => opening.await,
        };
        let answer = opened.map_err(&typed)?;
        Ok(answer.map(|body| Body::new(body.map_err(move |error| typed(lost(error.into(), deadline)).into_status()))))
    }
}

impl Service<Request<Body>> for Connection {
    type Response = Response<Body>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Status>> + Send>>;

    /// Each attempt waits for the channel itself.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let connection = self.clone();
        Box::pin(async move {
            let answer = match POLICIES.of(request.uri().path()) {
                Some(policy) => connection.unary(request, policy).await,
                None => connection.stream(request).await,
            };
            answer.map_err(Error::into_status)
        })
    }
}

impl fmt::Debug for Connection {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("target", &self.shared.target.address).finish_non_exhaustive()
    }
}

impl Shared {
    /// Puts the metadata of the caller on a call, except what the call itself has already.
    async fn identify(&self, headers: &mut HeaderMap) -> Result<(), Status> {
        if let Some(bearer) = &self.bearer
            && !headers.contains_key(AUTHORIZATION)
        {
            let value = match bearer {
                Bearer::Key(header) => header.clone(),
                Bearer::Tokens(source) => {
                    let token = source().await.map_err(|error| format!("no token for the call: {}", chain(&*error)));
                    token.and_then(|token| authorization("the token", &token)).map_err(Status::unauthenticated)?
                }
            };
            headers.insert(AUTHORIZATION, value);
        }
        if let Some(project) = &self.project {
            headers.entry(PROJECT).or_insert_with(|| project.clone());
        }
        Ok(())
    }
}

/// How an attempt ends that was not sent, or of which nothing came back. A status is of a layer of the caller's.
fn unanswered(error: BoxError, deadline: Option<Instant>) -> Status {
    match error.downcast::<Status>() {
        Ok(status) => *status,
        Err(error) => lost(error, deadline),
    }
}

/// How an attempt ends that got no answer. Whatever HTTP/2 calls it: nobody answered; once the deadline has passed: in time, since
/// tonic and the gateway have clocks of their own, which may cut the call first.
fn lost(error: BoxError, deadline: Option<Instant>) -> Status {
    if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
        return late();
    }
    let mut status = Status::unavailable(chain(&*error));
    status.set_source(Arc::from(error));
    status
}

fn late() -> Status {
    Status::deadline_exceeded("no answer in time")
}

/// The deadline that the caller has given a request by `Request::set_timeout`.
fn own_timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(TIMEOUT)?.to_str().ok()?;
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number = number.parse::<u32>().ok()?.into();
    match unit {
        "H" => Some(Duration::from_secs(number * 3600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

/// What the gateway is told; rounded up, so that it does not give up before us.
fn timeout_until(deadline: Instant) -> HeaderValue {
    let left = deadline.saturating_duration_since(Instant::now()).as_millis() + 1;
    HeaderValue::try_from(format!("{left}m")).expect("a number and a letter")
}
