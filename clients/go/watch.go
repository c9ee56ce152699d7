package cbrgateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	cbr "github.com/cbrgateway/cbrgateway-go/cbrgateway/v1"
)

const (
	defaultHeartbeat = 20 * time.Second
	longestHeartbeat = time.Hour // The gateway refuses one that is longer, and any that is not positive.
	firstPause       = 200 * time.Millisecond
	longestPause     = 20 * time.Second
	reconnectTimeout = time.Minute // After failures alone for longer, the next one ends the watch.
	maxRemembered    = 10_000      // Tasks whose last revision is known. One that was forgotten may be told twice.
)

// Watch follows tasks through cuts and restarts of the gateway, until all are final (end_when_all_terminal), the loop is left, ctx ends, or the connection is closed.
//
// It yields every event but stream_end and those of a task that came before, by its id and revision. An error is the last that it yields: a refusal, or a
// gateway that could not be reached for a minute. Handle gap: events may be missing, a whole snapshot follows. A request with the resume_token of the last event
// goes on from there, also in another process.
func Watch(ctx context.Context, tasks cbr.TaskServiceClient, request *cbr.WatchTasksRequest) iter.Seq2[*cbr.WatchTasksResponse, error] {
	return func(yield func(*cbr.WatchTasksResponse, error) bool) {
		w := watch{request: proto.Clone(request).(*cbr.WatchTasksRequest), revisions: map[string]int64{}}
		for {
			left, err := w.stream(ctx, tasks, yield)
			if left {
				return
			}
			pause, gap, err := w.ended(ctx, err)
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				yield(nil, err)
				return
			}
			if gap != nil && !yield(gap, nil) {
				return
			}
			select {
			case <-ctx.Done():
				yield(nil, typed(status.FromContextError(ctx.Err()).Err(), peer{}, ""))
				return
			case <-time.After(pause):
			}
		}
	}
}

// closed is what gRPC says of a connection on which Close was called.
var closed = status.Convert(grpc.ErrClientConnClosing).Message()

// watch is what is remembered between streams.
type watch struct {
	request   *cbr.WatchTasksRequest
	sequence  int64
	end       *cbr.StreamEnd
	failing   time.Time // When the first of the failures was that no event has followed.
	failures  int
	revisions map[string]int64
	order     []string // Ids in revisions, the oldest first.
}

// stream reads one stream to its end; left says that the caller wants no more.
func (w *watch) stream(ctx context.Context, tasks cbr.TaskServiceClient, yield func(*cbr.WatchTasksResponse, error) bool) (left bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := defaultHeartbeat * 5 / 2
	if own := w.request.HeartbeatInterval.AsDuration(); 0 < own && own <= longestHeartbeat {
		silence = own * 5 / 2
	}
	alarm := time.AfterFunc(silence, func() { cancel(lost("no sign of life for %s", silence)) })
	defer alarm.Stop()
	w.sequence, w.end = 0, nil
	opened, err := tasks.WatchTasks(ctx, w.request)
	for err == nil {
		var event *cbr.WatchTasksResponse
		if event, err = opened.Recv(); err == nil {
			alarm.Stop() // The time that the caller takes is no silence.
			var news bool
			if news, err = w.take(event); news && !yield(event, nil) {
				return true, nil
			}
			alarm.Reset(silence)
		}
	}
	var cut *Error
	if errors.As(context.Cause(ctx), &cut) {
		return false, cut
	}
	return false, err
}

// take says whether an event is news for the caller.
func (w *watch) take(event *cbr.WatchTasksResponse) (bool, error) {
	if event.Sequence != w.sequence+1 {
		return false, lost("event %d is missing, %d came instead", w.sequence+1, event.Sequence)
	}
	w.sequence, w.failures = event.Sequence, 0
	if event.ResumeToken != "" {
		w.request.ResumeToken = event.ResumeToken
	}
	switch e := event.Event.(type) {
	case *cbr.WatchTasksResponse_StreamEnd:
		w.end = e.StreamEnd
		return false, nil
	case *cbr.WatchTasksResponse_Gap:
		w.forget()
	case *cbr.WatchTasksResponse_SnapshotTask:
		return w.isNew(e.SnapshotTask), nil
	case *cbr.WatchTasksResponse_Update:
		return w.isNew(e.Update.Task), nil
	case *cbr.WatchTasksResponse_Terminal:
		return w.isNew(e.Terminal.Task), nil
	}
	return true, nil
}

// forget makes the snapshot after a gap news as a whole: what is not in it is gone.
func (w *watch) forget() {
	clear(w.revisions)
	w.order = nil
}

func (w *watch) isNew(task *cbr.Task) bool {
	last, known := w.revisions[task.Id]
	if known && task.Revision <= last {
		return false
	}
	w.revisions[task.Id] = task.Revision
	if !known {
		w.order = append(w.order, task.Id)
	}
	if len(w.order) > maxRemembered {
		delete(w.revisions, w.order[0])
		w.order = w.order[1:]
	}
	return true
}

// ended says what follows the end of a stream: a pause before the next one, io.EOF when the watch is over, or the error that ends it.
func (w *watch) ended(ctx context.Context, err error) (pause time.Duration, gap *cbr.WatchTasksResponse, _ error) {
	if errors.Is(err, io.EOF) && w.end != nil {
		if w.end.Reason == cbr.StreamEndReason_STREAM_END_REASON_ALL_TERMINAL {
			return 0, nil, io.EOF
		}
		return w.end.RetryDelay.AsDuration(), nil, nil
	}
	var e *Error
	switch {
	case errors.Is(err, io.EOF):
		e = lost("it ended without stream_end")
	case !errors.As(err, &e): // Of a connection that Connect has not made.
		e = typed(err, peer{address: "its address"}, "").(*Error)
	}
	if e.Code == codes.OutOfRange && w.request.ResumeToken != "" {
		w.request.ResumeToken, w.request.IncludeSnapshot = "", nil
		w.forget()
		return 0, &cbr.WatchTasksResponse{Event: &cbr.WatchTasksResponse_Gap{Gap: &cbr.WatchGap{Reason: e.Error()}}}, nil
	}
	if w.failures == 0 {
		w.failing = time.Now()
	}
	if ctx.Err() != nil || !w.isCut(e) || time.Since(w.failing) > reconnectTimeout {
		return 0, nil, e
	}
	pause = min(longestPause, firstPause<<min(w.failures, 10))
	w.failures++
	return max(rand.N(pause), e.RetryDelay), nil, nil
}

// isCut says whether a new stream can go on where this one broke.
func (w *watch) isCut(e *Error) bool {
	switch e.Code {
	case codes.Canceled: // By the gateway, or between; a connection that was closed here stays so.
		return e.Message != closed
	case codes.Unavailable, codes.Aborted:
		return true
	case codes.ResourceExhausted: // The places of lost streams are still taken for a while.
		return w.request.ResumeToken != "" || e.Reason == cbr.ErrorReason_ERROR_REASON_OVERLOADED
	case codes.Internal, codes.Unknown: // Something between the gateway and us.
		return e.Kind != Answered
	}
	return false
}

// lost is how a stream ends that does not tell its end.
func lost(format string, arguments ...any) *Error {
	message := "the stream was lost: " + fmt.Sprintf(format, arguments...)
	return &Error{Kind: Unreachable, Code: codes.Unavailable, Message: message, status: status.New(codes.Unavailable, message)}
}
