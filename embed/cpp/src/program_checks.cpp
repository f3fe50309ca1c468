#include "program_checks.hpp"

#include <cstring>

namespace gen3d {
namespace {

// What runs programs: a backend of gen3dexport, its programs' name, and a target that makes them.
#ifdef GEN3D_AOTI
constexpr const char *backend = "aotinductor", *kind = "AOTInductor", *example = "cpu-aoti";

// A .pt2 is a zip archive: it begins with a member and ends with the record that says where the list of members is.
bool is_whole(const Bytes& bytes) {
  constexpr size_t record = 22;
  return bytes.size() > record && std::memcmp(bytes.data(), "PK\3\4", 4) == 0 && std::memcmp(bytes.data() + bytes.size() - record, "PK\5\6", 4) == 0;
}
#else
constexpr const char *backend = "executorch", *kind = "ExecuTorch", *example = "executorch";

// A .pte says its own length in its head: flatbuffer identifier at byte 4, ExecuTorch's header at byte 8.
bool is_whole(const Bytes& bytes) {
  if (bytes.size() < 40 || std::memcmp(bytes.data() + 4, "ET12", 4) != 0 || std::memcmp(bytes.data() + 8, "eh00", 4) != 0) return false;
  uint64_t lengths[3];  // program, where segments begin, segments
  std::memcpy(lengths, bytes.data() + 16, sizeof lengths);
  return lengths[0] <= bytes.size() && lengths[1] <= bytes.size() && lengths[2] <= bytes.size() - lengths[1];
}
#endif

}  // namespace

Status check_backend(const Bundle& bundle) {
  if (bundle.backend() == backend) return Done{};
  return Error{Code::missing, bundle.path() + ": target " + bundle.target() + " is of backend " + bundle.backend() + ", and this gen3d runs " + backend +
                                  " programs; build the bundle with -t " + example};
}

Result<Bytes> read_program(const Bundle& bundle, const ProgramEntry& entry) {
  auto bytes = bundle.read(entry.file);
  if (bytes && !is_whole(*bytes)) return verification_error(bundle.path() + "/" + entry.file + ": not a whole " + kind + " program; build the bundle again");
  return bytes;
}

Status check_inputs(const ProgramEntry& entry, const std::vector<const Array*>& inputs) {
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Array& array = *inputs[i];
    const Tensor& wanted = entry.inputs[i];
    if (array.shape != wanted.shape || array.dtype() != wanted.dtype)
      return usage_error("program " + entry.name + ": input " + wanted.name + " is " + array.dtype() + " " + shown(array.shape) + ", and it takes " +
                         wanted.dtype + " " + shown(wanted.shape));
  }
  return Done{};
}

}  // namespace gen3d
