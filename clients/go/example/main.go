// The life of a backup: a vault for a server, a backup, a restore, and nothing left behind.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"

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
	if err = s.finish(ctx, "backup", made.Submission); err != nil {
		return err
	}
	listed, err := s.backups.ListBackups(ctx, &cbr.ListBackupsRequest{CheckpointId: made.Checkpoint.Id})
	if err != nil {
		return err
	}
	backup := listed.Backups[0]
	fmt.Println("backup", backup.Id)

	restore := &cbr.RestoreBackupRequest{BackupId: backup.Id, Restore: &cbr.RestoreSpec{ServerId: server.Id}}
	restored, err := s.backups.RestoreBackup(ctx, restore)
	if err != nil {
		return err
	}
	if err = s.finish(ctx, "restore", restored.Submission); err != nil {
		return err
	}
	deleted, err := s.vaults.DeleteVault(ctx, &cbr.DeleteVaultRequest{VaultId: id, Force: true})
	if err != nil {
		return err
	}
	return s.finish(ctx, "deletion", deleted.Submission)
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

// finish follows what a call has started to its end.
func (s story) finish(ctx context.Context, title string, started *cbr.Submission) error {
	for _, left := range started.SkippedResources {
		fmt.Println(title, "skipped by CBR:", left.Id, left.Code, left.Reason)
	}
	request := &cbr.WatchTasksRequest{Filter: &cbr.TaskFilter{SubmissionIds: []string{started.Id}}, EndWhenAllTerminal: true}
	for event, err := range cbrgateway.Watch(ctx, s.tasks, request) {
		if err != nil {
			return err
		}
		switch e := event.Event.(type) {
		case *cbr.WatchTasksResponse_Update:
			fmt.Println(title, e.Update.Task.GetDetails().GetCommon().GetProgressPercent(), "%")
		case *cbr.WatchTasksResponse_Terminal:
			fmt.Println(title, e.Terminal.Task.Status)
		}
	}
	return nil
}
