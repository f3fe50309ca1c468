// A bundle on disk: its manifest, checked by its own digest, and files, each checked at the moment when it is read.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "array.hpp"
#include "bytes.hpp"
#include "files.hpp"
#include "json.hpp"
#include "result.hpp"

namespace gen3d {

// An input or output of a program.
struct Tensor {
  std::string name;
  Shape shape;
  std::string dtype;
};

// A program as the manifest has it.
struct ProgramEntry {
  std::string name, component, role, file, scheme;
  std::vector<Tensor> inputs, outputs;
  std::vector<std::string> outside;  // operators outside delegates, by the exporter's names
  Json needs;                        // of the machine that runs it; its fields are the backend's own
};

struct FileEntry {
  int64_t bytes = 0;
  std::string sha256;
};

class Bundle {
 public:
  // Read and check the manifest; no other file is read.
  static Result<Bundle> open(const std::string& path);

  const std::string& path() const { return folder_.path(); }
  const std::string& name() const { return name_; }
  const std::string& family() const { return family_; }
  const std::string& target() const { return target_; }
  const std::string& backend() const { return backend_; }
  const std::string& digest() const { return digest_; }
  bool random_weights() const { return random_weights_; }
  const std::vector<ProgramEntry>& programs() const { return programs_; }
  const std::map<std::string, FileEntry>& files() const { return files_; }
  const Json* host_steps() const { return host_steps_ ? &*host_steps_ : nullptr; }

  // The program that is a component itself; null for none.
  const ProgramEntry* component(const std::string& name) const;

  // The bytes of a file of the manifest, their size and SHA-256 checked.
  Result<Bytes> read(const std::string& name) const;

  // Check every file, and that no other file lies in the folder. Reports are not compared with their digests.
  Status verify() const;

 private:
  explicit Bundle(Folder folder) : folder_(std::move(folder)) {}
  Status take(const Json& manifest);
  Status take_files(const Json& manifest);
  Status take_program(const Json& entry);
  Error damaged(const std::string& what) const;

  Folder folder_;
  std::string name_, family_, target_, backend_, digest_;
  bool random_weights_ = false;
  std::vector<ProgramEntry> programs_;
  std::map<std::string, FileEntry> files_;
  std::optional<Json> host_steps_;
};

}  // namespace gen3d
