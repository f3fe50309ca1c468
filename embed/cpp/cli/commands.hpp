// The commands of the tool.
#pragma once

#include <string>
#include <vector>

#include "result.hpp"

namespace gen3d {

using Words = std::vector<std::string>;

struct Command {
  const char* name;
  Status (*run)(const Words& words);
};

const std::vector<Command>& commands();

// Command line of a command: plain words in `places`, options by name.
class Options {
 public:
  // `flags` take no value, `valued` take one; "-o" and "--out" are the same where `valued` has "-o/--out".
  static Result<Options> parse(const Words& words, const Words& flags, const Words& valued, size_t places);

  const Words& places() const { return places_; }
  bool has(const std::string& name) const { return !all(name).empty(); }
  Words all(const std::string& name) const;
  std::string last(const std::string& name, const std::string& otherwise) const;
  // A whole number from 0 to `most`.
  Result<uint64_t> number(const std::string& name, uint64_t otherwise, uint64_t most) const;

 private:
  Words places_;
  std::vector<std::pair<std::string, std::string>> given_;
};

Status check_kit(const Words& words);
Status answer(const Words& words);

}  // namespace gen3d
