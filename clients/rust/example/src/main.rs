//! The life of a backup: a vault for a server, a backup, a restore, and nothing left behind.

use std::env;
use std::error::Error as StdError;
use std::time::Duration;

use cbrgateway::tonic::Status;
use cbrgateway::v1::backup_service_client::BackupServiceClient;
use cbrgateway::v1::checkpoint_service_client::CheckpointServiceClient;
use cbrgateway::v1::protectability_service_client::ProtectabilityServiceClient;
use cbrgateway::v1::vault_service_client::VaultServiceClient;
use cbrgateway::{Connection, Ended, Error, Gateway, WaitError, rows, v1};

const LONG: Duration = Duration::from_secs(120);

#[tokio::main]
async fn main() -> Result<(), Box<dyn StdError>> {
    let gateway = Gateway::at(env::var("CBR_ADDRESS")?).api_key(env::var("CBR_API_KEY")?);
    let gateway = match env::var("CBR_CA_FILE") {
        Ok(file) => gateway.authorities(std::fs::read(file)?),
        Err(_) => gateway.plaintext(),
    };
    if let Err(error) = tell(gateway.connect()?).await {
        eprintln!("{error}");
        return Err(error.into());
    }
    Ok(())
}

async fn tell(connection: Connection) -> Result<(), WaitError> {
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
    let (made, ended) = connection.run_and_wait(checkpoints.create_checkpoint(request), LONG).await?;
    report("backup", &ended);
    let checkpoint_id = made.checkpoint.unwrap_or_default().id;
    let request = v1::ListBackupsRequest { checkpoint_id, ..Default::default() };
    let backup_id = backups.list_backups(request).await?.into_inner().backups.swap_remove(0).id;
    println!("backup {backup_id}");

    let restore = Some(v1::RestoreSpec { server_id: server.id, ..Default::default() });
    let request = v1::RestoreBackupRequest { backup_id, restore, ..Default::default() };
    let (_, ended) = connection.run_and_wait(backups.restore_backup(request), LONG).await?;
    report("restore", &ended);

    let request = v1::DeleteVaultRequest { vault_id, force: true, ..Default::default() };
    let (_, ended) = connection.run_and_wait(vaults.delete_vault(request), LONG).await?;
    report("deletion", &ended);
    Ok(())
}

async fn free_server(connection: &Connection) -> Result<v1::Protectable, Error> {
    let request = v1::ListProtectablesRequest { protectable_type: v1::ProtectableType::Server.into(), ..Default::default() };
    let inventory = ProtectabilityServiceClient::new(connection.clone());
    let mut servers = rows(request, move |request| {
        let mut inventory = inventory.clone();
        async move { inventory.list_protectables(request).await }
    });
    while let Some(server) = servers.try_next().await? {
        if server.protectable.as_ref().is_some_and(|state| state.result && state.vault.is_none()) {
            return Ok(server);
        }
    }
    Err(Status::not_found("no server is free").into())
}

/// Tells what has become of the work.
fn report(title: &str, ended: &Ended) {
    for left in &ended.skipped {
        println!("{title} skipped by CBR: {} {} {}", left.id, left.code, left.reason);
    }
    for task in &ended.tasks {
        println!("{title} {:?}", task.status());
    }
}
