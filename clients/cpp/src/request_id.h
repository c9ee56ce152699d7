#pragma once

#include <string>

namespace cbrgateway {

/// An id for a change whose caller gave none: that of the SharedRequestId of this thread, or else a fresh one.
std::string NewRequestId();

/// While it lives, all changes that its thread starts get one id. It stays in the scope where it was made.
class SharedRequestId {
 public:
  SharedRequestId();
  ~SharedRequestId();
  SharedRequestId(const SharedRequestId&) = delete;
  SharedRequestId& operator=(const SharedRequestId&) = delete;

 private:
  const std::string id_;
  const std::string* const outer_;
};

}  // namespace cbrgateway
