package cbrgateway

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	cbr "github.com/cbrgateway/cbrgateway-go/cbrgateway/v1"
)

var address, key = os.Getenv("CBR_TEST_ADDRESS"), os.Getenv("CBR_TEST_API_KEY")

// passed notes that a check has passed, unless the test has failed.
func passed(t *testing.T, check string) {
	t.Helper()
	if !t.Failed() {
		if err := os.WriteFile(filepath.Join(os.Getenv("CBR_TEST_RESULTS"), check), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func authorities(t *testing.T, variable string) Option {
	t.Helper()
	pem, err := os.ReadFile(os.Getenv(variable))
	if err != nil {
		t.Fatal(err)
	}
	return Authorities(pem)
}

func connect(t *testing.T, options ...Option) *grpc.ClientConn {
	t.Helper()
	options = append([]Option{authorities(t, "CBR_TEST_CA_FILE"), APIKey(key)}, options...)
	connection, err := Connect(address, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { connection.Close() })
	return connection
}

// ask tells the stage what to do.
func ask(t *testing.T, path string, parameters ...string) string {
	t.Helper()
	query := url.Values{}
	for i := 0; i < len(parameters); i += 2 {
		query.Set(parameters[i], parameters[i+1])
	}
	reply, err := http.Post(os.Getenv("CBR_TEST_CONTROL")+path+"?"+query.Encode(), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer reply.Body.Close()
	text, _ := io.ReadAll(reply.Body)
	if reply.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", path, text)
	}
	return string(text)
}

func newVault(name string) *cbr.CreateVaultRequest {
	return &cbr.CreateVaultRequest{Vault: &cbr.VaultSpec{Name: name, Billing: &cbr.BillingSpec{
		SizeGib:         100,
		ObjectType:      cbr.ObjectType_OBJECT_TYPE_SERVER,
		ProtectType:     cbr.ProtectType_PROTECT_TYPE_BACKUP,
		ConsistentLevel: cbr.ConsistentLevel_CONSISTENT_LEVEL_CRASH_CONSISTENT,
	}}}
}

// failed answers the Error of a call that must fail with this code, and checks the words of its text.
func failed(t *testing.T, err error, code codes.Code, words ...string) *Error {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Code != code || status.Code(err) != code {
		t.Fatalf("want an Error with %s, got %v", code, err)
	}
	for _, word := range words {
		if !strings.Contains(e.Error(), word) {
			t.Errorf("want %q in %q", word, e)
		}
	}
	return e
}

// last goes through all, and answers the error that ended it.
func last[T any](all iter.Seq2[T, error]) (err error) {
	for _, err = range all {
	}
	return err
}

func TestUnary(t *testing.T) {
	vaults, ctx := cbr.NewVaultServiceClient(connect(t)), context.Background()
	made, err := vaults.CreateVault(ctx, newVault("go-unary"))
	if err != nil {
		t.Fatal(err)
	}
	id := made.Vault.Id
	read, err := vaults.GetVault(ctx, &cbr.GetVaultRequest{VaultId: id})
	if err != nil || read.Vault.Name != "go-unary" {
		t.Fatal(read, err)
	}
	listed, err := vaults.ListVaults(ctx, &cbr.ListVaultsRequest{})
	if err != nil || len(listed.Vaults) == 0 {
		t.Fatal(listed, err)
	}
	if _, err = vaults.DeleteVault(ctx, &cbr.DeleteVaultRequest{VaultId: id}); err != nil {
		t.Fatal(err)
	}
	passed(t, "unary")
}

func TestToken(t *testing.T) {
	source := func(context.Context) (string, error) { return os.Getenv("CBR_TEST_TOKEN"), nil }
	vaults := cbr.NewVaultServiceClient(connect(t, Token(source)))
	if _, err := vaults.ListVaults(context.Background(), &cbr.ListVaultsRequest{}); err != nil {
		t.Fatal(err)
	}
	passed(t, "token")
}

func TestError(t *testing.T) {
	request := newVault("go-error")
	request.Vault.Billing.SizeGib = 5
	_, err := cbr.NewVaultServiceClient(connect(t)).CreateVault(context.Background(), request)
	e := failed(t, err, codes.InvalidArgument, "FIELD_INVALID")
	if e.Reason != cbr.ErrorReason_ERROR_REASON_FIELD_INVALID || e.Kind != Answered || e.CallID == "" || e.RequestID == "" {
		t.Errorf("%+v", e)
	}
	if len(e.Fields) != 1 || e.Fields[0].Field != "vault.billing.size_gib" {
		t.Errorf("%v", e.Fields)
	}
	passed(t, "error")
}

func TestRetry(t *testing.T) {
	ask(t, "/fault", "operation", "CreateVault", "kind", "cut", "when", "after_commit", "times", "1")
	request := newVault("go-retry")
	made, err := cbr.NewVaultServiceClient(connect(t)).CreateVault(context.Background(), request)
	if err != nil || made.Vault.Name != "go-retry" {
		t.Fatal(made, err)
	}
	if count := ask(t, "/requests", "operation", "CreateVault", "containing", "go-retry"); count != "1" {
		t.Errorf("CBR has seen %s creates", count)
	}
	if request.RequestId != "" {
		t.Error("the caller's own message has been changed")
	}
	passed(t, "retry")
}

func TestQuota(t *testing.T) {
	vaults := cbr.NewVaultServiceClient(connect(t, APIKey(os.Getenv("CBR_TEST_LIMITED_KEY"))))
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	list := func(ctx context.Context) error {
		_, err := vaults.ListVaults(ctx, &cbr.ListVaultsRequest{})
		return err
	}
	var err error
	for i := 0; i < 50 && err == nil; i++ {
		err = list(ctx)
	}
	e := failed(t, err, codes.ResourceExhausted, "RATE_LIMIT")
	if e.RetryDelay <= 0 || len(e.Quotas) != 1 || e.Quotas[0].QuotaMetric != "requests" {
		t.Errorf("%+v", e)
	}
	began := time.Now()
	if err = RetryWhenLimited(ctx, list); err != nil {
		t.Fatal(err)
	}
	if waited := time.Since(began); waited < e.RetryDelay/2 {
		t.Errorf("went through after %s, and the gateway asked for %s", waited, e.RetryDelay)
	}
	passed(t, "quota")
}

func TestRetryLarge(t *testing.T) {
	connection, err := Connect(os.Getenv("CBR_TEST_SCRIPT_ADDRESS"), Plaintext())
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	request := newVault("go-large")
	large := strings.Repeat("x", 1<<20)
	request.Vault.Description = &large
	made, err := cbr.NewVaultServiceClient(connection).CreateVault(context.Background(), request)
	if err != nil || made.Vault.Id != "made" {
		t.Fatal(made, err)
	}
	passed(t, "retry-large")
}

func TestRetryWhenLimited(t *testing.T) {
	connection, err := Connect(os.Getenv("CBR_TEST_SCRIPT_ADDRESS"), Plaintext())
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	vaults := cbr.NewVaultServiceClient(connection)
	err = RetryWhenLimited(context.Background(), func(ctx context.Context) error {
		made, err := vaults.CreateVault(ctx, newVault("go-limited"))
		if err == nil && made.Vault.Id != "made" {
			t.Error(made)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	passed(t, "retry-when-limited")
}

func TestHeaders(t *testing.T) {
	for name, option := range map[string]Option{"APIKey": APIKey("secret\n"), "Project": Project("secr\u00e9t")} {
		if _, err := Connect(address, option); err == nil || !strings.Contains(err.Error(), name) || strings.Contains(err.Error(), "secr") {
			t.Error(name, err)
		}
	}
	source := func(context.Context) (string, error) { return "secret\n", nil }
	_, err := cbr.NewVaultServiceClient(connect(t, Token(source))).ListVaults(context.Background(), &cbr.ListVaultsRequest{})
	if e := failed(t, err, codes.Unauthenticated, "Token: "); strings.Contains(e.Error(), "secret") {
		t.Error(e)
	}
}

func TestWrongKey(t *testing.T) {
	_, err := cbr.NewVaultServiceClient(connect(t, APIKey("nobody's"))).ListVaults(context.Background(), &cbr.ListVaultsRequest{})
	failed(t, err, codes.Unauthenticated, "CREDENTIALS_INVALID", "API key")
	passed(t, "wrong-key")
}

func TestWrongCA(t *testing.T) {
	_, err := cbr.NewVaultServiceClient(connect(t, authorities(t, "CBR_TEST_OTHER_CA_FILE"))).ListVaults(context.Background(), &cbr.ListVaultsRequest{})
	if e := failed(t, err, codes.Unavailable, "certificate", address); e.Kind != Untrusted {
		t.Error(e.Kind)
	}
	passed(t, "wrong-ca")
}

func TestUnreachable(t *testing.T) {
	unreachable := func(kind Kind, words, address string, options ...Option) {
		connection, err := Connect(address, options...)
		if err != nil {
			t.Fatal(err)
		}
		defer connection.Close()
		_, err = cbr.NewVaultServiceClient(connection).ListVaults(context.Background(), &cbr.ListVaultsRequest{})
		if e := failed(t, err, codes.Unavailable, words, address); e.Kind != kind {
			t.Errorf("want %s, got %s: %s", kind, e.Kind, e)
		}
	}
	unreachable(Unreachable, "cannot be reached", os.Getenv("CBR_TEST_CLOSED_ADDRESS"), Plaintext(), APIKey(key))
	passed(t, "unreachable")
	ours := authorities(t, "CBR_TEST_CA_FILE")
	unreachable(PlaintextExpected, "Plaintext()", os.Getenv("CBR_TEST_SCRIPT_ADDRESS"), APIKey(key))
	unreachable(TLSExpected, "without Plaintext()", address, APIKey(key), Plaintext())
	unreachable(TLSExpected, "without Plaintext()", os.Getenv("CBR_TEST_MUTUAL_ADDRESS"), Plaintext())
	unreachable(ExpiredCertificate, "out of date", os.Getenv("CBR_TEST_EXPIRED_ADDRESS"), ours)
	passed(t, "kinds")
}

func script(t *testing.T, variable string, options ...Option) *grpc.ClientConn {
	t.Helper()
	connection, err := Connect(os.Getenv(variable), options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { connection.Close() })
	return connection
}

func TestWaits(t *testing.T) {
	connection := connect(t)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	servers := &cbr.ListProtectablesRequest{ProtectableType: cbr.ProtectableType_PROTECTABLE_TYPE_SERVER}
	request := newVault("go-waits")
	request.Vault.Billing.SizeGib = 200
	list := cbr.NewProtectabilityServiceClient(connection).ListProtectables
	for server, err := range Rows(ctx, list, servers, (*cbr.ListProtectablesResponse).GetInstances) {
		if err != nil {
			t.Fatal(err)
		}
		if server.Protectable.Vault == nil {
			request.Vault.Resources = []*cbr.ResourceRef{{Id: server.Id, Type: server.Type}}
			break
		}
	}
	vaults, checkpoints := cbr.NewVaultServiceClient(connection), cbr.NewCheckpointServiceClient(connection)
	vault, err := vaults.CreateVault(ctx, request)
	if err != nil {
		t.Fatal(err)
	}
	backup := &cbr.CreateCheckpointRequest{Checkpoint: &cbr.CheckpointSpec{VaultId: vault.Vault.Id}}
	made, ended, err := RunAndWait(ctx, connection, func(ctx context.Context) (*cbr.CreateCheckpointResponse, error) {
		return checkpoints.CreateCheckpoint(ctx, backup)
	})
	if err != nil || made.Checkpoint.Id == "" || len(ended.Tasks) != 1 || ended.Tasks[0].Type != cbr.TaskType_TASK_TYPE_BACKUP {
		t.Fatal(made, ended, err)
	}
	if again, err := Wait(ctx, connection, ended.Tasks[0]); err != nil || len(again.Tasks) != 1 {
		t.Error(again, err)
	}
	_, ended, err = RunAndWait(ctx, connection, func(ctx context.Context) (*cbr.DeleteVaultResponse, error) {
		return vaults.DeleteVault(ctx, &cbr.DeleteVaultRequest{VaultId: vault.Vault.Id, Force: true})
	})
	if err != nil || len(ended.Tasks) != 1 {
		t.Error(ended, err)
	}
	waitsOfTheScript(t, script(t, "CBR_TEST_SCRIPT_ADDRESS", Plaintext()))
	passed(t, "waits")
}

func waitsOfTheScript(t *testing.T, connection *grpc.ClientConn) {
	ctx := context.Background()
	submission := func(name string) Target { return &cbr.Submission{Id: name} }
	failing := func(what ...Target) *TaskFailed {
		_, err := Wait(ctx, connection, what...)
		var e *TaskFailed
		if !errors.As(err, &e) {
			t.Fatal(err)
		}
		return e
	}
	ended, err := Wait(ctx, connection, submission("skipping"))
	if err != nil || len(ended.Tasks) != 1 || ended.Tasks[0].Id != "good" || len(ended.Skipped) != 1 || ended.Skipped[0].Code != "BackupService.6125" {
		t.Error(ended, err)
	}
	e := failing(submission("failing"), submission("skipping"))
	bad := e.Failures[0]
	if len(e.Failures) != 1 || bad.Task.Id != "bad" || bad.Code != "BackupService.1204" || bad.Reason != cbr.ErrorReason_ERROR_REASON_UPSTREAM_INTERNAL {
		t.Error(e)
	}
	if len(e.Ended.Tasks) != 1 || len(e.Ended.Skipped) != 1 || !strings.Contains(e.Error(), "BackupService.1204, UPSTREAM_INTERNAL") {
		t.Error(e)
	}
	if e = failing(submission("nothing")); e.Failures[0].ID != "nothing" {
		t.Error(e)
	}
	if e = failing(submission("lost")); e.Failures[0].Reason != cbr.ErrorReason_ERROR_REASON_SUBMISSION_NOT_FOUND {
		t.Error(e)
	}
	short, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	_, err = Wait(short, connection, submission("open"), submission("skipping"))
	if late := failed(t, err, codes.DeadlineExceeded, "slow"); late.Kind != Deadline || len(late.StillOpen) != 1 || late.StillOpen[0] != "slow" {
		t.Error(late)
	}
	var many []Target
	for i := range 500 {
		many = append(many, TaskID(fmt.Sprintf("task-%d", i%250)))
	}
	if ended, err = Wait(ctx, connection, many...); err != nil || len(ended.Tasks) != 250 {
		t.Error(len(ended.Tasks), err)
	}
	if _, err = Wait(ctx, connection, submission("")); err == nil || !strings.Contains(err.Error(), "no id") {
		t.Error(err)
	}
	if ended, err = Wait(ctx, connection); err != nil || ended.Tasks != nil {
		t.Error(ended, err)
	}
}

func TestPages(t *testing.T) {
	ctx := context.Background()
	list := cbr.NewVaultServiceClient(script(t, "CBR_TEST_SCRIPT_ADDRESS", Plaintext())).ListVaults
	request := &cbr.ListVaultsRequest{Name: "pages"}
	ids := func(list List[*cbr.ListVaultsRequest, *cbr.ListVaultsResponse], request *cbr.ListVaultsRequest, options ...PageOption) string {
		var found []string
		for vault, err := range Rows(ctx, list, request, (*cbr.ListVaultsResponse).GetVaults, options...) {
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, vault.Id)
		}
		return strings.Join(found, ", ")
	}
	for _, options := range [][]PageOption{nil, {Prefetch()}} {
		if got := ids(list, request, options...); got != "one, two, three" {
			t.Error(got)
		}
		pages := 0
		for _, err := range Pages(ctx, list, request, options...) {
			if err != nil {
				t.Fatal(err)
			}
			pages++
		}
		if pages != 3 {
			t.Error(pages)
		}
		refused := Rows(ctx, list, &cbr.ListVaultsRequest{}, (*cbr.ListVaultsResponse).GetVaults, options...)
		failed(t, last(refused), codes.FailedPrecondition, "STATE_INVALID")
	}
	if request.PageToken != "" {
		t.Error("the caller's own message has been changed")
	}
	if got := ids(list, &cbr.ListVaultsRequest{Name: "pages", PageToken: "3"}); got != "three" {
		t.Error(got)
	}
	vaults := cbr.NewVaultServiceClient(connect(t))
	if ids(vaults.ListVaults, &cbr.ListVaultsRequest{PageSize: 1}, Prefetch()) != ids(vaults.ListVaults, &cbr.ListVaultsRequest{}) {
		t.Error("pages of one row have other rows")
	}
	passed(t, "pages")
}

func TestClientCertificate(t *testing.T) {
	own, ownKey := filepath.Join(t.TempDir(), "own.crt"), filepath.Join(t.TempDir(), "own.key")
	put := func(variable, file string) []byte {
		pem, err := os.ReadFile(os.Getenv(variable))
		if err != nil {
			t.Fatal(err)
		}
		if err = os.WriteFile(file, pem, 0o600); err != nil {
			t.Fatal(err)
		}
		return pem
	}
	list := func(connection *grpc.ClientConn) error {
		_, err := cbr.NewVaultServiceClient(connection).ListVaults(context.Background(), &cbr.ListVaultsRequest{Name: "pages"})
		return err
	}
	ours := authorities(t, "CBR_TEST_CA_FILE")
	failed(t, list(script(t, "CBR_TEST_MUTUAL_ADDRESS", ours)), codes.Unavailable)
	put("CBR_TEST_OTHER_CERTIFICATE_FILE", own)
	put("CBR_TEST_OTHER_KEY_FILE", ownKey)
	connection := script(t, "CBR_TEST_MUTUAL_ADDRESS", ours, ClientCertificateFiles(own, ownKey))
	failed(t, list(connection), codes.Unavailable)
	certificate, certificateKey := put("CBR_TEST_CERTIFICATE_FILE", own), put("CBR_TEST_KEY_FILE", ownKey)
	err := list(connection)
	for tries := 0; err != nil && tries < 200; tries++ { // A connection with the certificate from before may be on its way.
		time.Sleep(100 * time.Millisecond)
		connection.ResetConnectBackoff()
		err = list(connection)
	}
	if err != nil {
		t.Error(err)
	}
	if err := list(script(t, "CBR_TEST_MUTUAL_ADDRESS", ours, ClientCertificate(certificate, certificateKey))); err != nil {
		t.Error(err)
	}
	if _, err := Connect(address, ClientCertificate(certificate, certificate)); err == nil || !strings.Contains(err.Error(), "ClientCertificate: ") {
		t.Error(err)
	}
	if _, err := Connect(address, ClientCertificateFiles("nowhere.crt", "nowhere.key")); err == nil || !strings.Contains(err.Error(), "nowhere.crt") {
		t.Error(err)
	}
	passed(t, "client-certificate")
}

func TestDialOptions(t *testing.T) {
	seen := ""
	look := func(ctx context.Context, method string, request, reply any, connection *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
		if vault, ok := request.(*cbr.CreateVaultRequest); ok {
			seen = vault.RequestId
		}
		return invoke(ctx, method, request, reply, connection, options...)
	}
	connection := script(t, "CBR_TEST_SCRIPT_ADDRESS", Plaintext(), DialOptions(grpc.WithChainUnaryInterceptor(look)))
	_, err := cbr.NewVaultServiceClient(connection).CreateVault(context.Background(), newVault("go-dialed"))
	if e := failed(t, err, codes.ResourceExhausted); seen == "" || e.RequestID != seen || !strings.Contains(e.Error(), "request_id "+seen) {
		t.Error(seen, e)
	}
}

// A read is repeated until gRPC gives up. What is told then are the gateway's words, not gRPC's about its repeats.
func TestWordsAfterRetries(t *testing.T) {
	ask(t, "/fault", "operation", "ListVault", "kind", "status", "status", "503", "times", "null")
	defer ask(t, "/calm")
	_, err := cbr.NewVaultServiceClient(connect(t)).ListVaults(context.Background(), &cbr.ListVaultsRequest{})
	e := failed(t, err, codes.Unavailable, "UPSTREAM_UNAVAILABLE")
	if e.Kind != Answered || strings.Contains(e.Error(), "retries") || strings.Contains(e.GRPCStatus().Message(), "retries") {
		t.Errorf("want the gateway's own words, got %v and %q", e, e.GRPCStatus().Message())
	}
}

func TestDeadline(t *testing.T) {
	ask(t, "/fault", "operation", "ListVault", "kind", "delay", "seconds", "4", "times", "null")
	defer ask(t, "/calm")
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_, err := cbr.NewVaultServiceClient(connect(t)).ListVaults(ctx, &cbr.ListVaultsRequest{})
	failed(t, err, codes.DeadlineExceeded, "deadline")
	passed(t, "deadline")
}

func TestWatch(t *testing.T) {
	connection := connect(t)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	servers := &cbr.ListProtectablesRequest{ProtectableType: cbr.ProtectableType_PROTECTABLE_TYPE_SERVER}
	found, err := cbr.NewProtectabilityServiceClient(connection).ListProtectables(ctx, servers)
	if err != nil {
		t.Fatal(err)
	}
	request := newVault("go-watch")
	request.Vault.Billing.SizeGib = 200
	request.Vault.Resources = []*cbr.ResourceRef{{Id: found.Instances[0].Id, Type: found.Instances[0].Type}}
	vaults := cbr.NewVaultServiceClient(connection)
	vault, err := vaults.CreateVault(ctx, request)
	if err != nil {
		t.Fatal(err)
	}
	backup := &cbr.CreateCheckpointRequest{Checkpoint: &cbr.CheckpointSpec{VaultId: vault.Vault.Id}}
	made, err := cbr.NewCheckpointServiceClient(connection).CreateCheckpoint(ctx, backup)
	if err != nil {
		t.Fatal(err)
	}
	filter := &cbr.TaskFilter{SubmissionIds: []string{made.Submission.Id}}
	ends, restarted := []cbr.TaskStatus{}, false
	for event, err := range Watch(ctx, cbr.NewTaskServiceClient(connection), &cbr.WatchTasksRequest{Filter: filter, EndWhenAllTerminal: true}) {
		if err != nil {
			t.Fatal(err)
		}
		if !restarted {
			ask(t, "/restart")
			restarted = true
		}
		if event.GetTerminal() != nil {
			ends = append(ends, event.GetTerminal().Task.Status)
		}
	}
	if len(ends) != 1 || ends[0] != cbr.TaskStatus_TASK_STATUS_SUCCEEDED {
		t.Error(ends)
	}
	if _, err = vaults.DeleteVault(ctx, &cbr.DeleteVaultRequest{VaultId: vault.Vault.Id, Force: true}); err != nil {
		t.Fatal(err)
	}
	passed(t, "watch")
}

func TestResume(t *testing.T) {
	connection, err := Connect(os.Getenv("CBR_TEST_SCRIPT_ADDRESS"), Plaintext())
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	tasks, ctx := cbr.NewTaskServiceClient(connection), context.Background()
	seen := []string{}
	for event, err := range Watch(ctx, tasks, &cbr.WatchTasksRequest{HeartbeatInterval: durationpb.New(200 * time.Millisecond)}) {
		if err != nil {
			t.Fatal(err)
		}
		seen = append(seen, told(event))
	}
	if got := strings.Join(seen, ", "); got != os.Getenv("CBR_TEST_SCRIPT_SEEN") {
		t.Error(got)
	}
	// No heartbeat that a gateway takes: it is the gateway that has to say so.
	refused := &cbr.WatchTasksRequest{Filter: &cbr.TaskFilter{VaultId: "refused"}, HeartbeatInterval: &durationpb.Duration{Seconds: 1e10}}
	if e := failed(t, last(Watch(ctx, tasks, refused)), codes.PermissionDenied); e.Reason != cbr.ErrorReason_ERROR_REASON_PROJECT_DENIED {
		t.Error(e)
	}
	passed(t, "resume")
}

// told is an event in words: its kind, and the revision of its task.
func told(event *cbr.WatchTasksResponse) string {
	switch e := event.Event.(type) {
	case *cbr.WatchTasksResponse_SnapshotTask:
		return fmt.Sprintf("snapshot_task %d", e.SnapshotTask.Revision)
	case *cbr.WatchTasksResponse_Update:
		return fmt.Sprintf("update %d", e.Update.Task.Revision)
	case *cbr.WatchTasksResponse_Terminal:
		return fmt.Sprintf("terminal %d", e.Terminal.Task.Revision)
	}
	message := event.ProtoReflect()
	return string(message.WhichOneof(message.Descriptor().Oneofs().ByName("event")).Name())
}

func TestAddresses(t *testing.T) {
	content, err := os.ReadFile(os.Getenv("CBR_TEST_ADDRESSES"))
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct{ Address, Says string }
	if err = json.Unmarshal(content, &cases); err != nil || len(cases) == 0 {
		t.Fatal(err)
	}
	for _, each := range cases {
		connection, err := Connect(each.Address)
		if err == nil {
			connection.Close()
		}
		if told := fmt.Sprint(err); each.Says == "" != (err == nil) || err != nil && !strings.HasSuffix(told, strconv.Quote(each.Address)+" "+each.Says) {
			t.Errorf("%q: %s, want %q", each.Address, told, each.Says)
		}
	}
	passed(t, "addresses")
}

func TestVectors(t *testing.T) {
	content, err := os.ReadFile(os.Getenv("CBR_TEST_VECTORS"))
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct {
		Name, Message string
		Facts         map[string]string
		Base64        []byte
	}
	if err = json.Unmarshal(content, &vectors); err != nil || len(vectors) == 0 {
		t.Fatal(err)
	}
	for _, vector := range vectors {
		t.Run(vector.Name, func(t *testing.T) {
			message, found := read(t, vector.Message, vector.Base64)
			for name, want := range vector.Facts {
				if found[name] != want {
					t.Errorf("%s is %q, want %q", name, found[name], want)
				}
			}
			if again, err := proto.Marshal(message); err != nil || !bytes.Equal(again, vector.Base64) {
				t.Errorf("written back as %s", base64.StdEncoding.EncodeToString(again))
			}
		})
	}
	passed(t, "vectors")
}

// read answers a vector's message and the facts found in it.
func read(t *testing.T, kind string, content []byte) (proto.Message, map[string]string) {
	t.Helper()
	parse := func(message proto.Message) proto.Message {
		if err := proto.Unmarshal(content, message); err != nil {
			t.Fatal(err)
		}
		return message
	}
	switch kind {
	case "Task":
		task := parse(&cbr.Task{}).(*cbr.Task)
		progress := "unset"
		if set := task.GetDetails().GetCommon().GetProgressPercent; task.GetDetails().GetCommon() != nil && task.Details.Common.ProgressPercent != nil {
			progress = fmt.Sprint(set())
		}
		return task, map[string]string{
			"type": strconv.Itoa(int(task.Type)), "type_raw": task.TypeRaw, "status": strconv.Itoa(int(task.Status)), "progress_percent": progress,
			"start_seconds": seconds(task.StartTime), "start_nanos": fmt.Sprint(task.StartTime.GetNanos()), "end_time": seconds(task.EndTime),
		}
	case "CheckpointResource":
		resource := parse(&cbr.CheckpointResource{}).(*cbr.CheckpointResource)
		return resource, map[string]string{"backup_size_mib": fmt.Sprint(resource.GetBackupSizeMib())}
	default:
		list := parse(&cbr.ListVaultsResponse{}).(*cbr.ListVaultsResponse)
		last := list.Vaults[len(list.Vaults)-1]
		return list, map[string]string{"count": strconv.Itoa(len(list.Vaults)), "last_id": last.Id, "last_used_mib": fmt.Sprint(last.Billing.UsedMib)}
	}
}

func seconds(time *timestamppb.Timestamp) string {
	if time == nil {
		return "unset"
	}
	return fmt.Sprint(time.Seconds)
}
