#include "runtime_log.hpp"

#include <executorch/runtime/platform/platform.h>

#include <algorithm>
#include <mutex>

namespace gen3d {
namespace {

namespace rt = executorch::runtime;

thread_local std::string said;

void listen(et_timestamp_t, et_pal_log_level_t level, const char*, const char*, size_t, const char* message, size_t length) {
  if (level == kError || level == kFatal) said.assign(message, std::min<size_t>(length, 500));
}

}  // namespace

void listen_to_runtime() {
  static std::once_flag once;
  std::call_once(once, [] { rt::register_pal(rt::PalImpl::create(listen, __FILE__)); });
}

const std::string& last_said() { return said; }

void forget_said() { said.clear(); }

}  // namespace gen3d
