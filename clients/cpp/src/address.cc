#include "address.h"

#include <regex>
#include <stdexcept>

namespace cbrgateway {
namespace {

constexpr int kMost = 65'535;

bool IsOfGrpc(const std::string& address) {
  static const std::regex begins("(?:(?:dns|ipv4|ipv6|unix|unix-abstract|vsock|xds):|[a-z][a-z0-9+.-]*:///)");
  return std::regex_search(address, begins, std::regex_constants::match_continuous);
}

bool IsPort(const std::string& text) {
  static const std::regex digits("[0-9]{1,5}");
  return std::regex_match(text, digits) && std::stoi(text) >= 1 && std::stoi(text) <= kMost;
}

std::string Mistake(const std::string& address);

/// The place of a URL as an address, as far as it has one.
std::string PlaceOfUrl(const std::string& rest) {
  std::string place = rest.substr(0, rest.find_first_of("/?#"));
  const auto bracket = place.rfind(']');
  if (place.find(':', bracket == std::string::npos ? 0 : bracket) == std::string::npos) {
    place += ":50051";
  }
  return Mistake(place).empty() ? place : "host:port";
}

std::string Mistake(const std::string& address) {
  static const std::regex ipv6("[0-9A-Fa-f:.]*:[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*(?:%.*)?");
  static const std::regex place(R"(([\w.-]+|\[[0-9A-Fa-f:.]+(?:%[\w.-]+)?\])(:(.*))?)");  // Host, and what stands behind the colon.
  if (address.empty()) {
    return "is empty: write host:port";
  }
  if (IsOfGrpc(address)) {
    return "";
  }
  if (const auto scheme = address.find("://"); scheme != std::string::npos) {
    return "is a URL: write " + PlaceOfUrl(address.substr(scheme + 3)) + ", and leave TLS to the options";
  }
  if (std::regex_match(address, ipv6)) {
    return "is IPv6 without brackets: write it as [::1]:50051";
  }
  std::smatch found;
  if (!std::regex_match(address, found, place)) {
    return "is not host:port: write it as 127.0.0.1:50051";
  }
  if (!found[2].matched) {
    return "has no port: write " + found[1].str() + ":50051";
  }
  return IsPort(found[3]) ? "" : "has no port from 1 to " + std::to_string(kMost) + ": write " + found[1].str() + ":50051";
}

}  // namespace

void CheckAddress(const std::string& address) {
  if (const std::string wrong = Mistake(address); !wrong.empty()) {
    throw std::invalid_argument("the address \"" + address + "\" " + wrong);
  }
}

}  // namespace cbrgateway
