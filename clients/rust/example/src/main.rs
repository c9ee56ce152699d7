//! The life of a backup: a vault for a server, a backup, a restore, and nothing left behind.

use std::env;
use std::error::Error as StdError;

use cbrgateway::tonic::Status;
use cbrgateway::v1::backup_service_client::BackupServiceClient;
use cbrgateway::v1::checkpoint_service_client::CheckpointServiceClient;
use cbrgateway::v1::protectability_service_client::ProtectabilityServiceClient;
use cbrgateway::v1::vault_service_client::VaultServiceClient;
use cbrgateway::v1::watch_tasks_response::Event;
use cbrgateway::{Connection, Error, Gateway, Watch, v1};

#[tokio::main]
async fn main() -> Result<(), Box<dyn StdError>> {
    let gateway = Gateway::at(env::var("CBR_ADDRESS")?).api_key(env::var("CBR_API_KEY")?);
    let gateway = match env::var("CBR_CA_FILE") {
        Ok(file) => gateway.authorities(std::fs::read(file)?),
        Err(_) => gateway.plaintext(),
    };
    if let Err(error) = tell(gateway.connect()?).await {
        eprintln!("reason {:?}, fields {:?}, repeat after {:?}", error.reason, error.fields, error.retry_delay);
        return Err(error.into());
    }
    Ok(())
}

async fn tell(connection: Connection) -> Result<(), Error> {
    let mut vaults = VaultServiceClient::new(connection.clone());
    let mut checkpoints = CheckpointServiceClient::new(connection.clone());
    let mut backups = BackupServiceClient::new(connection.clone());

    let server = free_server(&connection).await?;
    let spec = v1::VaultSpec {
        name: "rust-example".into(),
        resources: vec![v1::ResourceRef { id: server.id.clone(), r#type: server.r#type, ..Default::default() }],
        billing: Some(v1::BillingSpec {
            size_gib: 200,
            object_type: v1::ObjectType::Server.into(),
            protect_type: v1::ProtectType::Backup.into(),
            consistent_level: v1::ConsistentLevel::CrashConsistent.into(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let request = v1::CreateVaultRequest { vault: Some(spec), ..Default::default() };
    let vault_id = vaults.create_vault(request).await?.into_inner().vault.unwrap_or_default().id;
    println!("vault {vault_id} holds {}", server.name);

    let checkpoint = v1::CheckpointSpec { vault_id: vault_id.clone(), ..Default::default() };
    let request = v1::CreateCheckpointRequest { checkpoint: Some(checkpoint), ..Default::default() };
    let made = checkpoints.create_checkpoint(request).await?.into_inner();
    finish(&connection, "backup", made.submission).await?;
    let checkpoint_id = made.checkpoint.unwrap_or_default().id;
    let request = v1::ListBackupsRequest { checkpoint_id, ..Default::default() };
    let backup_id = backups.list_backups(request).await?.into_inner().backups.swap_remove(0).id;
    println!("backup {backup_id}");

    let restore = Some(v1::RestoreSpec { server_id: server.id, ..Default::default() });
    let request = v1::RestoreBackupRequest { backup_id, restore, ..Default::default() };
    let restored = backups.restore_backup(request).await?.into_inner();
    finish(&connection, "restore", restored.submission).await?;

    let request = v1::DeleteVaultRequest { vault_id, force: true, ..Default::default() };
    let deleted = vaults.delete_vault(request).await?.into_inner();
    finish(&connection, "deletion", deleted.submission).await
}

async fn free_server(connection: &Connection) -> Result<v1::Protectable, Error> {
    let request = v1::ListProtectablesRequest { protectable_type: v1::ProtectableType::Server.into(), ..Default::default() };
    let found = ProtectabilityServiceClient::new(connection.clone()).list_protectables(request).await?.into_inner();
    let is_free =
        |server: &v1::Protectable| server.protectable.as_ref().is_some_and(|state| state.result && state.vault.is_none());
    found.instances.into_iter().find(is_free).ok_or_else(|| Status::not_found("no server is free").into())
}

/// Follows what a call has started to its end.
async fn finish(connection: &Connection, title: &str, started: Option<v1::Submission>) -> Result<(), Error> {
    let started = started.unwrap_or_default();
    for left in started.skipped_resources {
        println!("{title} skipped by CBR: {} {} {}", left.id, left.code, left.reason);
    }
    let submission_ids = vec![started.id];
    let filter = Some(v1::TaskFilter { submission_ids, ..Default::default() });
    let request = v1::WatchTasksRequest { filter, end_when_all_terminal: true, ..Default::default() };
    let mut watch = Watch::new(connection.clone(), request);
    while let Some(event) = watch.message().await? {
        match event.event {
            Some(Event::Update(update)) => println!("{title} {} %", progress(&update.task.unwrap_or_default())),
            Some(Event::Terminal(end)) => println!("{title} {:?}", end.task.unwrap_or_default().status()),
            _ => {}
        }
    }
    Ok(())
}

fn progress(task: &v1::Task) -> i32 {
    let common = task.details.as_ref().and_then(|details| details.common.as_ref());
    common.map_or(0, v1::TaskCommon::progress_percent)
}
