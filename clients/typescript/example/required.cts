// The same package from CommonJS.
import { connect } from "cbrgateway";
import { VaultSchema } from "cbrgateway/v1/types";

connect({ address: "127.0.0.1:50051" }).close();
if (VaultSchema.typeName !== "cbrgateway.v1.Vault") throw new Error(VaultSchema.typeName);
