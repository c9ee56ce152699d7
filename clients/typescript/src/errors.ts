import { fromBinary } from "@bufbuild/protobuf";
import { anyUnpack, type Any } from "@bufbuild/protobuf/wkt";
import { createRegistry } from "@bufbuild/protobuf";
import { Metadata, status, type ServiceError } from "@grpc/grpc-js";

import { isOfEitherForm } from "./either_form.js";
import { ErrorReason } from "./gen/cbrgateway/v1/errors_pb.js";
import {
  file_google_rpc_error_details,
  type BadRequest,
  type BadRequest_FieldViolation,
  type ErrorInfo,
  type PreconditionFailure,
  type PreconditionFailure_Violation,
  type QuotaFailure,
  type QuotaFailure_Violation,
  type RequestInfo,
  type ResourceInfo,
  type RetryInfo,
} from "./gen/google/rpc/error_details_pb.js";
import { StatusSchema, type Status } from "./gen/google/rpc/status_pb.js";

const DETAILS = createRegistry(file_google_rpc_error_details);
/** Who ended a call; docs/clients.md says what to do about each. */
export type Kind =
  | "answered"
  | "unreachable"
  | "untrusted"
  | "expired_certificate"
  | "plaintext_expected"
  | "tls_expected"
  | "deadline"
  | "other";

/** Whom a call went to, and how. */
interface Peer {
  address: string;
  plaintext?: boolean;
}

/** What the text of Node's TLS and HTTP/2 tells of a connection that failed; the first that fits counts. */
const CONNECTIONS: [words: RegExp, kind: Kind, what: (address: string) => string][] = [
  [/wrong version number|packet length too long/i, "plaintext_expected", (at) => `the port ${at} speaks plain text and the call used TLS; connect with plaintext, or to a port with TLS`],
  [/certificate has expired|not yet valid|CERT_HAS_EXPIRED/i, "expired_certificate", (at) => `the certificate of the gateway at ${at} is out of date, or not valid yet; its operator has to renew it, and look at the clock of this machine`],
  [/alert certificate required|alert bad certificate|alert unknown ca|alert number (42|48|116)/i, "unreachable", (at) => `the gateway at ${at} wants a certificate of the caller that it trusts; give one as the option certificate`],
  [/certificate|ERR_TLS_CERT_|self[- ]signed|UNABLE_TO_VERIFY/i, "untrusted", (at) => `the certificate of the gateway at ${at} is not trusted; name its authorities, and the gateway by a name that its certificate has`],
];
/** What HTTP/2 in plain text meets at a port with TLS: the end of the connection before its first frame, or an alert in the place of one. */
const NO_PLAINTEXT = /Last error: Failed to connect( \(|$)|Protocol error|ECONNRESET/;

/** What every failed call rejects with. */
export class GatewayError extends Error {
  kind: Kind = "other";
  /** One of `status` of @grpc/grpc-js. */
  readonly code: status;
  /** OTHER for one that is newer than this package; UNSPECIFIED where the gateway has not answered. */
  reason = ErrorReason.UNSPECIFIED;
  fields: BadRequest_FieldViolation[] = [];
  preconditions: PreconditionFailure_Violation[] = [];
  quotas: QuotaFailure_Violation[] = [];
  resource?: ResourceInfo;
  /** How long to wait before a repeat; 0 where the gateway did not say. */
  retryDelayMs = 0;
  /** Of a change: repeat it with this id to learn what became of it. */
  readonly requestId: string;
  /** Of a wait whose time was up: the ids of what goes on. */
  stillOpen: string[] = [];
  /** The gateway's id of this call, for its operator. */
  callId = "";
  /** Facts of the ErrorInfo, such as "sent" and "attempts". */
  metadata: Record<string, string> = {};

  constructor(failure: ServiceError, peer: Peer, requestId = "") {
    super(failure.details, { cause: failure });
    this.name = "GatewayError";
    this.code = failure.code;
    this.requestId = requestId;
    const [packed] = failure.metadata?.get("grpc-status-details-bin") ?? [];
    if (packed instanceof Buffer) for (const detail of detailsOf(packed)) this.#add(detail);
    this.message = this.#explained(failure.details, peer) + this.#ids();
  }

  /** A failure that we have noticed before gRPC. */
  static own(code: status, details: string, requestId = ""): GatewayError {
    const failure = Object.assign(new Error(details), { code, details, metadata: new Metadata() });
    return new GatewayError(failure, { address: "" }, requestId);
  }

  /** How a stream ends that does not tell its end. */
  static lost(what: string): GatewayError {
    const details = `the stream was lost: ${what}`;
    return Object.assign(GatewayError.own(status.UNAVAILABLE, details), { message: details });
  }

  #add(packed: Any): void {
    const detail = unpacked(packed);
    switch (detail?.$typeName) {
      case "google.rpc.ErrorInfo":
        this.kind = "answered";
        this.reason = reasonOf(detail.reason);
        this.metadata = detail.metadata;
        break;
      case "google.rpc.RequestInfo":
        this.callId = detail.requestId;
        break;
      case "google.rpc.RetryInfo":
        this.retryDelayMs = Number(detail.retryDelay?.seconds ?? 0n) * 1000 + (detail.retryDelay?.nanos ?? 0) / 1e6;
        break;
      case "google.rpc.BadRequest":
        this.fields = detail.fieldViolations;
        break;
      case "google.rpc.PreconditionFailure":
        this.preconditions = detail.violations;
        break;
      case "google.rpc.QuotaFailure":
        this.quotas = detail.violations;
        break;
      case "google.rpc.ResourceInfo":
        this.resource = detail;
        break;
    }
  }

  #explained(text: string, { address, plaintext = false }: Peer): string {
    if (this.kind === "answered") {
      const fields = this.fields.length > 1 ? this.fields.map((each) => `; ${each.field}: ${each.description}`) : [];
      return `${status[this.code]} ${ErrorReason[this.reason]}: ${text}${fields.join("")}`;
    }
    if (this.code === status.DEADLINE_EXCEEDED) {
      this.kind = "deadline";
      const doubt = this.requestId && "; it is not known whether the change was made: make it again with the same request_id, and it is made once";
      return `the deadline passed before the gateway answered: ${text}${doubt}`;
    }
    if (this.code === status.UNIMPLEMENTED)
      return `${text}. What answers there does not have the RPC: it may be the health port, another service, or an older gateway`;
    if (this.code !== status.UNAVAILABLE) return text;
    const [kind, what] = reached(text, plaintext);
    this.kind = kind;
    return `${what(address)}: ${text}`;
  }

  #ids(): string {
    const ids = [this.callId && `call ${this.callId}`, this.requestId && `request_id ${this.requestId}`].filter(Boolean);
    return ids.length > 0 ? ` (${ids.join(", ")})` : "";
  }
}

isOfEitherForm("GatewayError", GatewayError);

/** None of a status that cannot be read: thrown from here an error would be lost in gRPC, and the call never end. */
function detailsOf(packed: Buffer): Any[] {
  try {
    return fromBinary(StatusSchema, packed).details;
  } catch {
    return [];
  }
}

type Detail = ErrorInfo | RequestInfo | RetryInfo | BadRequest | PreconditionFailure | QuotaFailure | ResourceInfo;

/** Undefined for a kind that is not known, and for what cannot be read. */
function unpacked(packed: Any): Detail | undefined {
  try {
    return anyUnpack(packed, DETAILS) as Detail | undefined;
  } catch {
    return undefined;
  }
}

function reached(text: string, plaintext: boolean): [Kind, (address: string) => string] {
  if (plaintext && text.startsWith("No connection established") && NO_PLAINTEXT.test(text))
    return ["tls_expected", (at) => `the port ${at} does not speak plain text, or is going away; connect without plaintext`];
  const found = plaintext ? undefined : CONNECTIONS.find(([words]) => words.test(text));
  return found ? [found[1], found[2]] : ["unreachable", (at) => `the gateway at ${at} cannot be reached`];
}

/** OTHER for one that is newer than this package. */
function reasonOf(name: string): ErrorReason {
  return ErrorReason[name as keyof typeof ErrorReason] ?? ErrorReason.OTHER;
}

/** The reason of an error that stands in an event. */
export function reasonIn(failure: Status | undefined): ErrorReason {
  for (const packed of failure?.details ?? []) {
    const detail = unpacked(packed);
    if (detail?.$typeName === "google.rpc.ErrorInfo") return reasonOf(detail.reason);
  }
  return ErrorReason.UNSPECIFIED;
}
