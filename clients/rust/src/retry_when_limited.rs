use std::time::Duration;

use tokio::time::{Instant, sleep};
use tonic::Code;

use crate::{Error, request_id};

/// Makes a call, and again after the delay that the gateway asks for, as long as a limit of the gateway refuses it and `within`
/// has time for it.
///
/// `call` makes one change, or reads. All tries of the change get the same `request_id` if `call` gives it none, so this is safe:
/// a try may have been made although a limit has refused it, where its first answer was lost and gRPC's repeat met the limit. The
/// id reaches calls of the task that awaits this, not of tasks that `call` spawns: those need an id that was made before.
///
/// ```no_run
/// # use cbrgateway::{Connection, Error, retry_when_limited, v1};
/// # async fn listed(connection: Connection) -> Result<(), Error> {
/// let listed = retry_when_limited(std::time::Duration::from_secs(60), || {
///     let mut vaults = v1::vault_service_client::VaultServiceClient::new(connection.clone());
///     async move { vaults.list_vaults(v1::ListVaultsRequest::default()).await }
/// });
/// println!("{:?}", listed.await?);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// The refusal that there was no time to wait for, or any other error of the call.
pub async fn retry_when_limited<T, E, A>(within: Duration, mut call: impl FnMut() -> A) -> Result<T, Error>
where
    A: Future<Output = Result<T, E>>,
    Error: From<E>,
{
    // Not to its end: nobody can count to one that is far away.
    let began = Instant::now();
    let id = request_id::fresh();
    loop {
        let refused = match request_id::under(id.clone(), call()).await {
            Ok(answer) => return Ok(answer),
            Err(error) => Error::from(error),
        };
        match refused.retry_delay {
            Some(delay) if refused.code == Code::ResourceExhausted && began.elapsed() + delay <= within => sleep(delay).await,
            _ => return Err(refused),
        }
    }
}
