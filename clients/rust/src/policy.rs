use std::collections::HashMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use serde::{Deserialize, Deserializer, de};
use tonic::Code;

/// gRPC's service config, as far as ours uses it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ServiceConfig {
    method_config: Vec<MethodConfig>,
    retry_throttling: Throttling,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct MethodConfig {
    name: Vec<MethodName>,
    #[serde(deserialize_with = "duration")]
    timeout: Duration,
    retry_policy: Option<Retries>,
}

#[derive(Deserialize)]
struct MethodName {
    service: String,
    method: String,
}

/// When a failed attempt is repeated.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Retries {
    pub(crate) max_attempts: u32,
    #[serde(deserialize_with = "duration")]
    pub(crate) initial_backoff: Duration,
    #[serde(deserialize_with = "duration")]
    pub(crate) max_backoff: Duration,
    pub(crate) backoff_multiplier: f64,
    #[serde(deserialize_with = "codes", rename = "retryableStatusCodes")]
    pub(crate) codes: Vec<Code>,
}

/// How many failures are too many for repeats to help.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Throttling {
    pub(crate) max_tokens: f64,
    pub(crate) token_ratio: f64,
}

/// What holds for the calls of an RPC.
pub(crate) struct Policy {
    pub(crate) timeout: Duration,
    pub(crate) retries: Option<Retries>,
}

/// What holds for all RPCs.
pub(crate) struct Policies {
    /// By path, such as `/cbrgateway.v1.VaultService/GetVault`.
    methods: HashMap<String, Arc<Policy>>,
    pub(crate) throttling: Throttling,
}

/// Those of the service config, which is part of this package.
pub(crate) static POLICIES: LazyLock<Policies> = LazyLock::new(|| {
    let config: ServiceConfig = serde_json::from_str(crate::SERVICE_CONFIG).expect("service_config.json is as we know it");
    let mut methods = HashMap::new();
    for group in config.method_config {
        let policy = Arc::new(Policy { timeout: group.timeout, retries: group.retry_policy });
        let paths = group.name.iter().map(|name| format!("/{}/{}", name.service, name.method));
        methods.extend(paths.map(|path| (path, Arc::clone(&policy))));
    }
    Policies { methods, throttling: config.retry_throttling }
});

impl Policies {
    /// None for a stream.
    pub(crate) fn of(&self, path: &str) -> Option<&Policy> {
        self.methods.get(path).map(AsRef::as_ref)
    }
}

/// `0.2s`
fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(from)?;
    let seconds = text.strip_suffix('s').and_then(|number| number.parse().ok());
    seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| de::Error::custom(format!("no duration: {text}")))
}

/// `["UNAVAILABLE"]`
fn codes<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Code>, D::Error> {
    let names = Vec::<String>::deserialize(from)?;
    let known = |name: &String| match name.as_str() {
        "UNAVAILABLE" => Ok(Code::Unavailable),
        "CANCELLED" => Ok(Code::Cancelled),
        _ => Err(de::Error::custom(format!("no code that is repeated: {name}"))),
    };
    names.iter().map(known).collect()
}
