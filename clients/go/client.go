// Package cbrgateway connects to a CBR Gateway and does three things that every caller needs and that are easy to get wrong: calls have deadlines,
// calls are repeated only where that is safe, and errors say what to do. The API itself is the generated package cbrgateway/v1.
//
//	connection, err := cbrgateway.Connect("gateway.example.com:50051", cbrgateway.APIKey(key))
//	vaults := cbr.NewVaultServiceClient(connection)
package cbrgateway

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	_ "embed"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
)

// ServiceConfig says how long each RPC may take and which are repeated. Connect uses it; a channel made in another way can, too.
//
//go:embed service_config.json
var ServiceConfig string

type settings struct {
	bearer    func(context.Context) (string, error)
	project   string
	tls       *tls.Config
	plaintext bool
	dial      []grpc.DialOption
	err       error
}

// An Option says how Connect reaches the gateway, or as whom.
type Option func(*settings)

// APIKey sends a key that the gateway's operator has made.
func APIKey(key string) Option {
	return func(s *settings) {
		s.check("APIKey", key)
		s.bearer = func(context.Context) (string, error) { return key, nil }
	}
}

// Token sends what source answers. It is asked for each call, so it should keep a token until shortly before the token expires.
func Token(source func(context.Context) (string, error)) Option {
	return func(s *settings) {
		s.bearer = func(ctx context.Context) (string, error) {
			token, err := source(ctx)
			if err == nil {
				err = header("Token", token)
			}
			return token, err
		}
	}
}

// Project names the project of all calls. Without it calls go to the tenant's default project.
func Project(id string) Option {
	return func(s *settings) {
		s.check("Project", id)
		s.project = id
	}
}

// Authorities trusts these certificate authorities (PEM) instead of the system's.
func Authorities(pem []byte) Option {
	return func(s *settings) {
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			s.err = errors.New("Authorities: no certificate in what was given; it must be PEM")
		}
		s.tls.RootCAs = pool
	}
}

// Plaintext does without TLS. The API key travels readable: for a gateway on this machine only.
func Plaintext() Option {
	return func(s *settings) { s.plaintext = true }
}

// DialOptions passes gRPC's own options on: interceptors, which see each call as it is sent, stats handlers, and whatever else gRPC has. They count before ours.
func DialOptions(options ...grpc.DialOption) Option {
	return func(s *settings) { s.dial = append(s.dial, options...) }
}

func (s *settings) check(option, value string) {
	if err := header(option, value); err != nil {
		s.err = err
	}
}

// header refuses what gRPC would send damaged or not at all. The error must not show the value: it may be a secret.
func header(option, value string) error {
	if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r > '~' }) {
		return fmt.Errorf("%s: what was given cannot be sent in a header; it must be printable ASCII, without a line end", option)
	}
	return nil
}

// Connect makes a connection for the generated clients. The address is host:port, or a name that gRPC resolves, such as dns:///host:port. Nothing is sent before
// the first call.
func Connect(address string, options ...Option) (*grpc.ClientConn, error) {
	s := settings{tls: &tls.Config{}}
	for _, option := range options {
		option(&s)
	}
	if err := cmp.Or(checkAddress(address), s.err); err != nil {
		return nil, err
	}
	transport := credentials.NewTLS(s.tls)
	if s.plaintext {
		transport = insecure.NewCredentials()
	}
	at := peer{address, s.plaintext}
	reconnect := backoff.DefaultConfig
	reconnect.MaxDelay = 5 * time.Second // The gateway is soon used again after it was away for long.
	return grpc.NewClient(address, append([]grpc.DialOption{
		grpc.WithTransportCredentials(transport),
		grpc.WithPerRPCCredentials(caller{s}),
		grpc.WithDefaultServiceConfig(ServiceConfig),
		// Requests of up to 1 MiB are repeated, too. gRPC would keep none above 256 KiB for that.
		grpc.WithDefaultCallOptions(grpc.MaxRetryRPCBufferSize(2 << 20)),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: reconnect, MinConnectTimeout: 20 * time.Second}),
		// A connection that died without a word is noticed by calls that wait on it.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second, PermitWithoutStream: false}),
		grpc.WithChainUnaryInterceptor(at.unary),
		grpc.WithChainStreamInterceptor(at.stream),
	}, s.dial...)...)
}

// caller puts the metadata of the caller on each call.
type caller struct{ settings }

func (c caller) GetRequestMetadata(ctx context.Context, _ ...string) (map[string]string, error) {
	found := map[string]string{}
	if c.bearer != nil {
		bearer, err := c.bearer(ctx)
		if err != nil {
			return nil, err
		}
		found["authorization"] = "Bearer " + bearer
	}
	if c.project != "" {
		found["x-cbr-project-id"] = c.project
	}
	return found, nil
}

func (c caller) RequireTransportSecurity() bool { return !c.plaintext }

// peer is whom calls go to, and how, for the text of their errors.
type peer struct {
	address   string
	plaintext bool
}

// unary stands above gRPC's own retries, so all attempts of a call send the same request with the same request_id.
func (p peer) unary(ctx context.Context, method string, request, reply any, connection *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
	request, id := withRequestID(ctx, method, request.(proto.Message))
	return typed(invoke(ctx, method, request, reply, connection, options...), p, id)
}

func (p peer) stream(ctx context.Context, description *grpc.StreamDesc, connection *grpc.ClientConn, method string, open grpc.Streamer, options ...grpc.CallOption) (grpc.ClientStream, error) {
	opened, err := open(ctx, description, connection, method, options...)
	return typedStream{opened, p}, typed(err, p, "")
}

type typedStream struct {
	grpc.ClientStream
	peer peer
}

func (s typedStream) SendMsg(message any) error {
	return typed(s.ClientStream.SendMsg(message), s.peer, "")
}

func (s typedStream) RecvMsg(message any) error {
	return typed(s.ClientStream.RecvMsg(message), s.peer, "")
}

// retriedID is the key of the request_id that RetryWhenLimited keeps for its change.
type retriedID struct{}

// withRequestID answers the request of a change with its request_id filled, and the id. The caller's own message stays as it is: used again for another
// change it must not carry the id of this one.
func withRequestID(ctx context.Context, method string, request proto.Message) (any, string) {
	field := request.ProtoReflect().Descriptor().Fields().ByName("request_id")
	if field == nil || isRead(method) {
		return request, ""
	}
	if given := request.ProtoReflect().Get(field).String(); given != "" {
		return request, given
	}
	filled := proto.Clone(request)
	id, kept := ctx.Value(retriedID{}).(string)
	if !kept {
		id = rand.Text()
	}
	filled.ProtoReflect().Set(field, protoreflect.ValueOfString(id))
	return filled, id
}

// isRead says whether "/package.Service/Method" changes nothing. In such a request request_id is a filter.
func isRead(method string) bool {
	name := strings.ReplaceAll(strings.TrimPrefix(method, "/"), "/", ".")
	found, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(name))
	if err != nil {
		return true
	}
	options, _ := found.Options().(*descriptorpb.MethodOptions)
	return options.GetIdempotencyLevel() == descriptorpb.MethodOptions_NO_SIDE_EFFECTS
}
