//! What stands in the place of `tls.rs` without the feature `tls`.

use std::error::Error as StdError;

use tonic::transport::Endpoint;

use crate::error::Kind;

pub(crate) type Stamp = ();

#[derive(Clone, Default)]
pub(crate) struct Tls {}

#[allow(clippy::unused_self)]
impl Tls {
    pub(crate) fn is_given(&self) -> bool {
        false
    }

    pub(crate) fn around(&self, _: Endpoint) -> Result<Endpoint, String> {
        Err("there is no TLS without the feature `tls` of this package: switch it on, or ask for `plaintext()`".into())
    }

    pub(crate) fn stamp(&self) -> Option<Stamp> {
        None
    }
}

pub(crate) fn kind(_: &(dyn StdError + 'static)) -> Option<Kind> {
    None
}

pub(crate) fn speaks_otherwise(_: &(dyn StdError + 'static)) -> Option<bool> {
    None
}
