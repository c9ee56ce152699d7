import { type MessageInitShape } from "@bufbuild/protobuf";
import { status } from "@grpc/grpc-js";

import type { Gateway } from "./connection.js";
import { isOfEitherForm } from "./either_form.js";
import { GatewayError, reasonIn } from "./errors.js";
import { ErrorReason } from "./gen/cbrgateway/v1/errors_pb.js";
import { TaskRemovalReason, TaskStatus, type Task, type TaskFilterSchema, type TaskRemoval, type WatchTasksResponse } from "./gen/cbrgateway/v1/task_pb.js";
import { SubmissionState, type SkippedResource, type Submission } from "./gen/cbrgateway/v1/types_pb.js";
import { checkNumber, LONGEST_WAIT_MS } from "./retry.js";
import { watchTasks } from "./watch.js";

/** As many of a kind fit into the filter of one watch. */
const MOST_IDS = 100;
const NAMED = 10;

/** What can be waited for: a submission, a task, the id of a task. */
export type Target = Submission | Task | string;

/** Of one wait. */
export interface WaitOptions {
  /** Without it the wait takes as long as the work. */
  timeoutMs?: number;
  /** Ends the wait when it is aborted; the work goes on. */
  signal?: AbortSignal;
}

/** Work that has ended well. */
export interface Ended {
  /** Those that have succeeded, in the order of their ends. */
  tasks: Task[];
  /** Resources that CBR left out of the work, with code and reason. */
  skipped: SkippedResource[];
}

/** One task that did not succeed; or a submission that came to nothing, or nobody knows to what. */
export interface Failure {
  /** Of the task, or of the submission. */
  id: string;
  /** As it was last seen. Undefined: it is a submission, or nothing is known of the task. */
  task?: Task | undefined;
  /** CBR's, such as `BackupService.6125`. Empty: CBR gave none. */
  code: string;
  /** Ours. */
  reason: ErrorReason;
  message: string;
}

/** Work that has ended, and not all of it well. */
export class TaskFailed extends Error {
  readonly failures: Failure[];
  /** What did end well, and what was skipped. */
  readonly ended: Ended;

  constructor(failures: Failure[], ended: Ended) {
    const about = (each: Failure) => [each.code, each.reason && ErrorReason[each.reason]].filter(Boolean).join(", ");
    const lines = [
      `${failures.length} failed, ${ended.tasks.length} succeeded:`,
      ...failures.map((each) => `${each.id}: ${each.message} (${about(each)})`),
      ...ended.skipped.map((each) => `skipped ${each.id}: ${each.reason} (${each.code})`),
    ];
    super(lines.join("\n  "));
    this.name = "TaskFailed";
    this.failures = failures;
    this.ended = ended;
  }
}

isOfEitherForm("TaskFailed", TaskFailed);

/**
 * Waits until work has ended: submissions, tasks, ids of tasks; one, or several. By one stream at a time, however many they are.
 *
 * Rejects with TaskFailed when all has ended and not all has succeeded; with a GatewayError of kind `deadline`, which has `stillOpen`, when the time is up, and as `watchTasks`; with a
 * TypeError for what has no id.
 */
export async function wait(gateway: Gateway, what: Target | undefined | Iterable<Target>, options: WaitOptions = {}): Promise<Ended> {
  const { timeoutMs = Infinity } = options;
  checkNumber("timeoutMs", timeoutMs);
  const work = new Work(typeof what === "object" && Symbol.iterator in what ? [...what] : [what]);
  const over = new AbortController();
  const timer = timeoutMs > LONGEST_WAIT_MS ? undefined : setTimeout(() => over.abort(), Math.max(timeoutMs, 0));
  const signal = options.signal ? AbortSignal.any([over.signal, options.signal]) : over.signal;
  try {
    for (const filter of work.filters()) {
      for await (const event of watchTasks(gateway, { filter, endWhenAllTerminal: true }, { signal })) work.take(event);
    }
  } catch (error) {
    throw over.signal.aborted && !options.signal?.aborted ? work.late(timeoutMs) : error;
  } finally {
    clearTimeout(timer);
  }
  return work.outcome();
}

/** Makes a change, and waits for the work that it has started: the answer of the change, and what has ended. The time is that of the wait. */
export async function runAndWait<A extends { submission?: Submission | undefined }>(
  gateway: Gateway,
  call: () => Promise<A>,
  options: WaitOptions = {},
): Promise<Ended & { answer: A }> {
  const answer = await call();
  return { answer, ...(await wait(gateway, answer.submission, options)) };
}

/** What one wait is for, and what is known of it. */
class Work {
  readonly #taskIds = new Set<string>();
  readonly #submissionIds = new Set<string>();
  readonly #submissions = new Map<string, Submission>();
  readonly #seen = new Map<string, Task>();
  readonly #ended = new Map<string, Task>();
  readonly #removed = new Map<string, TaskRemoval>();

  constructor(what: (Target | undefined)[]) {
    for (const target of what) {
      const id = typeof target === "string" ? target : target?.id;
      if (!id)
        throw new TypeError(
          "what is waited for has no id: the answer of the change came without its submission, since it was only validated or could not be recorded; look for its tasks with listTasks",
        );
      const ids = typeof target === "object" && target.$typeName === "cbrgateway.v1.Submission" ? this.#submissionIds : this.#taskIds;
      ids.add(id);
    }
  }

  /** Of the watches that follow all of it, one after the other: what has ended by then is told at once. */
  *filters(): Generator<MessageInitShape<typeof TaskFilterSchema>> {
    for (const submissionIds of parts(this.#submissionIds)) yield { submissionIds };
    for (const taskIds of parts(this.#taskIds)) yield { taskIds };
  }

  take({ event }: WatchTasksResponse): void {
    switch (event.case) {
      case "submission":
        this.#submissions.set(event.value.id, event.value);
        break;
      case "snapshotTask":
        this.#seen.set(event.value.id, event.value);
        break;
      case "update":
        if (event.value.task) this.#seen.set(event.value.task.id, event.value.task);
        break;
      case "terminal":
        if (event.value.task) this.#ended.set(event.value.task.id, event.value.task);
        break;
      case "removed":
        this.#removed.set(event.value.taskId || event.value.submissionId, event.value);
        break;
    }
  }

  /** When all watches are over. Throws TaskFailed. */
  outcome(): Ended {
    const ended = {
      tasks: [...this.#ended.values()].filter((task) => task.status === TaskStatus.SUCCEEDED),
      skipped: [...this.#submissions.values()].flatMap((each) => each.skippedResources),
    };
    const failures = [...this.#failures()];
    if (failures.length > 0) throw new TaskFailed(failures, ended);
    return ended;
  }

  /** The error of a wait whose time was up. */
  late(timeoutMs: number): GatewayError {
    const open = this.#stillOpen();
    const named = open.slice(0, NAMED).join(", ") + (open.length > NAMED ? ` and ${open.length - NAMED} more` : "");
    const details = `after ${timeoutMs} ms these have not ended: ${named}. The work goes on: wait for it again, with more time`;
    return Object.assign(GatewayError.own(status.DEADLINE_EXCEEDED, details), { message: details, stillOpen: open });
  }

  /** The ids of what has not ended: of tasks, and of submissions whose tasks are not all known. */
  #stillOpen(): string[] {
    const pending = [SubmissionState.UNSPECIFIED, SubmissionState.CORRELATING, SubmissionState.OUTCOME_UNKNOWN];
    const ids = [...this.#submissionIds].flatMap((id) => {
      const told = this.#submissions.get(id);
      return [...(!told || pending.includes(told.state) ? [id] : []), ...(told?.taskIds ?? [])];
    });
    return [...new Set([...ids, ...this.#taskIds])].filter((id) => !this.#ended.has(id) && !this.#removed.has(id));
  }

  *#failures(): Generator<Failure> {
    for (const task of this.#ended.values()) if (task.status !== TaskStatus.SUCCEEDED) yield ofTask(task);
    for (const [id, removal] of this.#removed) if (!this.#ended.has(id)) yield ofRemoval(id, removal, this.#seen.get(id));
    for (const { id, state, stateReason, skippedResources } of this.#submissions.values()) {
      if (state === SubmissionState.NOT_STARTED && skippedResources.length === 0)
        yield { id, code: "", reason: ErrorReason.UNSPECIFIED, message: "no work was started" };
      if (state === SubmissionState.UNDECIDED)
        yield { id, code: "", reason: ErrorReason.OUTCOME_UNKNOWN, message: `it cannot be told whether CBR has it: ${stateReason}` };
    }
  }
}

function ofTask(task: Task): Failure {
  const ours = task.failure?.message || `it ended as ${task.statusRaw || TaskStatus[task.status]}`;
  const theirs = task.errorInfo?.message ? ` CBR: ${task.errorInfo.message}` : "";
  return { id: task.id, task, code: task.errorInfo?.code ?? "", reason: reasonIn(task.failure), message: ours + theirs };
}

function ofRemoval(id: string, { taskId, reason, failure }: TaskRemoval, task: Task | undefined): Failure {
  if (reason === TaskRemovalReason.UNREADABLE) return { id, task, code: "", reason: reasonIn(failure), message: `it cannot be read: ${failure?.message}` };
  return {
    id,
    task,
    code: "",
    reason: taskId ? ErrorReason.TASK_NOT_FOUND : ErrorReason.SUBMISSION_NOT_FOUND,
    message: reason === TaskRemovalReason.GONE ? "it is gone, and its end was not seen" : "it is not known",
  };
}

function* parts(ids: Iterable<string>): Generator<string[]> {
  const all = [...ids];
  for (let start = 0; start < all.length; start += MOST_IDS) yield all.slice(start, start + MOST_IDS);
}
