import { status } from "@grpc/grpc-js";

import type { CallOptions } from "./connection.js";
import { GatewayError } from "./errors.js";

/** Of the walk through one list, and of each of its calls. */
export interface PageOptions extends CallOptions {
  /** Whether the next page is asked for while the caller is at work on this one. */
  prefetch?: boolean;
}

/** The RPC of a list: `gateway.client(VaultService).listVaults`. */
export type List<Q, A> = (request: Q, options?: CallOptions) => Promise<A>;

/** The answers of a list; one is held at a time. */
export async function* pages<Q extends { pageToken?: string }, A extends { nextPageToken: string }>(
  list: List<Q, A>,
  request: Q,
  { prefetch = false, ...options }: PageOptions = {},
): AsyncGenerator<A, void, undefined> {
  const left = new AbortController();
  const signal = options.signal ? AbortSignal.any([left.signal, options.signal]) : left.signal;
  const call = (pageToken: string) => list(pageToken ? { ...request, pageToken } : request, { ...options, signal });
  try {
    let ahead: Promise<A> | undefined;
    for (let token = request.pageToken ?? ""; ; ) {
      const page = await (ahead ?? call(token));
      if (token && page.nextPageToken === token) throw GatewayError.own(status.INTERNAL, "the list does not go on: a page names itself as the next one");
      token = page.nextPageToken;
      ahead = token && prefetch ? call(token) : undefined;
      ahead?.catch(() => {}); // It is told when it is awaited, if ever.
      yield page;
      if (!token) return;
    }
  } finally {
    left.abort();
  }
}

/** The rows of a list, of all its pages: `rows(vaults.listVaults, {}, (page) => page.vaults)`. */
export async function* rows<Q extends { pageToken?: string }, A extends { nextPageToken: string }, R>(
  list: List<Q, A>,
  request: Q,
  rowsOf: (page: A) => R[],
  options: PageOptions = {},
): AsyncGenerator<R, void, undefined> {
  for await (const page of pages(list, request, options)) yield* rowsOf(page);
}
