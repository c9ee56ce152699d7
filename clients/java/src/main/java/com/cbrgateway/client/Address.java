package com.cbrgateway.client;

import java.util.regex.Pattern;

/** Where a gateway is, and the mistakes that are made in writing it down: clients/addresses.json has them for all languages. */
final class Address {
  /** How a name begins that gRPC itself resolves. */
  private static final Pattern OF_GRPC = Pattern.compile("^(?:(?:dns|ipv4|ipv6|unix|unix-abstract|vsock|xds):|[a-z][a-z0-9+.-]*:///)");

  private static final Pattern IPV6 = Pattern.compile("[0-9A-Fa-f:.]*:[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*(?:%.*)?");

  /** Host, and what stands behind the colon. */
  private static final Pattern PLACE = Pattern.compile("([\\w.-]+|\\[[0-9A-Fa-f:.]+(?:%[\\w.-]+)?])(?::(.*))?");

  private static final int MOST = 65_535;

  private Address() {}

  /** The address. Throws IllegalArgumentException, which says what to write, for what can be none. */
  static String checked(String address) {
    String wrong = mistake(address);
    if (!wrong.isEmpty()) {
      throw new IllegalArgumentException("the address \"" + address + "\" " + wrong);
    }
    return address;
  }

  private static String mistake(String address) {
    if (address == null || address.isEmpty()) {
      return "is empty: write host:port";
    }
    if (OF_GRPC.matcher(address).find()) {
      return "";
    }
    int url = address.indexOf("://");
    if (url >= 0) {
      return "is a URL: write " + withPort(address.substring(url + 3).replaceFirst("(?s)[/?#].*", "")) + ", and leave TLS to the options";
    }
    if (IPV6.matcher(address).matches()) {
      return "is IPv6 without brackets: write it as [::1]:50051";
    }
    var place = PLACE.matcher(address);
    if (!place.matches()) {
      return "is not host:port: write it as 127.0.0.1:50051";
    }
    if (place.group(2) == null) {
      return "has no port: write " + place.group(1) + ":50051";
    }
    return isPort(place.group(2)) ? "" : "has no port from 1 to " + MOST + ": write " + place.group(1) + ":50051";
  }

  /** The place of a URL as an address, as far as it has one. */
  private static String withPort(String place) {
    String whole = place.indexOf(':', place.lastIndexOf(']') + 1) >= 0 ? place : place + ":50051";
    return mistake(whole).isEmpty() ? whole : "host:port";
  }

  private static boolean isPort(String text) {
    return text.matches("[0-9]{1,5}") && Integer.parseInt(text) >= 1 && Integer.parseInt(text) <= MOST;
  }
}
