use std::error::Error as StdError;
use std::io;

use tonic::{Code, Status};

use crate::error::{Kind, causes};
use crate::tls;

const DEADLINE: &str = "Give the call more time (set_timeout), and check address and port.";
const CHANGE: &str = "It is not known whether the change was made: make it again with the same request_id, and it is made once. \
    Give it more time (set_timeout), and check address and port.";
const NOT_THIS_API: &str = "What answers at this address does not have the RPC: it may be the health port (50052 unless told \
    otherwise; the services are at 50051), another service, or an older gateway.";
const CREDENTIAL: &str = "Check the credential, or ask the gateway's operator for one.";
const OTHER_PROTOCOL: &str = "The port speaks another protocol, such as the admin port: use that of the services, 50051 unless the \
    gateway is told otherwise.";
const CALLER: &str =
    "The gateway may want a certificate of the caller (`certificate`), or another one than it got; or it has just ended.";

/// Who ended a call that the gateway did not answer, by what TLS and HTTP/2 say.
pub(crate) fn kind(status: &Status, plaintext: bool) -> Kind {
    match status.code() {
        Code::DeadlineExceeded => Kind::Deadline,
        Code::Unavailable if plaintext && causes(status).any(is_no_http2) => Kind::TlsExpected,
        Code::Unavailable => causes(status).find_map(tls::kind).unwrap_or(Kind::Unreachable),
        _ => Kind::Other,
    }
}

/// What the caller can do about a failure of this kind; empty where nothing is to be said.
pub(crate) fn advice(kind: Kind, status: &Status, reason: &str, request_id: &str) -> &'static str {
    match kind {
        Kind::Answered if reason == "CREDENTIALS_INVALID" => CREDENTIAL,
        Kind::Untrusted => {
            "Name the authorities that vouch for the gateway (`authorities`), and call it by a name that its certificate has."
        }
        Kind::ExpiredCertificate => "The gateway's operator renews it; if it is good, look at the clock of this machine.",
        Kind::PlaintextExpected => "Call with `plaintext()`, or the port of a gateway with TLS.",
        Kind::TlsExpected => "Leave out `plaintext()`; if the gateway has no TLS, look whether it still runs.",
        Kind::Unreachable => of_connection(status),
        Kind::Deadline if request_id.is_empty() => DEADLINE,
        Kind::Deadline => CHANGE,
        Kind::Other if status.code() == Code::Unimplemented => NOT_THIS_API,
        Kind::Answered | Kind::Other => "",
    }
}

fn of_connection(status: &Status) -> &'static str {
    match causes(status).find_map(tls::speaks_otherwise) {
        Some(true) => OTHER_PROTOCOL,
        Some(false) => CALLER,
        // With TLS 1.3 the handshake of the caller is over by then.
        None if causes(status).any(is_end) => CALLER,
        None if causes(status).any(|cause| cause.to_string().contains("HTTP/2 was not negotiated")) => OTHER_PROTOCOL,
        None => "Check host and port of the address, and that the gateway runs there.",
    }
}

/// Whether the port answers to HTTP/2 as one with TLS does: with an alert, which is no frame, or by closing the connection.
fn is_no_http2(cause: &(dyn StdError + 'static)) -> bool {
    is_end(cause) || cause.to_string().contains("frame with invalid size")
}

/// Whether the other side has closed the connection.
fn is_end(cause: &(dyn StdError + 'static)) -> bool {
    let closed = |error: &io::Error| {
        matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof)
    };
    // Where hyper learns of it before the call was written, it keeps these words only.
    cause.downcast_ref().is_some_and(closed) || cause.to_string() == "connection closed"
}
