#include "bundle.hpp"

#include <algorithm>
#include <array>

#include "sha256.hpp"

namespace gen3d {
namespace {

constexpr int64_t format = 2;
constexpr int64_t largest_manifest = 64 << 20;
constexpr std::array<const char*, 5> reports = {"report.json", "report.md", "report.html", "junit.xml", "reports.sha256"};

bool is_digest(const std::string& text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

// Whether a file may lie in a bundle without being a file of its manifest.
bool beside_manifest(const std::string& name) {
  if (name == "manifest.json" || name == "model.sig") return true;
  return std::any_of(reports.begin(), reports.end(), [&](const std::string& report) { return name == report || name == "." + report + ".tmp"; });
}

bool take_tensors(const Json* object, std::vector<Tensor>& out) {
  if (object == nullptr || object->kind != Json::Kind::object) return false;
  for (const auto& [name, spec] : object->members) {
    Tensor tensor{name, {}, text_of(spec, "dtype")};
    const Json* shape = spec.find("shape");
    if (shape == nullptr || shape->kind != Json::Kind::list || tensor.dtype.empty()) return false;
    for (const Json& length : shape->items) {
      const auto value = length.as_integer();
      if (!value || *value < 1) return false;
      tensor.shape.push_back(*value);
    }
    if (elements(tensor.shape) < 0) return false;
    out.push_back(std::move(tensor));
  }
  return true;
}

}  // namespace

Result<Bundle> Bundle::open(const std::string& path) {
  auto folder = Folder::open(path);
  if (!folder) return folder.error();
  if (!folder->has("manifest.json")) {
    if (folder->has("programs"))
      return verification_error(path + "/manifest.json: missing, so nothing in this bundle can be trusted; copy or build it again");
    return usage_error(path + ": not a bundle (no manifest.json); build one with: gen3dexport build -o " + path);
  }
  Bundle bundle(std::move(*folder));
  auto bytes = bundle.folder_.read("manifest.json");
  if (!bytes) return bytes.error();
  if (static_cast<int64_t>(bytes->size()) > largest_manifest) return bundle.damaged("it is larger than any manifest");
  auto manifest = parse_json(bytes->text());
  if (!manifest) return bundle.damaged(manifest.error().message);
  const Json* schema = manifest->find("schema");
  const auto version = schema == nullptr ? std::nullopt : schema->as_integer();
  if (!version) return bundle.damaged("it says no format");
  if (*version != format)
    return verification_error(path + "/manifest.json: format " + std::to_string(*version) + ", and this gen3d reads " + std::to_string(format) +
                              (*version < format ? "; build the bundle again" : "; take a newer gen3d"));
  // The digest is of the text without spaces and without the field `digest`; the file has an indent of one.
  bundle.digest_ = text_of(*manifest, "digest");
  const bool as_written = bytes->text() == json_text(*manifest, true) + "\n";
  Json rest = *manifest;
  rest.members.erase(std::remove_if(rest.members.begin(), rest.members.end(), [](const auto& m) { return m.first == "digest"; }), rest.members.end());
  const std::string text = json_text(rest, false);
  if (!as_written || sha256(text.data(), text.size()) != bundle.digest_)
    return verification_error(path + "/manifest.json: was changed after it was written (its own SHA-256 differs); copy or build the bundle again");
  if (auto taken = bundle.take(*manifest); !taken) return taken.error();
  return bundle;
}

Error Bundle::damaged(const std::string& what) const {
  return verification_error(path() + "/manifest.json: damaged: " + what + "; copy or build the bundle again");
}

Status Bundle::take(const Json& manifest) {
  family_ = text_of(manifest, "family");
  if (const Json* recipe = manifest.find("recipe")) name_ = text_of(*recipe, "name");
  if (const Json* target = manifest.find("target")) target_ = text_of(*target, "name"), backend_ = text_of(*target, "backend");
  if (family_.empty() || name_.empty() || target_.empty() || backend_.empty()) return damaged("family, recipe or target have no name");
  if (const Json* random = manifest.find("random_weights")) random_weights_ = random->as_truth().value_or(false);
  if (auto taken = take_files(manifest); !taken) return taken;
  const Json* programs = manifest.find("programs");
  if (programs == nullptr || programs->kind != Json::Kind::list || programs->items.empty()) return damaged("programs: none");
  for (const Json& entry : programs->items)
    if (auto taken = take_program(entry); !taken) return taken;
  if (const Json* steps = manifest.find("host_steps"); steps != nullptr && steps->kind != Json::Kind::null) host_steps_ = *steps;
  return Done{};
}

Status Bundle::take_files(const Json& manifest) {
  const Json* files = manifest.find("files");
  if (files == nullptr || files->kind != Json::Kind::object) return damaged("files: none");
  for (const auto& [name, value] : files->members) {
    if (!is_plain_path(name)) return damaged("files: " + json_quoted(name) + " lies outside the bundle or is no plain path");
    const Json* bytes = value.find("bytes");
    const auto size = bytes == nullptr ? std::nullopt : bytes->as_integer();
    const std::string digest = text_of(value, "sha256");
    if (!size || *size < 0 || !is_digest(digest)) return damaged("files: " + name + ": no size or SHA-256");
    files_[name] = {*size, digest};
  }
  return Done{};
}

Status Bundle::take_program(const Json& entry) {
  const Json* role = entry.find("role");
  ProgramEntry program{text_of(entry, "name"), text_of(entry, "component"), role == nullptr ? "component" : text_of(entry, "role"), "",
                       text_of(entry, "scheme"), {}, {}, {}, {}};
  const Json* files = entry.find("files");
  if (program.name.empty() || program.component.empty()) return damaged("programs: one without a name");
  if (files == nullptr || files->kind != Json::Kind::list || files->items.empty()) return damaged("program " + program.name + ": no files");
  for (const Json& file : files->items) {
    const std::string name = "programs/" + file.as_text().value_or("");
    if (files_.count(name) == 0) return damaged("program " + program.name + ": " + json_quoted(name) + " is no key of files");
    if (program.file.empty()) program.file = name;
  }
  if (!take_tensors(entry.find("inputs"), program.inputs) || !take_tensors(entry.find("outputs"), program.outputs))
    return damaged("program " + program.name + ": inputs or outputs have no shape");
  if (const Json* needs = entry.find("requires")) program.needs = *needs;
  const Json* facts = entry.find("facts");
  const Json* delegation = facts == nullptr ? nullptr : facts->find("delegation");
  if (const Json* outside = delegation == nullptr ? nullptr : delegation->find("outside"))
    for (const auto& member : outside->members) program.outside.push_back(member.first);
  programs_.push_back(std::move(program));
  return Done{};
}

const ProgramEntry* Bundle::component(const std::string& name) const {
  for (const auto& program : programs_)
    if (program.component == name && program.role == "component") return &program;
  return nullptr;
}

Result<Bytes> Bundle::read(const std::string& name) const {
  const auto found = files_.find(name);
  if (found == files_.end()) return verification_error(path() + ": " + json_quoted(name) + " is no key of files of its manifest; copy or build the bundle again");
  auto bytes = folder_.read(name, found->second.bytes);
  if (bytes && sha256(bytes->data(), bytes->size()) != found->second.sha256)
    return verification_error(path() + "/" + name + ": SHA-256 differs from the manifest's; copy or build the bundle again");
  return bytes;
}

Status Bundle::verify() const {
  std::string wrong;
  for (const auto& file : files_)
    if (auto bytes = read(file.first); !bytes) wrong += "\n  " + bytes.error().message;
  for (const auto& name : folder_.names())
    if (files_.count(name) == 0 && !beside_manifest(name)) wrong += "\n  " + name + ": not in the manifest";
  if (!wrong.empty()) return verification_error(path() + ": the bundle was changed or damaged; copy or build it again:" + wrong);
  return Done{};
}

}  // namespace gen3d
