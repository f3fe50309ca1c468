// A program of a bundle in the runtime that this library is built for.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "array.hpp"
#include "bundle.hpp"
#include "result.hpp"

namespace gen3d {

class Program {
 public:
  // Load a program: its file's digest, then its operators, then what it takes and gives, are checked against the manifest.
  static Result<Program> load(const Bundle& bundle, const ProgramEntry& entry);

  // One call; inputs in the entry's order. Outputs in the entry's order.
  Result<std::vector<Array>> call(const std::vector<const Array*>& inputs);

  const ProgramEntry& entry() const { return *entry_; }

  Program(Program&&) noexcept;
  Program& operator=(Program&&) noexcept;
  ~Program();

 private:
  struct Loaded;
  Program();
  std::string where_;
  const ProgramEntry* entry_ = nullptr;
  std::unique_ptr<Loaded> loaded_;
};

// So many threads run programs from here on, in the whole process; false where the runtime takes no such wish.
bool set_threads(uint32_t count);

// Version of the runtime's headers that this library was built with.
const char* runtime_version();

}  // namespace gen3d
