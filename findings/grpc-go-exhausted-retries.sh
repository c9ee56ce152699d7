#!/usr/bin/env bash
# Guess:   A call that grpc-go has repeated by its service config until the attempts were used up ends with the last answer of the server: its code, its
#          message, its details. So `status.Convert(err).Message()` are the server's words, as in the other languages.
# Happens: The code and the details are the server's. The message is "max retries exhausted: failed after N attempts: rpc error: code = ... desc = ..." with the
#          server's words at its end. A call that was not repeated keeps them as they are, so a program that shows or compares messages sees two forms.
# Version: google.golang.org/grpc v1.85.0, Go 1.26
# Source:  stream.go (shouldRetry wraps the error with fmt.Errorf) and status/status.go (FromError takes the text of the outermost error as the message)
# Advice:  Take the status from the error that holds it: `var ended interface{ GRPCStatus() *status.Status }; errors.As(err, &ended)`. Branch on codes and details.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

cat >go.mod <<'MOD'
module finding

go 1.24

require google.golang.org/grpc v1.85.0
MOD

cat >main.go <<'GO'
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

const words = "the store is being moved"

type busy struct {
	grpc_health_v1.UnimplementedHealthServer
}

func (busy) Check(context.Context, *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
	return nil, status.Error(codes.Unavailable, words)
}

// message answers what status.Convert says of a call that may take so many attempts, and what the innermost status says.
func message(address string, attempts int) (string, string) {
	config := "{}"
	if attempts > 1 {
		config = fmt.Sprintf(`{"methodConfig": [{"name": [{}], "retryPolicy": {"maxAttempts": %d, "initialBackoff": "0.01s", "maxBackoff": "0.01s",
			"backoffMultiplier": 1, "retryableStatusCodes": ["UNAVAILABLE"]}}]}`, attempts)
	}
	connection, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultServiceConfig(config))
	if err != nil {
		panic(err)
	}
	defer connection.Close()
	_, err = grpc_health_v1.NewHealthClient(connection).Check(context.Background(), &grpc_health_v1.HealthCheckRequest{})
	var ended interface{ GRPCStatus() *status.Status }
	if !errors.As(err, &ended) {
		panic(err)
	}
	return status.Convert(err).Message(), ended.GRPCStatus().Message()
}

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	server := grpc.NewServer()
	grpc_health_v1.RegisterHealthServer(server, busy{})
	go server.Serve(listener)
	defer server.Stop()

	once, _ := message(listener.Addr().String(), 1)
	repeated, inner := message(listener.Addr().String(), 3)
	fmt.Printf("grpc-go %s\n1 attempt:  %q\n3 attempts: %q\ninnermost:  %q\n", grpc.Version, once, repeated, inner)
	wrapped := "max retries exhausted: failed after 3 attempts: rpc error: code = Unavailable desc = " + words
	if once != words || repeated != wrapped || inner != words {
		fmt.Println("CHANGED: this is not what the head of this script describes")
		os.Exit(1)
	}
}
GO

go mod tidy 2>/dev/null
go run .
