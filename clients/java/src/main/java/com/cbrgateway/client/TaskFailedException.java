package com.cbrgateway.client;

import com.cbrgateway.v1.ErrorReason;
import com.cbrgateway.v1.Task;
import java.util.List;
import java.util.Optional;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/** Work that has ended, and not all of it well. */
public final class TaskFailedException extends Exception {
  private static final long serialVersionUID = 1;

  /**
   * One task that did not succeed; or a submission that came to nothing, or nobody knows to what.
   *
   * @param id of the task, or of the submission
   * @param task as it was last seen; empty: it is a submission, or nothing is known of the task
   * @param code CBR's, such as {@code BackupService.6125}; empty: CBR gave none
   * @param reason ours
   */
  public record Failure(String id, Optional<Task> task, String code, ErrorReason reason, String message) {
    @Override
    public String toString() {
      String why = reason.name().replaceFirst("^ERROR_REASON_", "");
      return "%s: %s (%s)".formatted(id, message, code.isEmpty() ? why : code + ", " + why);
    }
  }

  private final transient List<Failure> failures;
  private final transient Ended ended;

  TaskFailedException(List<Failure> failures, Ended ended) {
    super(text(failures, ended));
    this.failures = failures;
    this.ended = ended;
  }

  public List<Failure> failures() {
    return failures;
  }

  /** What did end well, and what was skipped. */
  public Ended ended() {
    return ended;
  }

  private static String text(List<Failure> failures, Ended ended) {
    String head = "%d failed, %d succeeded:".formatted(failures.size(), ended.tasks().size());
    var skipped = ended.skipped().stream().map(each -> "skipped %s: %s (%s)".formatted(each.getId(), each.getReason(), each.getCode()));
    return Stream.of(Stream.of(head), failures.stream().map(Failure::toString), skipped).flatMap(each -> each).collect(Collectors.joining("\n  "));
  }
}
