import { fromBinary } from "@bufbuild/protobuf";
import { anyUnpack, type Any } from "@bufbuild/protobuf/wkt";
import { createRegistry } from "@bufbuild/protobuf";
import { Metadata, status, type ServiceError } from "@grpc/grpc-js";

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
import { StatusSchema } from "./gen/google/rpc/status_pb.js";

const DETAILS = createRegistry(file_google_rpc_error_details);
/** Other texts about TLS, such as that of a gateway which speaks plain text, do not mean that somebody is not trusted. */
const UNTRUSTED = /certificate|ERR_TLS_CERT_|self[- ]signed|UNABLE_TO_VERIFY/i;

/**
 * Who ended a call: the gateway, with a reason; nobody, since none answers at the address; we, since the gateway's certificate is not trusted; the clock; or something else, such as an
 * aborted signal.
 */
export type Kind = "answered" | "unreachable" | "untrusted" | "deadline" | "other";

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
  /** The gateway's id of this call, for its operator. */
  callId = "";
  /** Facts of the ErrorInfo, such as "sent" and "attempts". */
  metadata: Record<string, string> = {};

  constructor(failure: ServiceError, address: string, requestId = "") {
    super(failure.details, { cause: failure });
    this.name = "GatewayError";
    this.code = failure.code;
    this.requestId = requestId;
    const [packed] = failure.metadata?.get("grpc-status-details-bin") ?? [];
    if (packed instanceof Buffer) for (const detail of fromBinary(StatusSchema, packed).details) this.#add(detail);
    this.message = this.#explained(failure.details, address);
  }

  /** A failure that we have noticed before gRPC. */
  static own(code: status, details: string, requestId = ""): GatewayError {
    const failure = Object.assign(new Error(details), { code, details, metadata: new Metadata() });
    return new GatewayError(failure, "", requestId);
  }

  /** How a stream ends that does not tell its end. */
  static lost(what: string): GatewayError {
    const details = `the stream was lost: ${what}`;
    return Object.assign(GatewayError.own(status.UNAVAILABLE, details), { message: details });
  }

  #add(packed: Any): void {
    const detail = anyUnpack(packed, DETAILS) as
      | ErrorInfo
      | RequestInfo
      | RetryInfo
      | BadRequest
      | PreconditionFailure
      | QuotaFailure
      | ResourceInfo
      | undefined;
    switch (detail?.$typeName) {
      case "google.rpc.ErrorInfo":
        this.kind = "answered";
        this.reason = ErrorReason[detail.reason as keyof typeof ErrorReason] ?? ErrorReason.OTHER;
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

  #explained(text: string, address: string): string {
    if (this.kind === "answered") return `${status[this.code]} ${ErrorReason[this.reason]}: ${text} (call ${this.callId})`;
    if (this.code === status.DEADLINE_EXCEEDED) {
      this.kind = "deadline";
      return `the deadline passed before the gateway answered: ${text}`;
    }
    if (this.code !== status.UNAVAILABLE) return text;
    this.kind = UNTRUSTED.test(text) ? "untrusted" : "unreachable";
    return this.kind === "untrusted"
      ? `the certificate of the gateway at ${address} is not trusted: ${text}`
      : `the gateway at ${address} cannot be reached: ${text}`;
  }
}
