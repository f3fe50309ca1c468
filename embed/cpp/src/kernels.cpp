#include "kernels.hpp"

#include <executorch/runtime/core/exec_aten/exec_aten.h>
#include <executorch/runtime/kernel/kernel_runtime_context.h>
#include <executorch/runtime/kernel/operator_registry.h>

#include <cstring>
#include <mutex>

#include "runtime_log.hpp"

namespace gen3d {
namespace {

namespace rt = executorch::runtime;
using executorch::aten::ScalarType;
using executorch::aten::Tensor;
using Stack = rt::Span<rt::EValue*>;

template <class Do>
bool with_type(ScalarType type, Do&& action) {
  switch (type) {
    case ScalarType::Float: return action(float{}), true;
    case ScalarType::Double: return action(double{}), true;
    case ScalarType::Long: return action(int64_t{}), true;
    case ScalarType::Int: return action(int32_t{}), true;
    case ScalarType::Char: return action(int8_t{}), true;
    case ScalarType::Byte: return action(uint8_t{}), true;
    case ScalarType::Bool: return action(bool{}), true;
    default: return false;
  }
}

bool same_order(const Tensor& a, const Tensor& b) {
  if (a.dim() != b.dim() || a.numel() != b.numel()) return false;
  for (ssize_t i = 0; i < a.dim(); ++i)
    if (a.dim_order()[i] != b.dim_order()[i] || a.size(i) != b.size(i)) return false;
  return true;
}

// dim_order_ops::_to_dim_order_copy.out(self, non_blocking, dim_order, out): a copy with another type.
void to_copy(rt::KernelRuntimeContext& context, Stack stack) {
  const Tensor self = stack[0]->toTensor();
  Tensor out = stack[stack.size() - 1]->toTensor();
  bool known = same_order(self, out);
  known = known && with_type(self.scalar_type(), [&](auto from) {
    known = with_type(out.scalar_type(), [&](auto to) {
      const auto* source = self.const_data_ptr<decltype(from)>();
      auto* target = out.mutable_data_ptr<decltype(to)>();
      for (ssize_t i = 0; i < self.numel(); ++i) target[i] = static_cast<decltype(to)>(source[i]);
    });
  });
  if (!known) context.fail(rt::Error::NotSupported);
}

// aten::embedding.out(weight, indices, padding_idx, scale_grad_by_freq, sparse, out): rows of a table.
void embedding(rt::KernelRuntimeContext& context, Stack stack) {
  const Tensor weight = stack[0]->toTensor(), indices = stack[1]->toTensor();
  Tensor out = stack[stack.size() - 1]->toTensor();
  const bool wide = indices.scalar_type() == ScalarType::Long;
  if (weight.dim() != 2 || weight.size(0) < 1 || (!wide && indices.scalar_type() != ScalarType::Int)) return context.fail(rt::Error::NotSupported);
  const size_t row = weight.nbytes() / static_cast<size_t>(weight.size(0));
  if (out.nbytes() != row * static_cast<size_t>(indices.numel())) return context.fail(rt::Error::InvalidArgument);
  const auto* from = static_cast<const char*>(weight.const_data_ptr());
  auto* to = static_cast<char*>(out.mutable_data_ptr());
  for (ssize_t i = 0; i < indices.numel(); ++i) {
    const int64_t at = wide ? indices.const_data_ptr<int64_t>()[i] : indices.const_data_ptr<int32_t>()[i];
    if (at < 0 || at >= weight.size(0)) return context.fail(rt::Error::InvalidArgument);
    std::memcpy(to + static_cast<size_t>(i) * row, from + static_cast<size_t>(at) * row, row);
  }
}

struct Own {
  const char* name;
  rt::OpFunction function;
};
constexpr Own own[] = {{"dim_order_ops::_to_dim_order_copy.out", to_copy}, {"aten::embedding.out", embedding}};

// The names by which the runtime may know an operator of the exporter: aten.embedding.default is aten::embedding.out.
std::vector<std::string> runtime_names(const std::string& name) {
  const size_t first = name.find('.'), last = name.rfind('.');
  if (first == std::string::npos || last == first) return {};
  const std::string space = name.substr(0, first), op = name.substr(first + 1, last - first - 1), overload = name.substr(last + 1);
  const std::string base = space + "::" + op + ".";
  std::vector<std::string> names = {base + "out", base + overload + "_out", base + overload};
  if (op == "view_copy") names.push_back("executorch_prim::et_view.default");  // the exporter puts a view in its place
  return names;
}

}  // namespace

void register_kernels() {
  listen_to_runtime();  // looking for a kernel that is not there is told as an error
  static std::once_flag once;
  std::call_once(once, [] {
    for (const Own& kernel : own)
      if (!rt::registry_has_op_function(kernel.name)) (void)rt::register_kernel(rt::Kernel(kernel.name, kernel.function));
  });
}

std::vector<std::string> missing_kernels(const std::vector<std::string>& operators) {
  std::vector<std::string> missing;
  for (const auto& name : operators) {
    const auto names = runtime_names(name);
    bool found = names.empty();
    for (const auto& known : names) found = found || rt::registry_has_op_function(known.c_str());
    if (!found) missing.push_back(name);
  }
  return missing;
}

}  // namespace gen3d
