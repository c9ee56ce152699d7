//! One test for each check of the frame.

mod stage;
mod surface;
mod vectors;

use std::net::TcpListener;
use std::time::{Duration, Instant};

use cbrgateway::tonic::{Code, Request};
use cbrgateway::v1;
use cbrgateway::v1::checkpoint_service_client::CheckpointServiceClient;
use cbrgateway::v1::task_service_client::TaskServiceClient;
use cbrgateway::v1::vault_service_client::VaultServiceClient;
use cbrgateway::v1::watch_tasks_response::Event;
use cbrgateway::{Error, Gateway, Kind, Watch, retry_when_limited};
use stage::{ask, connect, failed, gateway, new_vault, passed, pem, protected_vault, script, told};
use tokio::time::timeout;

fn list() -> v1::ListVaultsRequest {
    v1::ListVaultsRequest::default()
}

#[tokio::test]
async fn unary() -> Result<(), Error> {
    let mut vaults = VaultServiceClient::new(connect());
    let made = vaults.create_vault(new_vault("rust-unary")).await?.into_inner();
    let vault_id = made.vault.expect("a vault was made").id;
    let asked = v1::GetVaultRequest { vault_id: vault_id.clone() };
    let read = vaults.get_vault(asked).await?.into_inner();
    assert_eq!(read.vault.expect("a vault is there").name, "rust-unary");
    let listed = vaults.list_vaults(list()).await?.into_inner();
    assert!(listed.vaults.iter().any(|vault| vault.id == vault_id));
    vaults.delete_vault(v1::DeleteVaultRequest { vault_id, ..Default::default() }).await?;
    passed("unary");
    Ok(())
}

#[tokio::test]
async fn token() -> Result<(), Error> {
    let connection = gateway().token(async || Ok(told("TOKEN"))).connect()?;
    VaultServiceClient::new(connection).list_vaults(list()).await?;
    passed("token");
    Ok(())
}

#[tokio::test]
async fn error() {
    let mut request = new_vault("rust-error");
    request.vault.get_or_insert_default().billing = Some(stage::billing(5));
    let answer = VaultServiceClient::new(connect()).create_vault(request).await;
    let error = failed(answer, Code::InvalidArgument, &["FIELD_INVALID"]);
    assert_eq!((error.kind, error.reason), (Kind::Answered, v1::ErrorReason::FieldInvalid));
    assert!(!error.call_id.is_empty() && !error.request_id.is_empty(), "{error:?}");
    let fields: Vec<_> = error.fields.iter().map(|broken| &*broken.field).collect();
    assert_eq!(fields, ["vault.billing.size_gib"]);
    passed("error");
}

#[tokio::test]
async fn retry() -> Result<(), Error> {
    ask("/fault?operation=CreateVault&kind=cut&when=after_commit&times=1");
    let made = VaultServiceClient::new(connect()).create_vault(new_vault("rust-retry")).await?.into_inner();
    assert_eq!(made.vault.expect("a vault was made").name, "rust-retry");
    assert_eq!(ask("/requests?operation=CreateVault&containing=rust-retry"), "1");
    passed("retry");
    Ok(())
}

#[tokio::test]
async fn quota() -> Result<(), Error> {
    let mut vaults = VaultServiceClient::new(gateway().api_key(told("LIMITED_KEY")).connect()?);
    let mut answer = vaults.list_vaults(list()).await;
    for _ in 0..50 {
        if answer.is_ok() {
            answer = vaults.list_vaults(list()).await;
        }
    }
    let error = failed(answer, Code::ResourceExhausted, &["RATE_LIMIT"]);
    let metrics: Vec<_> = error.quotas.iter().map(|limit| &*limit.quota_metric).collect();
    assert_eq!(metrics, ["requests"]);
    let delay = error.retry_delay.expect("the gateway asks for a delay");
    let began = Instant::now();
    let listed = retry_when_limited(Duration::MAX, || {
        let mut vaults = vaults.clone();
        async move { vaults.list_vaults(list()).await }
    });
    listed.await?;
    assert!(began.elapsed() >= delay / 2, "went through after {:?}, and the gateway asked for {delay:?}", began.elapsed());
    passed("quota");
    Ok(())
}

#[tokio::test]
async fn large() -> Result<(), Error> {
    let mut request = new_vault("rust-large");
    request.vault.as_mut().expect("it has one").description = Some("x".repeat(1024 * 1024));
    let made = VaultServiceClient::new(script().connect()?).create_vault(request).await?;
    assert_eq!(made.into_inner().vault.expect("a vault was made").id, "made");
    passed("retry-large");
    Ok(())
}

#[tokio::test]
async fn limited() -> Result<(), Error> {
    let vaults = VaultServiceClient::new(script().connect()?);
    let made = retry_when_limited(Duration::from_secs(10), || {
        let mut vaults = vaults.clone();
        async move { vaults.create_vault(new_vault("rust-limited")).await }
    });
    assert_eq!(made.await?.into_inner().vault.expect("a vault was made").id, "made");
    passed("retry-when-limited");
    Ok(())
}

#[tokio::test]
async fn unsendable_token() -> Result<(), Error> {
    let connection = script().token(async || Ok("s3crét".into())).connect()?;
    let answer = VaultServiceClient::new(connection).list_vaults(list()).await;
    let error = failed(answer, Code::Unauthenticated, &["the token cannot be sent"]);
    assert!(!format!("{error:?}").contains("s3cr"), "{error:?}");
    Ok(())
}

#[tokio::test]
async fn wrong_key() -> Result<(), Error> {
    let connection = gateway().api_key("nobody's").connect()?;
    let answer = VaultServiceClient::new(connection).list_vaults(list()).await;
    let error = failed(answer, Code::Unauthenticated, &["CREDENTIALS_INVALID", "API key"]);
    assert_eq!(error.reason, v1::ErrorReason::CredentialsInvalid);
    passed("wrong-key");
    Ok(())
}

#[tokio::test]
async fn wrong_ca() -> Result<(), Error> {
    let connection = gateway().authorities(pem("OTHER_CA_FILE")).connect()?;
    let answer = VaultServiceClient::new(connection).list_vaults(list()).await;
    let error = failed(answer, Code::Unavailable, &["certificate", &told("ADDRESS")]);
    assert_eq!(error.kind, Kind::Untrusted);
    passed("wrong-ca");
    Ok(())
}

#[tokio::test]
async fn unreachable() -> Result<(), Error> {
    let address = told("CLOSED_ADDRESS");
    let connection = Gateway::at(&address).plaintext().api_key(told("API_KEY")).connect()?;
    let answer = VaultServiceClient::new(connection).list_vaults(list()).await;
    let error = failed(answer, Code::Unavailable, &["cannot be reached", &address]);
    assert_eq!(error.kind, Kind::Unreachable);
    passed("unreachable");
    Ok(())
}

#[tokio::test]
async fn deadline() -> Result<(), Error> {
    ask("/fault?operation=ListVault&kind=delay&seconds=4&times=null");
    let mut request = Request::new(list());
    request.set_timeout(Duration::from_secs(1));
    let answer = VaultServiceClient::new(connect()).list_vaults(request).await;
    ask("/calm");
    let error = failed(answer, Code::DeadlineExceeded, &["deadline"]);
    assert_eq!(error.kind, Kind::Deadline);

    // A stream of a server that accepts, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let address = silent.local_addr().expect("it is bound").to_string();
    let mut request = Request::new(v1::WatchTasksRequest::default());
    request.set_timeout(Duration::from_millis(100));
    let answer = TaskServiceClient::new(Gateway::at(address).plaintext().connect()?).watch_tasks(request).await;
    assert_eq!(failed(answer, Code::DeadlineExceeded, &["deadline"]).kind, Kind::Deadline);
    passed("deadline");
    Ok(())
}

#[tokio::test]
async fn watch() -> Result<(), Error> {
    let connection = connect();
    let vault_id = protected_vault(&connection, "rust-watch").await?;
    let checkpoint = Some(v1::CheckpointSpec { vault_id: vault_id.clone(), ..Default::default() });
    let backup = v1::CreateCheckpointRequest { checkpoint, ..Default::default() };
    let made = CheckpointServiceClient::new(connection.clone()).create_checkpoint(backup).await?.into_inner();
    let submission_ids = vec![made.submission.expect("the backup has begun").id];
    let filter = Some(v1::TaskFilter { submission_ids, ..Default::default() });
    let mut watch = Watch::new(connection, v1::WatchTasksRequest { filter, end_when_all_terminal: true, ..Default::default() });
    let mut restarted = false;
    let mut ends = Vec::new();
    while let Some(event) = watch.message().await? {
        if !restarted {
            ask("/restart");
            restarted = true;
        }
        if let Some(Event::Terminal(end)) = event.event {
            ends.push(end.task.expect("a task has ended").status());
        }
    }
    assert_eq!(ends, [v1::TaskStatus::Succeeded]);
    let mut vaults = VaultServiceClient::new(connect());
    vaults.delete_vault(v1::DeleteVaultRequest { vault_id, force: true, ..Default::default() }).await?;
    passed("watch");
    Ok(())
}

#[tokio::test]
async fn resume() -> Result<(), Error> {
    let connection = script().connect()?;
    let heartbeat_interval = Some(Duration::from_millis(200).try_into().expect("it is short"));
    let mut watch = Watch::new(connection.clone(), v1::WatchTasksRequest { heartbeat_interval, ..Default::default() });
    let mut seen = Vec::new();
    // Each call of `message` is dropped long before a stream has been opened, which must not open another one.
    while let Some(event) = loop {
        if let Ok(told) = timeout(Duration::from_millis(1), watch.message()).await {
            break told?;
        }
    } {
        seen.push(in_words(event));
    }
    assert_eq!(seen.join(", "), told("SCRIPT_SEEN"));

    let filter = Some(v1::TaskFilter { vault_id: "refused".into(), ..Default::default() });
    // No heartbeat that a gateway takes: it is the gateway that has to say so.
    let heartbeat_interval = Some(cbrgateway::prost_types::Duration { seconds: 10_000_000_000, nanos: 0 });
    let mut watch = Watch::new(connection, v1::WatchTasksRequest { filter, heartbeat_interval, ..Default::default() });
    let error = watch.message().await.expect_err("the watch is refused");
    assert_eq!((error.code, error.reason), (Code::PermissionDenied, v1::ErrorReason::ProjectDenied));
    assert!(watch.message().await?.is_none(), "nothing comes after an error");
    passed("resume");
    Ok(())
}

/// An event's kind, and the revision of its task.
fn in_words(event: v1::WatchTasksResponse) -> String {
    let revision = |update: v1::TaskUpdate| update.task.map_or(0, |task| task.revision);
    match event.event {
        Some(Event::SnapshotTask(task)) => format!("snapshot_task {}", task.revision),
        Some(Event::SnapshotEnd(_)) => "snapshot_end".into(),
        Some(Event::Update(update)) => format!("update {}", revision(update)),
        Some(Event::Terminal(update)) => format!("terminal {}", revision(update)),
        Some(Event::Gap(_)) => "gap".into(),
        Some(Event::Heartbeat(_)) => "heartbeat".into(),
        other => format!("{other:?}"),
    }
}
