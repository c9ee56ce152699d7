package cbrgateway

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	cbr "github.com/cbrgateway/cbrgateway-go/cbrgateway/v1"
)

// Kind says who ended a call.
type Kind string

const (
	Answered           Kind = "answered"            // The gateway did, with a reason.
	Unreachable        Kind = "unreachable"         // Nobody answers at the address, or the connection broke.
	Untrusted          Kind = "untrusted"           // The gateway's certificate is not of an authority that is trusted here, or not for this address.
	ExpiredCertificate Kind = "expired_certificate" // The gateway's certificate is out of date, or not valid yet.
	PlaintextExpected  Kind = "plaintext_expected"  // The port speaks plain text, and we TLS.
	TLSExpected        Kind = "tls_expected"        // The port speaks TLS, and we plain text.
	Deadline           Kind = "deadline"            // The time of the call was over before the gateway answered.
	Other              Kind = "other"               // Something else, such as a cancelled context.
)

// Error is what every failed call of a connection made by Connect returns: errors.As finds it, and status.FromError works as ever.
type Error struct {
	Kind          Kind
	Code          codes.Code
	Reason        cbr.ErrorReason // OTHER for one that is newer than this package.
	Message       string
	Fields        []*errdetails.BadRequest_FieldViolation
	Preconditions []*errdetails.PreconditionFailure_Violation
	Quotas        []*errdetails.QuotaFailure_Violation
	Resource      *errdetails.ResourceInfo
	RetryDelay    time.Duration     // How long to wait before a repeat; zero where the gateway did not say.
	RequestID     string            // Of a change: repeat it with this id to learn what became of it.
	StillOpen     []string          // Of a wait whose time was up: the ids of what goes on.
	CallID        string            // The gateway's id of this call, for its operator.
	Metadata      map[string]string // Facts of the ErrorInfo, such as "sent" and "attempts".

	status *status.Status
}

func (e *Error) Error() string {
	text := e.Message
	if e.Kind == Answered {
		text = fmt.Sprintf("%s %s: %s", e.Code, reasonName(e.Reason), e.Message)
	}
	if len(e.Fields) > 1 {
		for _, field := range e.Fields {
			text += fmt.Sprintf("; %s: %s", field.Field, field.Description)
		}
	}
	var ids []string
	if e.CallID != "" {
		ids = append(ids, "call "+e.CallID)
	}
	if e.RequestID != "" {
		ids = append(ids, "request_id "+e.RequestID)
	}
	if ids == nil {
		return text
	}
	return fmt.Sprintf("%s (%s)", text, strings.Join(ids, ", "))
}

func reasonName(reason cbr.ErrorReason) string {
	return strings.TrimPrefix(reason.String(), "ERROR_REASON_")
}

// GRPCStatus is what package status looks for.
func (e *Error) GRPCStatus() *status.Status { return e.status }

// typed makes an Error of what gRPC returned; nil and the end of a stream stay as they are.
func typed(err error, at peer, requestID string) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	s := cause(err)
	e := &Error{Kind: Other, Code: s.Code(), Message: s.Message(), RequestID: requestID, status: s}
	for _, detail := range s.Details() {
		e.add(detail)
	}
	if e.Kind != Answered {
		e.explain(at)
	}
	return e
}

// cause answers the status that ended the call, as it came: where gRPC has given up its repeats, status.Convert would put gRPC's words into its message.
func cause(err error) *status.Status {
	var ended interface{ GRPCStatus() *status.Status }
	if errors.As(err, &ended) {
		return ended.GRPCStatus()
	}
	return status.Convert(err)
}

func (e *Error) add(detail any) {
	switch d := detail.(type) {
	case *errdetails.ErrorInfo:
		e.Kind, e.Metadata, e.Reason = Answered, d.Metadata, reasonOf(d.Reason)
	case *errdetails.RequestInfo:
		e.CallID = d.RequestId
	case *errdetails.RetryInfo:
		e.RetryDelay = d.RetryDelay.AsDuration()
	case *errdetails.BadRequest:
		e.Fields = d.FieldViolations
	case *errdetails.PreconditionFailure:
		e.Preconditions = d.Violations
	case *errdetails.QuotaFailure:
		e.Quotas = d.Violations
	case *errdetails.ResourceInfo:
		e.Resource = d
	}
}

// reasonOf is OTHER for one that is newer than this package.
func reasonOf(name string) cbr.ErrorReason {
	if known, ok := cbr.ErrorReason_value["ERROR_REASON_"+name]; ok {
		return cbr.ErrorReason(known)
	}
	return cbr.ErrorReason_ERROR_REASON_OTHER
}

// reasonIn is the reason of an error that stands in an event.
func reasonIn(failure *spb.Status) cbr.ErrorReason {
	for _, detail := range status.FromProto(failure).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			return reasonOf(info.Reason)
		}
	}
	return cbr.ErrorReason_ERROR_REASON_UNSPECIFIED
}

// explain says what ended a call that the gateway did not answer, and what to do.
func (e *Error) explain(at peer) {
	switch {
	case e.Code == codes.DeadlineExceeded:
		e.Kind, e.Message = Deadline, "the deadline passed before the gateway answered: "+e.Message
		if e.RequestID != "" {
			e.Message += ". It is not known whether the change was made: make it again with the same request_id, and it is made once"
		}
	case e.Code == codes.Unavailable:
		what := "the gateway at %s cannot be reached"
		e.Kind = Unreachable
		for _, each := range connections {
			if strings.Contains(e.Message, each.words) {
				e.Kind, what = each.kind, each.what
				break
			}
		}
		if at.plaintext && strings.Contains(e.Message, "error reading server preface") {
			e.Kind, what = TLSExpected, "the port %s does not speak plain text; connect without Plaintext()"
		}
		e.Message = fmt.Sprintf(what+": %s", at.address, e.Message)
	case e.Code == codes.Unimplemented:
		e.Message += ". What answers there does not have the RPC: it may be the health port, another service, or an older gateway"
	}
}

// connections knows crypto/tls and HTTP/2 by their words: gRPC keeps no more of a connection that failed. The first that is found counts.
var connections = []struct {
	words string
	kind  Kind
	what  string
}{
	{"certificate has expired", ExpiredCertificate, "the certificate of the gateway at %s is out of date, or not valid yet; its operator has to renew it, and look at the clock of this machine"},
	{"tls: failed to verify certificate", Untrusted, "the certificate of the gateway at %s is not trusted; name its authorities (Authorities), and the gateway by a name that its certificate has"},
	{"x509:", Untrusted, "the certificate of the gateway at %s is not trusted; name its authorities (Authorities), and the gateway by a name that its certificate has"},
	{"first record does not look like a TLS handshake", PlaintextExpected, "the port %s speaks plain text and the call used TLS; connect with Plaintext(), or to a port with TLS"},
	{"error reading server preface: EOF", Unreachable, "the gateway at %s ended the connection; look whether it still runs, and where it wants a certificate of the caller, give one with ClientCertificateFiles"},
	{"remote error: tls: certificate required", Unreachable, "the gateway at %s wants a certificate of the caller; give one with ClientCertificateFiles"},
}

// RetryWhenLimited makes a call, and again after the delay that the gateway asks for, as long as a limit of the gateway refuses it and ctx has time for it.
//
// The call must use the context that it gets and make one change at most: all tries have one request_id, by which the gateway knows a change that it has
// made already. It may have: a limit can refuse the repeat, by gRPC, of a change whose answer was lost.
func RetryWhenLimited(ctx context.Context, call func(context.Context) error) error {
	ctx = context.WithValue(ctx, retriedID{}, rand.Text())
	for {
		err := call(ctx)
		var refused *Error
		if !errors.As(err, &refused) || refused.Code != codes.ResourceExhausted || refused.RetryDelay <= 0 {
			return err
		}
		if end, ok := ctx.Deadline(); ok && time.Until(end) < refused.RetryDelay {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(refused.RetryDelay):
		}
	}
}
