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
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	cbr "github.com/cbrgateway/cbrgateway-go/cbrgateway/v1"
)

// Kind says who ended a call.
type Kind string

const (
	Answered    Kind = "answered"    // The gateway did, with a reason.
	Unreachable Kind = "unreachable" // Nobody answers at the address, or the connection broke.
	Untrusted   Kind = "untrusted"   // The gateway's certificate is not of an authority that is trusted here, or not for this address.
	Deadline    Kind = "deadline"    // The time of the call was over before the gateway answered.
	Other       Kind = "other"       // Something else, such as a cancelled context.
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
	CallID        string            // The gateway's id of this call, for its operator.
	Metadata      map[string]string // Facts of the ErrorInfo, such as "sent" and "attempts".

	status *status.Status
}

func (e *Error) Error() string {
	if e.Kind == Answered {
		return fmt.Sprintf("%s %s: %s (call %s)", e.Code, strings.TrimPrefix(e.Reason.String(), "ERROR_REASON_"), e.Message, e.CallID)
	}
	return e.Message
}

// GRPCStatus is what package status looks for.
func (e *Error) GRPCStatus() *status.Status { return e.status }

// typed makes an Error of what gRPC returned; nil and the end of a stream stay as they are.
func typed(err error, target, requestID string) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	s := cause(err)
	e := &Error{Kind: Other, Code: s.Code(), Message: s.Message(), RequestID: requestID, status: s}
	for _, detail := range s.Details() {
		e.add(detail)
	}
	if e.Kind != Answered {
		e.explain(target)
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
		e.Kind, e.Metadata, e.Reason = Answered, d.Metadata, cbr.ErrorReason_ERROR_REASON_OTHER
		if known, ok := cbr.ErrorReason_value["ERROR_REASON_"+d.Reason]; ok {
			e.Reason = cbr.ErrorReason(known)
		}
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

// explain says what ended a call that the gateway did not answer.
func (e *Error) explain(target string) {
	switch {
	case e.Code == codes.DeadlineExceeded:
		e.Kind, e.Message = Deadline, "the deadline passed before the gateway answered: "+e.Message
	case e.Code == codes.Unavailable && isAboutCertificate(e.Message):
		e.Kind, e.Message = Untrusted, fmt.Sprintf("the certificate of the gateway at %s is not trusted: %s", target, e.Message)
	case e.Code == codes.Unavailable:
		e.Kind, e.Message = Unreachable, fmt.Sprintf("the gateway at %s cannot be reached: %s", target, e.Message)
	}
}

// isAboutCertificate knows crypto/tls by its words: gRPC keeps no more of a failed handshake. Other failures of TLS are no matter of trust: one with a
// gateway in plain text, for example.
func isAboutCertificate(message string) bool {
	return strings.Contains(message, "tls: failed to verify certificate") || strings.Contains(message, "x509:")
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
