import { readFileSync, unwatchFile, watchFile } from "node:fs";
import { createSecureContext, rootCertificates } from "node:tls";

import { credentials, experimental, type ChannelCredentials } from "@grpc/grpc-js";

type CertificateProvider = Parameters<typeof experimental.createCertificateProviderChannelCredentials>[0];
type IdentityListener = Parameters<CertificateProvider["addIdentityCertificateListener"]>[0];
type CaListener = Parameters<CertificateProvider["addCaCertificateListener"]>[0];

/** How often files are looked at. */
const LOOK_MS = 1000;

/** A certificate and its key (PEM), or paths of their files. */
export interface CertificatePair<T extends Buffer | string> {
  certificate: T;
  key: T;
}

/** Those of a connection with TLS. Throws what is wrong with a certificate. */
export function transport(authorities: Buffer | undefined, pair: CertificatePair<Buffer> | CertificatePair<string> | undefined): ChannelCredentials {
  if (!pair) return credentials.createSsl(authorities ?? null);
  if (typeof pair.certificate !== "string") {
    const { certificate, key } = pair as CertificatePair<Buffer>;
    return credentials.createSsl(authorities ?? null, key, certificate);
  }
  const files = new Files(authorities ?? Buffer.from(rootCertificates.join("\n")), pair as CertificatePair<string>);
  return experimental.createCertificateProviderChannelCredentials(files, files);
}

/** Files that are read again when they have changed, for the next connection, as long as somebody listens. Files that cannot be used change nothing. */
class Files implements CertificateProvider {
  readonly #authorities: Buffer;
  readonly #paths: CertificatePair<string>;
  readonly #listeners = new Set<IdentityListener>();
  #pair: CertificatePair<Buffer>;

  constructor(authorities: Buffer, paths: CertificatePair<string>) {
    this.#authorities = authorities;
    this.#paths = paths;
    this.#pair = read(paths);
  }

  addCaCertificateListener(listener: CaListener): void {
    process.nextTick(listener, { caCertificate: this.#authorities });
  }

  removeCaCertificateListener(): void {
    // Authorities do not change.
  }

  addIdentityCertificateListener(listener: IdentityListener): void {
    if (this.#listeners.size === 0) {
      this.#look();
      for (const path of Object.values(this.#paths)) watchFile(path, { persistent: false, interval: LOOK_MS }, this.#look);
    }
    this.#listeners.add(listener);
    process.nextTick(() => this.#tell(listener));
  }

  removeIdentityCertificateListener(listener: IdentityListener): void {
    this.#listeners.delete(listener);
    if (this.#listeners.size === 0) for (const path of Object.values(this.#paths)) unwatchFile(path, this.#look);
  }

  readonly #look = (): void => {
    try {
      this.#pair = read(this.#paths);
    } catch {
      return; // Half of the pair may be written; what there was before still counts.
    }
    for (const listener of this.#listeners) this.#tell(listener);
  };

  #tell(listener: IdentityListener): void {
    listener({ certificate: this.#pair.certificate, privateKey: this.#pair.key });
  }
}

function read(paths: CertificatePair<string>): CertificatePair<Buffer> {
  const pair = { certificate: readFileSync(paths.certificate), key: readFileSync(paths.key) };
  createSecureContext({ cert: pair.certificate, key: pair.key });
  return pair;
}
