// Programs run by a runtime of the application (gen3d/outside.h), in place of src/program.cpp, kernels.cpp, runtime_log.cpp.
#include "program.hpp"

#include <cstring>
#include <mutex>

#include "gen3d/outside.h"
#include "kernels.hpp"
#include "program_checks.hpp"

namespace gen3d {
namespace {

std::mutex guard;
gen3d_runtime told{};

gen3d_runtime runtime() {
  const std::lock_guard<std::mutex> held(guard);
  return told;
}

// What a function of the runtime says of its failure.
struct Said {
  char text[500] = "";
  std::string in_brackets() {
    text[sizeof text - 1] = '\0';
    return text[0] == '\0' ? "" : std::string(" (") + text + ")";
  }
};

gen3d_tensor tensor(const Tensor& entry, const Array& array) {
  const size_t width = array.is_float ? sizeof(float) : sizeof(int64_t);
  const size_t count = array.is_float ? array.floats.size() : array.integers.size();
  return {entry.name.c_str(), entry.shape.data(), entry.shape.size(), array.is_float ? 1 : 0, const_cast<void*>(array.data()), count * width};
}

Array room_for(const Tensor& entry) {
  const auto count = static_cast<size_t>(elements(entry.shape));
  if (entry.dtype == "float32") return Array::of(entry.shape, std::vector<float>(count));
  return Array::of(entry.shape, std::vector<int64_t>(count));
}

}  // namespace

struct Program::Loaded {
  explicit Loaded(const gen3d_runtime& by) : by(by) {}
  Loaded(const Loaded&) = delete;
  Loaded& operator=(const Loaded&) = delete;
  ~Loaded() {
    if (handle != nullptr) by.drop(by.context, handle);
  }
  gen3d_runtime by;
  void* handle = nullptr;
};

Program::Program() = default;
Program::Program(Program&&) noexcept = default;
Program& Program::operator=(Program&&) noexcept = default;
Program::~Program() = default;

Result<Program> Program::load(const Bundle& bundle, const ProgramEntry& entry) {
  const gen3d_runtime by = runtime();
  if (by.load == nullptr) return Error{Code::missing, "this build of gen3d has no runtime inside; give it one with gen3d_use_runtime before programs are loaded"};
  if (const auto runs = check_backend(bundle); !runs) return runs.error();
  Program made;
  made.entry_ = &entry;
  made.where_ = bundle.path() + "/" + entry.file;
  if (const auto bytes = read_program(bundle, entry); !bytes) return bytes.error();
  made.loaded_ = std::make_unique<Loaded>(by);
  Said said;
  if (by.load(by.context, made.where_.c_str(), &made.loaded_->handle, said.text, sizeof said.text) != 0 || made.loaded_->handle == nullptr)
    return verification_error(made.where_ + ": the runtime cannot load it" + said.in_brackets() + "; build the bundle again, with the runtime's version of ExecuTorch");
  return made;
}

Result<std::vector<Array>> Program::call(const std::vector<const Array*>& inputs) {
  if (const auto fits = check_inputs(*entry_, inputs); !fits) return fits.error();
  std::vector<gen3d_tensor> given, wanted;
  std::vector<Array> outputs;
  for (size_t i = 0; i < inputs.size(); ++i) given.push_back(tensor(entry_->inputs[i], *inputs[i]));
  for (const Tensor& entry : entry_->outputs) outputs.push_back(room_for(entry));
  for (size_t i = 0; i < outputs.size(); ++i) wanted.push_back(tensor(entry_->outputs[i], outputs[i]));
  Said said;
  const gen3d_runtime& by = loaded_->by;
  if (by.call(by.context, loaded_->handle, given.data(), given.size(), wanted.data(), wanted.size(), said.text, sizeof said.text) != 0)
    return Error{Code::program, where_ + ": the runtime failed on the program" + said.in_brackets() + "; build the bundle again"};
  return outputs;
}

bool set_threads(uint32_t count) {
  const gen3d_runtime by = runtime();
  return by.set_threads != nullptr && by.set_threads(by.context, count) == 0;
}

const char* runtime_version() {
  const gen3d_runtime by = runtime();
  return by.version == nullptr ? "none" : by.version;
}

// Kernels are the runtime's: what it lacks it says when a program is loaded.
void register_kernels() {}
std::vector<std::string> missing_kernels(const std::vector<std::string>&) { return {}; }

}  // namespace gen3d

gen3d_code gen3d_use_runtime(const gen3d_runtime* runtime, char** message) {
  if (message != nullptr) *message = nullptr;
  const char* wrong = nullptr;
  if (runtime == nullptr) wrong = "the runtime is NULL";
  else if (runtime->size != sizeof(gen3d_runtime)) wrong = "runtime.size: set it to sizeof(gen3d_runtime)";
  else if (runtime->load == nullptr || runtime->call == nullptr || runtime->drop == nullptr) wrong = "runtime: load, call and drop are needed";
  if (wrong == nullptr) {
    const std::lock_guard<std::mutex> held(gen3d::guard);
    gen3d::told = *runtime;
    return GEN3D_OK;
  }
  if (message != nullptr) *message = ::strdup(wrong);
  return GEN3D_USAGE;
}
