// Programs of AOTInductor (.pt2), run by libtorch without Python; in place of src/program.cpp, kernels.cpp, runtime_log.cpp.
#include "program.hpp"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/ops/from_blob.h>
#include <c10/core/InferenceMode.h>
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>
#include <torch/headeronly/version.h>

#include <fstream>
#include <set>
#include <sstream>

#include "kernels.hpp"
#include "program_checks.hpp"

namespace gen3d {
namespace {

using Loader = torch::inductor::AOTIModelPackageLoader;

std::string first_line(const std::exception& error) {
  const std::string said = error.what();
  return said.substr(0, said.find('\n'));
}

std::string minor(const std::string& version) { return version.substr(0, version.find('.', version.find('.') + 1)); }

// Flags that Linux names of this processor.
std::set<std::string> processor() {
  std::ifstream file("/proc/cpuinfo");
  std::set<std::string> found;
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("flags", 0) != 0) continue;
    std::istringstream words(line.substr(line.find(':') + 1));
    for (std::string word; words >> word;) found.insert(word);
    break;
  }
  return found;
}

// What a package needs of this machine, which opening it would find out by a crash.
Status check_needs(const std::string& where, const Json& needs) {
  const std::string torch = text_of(&needs, "torch");
  if (minor(torch) != minor(TORCH_VERSION))
    return Error{Code::missing, where + ": was built with torch " + torch + ", and this gen3d with " TORCH_VERSION "; build one of them with the other's torch"};
  if (text_of(&needs, "device") == "cuda" && !at::hasCUDA())
    return Error{Code::missing, where + ": needs a GPU of architecture " + text_of(&needs, "arch") +
                                    " and a gen3d that is linked to CUDA's torch (cmake -DGEN3D_CUDA=ON); build the bundle for -t cpu-aoti to run it here"};
  const Json* host = needs.find("host");
  const Json* features = host == nullptr ? nullptr : host->find("features");
  if (features == nullptr || features->kind != Json::Kind::list) return verification_error(where + ": its record says no processor; build the bundle again");
  const auto here = processor();
  std::string lacking;
  for (const Json& feature : features->items)
    if (const auto name = feature.as_text(); name && here.count(*name) == 0) lacking += (lacking.empty() ? "" : ", ") + *name;
  if (!lacking.empty()) return Error{Code::missing, where + ": needs a CPU with " + text_of(host, "march") + " (" + lacking + " missing here); run it on such a CPU"};
  return Done{};
}

at::Tensor view(const Array& array) {
  // Inputs are only read.
  return at::from_blob(const_cast<void*>(array.data()), array.shape, at::TensorOptions(array.is_float ? at::kFloat : at::kLong));
}

}  // namespace

struct Program::Loaded {
  Loaded(const std::string& path, at::Device device) : device(device), loader(path, "model", false, 1, device.index()) {}
  at::Device device;
  Loader loader;
};

Program::Program() = default;
Program::Program(Program&&) noexcept = default;
Program& Program::operator=(Program&&) noexcept = default;
Program::~Program() = default;

Result<Program> Program::load(const Bundle& bundle, const ProgramEntry& entry) {
  Program made;
  made.entry_ = &entry;
  made.where_ = bundle.path() + "/" + entry.file;
  if (const auto runs = check_backend(bundle); !runs) return runs.error();
  if (const auto bytes = read_program(bundle, entry); !bytes) return bytes.error();
  if (const auto fits = check_needs(made.where_, entry.needs); !fits) return fits.error();
  const bool on_gpu = text_of(&entry.needs, "device") == "cuda";
  try {
    made.loaded_ = std::make_unique<Loaded>(made.where_, on_gpu ? at::Device(at::kCUDA, 0) : at::Device(at::kCPU));
  } catch (const std::exception& error) {
    return verification_error(made.where_ + ": torch cannot open the package (" + first_line(error) +
                              "); it is unpacked under TMPDIR, which must have room and not be mounted noexec; else build the bundle again");
  }
  return made;
}

Result<std::vector<Array>> Program::call(const std::vector<const Array*>& inputs) {
  if (const auto fits = check_inputs(*entry_, inputs); !fits) return fits.error();
  std::vector<Array> outputs;
  try {
    const c10::InferenceMode guard;
    std::vector<at::Tensor> given;
    for (const Array* array : inputs) given.push_back(view(*array).to(loaded_->device));
    const auto made = loaded_->loader.run(given);
    if (made.size() != entry_->outputs.size())
      return Error{Code::program, where_ + ": gives " + std::to_string(made.size()) + " outputs, the manifest says " + std::to_string(entry_->outputs.size()) + "; build the bundle again"};
    for (size_t i = 0; i < made.size(); ++i) {
      const Tensor& wanted = entry_->outputs[i];
      const bool is_float = wanted.dtype == "float32";
      const auto found = made[i].to(at::kCPU).contiguous();
      if (!found.sizes().equals(wanted.shape) || found.scalar_type() != (is_float ? at::kFloat : at::kLong))
        return Error{Code::program, where_ + ": output " + wanted.name + " is not as the manifest says; build the bundle again"};
      outputs.push_back(Array::copy(wanted.shape, is_float, found.const_data_ptr()));
    }
  } catch (const std::exception& error) {
    return Error{Code::program, where_ + ": AOTInductor failed on the program (" + first_line(error) + "); build the bundle again"};
  }
  return outputs;
}

bool set_threads(uint32_t count) {
  at::set_num_threads(static_cast<int>(count));
  return true;
}

const char* runtime_version() { return TORCH_VERSION; }

// Operators are libtorch's: a package that calls another does not open.
void register_kernels() {}
std::vector<std::string> missing_kernels(const std::vector<std::string>&) { return {}; }

}  // namespace gen3d
