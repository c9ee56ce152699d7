/**
 * Connects to a CBR Gateway. Calls have deadlines, are repeated only where that is safe, and fail with a {@link GatewayError}.
 *
 *     const gateway = connect({ address: "gateway.example.com:50051", apiKey });
 *     const { vaults } = await gateway.client(VaultService).listVaults({});
 */
export type { CertificatePair } from "./certificates.js";
export { connect, Gateway, type CallOptions, type Client, type ConnectOptions } from "./connection.js";
export { GatewayError, type Kind } from "./errors.js";
export { json } from "./json.js";
export { pages, rows, type List, type PageOptions } from "./pages.js";
export { retryWhenLimited } from "./retry.js";
export { runAndWait, TaskFailed, wait, type Ended, type Failure, type Target, type WaitOptions } from "./wait.js";
export { watchTasks } from "./watch.js";
