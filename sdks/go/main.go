// Command calls makes the calls that it reads from its standard input with the vendor's Go SDK, one JSON object a line, and writes
// what came of each. The SDK finds the path, signs the request and reads the answer; nothing here knows any operation.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"os"
	"reflect"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/basic"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/sdkerr"
	cbr "github.com/huaweicloud/huaweicloud-sdk-go-v3/services/cbr/v1"
)

type call struct {
	Project   string          `json:"project"`
	Operation string          `json:"operation"`
	Request   json.RawMessage `json:"request"`
}

type outcome struct {
	Status   int64  `json:"status,omitempty"`
	Code     string `json:"code,omitempty"`
	Response any    `json:"response,omitempty"`
	Problem  string `json:"problem,omitempty"`
}

func clientOf(project string) *cbr.CbrClient {
	credentials := basic.NewCredentialsBuilder().WithAk(os.Getenv("AK")).WithSk(os.Getenv("SK")).WithProjectId(project).Build()
	return cbr.NewCbrClient(cbr.CbrClientBuilder().WithEndpoint(os.Getenv("ENDPOINT")).WithCredential(credentials).Build())
}

func made(order call) outcome {
	method := reflect.ValueOf(clientOf(order.Project)).MethodByName(order.Operation)
	if !method.IsValid() {
		return outcome{Problem: "missing"}
	}
	request := reflect.New(method.Type().In(0).Elem())
	if err := json.Unmarshal(order.Request, request.Interface()); err != nil {
		return outcome{Problem: err.Error()}
	}
	results := method.Call([]reflect.Value{request})
	if err, failed := results[1].Interface().(error); failed {
		var refusal *sdkerr.ServiceResponseError
		if errors.As(err, &refusal) && refusal.ErrorCode != "" {
			return outcome{Status: int64(refusal.StatusCode), Code: refusal.ErrorCode}
		}
		return outcome{Problem: err.Error()}
	}
	return outcome{Response: with(results[0])}
}

// with returns the members of a response and its status, which the SDK keeps out of them.
func with(response reflect.Value) map[string]any {
	raw, err := json.Marshal(response.Interface())
	if err != nil {
		panic(err)
	}
	members := map[string]any{}
	if err := json.Unmarshal(raw, &members); err != nil {
		panic(err)
	}
	members["status_code"] = response.Elem().FieldByName("HttpStatusCode").Int()
	return members
}

func main() {
	lines, out := bufio.NewScanner(os.Stdin), json.NewEncoder(os.Stdout)
	for lines.Scan() {
		var order call
		if err := json.Unmarshal(lines.Bytes(), &order); err != nil {
			panic(err)
		}
		if err := out.Encode(made(order)); err != nil {
			panic(err)
		}
	}
}
