#include "program.hpp"

#include <executorch/extension/module/module.h>
#include <executorch/extension/tensor/tensor.h>
#include <executorch/runtime/core/data_loader.h>

#include <cstdio>
#include <cstring>

#include "kernels.hpp"
#include "program_checks.hpp"
#include "runtime_log.hpp"

// The wheel has this class in its library and no header of it.
namespace executorch::extension::threadpool {
class ThreadPool {
 public:
  bool _unsafe_reset_threadpool(uint32_t count);
};
ThreadPool* get_threadpool();
}  // namespace executorch::extension::threadpool

namespace gen3d {
namespace {

namespace rt = executorch::runtime;
using executorch::aten::ScalarType;

std::string reason(rt::Error error) {
  char code[16];
  std::snprintf(code, sizeof code, "0x%x", static_cast<unsigned>(error));
  return std::string("error ") + code + (last_said().empty() ? "" : ", " + last_said());
}

// A program's bytes, which are those whose digest was checked. Parts that a delegate has packed are given back.
class OwnedLoader final : public rt::DataLoader {
 public:
  explicit OwnedLoader(Bytes bytes) : bytes_(std::move(bytes)) {}

  rt::Result<rt::FreeableBuffer> load(size_t offset, size_t size, const SegmentInfo& info) const override {
    if (offset > bytes_.size() || size > bytes_.size() - offset) return rt::Error::InvalidArgument;
    const bool packed = info.segment_type == SegmentInfo::Type::Backend;
    return rt::FreeableBuffer(bytes_.data() + offset, size, packed ? release : nullptr, nullptr);
  }
  rt::Error load_into(size_t offset, size_t size, const SegmentInfo&, void* buffer) const override {
    if (buffer == nullptr || offset > bytes_.size() || size > bytes_.size() - offset) return rt::Error::InvalidArgument;
    std::memcpy(buffer, bytes_.data() + offset, size);
    return rt::Error::Ok;
  }
  rt::Result<size_t> size() const override { return bytes_.size(); }

 private:
  static void release(void*, void* data, size_t size) { give_back(data, size); }
  Bytes bytes_;
};

ScalarType scalar_of(const Array& array) { return array.is_float ? ScalarType::Float : ScalarType::Long; }

std::string signature(const rt::TensorInfo& info) {
  const char* type = info.scalar_type() == ScalarType::Float ? "float32" : info.scalar_type() == ScalarType::Long ? "int64" : "another type";
  return std::string(type) + " " + shown(Shape(info.sizes().begin(), info.sizes().end()));
}

// What a program takes or gives that is not as its record says; empty for nothing.
template <class Info>
std::string differs(size_t count, const std::vector<Tensor>& wanted, const char* what, Info info) {
  if (count != wanted.size()) return std::string(what) + ": " + std::to_string(count) + ", the manifest says " + std::to_string(wanted.size());
  for (size_t i = 0; i < count; ++i) {
    const auto found = info(i);
    const std::string expected = wanted[i].dtype + " " + shown(wanted[i].shape);
    if (!found.ok()) return std::string(what) + " " + wanted[i].name + ": no tensor";
    if (signature(found.get()) != expected) return std::string(what) + " " + wanted[i].name + ": " + signature(found.get()) + ", the manifest says " + expected;
  }
  return "";
}

}  // namespace

struct Program::Loaded {
  explicit Loaded(Bytes bytes) : module(std::make_unique<OwnedLoader>(std::move(bytes))) {}
  executorch::extension::Module module;
};

Program::Program() = default;
Program::Program(Program&&) noexcept = default;
Program& Program::operator=(Program&&) noexcept = default;
Program::~Program() = default;

Result<Program> Program::load(const Bundle& bundle, const ProgramEntry& entry) {
  register_kernels();
  Program made;
  made.entry_ = &entry;
  made.where_ = bundle.path() + "/" + entry.file;
  if (const auto runs = check_backend(bundle); !runs) return runs.error();
  if (const auto missing = missing_kernels(entry.outside); !missing.empty()) {
    std::string names;
    for (const auto& name : missing) names += (names.empty() ? "" : ", ") + name;
    return Error{Code::missing, made.where_ + ": no kernel here for " + names + "; link executorch_kernels_optimized (cmake -DGEN3D_ALL_KERNELS=ON)"};
  }
  auto bytes = read_program(bundle, entry);
  if (!bytes) return bytes.error();
  forget_said();
  made.loaded_ = std::make_unique<Loaded>(std::move(*bytes));
  auto& module = made.loaded_->module;
  auto error = module.load(rt::Program::Verification::InternalConsistency);
  if (error == rt::Error::Ok) error = module.load_method("forward");
  if (error != rt::Error::Ok) return verification_error(made.where_ + ": ExecuTorch cannot load it (" + reason(error) + "); build the bundle again");
  const auto meta = module.method_meta("forward");
  if (!meta.ok()) return verification_error(made.where_ + ": has no method `forward`; build the bundle again");
  std::string problem = differs(meta->num_inputs(), entry.inputs, "input", [&](size_t i) { return meta->input_tensor_meta(i); });
  if (problem.empty()) problem = differs(meta->num_outputs(), entry.outputs, "output", [&](size_t i) { return meta->output_tensor_meta(i); });
  if (!problem.empty()) return verification_error(made.where_ + ": " + problem + "; build the bundle again");
  return made;
}

Result<std::vector<Array>> Program::call(const std::vector<const Array*>& inputs) {
  if (const auto fits = check_inputs(*entry_, inputs); !fits) return fits.error();
  std::vector<executorch::extension::TensorPtr> tensors;
  std::vector<rt::EValue> values;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Array& array = *inputs[i];
    std::vector<executorch::aten::SizesType> sizes(array.shape.begin(), array.shape.end());
    tensors.push_back(executorch::extension::from_blob(const_cast<void*>(array.data()), sizes, scalar_of(array)));  // inputs are only read
    values.emplace_back(tensors.back());
  }
  forget_said();
  const auto result = loaded_->module.execute("forward", values);
  if (!result.ok()) return Error{Code::program, where_ + ": ExecuTorch failed on the program (" + reason(result.error()) + "); build the bundle again"};
  std::vector<Array> outputs;
  for (size_t i = 0; i < entry_->outputs.size(); ++i) {
    const auto& found = result.get()[i];
    const Tensor& wanted = entry_->outputs[i];
    if (!found.isTensor() || found.toTensor().numel() != elements(wanted.shape))
      return Error{Code::program, where_ + ": output " + wanted.name + " is not as the manifest says; build the bundle again"};
    outputs.push_back(Array::copy(wanted.shape, wanted.dtype == "float32", found.toTensor().const_data_ptr()));
  }
  return outputs;
}

bool set_threads(uint32_t count) {
  listen_to_runtime();  // it tells what it finds of the processor
  auto* pool = executorch::extension::threadpool::get_threadpool();
  return pool != nullptr && pool->_unsafe_reset_threadpool(count);
}

const char* runtime_version() { return GEN3D_EXECUTORCH_VERSION; }

}  // namespace gen3d
