/**
 * Connects to a CBR Gateway. Calls have deadlines, are repeated only where that is safe, and fail with a {@link GatewayError}.
 *
 *     const gateway = connect({ address: "gateway.example.com:50051", apiKey });
 *     const { vaults } = await gateway.client(VaultService).listVaults({});
 */
export { connect, Gateway, type CallOptions, type Client, type ConnectOptions } from "./connection.js";
export { GatewayError, type Kind } from "./errors.js";
export { retryWhenLimited } from "./retry.js";
export { watchTasks } from "./watch.js";
