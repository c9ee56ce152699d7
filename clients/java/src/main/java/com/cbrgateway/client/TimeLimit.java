package com.cbrgateway.client;

import java.time.Duration;

/** How long something may take, from now on; null: as long as it takes. */
final class TimeLimit {
  private final long beganNs = System.nanoTime();
  private final Duration time;

  TimeLimit(Duration time) {
    this.time = time;
  }

  /** The given time, or what is left where that is less. */
  long atMostMs(long milliseconds) {
    if (time == null) {
      return milliseconds;
    }
    Duration left = time.minusNanos(System.nanoTime() - beganNs);
    boolean less = left.compareTo(Duration.ofMillis(milliseconds)) < 0;
    return less ? Math.max(0, left.toMillis()) : milliseconds;
  }

  boolean isOver() {
    return atMostMs(1) == 0;
  }
}
