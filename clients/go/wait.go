package cbrgateway

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	cbr "github.com/cbrgateway/cbrgateway-go/cbrgateway/v1"
)

// mostIDs of a kind fit into the filter of one watch.
const mostIDs = 100

// Target is what Wait waits for: a *cbr.Submission, a *cbr.Task, or a TaskID.
type Target interface{ GetId() string }

// TaskID is a task of which only the id is known.
type TaskID string

// GetId is the id itself; its name is that of the generated messages.
func (id TaskID) GetId() string { return string(id) }

// Submitted is the answer of a change that starts work.
type Submitted interface{ GetSubmission() *cbr.Submission }

// Ended is work that has ended well.
type Ended struct {
	Tasks   []*cbr.Task            // Those that have succeeded, in the order of their ends.
	Skipped []*cbr.SkippedResource // Resources that CBR left out of the work, with code and reason.
}

// Failure is one task that did not succeed; or a submission that came to nothing, or nobody knows to what.
type Failure struct {
	ID      string          // Of the task, or of the submission.
	Task    *cbr.Task       // As it was last seen. Nil: it is a submission, or nothing is known of the task.
	Code    string          // CBR's, such as "BackupService.6125". Empty: CBR gave none.
	Reason  cbr.ErrorReason // Ours.
	Message string
}

// TaskFailed is the error of work that has ended, and not all of it well.
type TaskFailed struct {
	Failures []Failure
	Ended    Ended // What did end well, and what was skipped.
}

func (e *TaskFailed) Error() string {
	lines := []string{fmt.Sprintf("%d failed, %d succeeded:", len(e.Failures), len(e.Ended.Tasks))}
	for _, f := range e.Failures {
		lines = append(lines, fmt.Sprintf("%s: %s (%s)", f.ID, f.Message, strings.TrimPrefix(strings.Join([]string{f.Code, reasonName(f.Reason)}, ", "), ", ")))
	}
	for _, skipped := range e.Ended.Skipped {
		lines = append(lines, fmt.Sprintf("skipped %s: %s (%s)", skipped.Id, skipped.Reason, skipped.Code))
	}
	return strings.Join(lines, "\n  ")
}

// Wait waits until work has ended, by one stream at a time, however much it is, and for as long as ctx allows.
//
// It returns a *TaskFailed when all has ended and not all has succeeded. An *Error of kind Deadline has in StillOpen what has not ended in time; other errors are
// those of Watch.
func Wait(ctx context.Context, connection grpc.ClientConnInterface, what ...Target) (Ended, error) {
	w, err := newWork(what)
	if err != nil {
		return Ended{}, err
	}
	// Without the deadline of ctx: the gateway ends a stream before it, and it is we who tell what is still open.
	watching, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	defer context.AfterFunc(ctx, stop)()
	for _, filter := range w.filters() {
		request := &cbr.WatchTasksRequest{Filter: filter, EndWhenAllTerminal: true}
		for event, err := range Watch(watching, cbr.NewTaskServiceClient(connection), request) {
			switch {
			case errors.Is(ctx.Err(), context.DeadlineExceeded):
				return Ended{}, w.late()
			case ctx.Err() != nil:
				return Ended{}, typed(status.FromContextError(ctx.Err()).Err(), peer{}, "")
			case err != nil:
				return Ended{}, err
			}
			w.take(event)
		}
	}
	return w.outcome()
}

// RunAndWait makes a change and waits for the work that it has started. The answer of the change is there also when the wait fails.
func RunAndWait[A Submitted](ctx context.Context, connection grpc.ClientConnInterface, call func(context.Context) (A, error)) (A, Ended, error) {
	answer, err := call(ctx)
	if err != nil {
		return answer, Ended{}, err
	}
	ended, err := Wait(ctx, connection, answer.GetSubmission())
	return answer, ended, err
}

// work is what one wait is for, and what is known of it.
type work struct {
	taskIDs, submissionIDs []string
	submissions            inOrder[*cbr.Submission]
	seen, ended            inOrder[*cbr.Task]
	removed                inOrder[*cbr.TaskRemoval]
}

func newWork(what []Target) (*work, error) {
	w := &work{}
	for _, target := range what {
		ids := &w.taskIDs
		switch target.(type) {
		case *cbr.Submission:
			ids = &w.submissionIDs
		case *cbr.Task, TaskID:
		default:
			return nil, fmt.Errorf("Wait: a %T is neither a submission nor a task", target)
		}
		if target.GetId() == "" {
			return nil, errors.New("Wait: what is waited for has no id: the answer of the change came without its submission, " +
				"since it was only validated or could not be recorded; look for its tasks with ListTasks")
		}
		if !slices.Contains(*ids, target.GetId()) {
			*ids = append(*ids, target.GetId())
		}
	}
	return w, nil
}

// filters are those of the watches that follow all of it, one after the other: what has ended by then is told at once.
func (w *work) filters() []*cbr.TaskFilter {
	var filters []*cbr.TaskFilter
	for ids := range slices.Chunk(w.submissionIDs, mostIDs) {
		filters = append(filters, &cbr.TaskFilter{SubmissionIds: ids})
	}
	for ids := range slices.Chunk(w.taskIDs, mostIDs) {
		filters = append(filters, &cbr.TaskFilter{TaskIds: ids})
	}
	return filters
}

func (w *work) take(event *cbr.WatchTasksResponse) {
	switch e := event.Event.(type) {
	case *cbr.WatchTasksResponse_Submission:
		w.submissions.put(e.Submission.Id, e.Submission)
	case *cbr.WatchTasksResponse_SnapshotTask:
		w.seen.put(e.SnapshotTask.Id, e.SnapshotTask)
	case *cbr.WatchTasksResponse_Update:
		w.seen.put(e.Update.Task.Id, e.Update.Task)
	case *cbr.WatchTasksResponse_Terminal:
		w.ended.put(e.Terminal.Task.Id, e.Terminal.Task)
	case *cbr.WatchTasksResponse_Removed:
		w.removed.put(e.Removed.TaskId+e.Removed.SubmissionId, e.Removed) // One of them is empty.
	}
}

// outcome is told when all watches are over.
func (w *work) outcome() (Ended, error) {
	var ended Ended
	var failures []Failure
	for _, task := range w.ended.all() {
		if task.Status == cbr.TaskStatus_TASK_STATUS_SUCCEEDED {
			ended.Tasks = append(ended.Tasks, task)
		} else {
			failures = append(failures, failedTask(task))
		}
	}
	for id, removal := range w.removed.all() {
		if !w.ended.has(id) {
			failures = append(failures, lostTask(id, removal, w.seen.of[id]))
		}
	}
	for id, submission := range w.submissions.all() {
		ended.Skipped = append(ended.Skipped, submission.SkippedResources...)
		switch {
		case submission.State == cbr.SubmissionState_SUBMISSION_STATE_NOT_STARTED && len(submission.SkippedResources) == 0:
			failures = append(failures, Failure{ID: id, Message: "no work was started"})
		case submission.State == cbr.SubmissionState_SUBMISSION_STATE_UNDECIDED:
			message := "it cannot be told whether CBR has it: " + submission.StateReason
			failures = append(failures, Failure{ID: id, Reason: cbr.ErrorReason_ERROR_REASON_OUTCOME_UNKNOWN, Message: message})
		}
	}
	if failures != nil {
		return Ended{}, &TaskFailed{failures, ended}
	}
	return ended, nil
}

// late is the error of a wait whose time was up.
func (w *work) late() *Error {
	open := w.stillOpen()
	named := strings.Join(open[:min(len(open), 10)], ", ")
	if len(open) > 10 {
		named += fmt.Sprintf(" and %d more", len(open)-10)
	}
	message := fmt.Sprintf("the time was up before these had ended: %s. The work goes on: wait for it again, with more time", named)
	return &Error{Kind: Deadline, Code: codes.DeadlineExceeded, Message: message, StillOpen: open, status: status.New(codes.DeadlineExceeded, message)}
}

// stillOpen has the ids of what has not ended: of tasks, and of submissions whose tasks are not all known.
func (w *work) stillOpen() []string {
	var open inOrder[bool]
	for _, id := range w.submissionIDs {
		submission := w.submissions.of[id]
		switch submission.GetState() {
		case cbr.SubmissionState_SUBMISSION_STATE_UNSPECIFIED, cbr.SubmissionState_SUBMISSION_STATE_CORRELATING, cbr.SubmissionState_SUBMISSION_STATE_OUTCOME_UNKNOWN:
			open.put(id, true)
		}
		for _, task := range submission.GetTaskIds() {
			open.put(task, true)
		}
	}
	for _, id := range w.taskIDs {
		open.put(id, true)
	}
	return slices.DeleteFunc(open.order, func(id string) bool { return w.ended.has(id) || w.removed.has(id) })
}

func failedTask(task *cbr.Task) Failure {
	f := Failure{ID: task.Id, Task: task, Code: task.GetErrorInfo().GetCode(), Reason: reasonIn(task.Failure), Message: task.GetFailure().GetMessage()}
	if f.Message == "" {
		f.Message = "it ended as " + task.Status.String() + " " + task.StatusRaw
	}
	if theirs := task.GetErrorInfo().GetMessage(); theirs != "" {
		f.Message += " CBR: " + theirs
	}
	return f
}

func lostTask(id string, removal *cbr.TaskRemoval, seen *cbr.Task) Failure {
	f := Failure{ID: id, Task: seen, Reason: cbr.ErrorReason_ERROR_REASON_TASK_NOT_FOUND, Message: "it is not known"}
	switch {
	case removal.Reason == cbr.TaskRemovalReason_TASK_REMOVAL_REASON_UNREADABLE:
		f.Reason, f.Message = reasonIn(removal.Failure), "it cannot be read: "+removal.Failure.GetMessage()
	case removal.TaskId == "":
		f.Reason = cbr.ErrorReason_ERROR_REASON_SUBMISSION_NOT_FOUND
	case removal.Reason == cbr.TaskRemovalReason_TASK_REMOVAL_REASON_GONE:
		f.Message = "it is gone, and its end was not seen"
	}
	return f
}
