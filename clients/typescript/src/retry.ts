import { AsyncLocalStorage } from "node:async_hooks";
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

import { status } from "@grpc/grpc-js";

import { GatewayError } from "./errors.js";

/** The request_id that a loop has for its change, in all that the closure calls. */
const sharedRequestId = new AsyncLocalStorage<string>();

/** Of Node's timers, 24 days: one that is set for longer ends at once. */
export const LONGEST_WAIT_MS = 2 ** 31 - 1;

/** Throws a TypeError for what is no number: no time is later, so that nothing would end. */
export function checkNumber(name: string, milliseconds: unknown): void {
  if (typeof milliseconds !== "number" || Number.isNaN(milliseconds)) throw new TypeError(`${name} is not a number`);
}

/** Waits, however long. */
export async function pause(milliseconds: number, options: { signal?: AbortSignal } = {}): Promise<void> {
  for (let left = milliseconds; left > 0; left -= LONGEST_WAIT_MS) await sleep(Math.min(left, LONGEST_WAIT_MS), undefined, options);
}

/** The id for a change that has none: that of the loop around it, or a new one. */
export function newRequestId(): string {
  return sharedRequestId.getStore() ?? randomUUID();
}

/**
 * Makes a call, and again after the delay that the gateway asks for, as long as a limit of the gateway refuses it and the time allows.
 *
 * The closure makes one change at most: all tries have the same request_id, yours or a new one. That makes it safe, since the answer of a change may be lost, and a limit refuse the
 * repeat.
 */
export function retryWhenLimited<T>(timeMs: number, call: () => Promise<T>): Promise<T> {
  checkNumber("timeMs", timeMs);
  const end = Date.now() + timeMs;
  return sharedRequestId.run(newRequestId(), async () => {
    for (;;) {
      try {
        return await call();
      } catch (failure) {
        const refused = failure instanceof GatewayError && failure.code === status.RESOURCE_EXHAUSTED && failure.retryDelayMs > 0;
        if (!refused || Date.now() + failure.retryDelayMs > end) throw failure;
        await pause(failure.retryDelayMs);
      }
    }
  });
}
