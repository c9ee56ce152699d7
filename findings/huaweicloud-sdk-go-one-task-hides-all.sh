#!/usr/bin/env bash
# Guess:   The vendor's Go SDK reads what CBR really answers to ListOpLogs. Where it does not know a member of one task, it leaves that out and shows the rest.
# Happens: Recorded answers hold `[]` where the resource of a task has no further details, and an object where it has. One `[]` among the tasks makes the
#          whole call fail, and no task is shown, not of the others either. The error is a ServiceResponseError, as for a refusal of the service, with the
#          status 200, an empty code, and the words of the JSON reader for a message.
# Version: github.com/huaweicloud/huaweicloud-sdk-go-v3 v0.1.207, Go 1.26
# Source:  running it; `ResourceExtraInfo` is a struct, and json-iterator gives up the document for one member of another type. Array, null and absence are in
#          recorded traffic of CBR (cassettes of cloud-custodian's Huawei Cloud plugin)
# Advice:  Read the tasks with a client of your own, or one by one (ShowOpLog), so that one of them does not hide the others. Null and absence do no harm.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

cat >go.mod <<'MOD'
module finding

go 1.24

require github.com/huaweicloud/huaweicloud-sdk-go-v3 v0.1.207
MOD

cat >main.go <<'GO'
package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/basic"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/sdkerr"
	cbr "github.com/huaweicloud/huaweicloud-sdk-go-v3/services/cbr/v1"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/services/cbr/v1/model"
)

// tasks answers how many tasks the SDK shows of two, of which the second has these details.
func tasks(details string) (int, error) {
	row := `{"id": "t%d", "operation_type": "backup", "status": "success", "project_id": "p", "provider_id": "p", "created_at": "2025-10-02T14:00:03.010020",
		"started_at": "2025-10-02T14:00:03.010020", "extra_info": {"resource": {"id": "r", "type": "OS::Nova::Server", "name": "n"%s}}}`
	body := fmt.Sprintf(`{"operation_logs": [`+row+`,`+row+`], "count": 2, "limit": 1000, "offset": 0}`, 1, "", 2, details)
	server := httptest.NewServer(http.HandlerFunc(func(answer http.ResponseWriter, _ *http.Request) {
		answer.Header().Set("Content-Type", "application/json")
		answer.Write([]byte(body))
	}))
	defer server.Close()
	credentials := basic.NewCredentialsBuilder().WithAk("access-key").WithSk("secret-key").WithProjectId(strings.Repeat("0", 32)).Build()
	client := cbr.NewCbrClient(cbr.CbrClientBuilder().WithEndpoint(server.URL).WithCredential(credentials).Build())
	response, err := client.ListOpLogs(&model.ListOpLogsRequest{})
	if err != nil {
		return 0, err
	}
	return len(*response.OperationLogs), nil
}

// refusal tells whether the error looks like an answer of the service with the status 200.
func refusal(err error) bool {
	var told *sdkerr.ServiceResponseError
	return errors.As(err, &told) && told.StatusCode == 200 && told.ErrorCode == ""
}

func main() {
	changed := false
	for _, each := range []struct {
		details string
		shown   int
	}{{``, 2}, {`, "extra_info": null`, 2}, {`, "extra_info": {}`, 2}, {`, "extra_info": []`, 0}} {
		shown, err := tasks(each.details)
		fmt.Printf("%-20q shows %d of 2 tasks: %v\n", each.details, shown, err)
		changed = changed || shown != each.shown || (err == nil) != (each.shown == 2) || refusal(err) != (each.shown == 0)
	}
	if changed {
		fmt.Println("CHANGED: this is not what the head of this script describes")
		os.Exit(1)
	}
}
GO

go mod tidy 2>/dev/null
go run .
