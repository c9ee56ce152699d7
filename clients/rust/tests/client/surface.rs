//! What the package has beyond the calls: waits, lists, certificates, and what ends a call that was not answered.

use std::fs;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cbrgateway::tonic::service::InterceptorLayer;
use cbrgateway::tonic::{Code, Request, Response, Status};
use cbrgateway::v1::checkpoint_service_client::CheckpointServiceClient;
use cbrgateway::v1::vault_service_client::VaultServiceClient;
use cbrgateway::{Connection, Ended, Error, Gateway, Kind, TaskFailed, WaitError, pages, rows, v1};

use crate::stage::{connect, failed, gateway, new_vault, passed, pem, protected_vault, script, told};

const LONG: Duration = Duration::from_secs(60);

fn ids(ended: &Ended) -> Vec<&str> {
    ended.tasks.iter().map(|task| &*task.id).collect()
}

fn scripted(id: &str) -> v1::Submission {
    v1::Submission { id: id.into(), state: v1::SubmissionState::Correlating.into(), ..Default::default() }
}

fn task_failed(result: Result<Ended, WaitError>) -> TaskFailed {
    match result {
        Err(WaitError::Failed(failed)) => failed,
        other => panic!("it has not failed: {other:?}"),
    }
}

#[tokio::test]
async fn waits() -> Result<(), WaitError> {
    let connection = connect();
    let vault_id = protected_vault(&connection, "rust-waits").await?;
    let checkpoint = Some(v1::CheckpointSpec { vault_id: vault_id.clone(), ..Default::default() });
    let backup = v1::CreateCheckpointRequest { checkpoint, ..Default::default() };
    let mut checkpoints = CheckpointServiceClient::new(connection.clone());
    let (made, ended) = connection.run_and_wait(checkpoints.create_checkpoint(backup), LONG).await?;
    assert!(made.checkpoint.is_some_and(|checkpoint| !checkpoint.id.is_empty()));
    assert_eq!(ended.tasks.iter().map(v1::Task::r#type).collect::<Vec<_>>(), [v1::TaskType::Backup]);
    assert_eq!(ids(&connection.wait(ended.tasks.clone(), LONG).await?), ids(&ended));
    let mut vaults = VaultServiceClient::new(connection.clone());
    let same = v1::DeleteVaultRequest { vault_id, force: true, ..Default::default() };
    let (_, ended) = connection.run_and_wait(vaults.delete_vault(same), LONG).await?;
    assert_eq!(ended.tasks.iter().map(v1::Task::r#type).collect::<Vec<_>>(), [v1::TaskType::VaultDelete]);

    scripted_work(script().connect()?).await?;
    passed("waits");
    Ok(())
}

async fn scripted_work(connection: Connection) -> Result<(), WaitError> {
    let ended = connection.wait(scripted("skipping"), LONG).await?;
    assert_eq!(ids(&ended), ["good"]);
    assert_eq!((&*ended.skipped[0].id, &*ended.skipped[0].code), ("left-out", "BackupService.6125"));

    let failing = task_failed(connection.wait(scripted("failing"), LONG).await);
    let [bad] = &*failing.failures else { panic!("{failing:?}") };
    assert_eq!((&*bad.id, &*bad.code, bad.reason), ("bad", "BackupService.1204", v1::ErrorReason::UpstreamInternal));
    assert_eq!(bad.task.as_ref().map(v1::Task::status), Some(v1::TaskStatus::Failed));
    assert_eq!(ids(&failing.ended), ["good"]);
    assert!(failing.to_string().contains("bad: The task failed in CBR. CBR: BackupService.1204"), "{failing}");

    for (id, reason) in [("nothing", v1::ErrorReason::Unspecified), ("lost", v1::ErrorReason::SubmissionNotFound)] {
        let failed = task_failed(connection.wait(scripted(id), LONG).await);
        let [failure] = &*failed.failures else { panic!("{failed:?}") };
        assert_eq!((&*failure.id, failure.task.as_ref(), failure.reason), (id, None, reason));
    }
    let late = connection.wait(vec![scripted("open"), scripted("skipping")], Duration::from_secs(1)).await;
    let Err(WaitError::Call(late)) = late else { panic!("{late:?}") };
    assert_eq!((late.kind, &*late.still_open), (Kind::Deadline, &["slow".to_owned()][..]));
    assert!(late.to_string().contains("slow"), "{late}");

    let many: Vec<_> = (0..250).map(|number| format!("task-{number}")).collect();
    assert_eq!(ids(&connection.wait([&*many, &*many].concat(), LONG).await?), many);
    assert!(connection.wait(None::<v1::Submission>, LONG).await.is_err());
    Ok(())
}

fn list(name: &str) -> v1::ListVaultsRequest {
    v1::ListVaultsRequest { name: name.into(), ..Default::default() }
}

type Listed<A> = Result<Response<A>, Status>;
type Coming = Pin<Box<dyn Future<Output = Listed<v1::ListVaultsResponse>> + Send>>;

/// How the vaults of a gateway are listed, page by page.
fn vaults_of(connection: Connection) -> impl FnMut(v1::ListVaultsRequest) -> Coming + Send {
    let vaults = VaultServiceClient::new(connection);
    move |request| {
        let mut vaults = vaults.clone();
        Box::pin(async move { vaults.list_vaults(request).await })
    }
}

#[tokio::test]
async fn lists() -> Result<(), Error> {
    let connection = script().connect()?;
    for ahead in [false, true] {
        let (mut listed, mut paged) =
            (rows(list("pages"), vaults_of(connection.clone())), pages(list("pages"), vaults_of(connection.clone())));
        if ahead {
            (listed, paged) = (listed.prefetch(), paged.prefetch());
        }
        let (mut found, mut sizes) = (Vec::new(), Vec::new());
        while let Some(vault) = listed.try_next().await? {
            found.push(vault.id);
        }
        while let Some(page) = paged.try_next().await? {
            sizes.push(page.vaults.len());
        }
        assert_eq!((found.join(" "), sizes), ("one two three".into(), vec![2, 0, 1]));
        assert!(listed.try_next().await?.is_none(), "nothing comes after the end");
    }
    let refused = rows(list("other"), vaults_of(connection.clone())).try_next().await.expect_err("the script refuses it");
    assert_eq!((refused.code, refused.reason), (Code::FailedPrecondition, v1::ErrorReason::StateInvalid));

    let connection = connect();
    let mut vaults = VaultServiceClient::new(connection.clone());
    for name in ["rust-pages-1", "rust-pages-2"] {
        vaults.create_vault(new_vault(name)).await?;
    }
    let at_once = vaults.list_vaults(list("")).await?.into_inner().vaults;
    let mut listed = rows(v1::ListVaultsRequest { page_size: 1, ..list("") }, vaults_of(connection.clone()));
    let mut found = Vec::new();
    while let Some(vault) = listed.try_next().await? {
        found.push(vault.id);
    }
    let mut wanted: Vec<_> = at_once.iter().map(|vault| vault.id.clone()).collect();
    wanted.sort();
    found.sort();
    assert_eq!(found, wanted);
    for vault in at_once.into_iter().filter(|vault| vault.name.starts_with("rust-pages")) {
        vaults.delete_vault(v1::DeleteVaultRequest { vault_id: vault.id, ..Default::default() }).await?;
    }
    passed("pages");
    Ok(())
}

#[tokio::test]
async fn a_page_ahead_and_no_more() -> Result<(), Error> {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let endless = move |request: v1::ListVaultsRequest| {
        counter.fetch_add(1, Ordering::SeqCst);
        let next_page_token = format!("{}-", request.page_token);
        let vaults = vec![v1::Vault { id: request.page_token, ..Default::default() }];
        async move { Ok(Response::new(v1::ListVaultsResponse { vaults, next_page_token, ..Default::default() })) }
    };
    let mut listed = rows(list(""), endless).prefetch();
    assert_eq!(listed.try_next().await?.expect("it is endless").id, "");
    assert_eq!(listed.try_next().await?.expect("it is endless").id, "-");
    assert_eq!(asked.load(Ordering::SeqCst), 3);

    let standing =
        |_| async { Ok(Response::new(v1::ListVaultsResponse { next_page_token: "same".into(), ..Default::default() })) };
    let error = rows(list(""), standing).try_next().await.expect_err("the list does not go on");
    assert!(error.to_string().contains("does not go on"), "{error}");
    Ok(())
}

fn pair(which: &str) -> (Vec<u8>, Vec<u8>) {
    (pem(&format!("{which}CERTIFICATE_FILE")), pem(&format!("{which}KEY_FILE")))
}

async fn listed(gateway: Gateway) -> Listed<v1::ListVaultsResponse> {
    let connection = gateway.connect().expect("the frame's settings are right");
    VaultServiceClient::new(connection).list_vaults(list("pages")).await
}

#[tokio::test]
async fn client_certificate() -> Result<(), Error> {
    let mutual = || Gateway::at(told("MUTUAL_ADDRESS")).authorities(pem("CA_FILE"));
    let refused = failed(listed(mutual()).await, Code::Unavailable, &["certificate of the caller"]);
    assert_eq!(refused.kind, Kind::Unreachable);
    let (certificate, key) = pair("");
    listed(mutual().certificate(certificate, key)).await?;

    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let files = ["certificate.pem", "key.pem"].map(|name| folder.join(name));
    let write = |(certificate, key): (Vec<u8>, Vec<u8>)| {
        fs::write(&files[0], certificate).and_then(|()| fs::write(&files[1], key)).expect("the files can be written");
    };
    write(pair("OTHER_"));
    let connection = mutual().certificate_files(&files[0], &files[1]).connect()?;
    let mut vaults = VaultServiceClient::new(connection);
    assert!(vaults.list_vaults(list("pages")).await.is_err(), "it is of an authority that is not trusted");
    write(pair(""));
    vaults.list_vaults(list("pages")).await?;
    fs::write(&files[1], "half of a key").expect("the file can be written");
    vaults.list_vaults(list("pages")).await?;
    passed("client-certificate");
    Ok(())
}

#[tokio::test]
async fn kinds() {
    let trusting = |address: &str| Gateway::at(told(address)).authorities(pem("CA_FILE"));
    let cases = [
        (trusting("EXPIRED_ADDRESS"), Kind::ExpiredCertificate, "operator renews it"),
        (trusting("SCRIPT_ADDRESS"), Kind::PlaintextExpected, "`plaintext()`"),
        (Gateway::at(told("ADDRESS")).plaintext(), Kind::TlsExpected, "Leave out `plaintext()`"),
        (Gateway::at(told("ADDRESS")).authorities(pem("OTHER_CA_FILE")), Kind::Untrusted, "`authorities`"),
        (Gateway::at("nowhere.invalid:50051").plaintext(), Kind::Unreachable, "Check host and port"),
    ];
    for (gateway, kind, words) in cases {
        assert_eq!(failed(listed(gateway).await, Code::Unavailable, &[words]).kind, kind);
    }
    passed("kinds");
}

#[tokio::test]
async fn an_error_has_what_to_repeat_with() {
    let request = v1::CreateVaultRequest {
        vault: Some(v1::VaultSpec { name: "rust<>".into(), ..Default::default() }),
        request_id: "rust-broken".into(),
        ..Default::default()
    };
    let answer = VaultServiceClient::new(connect()).create_vault(request).await;
    let error = failed(answer, Code::InvalidArgument, &["FIELD_INVALID", "request_id rust-broken"]);
    assert!(error.fields.len() > 1 && error.to_string().contains(&format!("call {}", error.call_id)), "{error}");
    for broken in &error.fields {
        assert!(error.to_string().contains(&broken.field), "{error}");
    }
}

#[tokio::test]
async fn layers_and_the_endpoint() -> Result<(), Error> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let spy = |name: &'static str| {
        let seen = Arc::clone(&seen);
        InterceptorLayer::new(move |request: Request<()>| {
            let known = request.metadata().contains_key("authorization");
            seen.lock().expect("no test has panicked").push((name, known));
            Ok(request)
        })
    };
    let adapted = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&adapted);
    let adapt = move |endpoint: cbrgateway::tonic::transport::Endpoint| {
        counter.fetch_add(1, Ordering::SeqCst);
        endpoint.initial_stream_window_size(1 << 20)
    };
    listed(gateway().layer(spy("first")).layer(spy("second")).endpoint(adapt)).await?;
    assert_eq!(*seen.lock().expect("no test has panicked"), [("first", true), ("second", true)]);
    assert_eq!(adapted.load(Ordering::SeqCst), 1);
    let refusing = InterceptorLayer::new(|_: Request<()>| Err(Status::permission_denied("not today")));
    failed(listed(gateway().layer(refusing)).await, Code::PermissionDenied, &["not today"]);
    Ok(())
}
