#include "info.hpp"

#include "kernels.hpp"

namespace gen3d {
namespace {

std::string list(const std::vector<std::string>& names) {
  std::string out = "[";
  for (const auto& name : names) out += (out.size() > 1 ? ", " : "") + json_quoted(name);
  return out + "]";
}

std::string tensors(const std::vector<Tensor>& some) {
  std::string out = "{";
  for (const auto& tensor : some)
    out += (out.size() > 1 ? ", " : "") + json_quoted(tensor.name) + ": {\"shape\": " + shown(tensor.shape) + ", \"dtype\": " + json_quoted(tensor.dtype) + "}";
  return out + "}";
}

}  // namespace

std::string info_json(const Bundle& bundle) {
  register_kernels();
  int64_t bytes = 0;
  for (const auto& file : bundle.files()) bytes += file.second.bytes;
  std::string programs;
  for (const auto& program : bundle.programs())
    programs += (programs.empty() ? "" : ", ") + std::string("{\"name\": ") + json_quoted(program.name) + ", \"component\": " + json_quoted(program.component) +
                ", \"role\": " + json_quoted(program.role) + ", \"scheme\": " + json_quoted(program.scheme) +
                ", \"bytes\": " + std::to_string(bundle.files().at(program.file).bytes) + ", \"inputs\": " + tensors(program.inputs) +
                ", \"outputs\": " + tensors(program.outputs) + ", \"outside\": " + list(program.outside) +
                ", \"missing_kernels\": " + list(missing_kernels(program.outside)) + "}";
  return "{\"name\": " + json_quoted(bundle.name()) + ", \"family\": " + json_quoted(bundle.family()) + ", \"target\": " + json_quoted(bundle.target()) +
         ", \"backend\": " + json_quoted(bundle.backend()) + ", \"digest\": " + json_quoted(bundle.digest()) + ", \"bytes\": " + std::to_string(bytes) +
         ", \"host_steps\": " + (bundle.host_steps() != nullptr ? "true" : "false") + ", \"programs\": [" + programs + "]}";
}

}  // namespace gen3d
