/** How a name begins that gRPC itself resolves. */
const OF_GRPC = /^(?:(?:dns|ipv4|ipv6|unix|unix-abstract|vsock|xds):|[a-z][a-z0-9+.-]*:\/\/\/)/;
const IPV6 = /^[0-9A-Fa-f:.]*:[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*(?:%.*)?$/;
/** Host, and what stands behind the colon. */
const PLACE = /^([\w.-]+|\[[0-9A-Fa-f:.]+(?:%[\w.-]+)?\])(?::(.*))?$/;

/** Throws a TypeError that says what to write, for what can be no address: clients/addresses.json has the mistakes, for all languages. */
export function checkAddress(address: string): void {
  const wrong = mistake(address);
  if (wrong) throw new TypeError(`the address ${JSON.stringify(address)} ${wrong}`);
}

function mistake(address: string): string {
  if (!address) return "is empty: write host:port";
  if (OF_GRPC.test(address)) return "";
  const [, ofUrl] = address.split("://", 2);
  if (ofUrl !== undefined) return `is a URL: write ${withPort(ofUrl.split(/[/?#]/, 1)[0] ?? "")}, and leave TLS to the options`;
  if (IPV6.test(address)) return "is IPv6 without brackets: write it as [::1]:50051";
  const [, host, port] = PLACE.exec(address) ?? [];
  if (host === undefined) return "is not host:port: write it as 127.0.0.1:50051";
  if (port === undefined) return `has no port: write ${host}:50051`;
  return isPort(port) ? "" : `has no port from 1 to 65535: write ${host}:50051`;
}

/** The place of a URL as an address, as far as it has one. */
function withPort(place: string): string {
  const whole = /:[^\]]*$/.test(place) ? place : `${place}:50051`;
  return mistake(whole) ? "host:port" : whole;
}

function isPort(text: string): boolean {
  return /^[0-9]{1,5}$/.test(text) && Number(text) >= 1 && Number(text) <= 65_535;
}
