package cbrgateway

import (
	"context"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	cbr "github.com/cbrgateway/cbrgateway-go/cbrgateway/v1"
)

// played is a stream that plays events, and then ends so.
type played struct {
	grpc.ClientStream
	ctx    context.Context
	events []*cbr.WatchTasksResponse
	end    error
}

func (p *played) Recv() (*cbr.WatchTasksResponse, error) {
	if p.ctx.Err() != nil {
		return nil, status.FromContextError(p.ctx.Err()).Err()
	}
	if len(p.events) == 0 {
		return nil, p.end
	}
	next := p.events[0]
	p.events = p.events[1:]
	return next, nil
}

// playing is a client of a connection that Connect has not made. It plays one stream after the other, the last one again and again.
type playing struct {
	cbr.TaskServiceClient
	streams []played
	opened  int
}

func (p *playing) WatchTasks(ctx context.Context, _ *cbr.WatchTasksRequest, _ ...grpc.CallOption) (grpc.ServerStreamingClient[cbr.WatchTasksResponse], error) {
	stream := p.streams[min(p.opened, len(p.streams)-1)]
	stream.ctx = ctx
	p.opened++
	return &stream, nil
}

var (
	heartbeat = &cbr.WatchTasksResponse{Sequence: 1, Event: &cbr.WatchTasksResponse_Heartbeat{Heartbeat: &cbr.WatchHeartbeat{}}}
	allEnded  = &cbr.StreamEnd{Reason: cbr.StreamEndReason_STREAM_END_REASON_ALL_TERMINAL}
	away      = played{end: status.Error(codes.Unavailable, "away")}
)

func over(sequence int64) *cbr.WatchTasksResponse {
	return &cbr.WatchTasksResponse{Sequence: sequence, Event: &cbr.WatchTasksResponse_StreamEnd{StreamEnd: allEnded}}
}

// watched answers the error of a watch whose caller takes two minutes for each event.
func watched(p *playing) (err error) {
	for _, err = range Watch(context.Background(), p, &cbr.WatchTasksRequest{}) {
		time.Sleep(2 * time.Minute)
	}
	return err
}

func TestASlowCallerIsNoSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &playing{streams: []played{{events: []*cbr.WatchTasksResponse{heartbeat, over(2)}, end: io.EOF}, away}}
		if err := watched(p); err != nil || p.opened != 1 {
			t.Error(err, p.opened)
		}
	})
}

func TestTheTimeOfASlowCallerIsNoneOfAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cut := played{events: []*cbr.WatchTasksResponse{heartbeat}, end: away.end}
		p := &playing{streams: []played{cut, away, away, {events: []*cbr.WatchTasksResponse{over(1)}, end: io.EOF}}}
		if err := watched(p); err != nil {
			t.Error(err)
		}
	})
}

func TestAnOutageOfAMinuteEndsAWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		err := watched(&playing{streams: []played{away}})
		failed(t, err, codes.Unavailable, "away")
		if took := time.Since(began) - 2*time.Minute; took < time.Minute || took > 2*time.Minute {
			t.Error(took)
		}
	})
}

func TestARefusalOfAnotherConnectionEndsAWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &playing{streams: []played{{end: status.Error(codes.PermissionDenied, "not yours")}}}
		failed(t, watched(p), codes.PermissionDenied, "not yours")
		if p.opened != 1 {
			t.Error(p.opened)
		}
	})
}

func TestARequestThatCannotBeSentEndsInATypedError(t *testing.T) {
	tasks := cbr.NewTaskServiceClient(script(t, "CBR_TEST_SCRIPT_ADDRESS", Plaintext()))
	_, err := tasks.WatchTasks(context.Background(), &cbr.WatchTasksRequest{ResumeToken: "\xff"})
	failed(t, err, codes.Internal, "UTF-8")
}

func TestAListThatDoesNotGoOnEnds(t *testing.T) {
	asked := 0
	standing := func(context.Context, *cbr.ListVaultsRequest, ...grpc.CallOption) (*cbr.ListVaultsResponse, error) {
		asked++
		return &cbr.ListVaultsResponse{NextPageToken: "same"}, nil
	}
	var last error
	for _, err := range Pages(context.Background(), standing, &cbr.ListVaultsRequest{}) {
		if last = err; asked > 2 {
			break
		}
	}
	if e := failed(t, last, codes.Internal); !strings.Contains(e.Error(), "does not go on") || asked != 2 {
		t.Error(asked, e)
	}
}

func TestCloseEndsAWatch(t *testing.T) {
	connection := script(t, "CBR_TEST_SCRIPT_ADDRESS", Plaintext())
	watch := &cbr.WatchTasksRequest{Filter: &cbr.TaskFilter{SubmissionIds: []string{"open"}}}
	var ended error
	for event, err := range Watch(context.Background(), cbr.NewTaskServiceClient(connection), watch) {
		if ended = err; event.GetSnapshotEnd() != nil {
			connection.Close()
		}
	}
	failed(t, ended, codes.Canceled, "closing")
}
