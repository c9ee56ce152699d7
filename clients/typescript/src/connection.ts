import { setMaxListeners } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";

import {
  clone,
  create,
  fromBinary,
  toBinary,
  type DescMessage,
  type DescMethod,
  type DescMethodServerStreaming,
  type DescMethodUnary,
  type DescService,
  type Message,
  type MessageInitShape,
  type MessageShape,
} from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import * as grpc from "@grpc/grpc-js";

import { checkAddress } from "./address.js";
import { transport, type CertificatePair } from "./certificates.js";
import { GatewayError } from "./errors.js";
import { checkNumber, LONGEST_WAIT_MS, newRequestId } from "./retry.js";
import { SERVICE_CONFIG } from "./service_config.js";

/** How the gateway is reached, and as whom. */
export interface ConnectOptions {
  /** `host:port`, or a name that gRPC resolves, such as `dns:///host:port`. */
  address: string;
  /** A key that the gateway's operator has made. */
  apiKey?: string;
  /** Supplies a token (JWT) instead. Asked for each call, so it should keep a token until shortly before the token expires. */
  token?: () => string | Promise<string>;
  /** The project of all calls. Without it calls go to the tenant's default project. */
  project?: string;
  /** Certificate authorities (PEM) to trust instead of the system's. */
  authorities?: Buffer;
  /**
   * A certificate of the caller, for gateways that want one: PEM from memory, or the paths of files, which are read again when they have changed, for the next connection.
   */
  certificate?: CertificatePair<Buffer> | CertificatePair<string>;
  /** Does without TLS. The API key travels readable: for a gateway on this machine only. */
  plaintext?: boolean;
  /** Of @grpc/grpc-js. They see each call as it is sent. */
  interceptors?: grpc.Interceptor[];
  /** Of @grpc/grpc-js. They count before ours. */
  channelOptions?: grpc.ChannelOptions;
}

/** Of one call. */
export interface CallOptions {
  /** Less time than the RPC has by itself; the wait for a token counts. None from 24 days on, as without it. */
  timeoutMs?: number;
  /** Ends the call when it is aborted. */
  signal?: AbortSignal;
}

/** The RPCs of a service: promises, and async iterables where the gateway streams. */
export type Client<S extends DescService> = {
  [M in keyof S["method"]]: S["method"][M] extends DescMethodUnary<infer I, infer O>
    ? (request: MessageInitShape<I>, options?: CallOptions) => Promise<MessageShape<O>>
    : S["method"][M] extends DescMethodServerStreaming<infer I, infer O>
      ? (request: MessageInitShape<I>, options?: CallOptions) => AsyncIterable<MessageShape<O>>
      : never;
};

/** Nothing is sent before the first call. Throws a TypeError for what is no address and for an option that cannot stand in a header, and what is wrong with a certificate. */
export function connect(options: ConnectOptions): Gateway {
  return new Gateway(options);
}

/** A connection, for any number of clients and calls. */
export class Gateway {
  readonly #options: ConnectOptions;
  readonly #channel: grpc.Client;
  readonly #closing = new AbortController();
  /** What ends each call under way. */
  readonly #underWay = new Set<() => void>();

  constructor(options: ConnectOptions) {
    checkAddress(options.address);
    for (const name of ["apiKey", "project"] as const)
      if (!fitsHeader(options[name])) throw new TypeError(`the option ${name} has ${MISFIT}`);
    this.#options = options;
    const credentials = options.plaintext ? grpc.credentials.createInsecure() : transport(options.authorities, options.certificate);
    this.#channel = new grpc.Client(options.address, credentials, {
      "grpc.service_config": SERVICE_CONFIG,
      "grpc.service_config_disable_resolution": 1,
      // Requests of up to 1 MiB are repeated, too.
      "grpc.per_rpc_retry_buffer_size": 2 * 1024 * 1024,
      // A connection that died without a word is noticed while calls wait for it.
      "grpc.keepalive_time_ms": 30_000,
      "grpc.keepalive_timeout_ms": 10_000,
      // gRPC's own waits up to two minutes before it looks again for a gateway that was away.
      "grpc.max_reconnect_backoff_ms": 5_000,
      ...options.channelOptions,
      interceptors: options.interceptors ?? [],
    });
  }

  /** The RPCs of a service: `gateway.client(VaultService).getVault({ vaultId })`. */
  client<S extends DescService>(service: S): Client<S> {
    const call = (method: DescMethod) => (request: never, options: CallOptions = {}) =>
      method.methodKind === "server_streaming" ? this.#stream(method, request, options) : this.#unary(method, request, options);
    return Object.fromEntries(service.methods.map((method) => [method.localName, call(method)])) as unknown as Client<S>;
  }

  /** Ends the calls and watches under way: they reject with the code CANCELLED, as later ones do. */
  close(): void {
    this.#closing.abort();
    for (const cancel of this.#underWay) cancel(); // gRPC's own channel would let them go on.
    this.#channel.close();
  }

  /** Aborted by `close`. */
  get closed(): AbortSignal {
    return this.#closing.signal;
  }

  async #unary(method: DescMethod, request: MessageInitShape<DescMessage>, options: CallOptions): Promise<Message> {
    const message = clone(method.input, create(method.input, request));
    const requestId = withRequestId(method, message);
    const end = deadline(options);
    const metadata = await this.#metadata(options, requestId);
    this.#checkOpen(requestId);
    return new Promise((resolve, reject) => {
      const call = this.#channel.makeUnaryRequest(...wire(method), message, metadata, end, (failure, reply) => {
        over();
        if (failure) reject(this.#typed(failure, requestId));
        else resolve(reply as Message);
      });
      const over = this.#keep(call, options.signal);
    });
  }

  async *#stream(method: DescMethod, request: MessageInitShape<DescMessage>, options: CallOptions): AsyncIterable<Message> {
    const end = deadline(options);
    const metadata = await this.#metadata(options);
    this.#checkOpen();
    const call = this.#channel.makeServerStreamRequest(...wire(method), create(method.input, request), metadata, end);
    const over = this.#keep(call, options.signal);
    try {
      yield* call as AsyncIterable<Message>;
    } catch (failure) {
      throw this.#typed(failure as grpc.ServiceError);
    } finally {
      over();
      call.cancel();
    }
  }

  /** Lets the signal and `close` end a call. Answers what is to be done when it is over. */
  #keep(call: { cancel(): void }, signal?: AbortSignal): () => void {
    const cancel = () => call.cancel();
    if (signal?.aborted) cancel();
    if (signal) setMaxListeners(0, signal); // One for many calls at once is no leak of listeners, of which Node would warn.
    signal?.addEventListener("abort", cancel);
    this.#underWay.add(cancel);
    return () => {
      signal?.removeEventListener("abort", cancel);
      this.#underWay.delete(cancel);
    };
  }

  #checkOpen(requestId = ""): void {
    if (this.closed.aborted) throw GatewayError.own(grpc.status.CANCELLED, "the connection has been closed here; connect makes a new one", requestId);
  }

  #typed(failure: grpc.ServiceError, requestId = ""): GatewayError {
    return new GatewayError(failure, this.#options, requestId);
  }

  async #metadata(options: CallOptions, requestId = ""): Promise<grpc.Metadata> {
    const metadata = new grpc.Metadata();
    const { apiKey, token, project } = this.#options;
    const bearer = token ? await inTime(token, options, requestId) : apiKey;
    // Before gRPC finds it, whose error shows the token.
    if (!fitsHeader(bearer)) throw GatewayError.own(grpc.status.UNAUTHENTICATED, `the token has ${MISFIT}`, requestId);
    if (bearer) metadata.set("authorization", `Bearer ${bearer}`);
    if (project) metadata.set("x-cbr-project-id", project);
    return metadata;
  }
}

function wire(method: DescMethod): [string, (message: Message) => Buffer, (bytes: Buffer) => Message] {
  const path = `/${method.parent.typeName}/${method.name}`;
  return [path, (message) => Buffer.from(toBinary(method.input, message)), (bytes) => fromBinary(method.output, bytes)];
}

/** Neither gRPC nor Node's timers can count longer than LONGEST_WAIT_MS. Throws a TypeError for what is no number. */
function deadline({ timeoutMs = Infinity }: CallOptions): grpc.CallOptions {
  checkNumber("timeoutMs", timeoutMs);
  return timeoutMs > LONGEST_WAIT_MS ? {} : { deadline: Date.now() + Math.max(timeoutMs, 0) };
}

const MISFIT = "a character that cannot stand in a header, such as the end of a line";

function fitsHeader(value = ""): boolean {
  return /^[ -~]*$/.test(value);
}

/** The token, or the error of the deadline or the signal, which end the wait for it as gRPC ends the call itself. */
async function inTime(token: () => string | Promise<string>, { timeoutMs = LONGEST_WAIT_MS, signal }: CallOptions, requestId: string): Promise<string> {
  const over = new AbortController();
  const either = signal ? AbortSignal.any([over.signal, signal]) : over.signal;
  const failed = (code: grpc.status, what: string) => () => Promise.reject(GatewayError.own(code, `${what} while the token was awaited`, requestId));
  const interrupted = sleep(Math.min(Math.max(timeoutMs, 0), LONGEST_WAIT_MS), undefined, { signal: either }).then(
    failed(grpc.status.DEADLINE_EXCEEDED, "it passed"),
    failed(grpc.status.CANCELLED, "the call was cancelled"),
  );
  try {
    return await Promise.race([interrupted, Promise.resolve().then(token)]);
  } finally {
    over.abort();
  }
}

/**
 * Fills the request_id of a change, and answers it. The message is a copy: the caller's own, used again for another change, must not carry the id of this one. In the request of a read
 * request_id is a filter.
 */
function withRequestId(method: DescMethod, message: Message & { requestId?: string }): string {
  const isRead = method.idempotency === MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS;
  if (isRead || !method.input.field["requestId"]) return "";
  message.requestId ||= newRequestId();
  return message.requestId;
}
