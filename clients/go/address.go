package cbrgateway

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

var (
	// How a name begins that gRPC itself resolves.
	ofGRPC = regexp.MustCompile(`^(?:(?:dns|ipv4|ipv6|unix|unix-abstract|vsock|xds):|[a-z][a-z0-9+.-]*:///)`)
	ipv6   = regexp.MustCompile(`^[0-9A-Fa-f:.]*:[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*(?:%.*)?$`)
	// Host, and what stands behind the colon.
	place = regexp.MustCompile(`^([\w.-]+|\[[0-9A-Fa-f:.]+(?:%[\w.-]+)?\])(:(.*))?$`)
)

// checkAddress says what to write in the place of what can be no address. clients/addresses.json has the mistakes, for all languages.
func checkAddress(address string) error {
	if wrong := mistake(address); wrong != "" {
		return fmt.Errorf("the address %q %s", address, wrong)
	}
	return nil
}

func mistake(address string) string {
	if address == "" {
		return "is empty: write host:port"
	}
	if ofGRPC.MatchString(address) {
		return ""
	}
	if _, rest, isURL := strings.Cut(address, "://"); isURL {
		return fmt.Sprintf("is a URL: write %s, and leave TLS to the options", placeOfURL(rest))
	}
	if ipv6.MatchString(address) {
		return "is IPv6 without brackets: write it as [::1]:50051"
	}
	found := place.FindStringSubmatch(address)
	switch {
	case found == nil:
		return "is not host:port: write it as 127.0.0.1:50051"
	case found[2] == "":
		return fmt.Sprintf("has no port: write %s:50051", found[1])
	case !isPort(found[3]):
		return fmt.Sprintf("has no port from 1 to 65535: write %s:50051", found[1])
	}
	return ""
}

// placeOfURL is the place of a URL as an address, as far as it has one.
func placeOfURL(rest string) string {
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		rest = rest[:end]
	}
	if !strings.Contains(rest[strings.LastIndex(rest, "]")+1:], ":") {
		rest += ":50051"
	}
	if mistake(rest) != "" {
		return "host:port"
	}
	return rest
}

func isPort(text string) bool {
	port, err := strconv.ParseUint(text, 10, 16)
	return err == nil && port > 0
}
