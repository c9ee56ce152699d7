//! Connects to a CBR Gateway and does what every caller needs and what is easy to get wrong: calls have deadlines, calls are
//! repeated only where that is safe, and errors say what to do. The API itself is the generated module [`v1`].
//!
//! ```no_run
//! use cbrgateway::{Error, Gateway, v1};
//! use cbrgateway::v1::vault_service_client::VaultServiceClient;
//!
//! # async fn listed(key: &str) -> Result<(), Error> {
//! let connection = Gateway::at("gateway.example.com:50051").api_key(key).connect()?;
//! let mut vaults = VaultServiceClient::new(connection);
//! let listed = vaults.list_vaults(v1::ListVaultsRequest::default()).await?;
//! # Ok(())
//! # }
//! ```

mod address;
mod advice;
mod channel;
mod connection;
mod error;
mod gateway;
mod lists;
mod pages;
mod policy;
mod request_id;
mod resumption;
mod retry;
mod retry_when_limited;
#[cfg_attr(not(feature = "tls"), path = "no_tls.rs")]
mod tls;
mod wait;
mod watch;
mod work;

pub use channel::Attempts;
pub use connection::Connection;
pub use error::{Error, Failure, Kind};
pub use gateway::Gateway;
pub use lists::{List, Started};
pub use pages::{Pages, Rows, pages, rows};
pub use proto::{cbrgateway::v1, google};
pub use request_id::DESCRIPTORS;
pub use retry_when_limited::retry_when_limited;
pub use wait::{Ended, FailedWork, TaskFailed, WaitError, Wanted};
pub use watch::Watch;

// The libraries whose types are in this API, in the versions that fit it.
pub use {prost_types, tonic};

/// How long each RPC may take and which are repeated: gRPC's service config, as all clients ship it. [`Connection`] does what it
/// says.
pub const SERVICE_CONFIG: &str = include_str!("../service_config.json");

/// The generated code, nested as it refers to itself.
mod proto {
    #![allow(clippy::all, clippy::pedantic, missing_docs, rustdoc::all, unreachable_pub)]

    pub mod cbrgateway {
        /// Messages and clients of the gateway's API.
        pub mod v1 {
            include!("generated/cbrgateway.v1.rs");
        }
    }

    /// Google's messages that the API uses.
    pub mod google {
        /// Details of errors.
        pub mod rpc {
            include!("generated/google.rpc.rs");
        }
        /// Dates.
        pub mod r#type {
            include!("generated/google.type.rs");
        }
    }
}

/// The examples of README.md, as far as they are programs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
