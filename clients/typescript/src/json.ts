import { createRegistry, toJson, type DescMessage, type JsonValue, type MessageShape } from "@bufbuild/protobuf";

import { file_google_rpc_error_details } from "./gen/google/rpc/error_details_pb.js";

const DETAILS = createRegistry(file_google_rpc_error_details);

/**
 * A message as JSON: `json(VaultSchema, vault)`. 64-bit integers are text, times as in RFC 3339, enums names, and a word of an enum that is newer than this package is its number.
 *
 * `JSON.stringify(vault)` throws, since a bigint has no JSON form. `fromJson` of @bufbuild/protobuf reads it back.
 */
export function json<D extends DescMessage>(schema: D, message: MessageShape<D>): JsonValue {
  return toJson(schema, message, { registry: DETAILS });
}
