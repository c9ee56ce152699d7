package com.cbrgateway.client;

/** What can be sent in a header. */
final class Headers {
  private Headers() {}

  /** Refuses what gRPC would leave out or send damaged. The error must not show the value: it may be a secret. */
  static String check(String option, String value) {
    if (value == null) {
      throw new IllegalArgumentException(option + ": nothing was given");
    }
    if (value.chars().anyMatch(c -> c < ' ' || c > '~')) {
      throw new IllegalArgumentException(option + ": what was given cannot be sent in a header; it must be printable ASCII, without a line end");
    }
    return value;
  }
}
