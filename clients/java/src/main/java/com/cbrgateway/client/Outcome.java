package com.cbrgateway.client;

import com.cbrgateway.client.TaskFailedException.Failure;
import com.cbrgateway.v1.ErrorReason;
import com.cbrgateway.v1.Submission;
import com.cbrgateway.v1.SubmissionState;
import com.cbrgateway.v1.Task;
import com.cbrgateway.v1.TaskRemoval;
import com.cbrgateway.v1.TaskRemovalReason;
import com.cbrgateway.v1.TaskStatus;
import com.cbrgateway.v1.WatchTasksResponse;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/** What is known of work that is waited for. */
final class Outcome {
  private static final Set<SubmissionState> PENDING =
      Set.of(
          SubmissionState.SUBMISSION_STATE_UNSPECIFIED,
          SubmissionState.SUBMISSION_STATE_CORRELATING,
          SubmissionState.SUBMISSION_STATE_OUTCOME_UNKNOWN);

  private final Map<String, Submission> submissions = new LinkedHashMap<>();
  private final Map<String, Task> seen = new LinkedHashMap<>();
  private final Map<String, Task> ended = new LinkedHashMap<>();
  private final Map<String, TaskRemoval> removed = new LinkedHashMap<>();

  /** Always true: there may be more. */
  boolean take(WatchTasksResponse event) {
    switch (event.getEventCase()) {
      case SUBMISSION -> submissions.put(event.getSubmission().getId(), event.getSubmission());
      case SNAPSHOT_TASK -> seen.put(event.getSnapshotTask().getId(), event.getSnapshotTask());
      case UPDATE -> seen.put(event.getUpdate().getTask().getId(), event.getUpdate().getTask());
      case TERMINAL -> ended.put(event.getTerminal().getTask().getId(), event.getTerminal().getTask());
      case REMOVED -> removed.put(event.getRemoved().getTaskId() + event.getRemoved().getSubmissionId(), event.getRemoved()); // One of them is empty.
      default -> {}
    }
    return true;
  }

  /** When all watches are over. */
  Ended ended() throws TaskFailedException {
    var good = ended.values().stream().filter(task -> task.getStatus() == TaskStatus.TASK_STATUS_SUCCEEDED).toList();
    var skipped = submissions.values().stream().flatMap(each -> each.getSkippedResourcesList().stream()).toList();
    var failures = failures();
    if (!failures.isEmpty()) {
      throw new TaskFailedException(failures, new Ended(good, skipped));
    }
    return new Ended(good, skipped);
  }

  /** The ids of what has not ended: of tasks, and of submissions whose tasks are not all known. */
  List<String> stillOpen(Set<String> submissionIds, Set<String> taskIds) {
    var open = new LinkedHashSet<String>();
    for (String id : submissionIds) {
      Submission told = submissions.getOrDefault(id, Submission.getDefaultInstance());
      if (PENDING.contains(told.getState())) {
        open.add(id);
      }
      open.addAll(told.getTaskIdsList());
    }
    open.addAll(taskIds);
    open.removeAll(ended.keySet());
    open.removeAll(removed.keySet());
    return List.copyOf(open);
  }

  private List<Failure> failures() {
    var failures = new ArrayList<Failure>();
    ended.values().stream().filter(task -> task.getStatus() != TaskStatus.TASK_STATUS_SUCCEEDED).map(Outcome::ofTask).forEach(failures::add);
    removed.forEach(
        (id, removal) -> {
          if (!ended.containsKey(id)) {
            failures.add(ofRemoval(id, removal, Optional.ofNullable(seen.get(id))));
          }
        });
    for (Submission each : submissions.values()) {
      if (each.getState() == SubmissionState.SUBMISSION_STATE_NOT_STARTED && each.getSkippedResourcesCount() == 0) {
        failures.add(new Failure(each.getId(), Optional.empty(), "", ErrorReason.ERROR_REASON_UNSPECIFIED, "no work was started"));
      }
      if (each.getState() == SubmissionState.SUBMISSION_STATE_UNDECIDED) {
        String message = "it cannot be told whether CBR has it: " + each.getStateReason();
        failures.add(new Failure(each.getId(), Optional.empty(), "", ErrorReason.ERROR_REASON_OUTCOME_UNKNOWN, message));
      }
    }
    return failures;
  }

  private static Failure ofTask(Task task) {
    String state = task.getStatusRaw().isEmpty() ? task.getStatus().name() : task.getStatusRaw();
    String ours = task.getFailure().getMessage().isEmpty() ? "it ended as " + state : task.getFailure().getMessage();
    String theirs = task.getErrorInfo().getMessage();
    String message = theirs.isEmpty() ? ours : ours + " CBR: " + theirs;
    return new Failure(task.getId(), Optional.of(task), task.getErrorInfo().getCode(), GatewayException.reasonIn(task.getFailure()), message);
  }

  private static Failure ofRemoval(String id, TaskRemoval removal, Optional<Task> task) {
    if (removal.getReason() == TaskRemovalReason.TASK_REMOVAL_REASON_UNREADABLE) {
      return new Failure(id, task, "", GatewayException.reasonIn(removal.getFailure()), "it cannot be read: " + removal.getFailure().getMessage());
    }
    var reason = removal.getTaskId().isEmpty() ? ErrorReason.ERROR_REASON_SUBMISSION_NOT_FOUND : ErrorReason.ERROR_REASON_TASK_NOT_FOUND;
    boolean gone = removal.getReason() == TaskRemovalReason.TASK_REMOVAL_REASON_GONE;
    return new Failure(id, task, "", reason, gone ? "it is gone, and its end was not seen" : "it is not known");
  }
}
