import { clone, create, type MessageInitShape } from "@bufbuild/protobuf";
import { status } from "@grpc/grpc-js";

import type { CallOptions, Gateway } from "./connection.js";
import { GatewayError } from "./errors.js";
import { pause } from "./retry.js";
import { ErrorReason } from "./gen/cbrgateway/v1/errors_pb.js";
import {
  StreamEndReason,
  TaskService,
  WatchTasksRequestSchema,
  WatchTasksResponseSchema,
  type StreamEnd,
  type Task,
  type WatchTasksRequest,
  type WatchTasksResponse,
} from "./gen/cbrgateway/v1/task_pb.js";

const DEFAULT_HEARTBEAT_MS = 20_000;
/** The gateway refuses one that is longer, and any that is not positive. */
const LONGEST_HEARTBEAT_MS = 3_600_000;
const FIRST_PAUSE_MS = 200;
const LONGEST_PAUSE_MS = 20_000;
/** After failures alone for longer, the next one ends the watch. */
const RECONNECT_TIMEOUT_MS = 60_000;
/** Tasks whose last revision is known. One that was forgotten may be told twice. */
const MAX_REMEMBERED = 10_000;

/**
 * Follows tasks through cuts and restarts of the gateway, until all are final (`endWhenAllTerminal`), the loop is left, the signal is aborted, or the connection closed.
 *
 * Yields every event but `streamEnd` and those of a task that came before, by its id and revision. Throws a GatewayError for a refusal, and for a gateway that could not be reached for a
 * minute. Handle `gap`: events may be missing, a snapshot follows. A request with the `resumeToken` of the last event goes on from there, also in another process.
 */
export async function* watchTasks(
  gateway: Gateway,
  request: MessageInitShape<typeof WatchTasksRequestSchema>,
  options: CallOptions = {},
): AsyncGenerator<WatchTasksResponse, void, undefined> {
  const watch = new Watch(clone(WatchTasksRequestSchema, create(WatchTasksRequestSchema, request)));
  const left = options.signal ? AbortSignal.any([gateway.closed, options.signal]) : gateway.closed;
  for (;;) {
    let failure: GatewayError | undefined;
    try {
      yield* watch.stream(gateway, options);
    } catch (error) {
      if (!(error instanceof GatewayError) || left.aborted) throw error;
      failure = error;
    }
    const pauseMs = watch.ended(failure);
    if (pauseMs === undefined) return;
    if (watch.gap) yield watch.gap;
    await pause(pauseMs, { signal: left }).catch(() => {
      throw GatewayError.own(status.CANCELLED, "the watch was cancelled");
    });
  }
}

/** What is remembered between streams. */
class Watch {
  /** To be told before the next stream. */
  gap: WatchTasksResponse | undefined;
  readonly #request: WatchTasksRequest;
  readonly #revisions = new Map<string, bigint>();
  #sequence = 0n;
  #end: StreamEnd | undefined;
  /** When the first of the failures was that no event has followed. */
  #failingSince = 0;
  #failures = 0;

  constructor(request: WatchTasksRequest) {
    this.#request = request;
  }

  /** The news of one stream, to its end. */
  async *stream(gateway: Gateway, options: CallOptions): AsyncGenerator<WatchTasksResponse> {
    const own = this.#request.heartbeatInterval;
    const ownMs = own ? Number(own.seconds) * 1000 + own.nanos / 1e6 : 0;
    const silenceMs = 2.5 * (0 < ownMs && ownMs <= LONGEST_HEARTBEAT_MS ? ownMs : DEFAULT_HEARTBEAT_MS);
    const silent = new AbortController();
    const listening = () => setTimeout(() => silent.abort(), silenceMs);
    let alarm = listening();
    const signal = options.signal ? AbortSignal.any([options.signal, silent.signal]) : silent.signal;
    [this.#sequence, this.#end, this.gap] = [0n, undefined, undefined];
    try {
      for await (const event of gateway.client(TaskService).watchTasks(this.#request, { ...options, signal })) {
        clearTimeout(alarm); // The time that the caller takes is no silence.
        if (this.#take(event)) yield event;
        alarm = listening();
      }
    } catch (error) {
      throw silent.signal.aborted ? GatewayError.lost(`no sign of life for ${silenceMs} ms`) : error;
    } finally {
      clearTimeout(alarm);
    }
  }

  /** The pause after a stream's end, undefined when the watch is over. Throws what ends it. */
  ended(failure?: GatewayError): number | undefined {
    if (!failure && this.#end) return this.#end.reason === StreamEndReason.ALL_TERMINAL ? undefined : delayMs(this.#end);
    const why = failure ?? GatewayError.lost("it ended without stream_end");
    if (why.code === status.OUT_OF_RANGE && this.#request.resumeToken) {
      this.#request.resumeToken = "";
      delete this.#request.includeSnapshot;
      this.#revisions.clear();
      this.gap = create(WatchTasksResponseSchema, { event: { case: "gap", value: { reason: why.message } } });
      return 0;
    }
    if (this.#failures === 0) this.#failingSince = Date.now();
    if (!this.#isCut(why) || Date.now() - this.#failingSince > RECONNECT_TIMEOUT_MS) throw why;
    const longest = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(this.#failures++, 10));
    return Math.max(Math.random() * longest, why.retryDelayMs);
  }

  /** Whether an event is news for the caller. */
  #take(event: WatchTasksResponse): boolean {
    if (event.sequence !== this.#sequence + 1n) throw GatewayError.lost(`event ${this.#sequence + 1n} is missing, ${event.sequence} came instead`);
    [this.#sequence, this.#failures] = [event.sequence, 0];
    if (event.resumeToken) this.#request.resumeToken = event.resumeToken;
    switch (event.event.case) {
      case "streamEnd":
        this.#end = event.event.value;
        return false;
      case "gap": // The snapshot that follows is told whole.
        this.#revisions.clear();
        return true;
      case "snapshotTask":
        return this.#isNew(event.event.value);
      case "update":
      case "terminal":
        return this.#isNew(event.event.value.task);
      default:
        return true;
    }
  }

  #isNew(task: Task | undefined): boolean {
    if (!task || task.revision <= (this.#revisions.get(task.id) ?? -1n)) return false;
    this.#revisions.delete(task.id);
    this.#revisions.set(task.id, task.revision);
    const [oldest] = this.#revisions.keys();
    if (oldest !== undefined && this.#revisions.size > MAX_REMEMBERED) this.#revisions.delete(oldest);
    return true;
  }

  /** Whether a new stream can go on where this one broke. */
  #isCut(why: GatewayError): boolean {
    switch (why.code) {
      case status.UNAVAILABLE:
      case status.ABORTED:
      case status.CANCELLED:
        return true;
      case status.RESOURCE_EXHAUSTED: // The places of lost streams are still taken for a while.
        return this.#request.resumeToken !== "" || why.reason === ErrorReason.OVERLOADED;
      case status.INTERNAL: // Something between the gateway and us.
      case status.UNKNOWN:
        return why.kind !== "answered";
      default:
        return false;
    }
  }
}

function delayMs(end: StreamEnd): number {
  return Number(end.retryDelay?.seconds ?? 0n) * 1000 + (end.retryDelay?.nanos ?? 0) / 1e6;
}
