// Errors as values: every function that can fail gives a Result.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

namespace gen3d {

// What kind of thing went wrong. The numbers are those of gen3d_code in gen3d.h.
enum class Code : int {
  ok = 0,
  internal = 1,      // an error of this library, or no memory
  usage = 2,         // the request or an argument is wrong
  missing = 3,       // a kernel, a backend or an operation that this build has not
  nothing = 5,       // nothing was generated
  verification = 7,  // the bundle was changed, is damaged or of another format
  program = 9,       // a program failed in its runtime
  cancelled = 130,   // the caller asked to stop
};

// An error: its kind, and what is wrong, where, and how to mend it.
struct Error {
  Code code = Code::internal;
  std::string message;
};

// A value, or the error that kept it from being made.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}          // NOLINT: a value is a result
  Result(Error error) : error_(std::move(error)) {}      // NOLINT: so is an error
  explicit operator bool() const { return value_.has_value(); }
  T& operator*() { return *value_; }
  const T& operator*() const { return *value_; }
  T* operator->() { return &*value_; }
  const T* operator->() const { return &*value_; }
  const Error& error() const { return error_; }

 private:
  std::optional<T> value_;
  Error error_;
};

// What a step that gives no value gives.
struct Done {};
using Status = Result<Done>;

inline Error usage_error(std::string message) { return {Code::usage, std::move(message)}; }
inline Error verification_error(std::string message) { return {Code::verification, std::move(message)}; }

}  // namespace gen3d
