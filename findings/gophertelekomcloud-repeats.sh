#!/usr/bin/env bash
# Guess:   Open Telekom Cloud's Go library (below its Terraform provider) repeats nothing but what the cloud refused: after a 429 it waits and tries again, up to
#          MaxBackoffRetries times for each request (20 by itself). A POST that ended in a 502 or 504 is an error, since it may have been carried out.
# Happens: A 502 or 504 is repeated once, whatever the method: a gateway that gives up on CreateVault while CBR goes on makes two vaults of one call, and the second one
#          alone is known to the caller. And MaxBackoffRetries is counted down for the whole life of the client, by all requests together, never up: after 20 waits
#          in hours or days every 429 is an error at once, although waiting was asked for.
# Version: github.com/opentelekomcloud/gophertelekomcloud v0.9.4-0.20241022142145-30e3307593c0, Go 1.26
# Source:  running it; `Request` in provider_client.go, issue 111 and pull request 112 (2021) of gophertelekomcloud for the gateways' answers
# Advice:  RetryCount is an option of a request that vaults.Create does not take, so list by a name of your own after each create, and remove the second one. Give each
#          unit of work a ProviderClient of its own, or set MaxBackoffRetries anew before it.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

cat >go.mod <<'MOD'
module finding

go 1.24

require github.com/opentelekomcloud/gophertelekomcloud v0.9.4-0.20241022142145-30e3307593c0
MOD

cat >main.go <<'GO'
package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"time"

	golangsdk "github.com/opentelekomcloud/gophertelekomcloud"
	"github.com/opentelekomcloud/gophertelekomcloud/openstack/cbr/v3/vaults"
)

// cloud answers the first requests with a status of its choice. It makes a vault for each POST that a limit did not refuse: also where the gateway before it gave up.
type cloud struct{ asked, made, refused, status int }

func (c *cloud) ServeHTTP(answer http.ResponseWriter, request *http.Request) {
	io.Copy(io.Discard, request.Body)
	c.asked++
	failed := c.asked <= c.refused
	if !failed || c.status != http.StatusTooManyRequests {
		c.made++
	}
	if failed {
		answer.WriteHeader(c.status)
		return
	}
	answer.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(answer, `{"vault": {"id": "v%d"}}`, c.made)
}

// create makes one call, and tells what the cloud saw of it and what the caller heard.
func create(client *golangsdk.ProviderClient, status, refused int) string {
	seen := &cloud{status: status, refused: refused}
	server := httptest.NewServer(seen)
	defer server.Close()
	service := &golangsdk.ServiceClient{ProviderClient: client, Endpoint: server.URL + "/v3/p/"}
	billing := &vaults.BillingCreate{Size: 100, ObjectType: "server", ProtectType: "backup", ConsistentLevel: "crash_consistent"}
	vault, err := vaults.Create(service, vaults.CreateOpts{Name: "web", Billing: billing, Resources: []vaults.ResourceCreate{}})
	heard := "an error"
	if err == nil {
		heard = vault.ID
	}
	return fmt.Sprintf("asked %d, made %d, heard %s", seen.asked, seen.made, heard)
}

func main() {
	wait, retries := time.Millisecond, 3
	client := &golangsdk.ProviderClient{TokenID: "token", BackoffRetryTimeout: &wait, MaxBackoffRetries: &retries}
	changed := false
	for _, each := range []struct {
		words           string
		status, refused int
		seen            string
	}{
		{"a 500", 500, 1, "asked 1, made 1, heard an error"},
		{"a 502", 502, 1, "asked 2, made 2, heard v2"},
		{"a 504", 504, 1, "asked 2, made 2, heard v2"},
		{"two 429s of three", 429, 2, "asked 3, made 1, heard v1"},
		{"two 429s again", 429, 2, "asked 2, made 0, heard an error"},
		{"one 429", 429, 1, "asked 1, made 0, heard an error"},
	} {
		seen := create(client, each.status, each.refused)
		fmt.Printf("%-18s %s\n", each.words+":", seen)
		changed = changed || seen != each.seen
	}
	if changed {
		fmt.Println("CHANGED: this is not what the head of this script describes")
		os.Exit(1)
	}
}
GO

go mod tidy 2>/dev/null
go run .
