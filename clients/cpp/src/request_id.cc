#include "request_id.h"

#include <array>
#include <cstdio>
#include <random>

namespace cbrgateway {
namespace {

// A call starts, and its request is filled, in the thread of its caller; so no signature has to carry the id.
thread_local const std::string* shared = nullptr;

std::string RandomId() {
  std::random_device random;
  std::array<char, 33> hex{};
  std::snprintf(hex.data(), hex.size(), "%08x%08x%08x%08x", random(), random(), random(), random());
  return hex.data();
}

}  // namespace

std::string NewRequestId() { return shared ? *shared : RandomId(); }

SharedRequestId::SharedRequestId() : id_(RandomId()), outer_(shared) { shared = &id_; }

SharedRequestId::~SharedRequestId() { shared = outer_; }

}  // namespace cbrgateway
