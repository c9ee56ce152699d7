/// Goes through lists, page by page.
#pragma once

#include <future>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>
#include <grpcpp/grpcpp.h>

#include "cbrgateway/errors.h"

namespace cbrgateway {

/// Whether the next page is asked for, in a thread of its own, while the caller is at work on this one.
enum class Prefetch { kNo, kYes };

/// The field of a page with its rows: of the repeated fields of messages the one with the lowest number. Throws std::invalid_argument if there is none.
const google::protobuf::FieldDescriptor& RowsField(const google::protobuf::Descriptor& page);

/// Goes once through what a range Advances to, and is Current then.
template <class Range, class Value>
class Once {
 public:
  using iterator_concept = std::input_iterator_tag;
  using difference_type = std::ptrdiff_t;
  using value_type = Value;

  explicit Once(Range* range) : range_(range) { ++*this; }
  const Value& operator*() const { return range_->Current(); }
  Once& operator++() {
    over_ = !range_->Advance();
    return *this;
  }
  void operator++(int) { ++*this; }
  bool operator==(std::default_sentinel_t) const { return over_; }

 private:
  Range* range_;
  bool over_ = false;
};

/// The answers of a list, one after the other, to be gone through once. They have what a list tells beside its rows, such as `total_size`,
/// `unreadable_rows` or `coverage`. One is held at a time, with Prefetch::kYes two. Throws Error where a call fails.
///
///     for (const auto& page : cbrgateway::Pages(*vaults, &VaultService::Stub::ListVaults, request)) { ... }
///
/// A request with a page_token begins there. The stub must live as long. To leave early, destroy it: a call under way is cancelled.
template <class Stub, class Request, class Response>
class Pages {
 public:
  using Rpc = grpc::Status (Stub::*)(grpc::ClientContext*, const Request&, Response*);

  Pages(Stub& stub, grpc::Status (Stub::*rpc)(grpc::ClientContext*, const Request&, Response*), std::type_identity_t<Request> request,
        Prefetch prefetch = Prefetch::kNo)
      : stub_(stub), rpc_(rpc), request_(std::move(request)), prefetch_(prefetch) {}
  ~Pages() {
    if (context_) {
      context_->TryCancel();
    }
  }
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;

  /// Takes the next page; false if there is none.
  bool Next(Response* page) {
    if (over_) {
      return false;
    }
    over_ = true;  // Nothing comes after an Error.
    *page = coming_.valid() ? coming_.get() : Ask(request_, NewContext());
    const std::string& token = page->next_page_token();
    if (token.empty()) {
      return true;
    }
    if (token == request_.page_token()) {
      throw Error(grpc::Status(grpc::INTERNAL, "the list does not go on: a page names itself as the next one"));
    }
    over_ = false;
    request_.set_page_token(token);
    if (prefetch_ == Prefetch::kYes) {
      coming_ = std::async(std::launch::async, [this, request = request_, context = NewContext()] { return Ask(request, context); });
    }
    return true;
  }

  using Iterator = Once<Pages, Response>;
  Iterator begin() { return Iterator(this); }
  std::default_sentinel_t end() { return {}; }

 private:
  friend Iterator;

  const Response& Current() const { return page_; }
  bool Advance() { return Next(&page_); }

  std::shared_ptr<grpc::ClientContext> NewContext() { return context_ = std::make_shared<grpc::ClientContext>(); }

  Response Ask(const Request& request, const std::shared_ptr<grpc::ClientContext>& context) {
    Response page;
    if (const grpc::Status status = (stub_.*rpc_)(context.get(), request, &page); !status.ok()) {
      throw Error(status);
    }
    return page;
  }

  Stub& stub_;
  const Rpc rpc_;
  Request request_;
  const Prefetch prefetch_;
  bool over_ = false;
  Response page_;
  std::shared_ptr<grpc::ClientContext> context_;  // Of the newest call.
  std::future<Response> coming_;
};

/// The rows of a list, of all of its Pages. The caller names what they are; std::invalid_argument is thrown if they are something else.
///
///     for (const auto& vault : cbrgateway::Rows<v1::Vault>(*vaults, &VaultService::Stub::ListVaults, request)) { ... }
template <class Row, class Stub, class Request, class Response>
class RowRange {
 public:
  RowRange(Stub& stub, typename Pages<Stub, Request, Response>::Rpc rpc, Request request, Prefetch prefetch)
      : pages_(stub, rpc, std::move(request), prefetch), field_(RowsField(*Response::descriptor())) {
    if (field_.message_type() != Row::descriptor()) {
      throw std::invalid_argument("the rows of " + Response::descriptor()->name() + " are of " + field_.message_type()->name());
    }
  }

  using Iterator = Once<RowRange, Row>;
  Iterator begin() { return Iterator(this); }
  std::default_sentinel_t end() { return {}; }

 private:
  friend Iterator;

  const Row& Current() const { return static_cast<const Row&>(page_.GetReflection()->GetRepeatedMessage(page_, &field_, index_)); }

  bool Advance() {
    for (++index_; index_ >= page_.GetReflection()->FieldSize(page_, &field_); index_ = 0) {
      if (!pages_.Next(&page_)) {
        return false;
      }
    }
    return true;
  }

  Pages<Stub, Request, Response> pages_;
  const google::protobuf::FieldDescriptor& field_;
  Response page_;
  int index_ = 0;  // Of the row in the page; begin() moves to the first one.
};

template <class Row, class Stub, class Request, class Response>
RowRange<Row, Stub, Request, Response> Rows(Stub& stub, grpc::Status (Stub::*rpc)(grpc::ClientContext*, const Request&, Response*),
                                            std::type_identity_t<Request> request, Prefetch prefetch = Prefetch::kNo) {
  return {stub, rpc, std::move(request), prefetch};
}

}  // namespace cbrgateway
