//! Where a gateway is, and the mistakes that are made in writing it down: `clients/addresses.json` has them for all languages.

use std::net::Ipv6Addr;

const OF_GRPC: [&str; 7] = ["dns:", "ipv4:", "ipv6:", "unix:", "unix-abstract:", "vsock:", "xds:"];

/// What tonic is to connect to: `host:port`, or the path of a socket as a URI. Fails with words that say what to write.
pub(crate) fn checked(address: &str) -> Result<String, String> {
    let told = |wrong: String| format!("the address {address:?} {wrong}");
    if is_of_grpc(address) {
        return resolved(address).map_err(told);
    }
    host_and_port(address).map_err(told)?;
    Ok(address.to_owned())
}

/// Whether the name begins as one that gRPC itself resolves.
fn is_of_grpc(address: &str) -> bool {
    let own = address.split_once(":///").is_some_and(|(scheme, _)| {
        let inner = |each: char| matches!(each, 'a'..='z' | '0'..='9' | '+' | '.' | '-');
        scheme.starts_with(|first: char| first.is_ascii_lowercase()) && scheme.chars().all(inner)
    });
    own || OF_GRPC.iter().any(|scheme| address.starts_with(scheme))
}

/// tonic asks the system's DNS and knows sockets, and has no other names.
fn resolved(address: &str) -> Result<String, String> {
    if address.starts_with("unix:") {
        return Ok(address.to_owned());
    }
    let name = address.strip_prefix("dns:").map(|name| name.strip_prefix("///").unwrap_or(name));
    let name = name.ok_or("is a name that tonic does not resolve: write host:port")?;
    host_and_port(name)?;
    Ok(name.to_owned())
}

fn host_and_port(address: &str) -> Result<(), String> {
    if address.is_empty() {
        return Err("is empty: write host:port".into());
    }
    if let Some((_, rest)) = address.split_once("://") {
        return Err(format!("is a URL: write {}, and leave TLS to the options", place_of_url(rest)));
    }
    if is_bare_ipv6(address) {
        return Err("is IPv6 without brackets: write it as [::1]:50051".into());
    }
    let (host, port) = parts(address).ok_or("is not host:port: write it as 127.0.0.1:50051")?;
    match port {
        None => Err(format!("has no port: write {host}:50051")),
        Some(port) if is_port(port) => Ok(()),
        Some(_) => Err(format!("has no port from 1 to 65535: write {host}:50051")),
    }
}

fn is_bare_ipv6(address: &str) -> bool {
    let digits = address.split('%').next().unwrap_or_default();
    let fits = |each: char| each.is_ascii_hexdigit() || matches!(each, ':' | '.');
    digits.matches(':').count() > 1 && digits.chars().all(fits)
}

/// Host, and what stands behind the colon, if there is one.
fn parts(address: &str) -> Option<(&str, Option<&str>)> {
    let end = if address.starts_with('[') { address.find(']')? + 1 } else { address.find(':').unwrap_or(address.len()) };
    let (host, rest) = address.split_at(end);
    let port = if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) };
    is_host(host).then_some((host, port))
}

fn is_host(host: &str) -> bool {
    let word =
        |text: &str| !text.is_empty() && text.chars().all(|each| each.is_ascii_alphanumeric() || matches!(each, '_' | '.' | '-'));
    let Some(inner) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) else { return word(host) };
    let (digits, zone) = inner.split_once('%').unwrap_or((inner, "0"));
    digits.parse::<Ipv6Addr>().is_ok() && word(zone)
}

/// The place of a URL as an address, as far as it has one.
fn place_of_url(rest: &str) -> String {
    let place = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let has_port = place.rsplit(']').next().is_some_and(|end| end.contains(':'));
    let whole = if has_port { place.to_owned() } else { format!("{place}:50051") };
    if host_and_port(&whole).is_ok() { whole } else { "host:port".into() }
}

fn is_port(text: &str) -> bool {
    text.chars().all(|each| each.is_ascii_digit()) && text.parse::<u16>().is_ok_and(|port| port > 0)
}
