// The life of a backup: a vault for a server, a backup, a restore, and nothing left behind.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/cbrgateway/cbrgateway-go"
	cbr "github.com/cbrgateway/cbrgateway-go/cbrgateway/v1"
)

func main() {
	options := []cbrgateway.Option{cbrgateway.APIKey(os.Getenv("CBR_API_KEY"))}
	if file := os.Getenv("CBR_CA_FILE"); file == "" {
		options = append(options, cbrgateway.Plaintext())
	} else if pem, err := os.ReadFile(file); err != nil {
		log.Fatal(err)
	} else {
		options = append(options, cbrgateway.Authorities(pem))
	}
	connection, err := cbrgateway.Connect(os.Getenv("CBR_ADDRESS"), options...)
	if err != nil {
		log.Fatal(err)
	}
	defer connection.Close()

	s := story{
		servers:     cbr.NewProtectabilityServiceClient(connection),
		vaults:      cbr.NewVaultServiceClient(connection),
		checkpoints: cbr.NewCheckpointServiceClient(connection),
		backups:     cbr.NewBackupServiceClient(connection),
		tasks:       cbr.NewTaskServiceClient(connection),
	}
	if err := s.tell(context.Background()); err != nil {
		var refused *cbrgateway.Error
		if errors.As(err, &refused) {
			log.Printf("reason %s, fields %v, repeat after %s", refused.Reason, refused.Fields, refused.RetryDelay)
		}
		log.Fatal(err)
	}
}

type story struct {
	servers     cbr.ProtectabilityServiceClient
	vaults      cbr.VaultServiceClient
	checkpoints cbr.CheckpointServiceClient
	backups     cbr.BackupServiceClient
	tasks       cbr.TaskServiceClient
}

func (s story) tell(ctx context.Context) error {
	server, err := s.freeServer(ctx)
	if err != nil {
		return err
	}
	vault, err := s.vaults.CreateVault(ctx, &cbr.CreateVaultRequest{Vault: &cbr.VaultSpec{
		Name:      "go-example",
		Resources: []*cbr.ResourceRef{{Id: server.Id, Type: server.Type}},
		Billing: &cbr.BillingSpec{
			SizeGib:         200,
			ObjectType:      cbr.ObjectType_OBJECT_TYPE_SERVER,
			ProtectType:     cbr.ProtectType_PROTECT_TYPE_BACKUP,
			ConsistentLevel: cbr.ConsistentLevel_CONSISTENT_LEVEL_CRASH_CONSISTENT,
		},
	}})
	if err != nil {
		return err
	}
	id := vault.Vault.Id
	fmt.Println("vault", id, "holds", server.Name)

	made, err := s.checkpoints.CreateCheckpoint(ctx, &cbr.CreateCheckpointRequest{Checkpoint: &cbr.CheckpointSpec{VaultId: id}})
	if err != nil {
		return err
	}
	if err = s.finish(ctx, id, cbr.TaskType_TASK_TYPE_BACKUP); err != nil {
		return err
	}
	listed, err := s.backups.ListBackups(ctx, &cbr.ListBackupsRequest{CheckpointId: made.Checkpoint.Id})
	if err != nil {
		return err
	}
	backup := listed.Backups[0]
	fmt.Println("backup", backup.Id)

	restore := &cbr.RestoreBackupRequest{BackupId: backup.Id, Restore: &cbr.RestoreSpec{ServerId: server.Id}}
	if _, err = s.backups.RestoreBackup(ctx, restore); err != nil {
		return err
	}
	if err = s.finish(ctx, id, cbr.TaskType_TASK_TYPE_RESTORE); err != nil {
		return err
	}
	if _, err = s.vaults.DeleteVault(ctx, &cbr.DeleteVaultRequest{VaultId: id}); err != nil {
		return err
	}
	return s.finish(ctx, id, cbr.TaskType_TASK_TYPE_VAULT_DELETE)
}

func (s story) freeServer(ctx context.Context) (*cbr.Protectable, error) {
	found, err := s.servers.ListProtectables(ctx, &cbr.ListProtectablesRequest{ProtectableType: cbr.ProtectableType_PROTECTABLE_TYPE_SERVER})
	if err != nil {
		return nil, err
	}
	for _, server := range found.Instances {
		if server.Protectable.GetResult() && server.Protectable.Vault == nil {
			return server, nil
		}
	}
	return nil, errors.New("no server is free")
}

// finish waits for the only task of its kind in a vault.
func (s story) finish(ctx context.Context, vault string, kind cbr.TaskType) error {
	for {
		listed, err := s.tasks.ListTasks(ctx, &cbr.ListTasksRequest{VaultId: vault, Type: kind})
		if err != nil {
			return err
		}
		if task := listed.Tasks[0]; task.EndTime != nil {
			fmt.Println(kind, task.Status)
			return nil
		}
		time.Sleep(time.Second)
	}
}
