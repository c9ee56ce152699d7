package com.cbrgateway.client;

import com.cbrgateway.client.GatewayException.Kind;
import com.cbrgateway.v1.ErrorReason;
import com.cbrgateway.v1.StreamEnd;
import com.cbrgateway.v1.StreamEndReason;
import com.cbrgateway.v1.Task;
import com.cbrgateway.v1.TaskServiceGrpc;
import com.cbrgateway.v1.WatchGap;
import com.cbrgateway.v1.WatchTasksRequest;
import com.cbrgateway.v1.WatchTasksResponse;
import io.grpc.Channel;
import io.grpc.Status;
import io.grpc.StatusException;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.Predicate;

/** Follows tasks through cuts and restarts of the gateway. */
public final class TaskWatch {
  private static final Duration DEFAULT_HEARTBEAT = Duration.ofSeconds(20);

  /** The gateway refuses one that is longer, and any that is not positive. */
  private static final Duration LONGEST_HEARTBEAT = Duration.ofHours(1);

  private static final Duration FIRST_PAUSE = Duration.ofMillis(200);
  private static final Duration LONGEST_PAUSE = Duration.ofSeconds(20);

  /** After failures alone for longer, the next one ends the watch. */
  private static final Duration RECONNECT_TIMEOUT = Duration.ofMinutes(1);

  /** What gRPC says of a channel that was shut down: it stays so. */
  private static final String CLOSED_HERE = "Channel shutdown";

  /** Tasks whose last revision is known. One that was forgotten may be told twice. */
  private static final int MAX_REMEMBERED = 10_000;

  private final WatchTasksRequest.Builder request;
  private final long silenceMs;
  private final Map<String, Long> revisions =
      new LinkedHashMap<>() {
        @Override
        protected boolean removeEldestEntry(Map.Entry<String, Long> eldest) {
          return size() > MAX_REMEMBERED;
        }
      };
  private final TimeLimit limit;
  private long sequence;
  private StreamEnd end;

  /** When the first of the failures was that no event has followed. */
  private long failingNs;

  private int failures;

  private TaskWatch(WatchTasksRequest request, TimeLimit limit) {
    this.limit = limit;
    this.request = request.toBuilder();
    var own = request.getHeartbeatInterval();
    var interval = Duration.ofSeconds(own.getSeconds(), own.getNanos());
    boolean usable = interval.compareTo(Duration.ZERO) > 0 && interval.compareTo(LONGEST_HEARTBEAT) <= 0;
    this.silenceMs = (usable ? interval : DEFAULT_HEARTBEAT).toMillis() * 5 / 2;
  }

  /**
   * Calls the handler with each event, in this thread, until all tasks are final ({@code end_when_all_terminal}), the handler answers false, or the gateway is closed.
   *
   * <p>Left out are stream_end and the events of a task that came before, by its id and revision. Handle gap: events may be missing, a whole snapshot follows. A request with the
   * resume_token of the last event goes on from there, also in another process.
   *
   * @throws GatewayException for a refusal, for a gateway that could not be reached for a minute, and after {@link Gateway#close}
   */
  public static void follow(Channel channel, WatchTasksRequest request, Predicate<WatchTasksResponse> handler)
      throws GatewayException, InterruptedException {
    follow(channel, request, new TimeLimit(null), handler);
  }

  /** The same, and no longer than the limit: then it is a GatewayException of kind DEADLINE. */
  static void follow(Channel channel, WatchTasksRequest request, TimeLimit limit, Predicate<WatchTasksResponse> handler)
      throws GatewayException, InterruptedException {
    var watch = new TaskWatch(request, limit);
    while (true) {
      Duration pause;
      try {
        if (!watch.stream(channel, handler)) {
          return;
        }
        pause = watch.ended();
      } catch (GatewayException cut) {
        pause = watch.cut(cut, handler);
      }
      if (pause == null) {
        return;
      }
      Thread.sleep(limit.atMostMs(pause.toMillis()));
    }
  }

  /** Reads one stream to its end; false if the handler wants no more. */
  private boolean stream(Channel channel, Predicate<WatchTasksResponse> handler) throws GatewayException, InterruptedException {
    sequence = 0;
    end = null;
    var call = TaskServiceGrpc.newBlockingV2Stub(channel).watchTasks(request.build());
    try {
      WatchTasksResponse event;
      while ((event = call.read(limit.atMostMs(silenceMs), TimeUnit.MILLISECONDS)) != null) {
        if (take(event) && !handler.test(event)) {
          return false;
        }
      }
      return true;
    } catch (TimeoutException silent) {
      throw limit.isOver() ? GatewayException.late("the time of the watch is over", List.of()) : GatewayException.lost("no sign of life for " + silenceMs + " ms");
    } catch (StatusException failure) {
      throw GatewayException.of(failure);
    } finally {
      call.cancel("left", null);
    }
  }

  /** Whether an event is news for the caller. */
  private boolean take(WatchTasksResponse event) throws GatewayException {
    if (event.getSequence() != sequence + 1) {
      throw GatewayException.lost("event " + (sequence + 1) + " is missing, " + event.getSequence() + " came instead");
    }
    sequence++;
    failures = 0;
    if (!event.getResumeToken().isEmpty()) {
      request.setResumeToken(event.getResumeToken());
    }
    return switch (event.getEventCase()) {
      case STREAM_END -> {
        end = event.getStreamEnd();
        yield false;
      }
      case GAP -> {
        revisions.clear(); // The snapshot that follows is news as a whole: what is not in it is gone.
        yield true;
      }
      case SNAPSHOT_TASK -> isNew(event.getSnapshotTask());
      case UPDATE -> isNew(event.getUpdate().getTask());
      case TERMINAL -> isNew(event.getTerminal().getTask());
      default -> true;
    };
  }

  private boolean isNew(Task task) {
    Long last = revisions.get(task.getId());
    if (last != null && task.getRevision() <= last) {
      return false;
    }
    revisions.put(task.getId(), task.getRevision());
    return true;
  }

  /** The pause after a stream that ended well; null when the watch is over. */
  private Duration ended() throws GatewayException {
    if (end == null) {
      return again(GatewayException.lost("it ended without stream_end"));
    }
    var delay = end.getRetryDelay();
    return end.getReason() == StreamEndReason.STREAM_END_REASON_ALL_TERMINAL ? null : Duration.ofSeconds(delay.getSeconds(), delay.getNanos());
  }

  /** The pause after a stream that broke; null when the handler wants no more. Throws what ends the watch. */
  private Duration cut(GatewayException why, Predicate<WatchTasksResponse> handler) throws GatewayException {
    if (why.code() != Status.Code.OUT_OF_RANGE || request.getResumeToken().isEmpty()) {
      return again(why);
    }
    request.clearResumeToken().clearIncludeSnapshot();
    revisions.clear();
    var gap = WatchTasksResponse.newBuilder().setGap(WatchGap.newBuilder().setReason(why.getMessage())).build();
    return handler.test(gap) ? Duration.ZERO : null;
  }

  private Duration again(GatewayException why) throws GatewayException {
    if (failures == 0) {
      failingNs = System.nanoTime();
    }
    if (!isCut(why) || System.nanoTime() - failingNs > RECONNECT_TIMEOUT.toNanos()) {
      throw why;
    }
    long longest = Math.min(LONGEST_PAUSE.toMillis(), FIRST_PAUSE.toMillis() << Math.min(failures, 10));
    failures++;
    return Duration.ofMillis(Math.max(ThreadLocalRandom.current().nextLong(longest), why.retryDelay().toMillis()));
  }

  /** Whether a new stream can go on where this one broke. */
  private boolean isCut(GatewayException why) {
    return switch (why.code()) {
      case UNAVAILABLE -> !why.getMessage().contains(CLOSED_HERE);
      case ABORTED, CANCELLED -> true;
      case RESOURCE_EXHAUSTED -> // The places of lost streams are still taken for a while.
          !request.getResumeToken().isEmpty() || why.reason() == ErrorReason.ERROR_REASON_OVERLOADED;
      case INTERNAL, UNKNOWN -> why.kind() != Kind.ANSWERED; // Something between the gateway and us.
      default -> false;
    };
  }
}
