package com.cbrgateway.client;

import com.cbrgateway.v1.Submission;
import com.cbrgateway.v1.Task;
import com.cbrgateway.v1.TaskFilter;
import com.cbrgateway.v1.WatchTasksRequest;
import com.google.protobuf.Message;
import io.grpc.Channel;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.function.Supplier;
import java.util.stream.Stream;

/**
 * What can be waited for: submissions, tasks, and tasks by their ids.
 *
 * <pre>{@code
 * Ended ended = Work.of(answer.getSubmission()).waitFor(gateway.channel(), Duration.ofMinutes(5));
 * }</pre>
 */
public final class Work {
  /** As many of a kind fit into the filter of one watch. */
  private static final int MOST_IDS = 100;

  private final Set<String> submissionIds = new LinkedHashSet<>();
  private final Set<String> taskIds = new LinkedHashSet<>();

  private Work() {}

  /** Throws an IllegalArgumentException for one without an id, such as that of an answer which has none. */
  public static Work of(Submission... submissions) {
    var work = new Work();
    Stream.of(submissions).forEach(each -> work.submissionIds.add(named(each.getId())));
    return work;
  }

  public static Work of(Task... tasks) {
    return ofTasks(Stream.of(tasks).map(Task::getId).toArray(String[]::new));
  }

  public static Work ofTasks(String... ids) {
    var work = new Work();
    Stream.of(ids).forEach(each -> work.taskIds.add(named(each)));
    return work;
  }

  /** Both. */
  public Work and(Work other) {
    var both = new Work();
    for (Work each : List.of(this, other)) {
      both.submissionIds.addAll(each.submissionIds);
      both.taskIds.addAll(each.taskIds);
    }
    return both;
  }

  /**
   * Waits until all of it has ended, in this thread, by one stream at a time.
   *
   * @param timeout null: as long as the work takes
   * @throws TaskFailedException when all has ended and not all has succeeded
   * @throws GatewayException of kind DEADLINE, with {@link GatewayException#stillOpen}, when the time is up; else as {@link TaskWatch#follow}
   */
  public Ended waitFor(Channel channel, Duration timeout) throws GatewayException, TaskFailedException, InterruptedException {
    var outcome = new Outcome();
    var end = new TimeLimit(timeout);
    try {
      for (TaskFilter filter : filters()) {
        var request = WatchTasksRequest.newBuilder().setFilter(filter).setEndWhenAllTerminal(true).build();
        TaskWatch.follow(channel, request, end, outcome::take);
      }
    } catch (GatewayException failure) {
      throw failure.kind() == GatewayException.Kind.DEADLINE && end.isOver() ? late(outcome, timeout) : failure;
    }
    return outcome.ended();
  }

  /**
   * Makes a change, and waits for the work that it has started. The time is that of the wait.
   *
   * @throws IllegalArgumentException for an answer without a submission
   */
  public static <A extends Message> Finished<A> runAndWait(Channel channel, Duration timeout, Supplier<A> call)
      throws GatewayException, TaskFailedException, InterruptedException {
    A answer = call.get();
    var field = answer.getDescriptorForType().findFieldByName("submission");
    if (field == null) {
      throw new IllegalArgumentException(answer.getDescriptorForType().getName() + " has no submission: it starts no work to wait for");
    }
    return new Finished<>(answer, of((Submission) answer.getField(field)).waitFor(channel, timeout));
  }

  /** Of the watches that follow all of it, one after the other: what has ended by then is told at once. */
  private List<TaskFilter> filters() {
    var filters = new ArrayList<TaskFilter>();
    parts(submissionIds).forEach(ids -> filters.add(TaskFilter.newBuilder().addAllSubmissionIds(ids).build()));
    parts(taskIds).forEach(ids -> filters.add(TaskFilter.newBuilder().addAllTaskIds(ids).build()));
    return filters;
  }

  private GatewayException late(Outcome outcome, Duration timeout) {
    List<String> open = outcome.stillOpen(submissionIds, taskIds);
    String named = String.join(", ", open.subList(0, Math.min(open.size(), 10)));
    String more = open.size() > 10 ? " and " + (open.size() - 10) + " more" : "";
    return GatewayException.late("after %s these have not ended: %s%s. The work goes on: wait for it again, with more time".formatted(timeout, named, more), open);
  }

  private static List<List<String>> parts(Set<String> ids) {
    var all = new ArrayList<>(ids);
    var parts = new ArrayList<List<String>>();
    for (int start = 0; start < all.size(); start += MOST_IDS) {
      parts.add(all.subList(start, Math.min(start + MOST_IDS, all.size())));
    }
    return parts;
  }

  private static String named(String id) {
    if (id.isEmpty()) {
      throw new IllegalArgumentException(
          "what is waited for has no id: the answer of the change came without its submission, since it was only validated or could not be recorded;"
              + " look for its tasks with ListTasks");
    }
    return id;
  }
}
