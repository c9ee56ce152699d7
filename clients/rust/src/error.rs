use std::collections::HashMap;
use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use prost::{Message, Name};
use tonic::{Code, Status};

use crate::advice::{advice, kind};
use crate::google::rpc;
use crate::google::rpc::{bad_request::FieldViolation, precondition_failure, quota_failure};
use crate::v1::ErrorReason;

/// So many ids of what goes on does a text name.
const NAMED: usize = 10;

/// Who ended a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// The gateway did, with a reason.
    Answered,
    /// Nobody answers at the address, or the connection broke.
    Unreachable,
    /// The gateway's certificate is not of an authority that is trusted here, or not for this address.
    Untrusted,
    /// The gateway's certificate is out of date, or not valid yet.
    ExpiredCertificate,
    /// The port speaks plain text, and was called with TLS.
    PlaintextExpected,
    /// The port speaks TLS, and was called in plain text.
    TlsExpected,
    /// The time of the call was over before the gateway answered.
    Deadline,
    /// Something else, such as an address that is none.
    Other,
}

/// A call that failed. [`Failure`] says why: `error.reason`, `error.fields`, and so on.
///
/// The generated clients return [`tonic::Status`]; `?` and `Error::from` turn it into this.
#[derive(Clone, Debug)]
pub struct Error(Box<Failure>);

/// What is known of a call that failed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Failure {
    /// Who ended the call.
    pub kind: Kind,
    /// Whether repeating can help.
    pub code: Code,
    /// Why. `Other`: a reason that is newer than this package.
    pub reason: ErrorReason,
    /// The gateway's word for the reason, such as `VAULT_NOT_FOUND`.
    pub reason_raw: String,
    /// A sentence for people.
    pub message: String,
    /// For `INVALID_ARGUMENT`: each broken rule.
    pub fields: Vec<FieldViolation>,
    /// For `FAILED_PRECONDITION`: what stands in the way.
    pub preconditions: Vec<precondition_failure::Violation>,
    /// For `RESOURCE_EXHAUSTED`: each limit that does not allow the call.
    pub quotas: Vec<quota_failure::Violation>,
    /// The object that is to blame.
    pub resource: Option<rpc::ResourceInfo>,
    /// How long to wait before a repeat, where the gateway said so.
    pub retry_delay: Option<Duration>,
    /// Of a change: repeat it with this id to learn what became of it.
    pub request_id: String,
    /// The gateway's id of this call, for its operator.
    pub call_id: String,
    /// Facts of the `ErrorInfo`, such as `sent` and `attempts`.
    pub metadata: HashMap<String, String>,
    /// Of a [`wait`](crate::Connection::wait) whose time was up: ids of tasks that have not ended, and of submissions whose tasks
    /// are not all known.
    pub still_open: Vec<String>,
    /// What gRPC knows.
    pub status: Status,
}

/// Where a call was made.
#[derive(Debug, Default)]
pub(crate) struct Target {
    /// `host:port`; an empty one is not known.
    pub(crate) address: String,
    pub(crate) plaintext: bool,
}

impl Error {
    /// Unpacks what a call ended with.
    pub(crate) fn of(status: Status, target: &Target, request_id: String) -> Self {
        // A status whose details cannot be read has none.
        let details = rpc::Status::decode(status.details()).unwrap_or_default().details;
        let info = one::<rpc::ErrorInfo>(&details);
        let (kind, message) = match &info {
            Some(_) => (Kind::Answered, status.message().to_owned()),
            None => unanswered(&status, target),
        };
        let reason = info.as_ref().map_or(ErrorReason::Unspecified, known);
        let info = info.unwrap_or_default();
        Self(Box::new(Failure {
            kind,
            code: status.code(),
            reason,
            reason_raw: info.reason,
            message,
            fields: one::<rpc::BadRequest>(&details).unwrap_or_default().field_violations,
            preconditions: one::<rpc::PreconditionFailure>(&details).unwrap_or_default().violations,
            quotas: one::<rpc::QuotaFailure>(&details).unwrap_or_default().violations,
            resource: one(&details),
            retry_delay: one::<rpc::RetryInfo>(&details)
                .and_then(|info| info.retry_delay)
                .and_then(|delay| delay.try_into().ok()),
            request_id,
            call_id: one::<rpc::RequestInfo>(&details).unwrap_or_default().request_id,
            metadata: info.metadata,
            still_open: Vec::new(),
            status,
        }))
    }

    /// How a wait ends whose time is up.
    pub(crate) fn late(within: Duration, still_open: Vec<String>) -> Self {
        let named = still_open.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
        let more = still_open.len().saturating_sub(NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let text = format!("not all has ended after {within:?}, and goes on: {named}{more}");
        let mut error = Self::of(Status::deadline_exceeded(""), &Target::default(), String::new());
        error.0.status = Status::deadline_exceeded(&text);
        error.0.message = text;
        error.0.still_open = still_open;
        error
    }

    /// What to do, where the text of the gateway does not say it; else empty.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        if self.still_open.is_empty() { advice(self.kind, &self.status, &self.reason_raw, &self.request_id) } else { "" }
    }

    /// A status that `Error::from` turns into this very error again.
    pub(crate) fn into_status(self) -> Status {
        let mut status = self.status.clone();
        status.set_source(Arc::new(self));
        status
    }
}

/// `Other` for a reason that is newer than this package.
fn known(info: &rpc::ErrorInfo) -> ErrorReason {
    ErrorReason::from_str_name(&format!("ERROR_REASON_{}", info.reason)).unwrap_or(ErrorReason::Other)
}

/// The reason in a status that a message holds.
pub(crate) fn reason_in(status: Option<&rpc::Status>) -> ErrorReason {
    status.and_then(|status| one(&status.details)).map_or(ErrorReason::Unspecified, |info| known(&info))
}

/// The detail of a kind.
fn one<M: Message + Name + Default>(details: &[prost_types::Any]) -> Option<M> {
    details.iter().find_map(|detail| detail.to_msg().ok())
}

/// What ended a call that the gateway did not answer.
fn unanswered(status: &Status, target: &Target) -> (Kind, String) {
    let text = status.message();
    let gateway = if target.address.is_empty() { "the gateway".to_owned() } else { format!("the gateway at {}", target.address) };
    let kind = kind(status, target.plaintext);
    let message = match kind {
        Kind::Deadline => format!("the deadline passed before the gateway answered: {text}"),
        Kind::Untrusted => format!("the certificate of {gateway} is not trusted: {text}"),
        Kind::ExpiredCertificate => format!("the certificate of {gateway} has expired, or is not valid yet: {text}"),
        Kind::PlaintextExpected => format!("{gateway} speaks plain text, and was called with TLS: {text}"),
        Kind::TlsExpected => format!("{gateway} answers plain text as one with TLS does: {text}"),
        Kind::Unreachable => format!("{gateway} cannot be reached: {text}"),
        Kind::Answered | Kind::Other => text.to_owned(),
    };
    (kind, message)
}

/// An error and what caused it, the cause of all last.
pub(crate) fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| match error.downcast_ref::<io::Error>() {
        // As its source it names the source of what it holds.
        Some(outer) => outer.get_ref().map(|inner| inner as _),
        None => error.source(),
    })
}

/// An error in words, with its causes.
pub(crate) fn chain(error: &(dyn StdError + 'static)) -> String {
    let text = |cause: &(dyn StdError + 'static)| match cause.downcast_ref::<Status>() {
        Some(status) => status.message().to_owned(),
        None => cause.to_string(),
    };
    let mut told: Vec<String> = causes(error).map(text).collect();
    told.dedup();
    told.join(": ")
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        match status.source().and_then(|source| source.downcast_ref::<Self>()) {
            Some(typed) => typed.clone(),
            None => Self::of(status, &Target::default(), String::new()),
        }
    }
}

impl Deref for Error {
    type Target = Failure;

    fn deref(&self) -> &Failure {
        &self.0
    }
}

impl fmt::Display for Error {
    /// What happened; then every broken field, what to do, and the ids to repeat a change and to ask with.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Answered => write!(f, "{:?} {}: {}", self.code, self.reason_raw, self.message)?,
            _ => f.write_str(&self.message)?,
        }
        let several = if self.fields.len() > 1 { &*self.fields } else { &[] };
        for broken in several {
            write!(f, "\n  {}: {}", broken.field, broken.description)?;
        }
        if !self.advice().is_empty() {
            write!(f, "\n  {}", self.advice())?;
        }
        for (name, id) in [("request_id", &self.request_id), ("call", &self.call_id)] {
            if !id.is_empty() {
                write!(f, "\n  {name} {id}")?;
            }
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.status.source()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_names_a_few_of_many() {
        let text = |count: u32| Error::late(Duration::from_secs(1), (0..count).map(|id| id.to_string()).collect()).to_string();
        assert!(text(10).ends_with("7, 8, 9"), "{}", text(10));
        assert!(text(12).ends_with("8, 9 and 2 more"), "{}", text(12));
    }
}
