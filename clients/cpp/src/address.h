#pragma once

#include <string>

namespace cbrgateway {

/// Throws std::invalid_argument, which says what to write, for what can be no address: clients/addresses.json has the mistakes, for all languages.
void CheckAddress(const std::string& address);

}  // namespace cbrgateway
