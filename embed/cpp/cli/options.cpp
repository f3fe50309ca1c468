#include <algorithm>
#include <charconv>

#include "commands.hpp"

namespace gen3d {
namespace {

// The name of an option as it is first written in "-o/--out"; "" when it is none of them.
std::string known(const Words& names, const std::string& word) {
  for (const auto& name : names) {
    const size_t slash = name.find('/');
    if (word == name.substr(0, slash) || (slash != std::string::npos && word == name.substr(slash + 1))) return name.substr(0, slash);
  }
  return "";
}

}  // namespace

Result<Options> Options::parse(const Words& words, const Words& flags, const Words& valued, size_t places) {
  Options out;
  for (size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (const std::string flag = known(flags, word); !flag.empty()) {
      out.given_.emplace_back(flag, "");
    } else if (const std::string option = known(valued, word); !option.empty()) {
      if (i + 1 == words.size()) return usage_error(word + ": needs a value");
      out.given_.emplace_back(option, words[++i]);
    } else if (word.size() > 1 && word[0] == '-') {
      return usage_error(word + ": unknown option; see gen3d --help");
    } else {
      out.places_.push_back(word);
    }
  }
  if (out.places_.size() != places) return usage_error("needs " + std::to_string(places) + " arguments beside options, and there are " + std::to_string(out.places_.size()) + "; see gen3d --help");
  return out;
}

Words Options::all(const std::string& name) const {
  Words out;
  for (const auto& [option, value] : given_)
    if (option == name) out.push_back(value);
  return out;
}

std::string Options::last(const std::string& name, const std::string& otherwise) const {
  const Words some = all(name);
  return some.empty() ? otherwise : some.back();
}

Result<uint64_t> Options::number(const std::string& name, uint64_t otherwise, uint64_t most) const {
  if (!has(name)) return otherwise;
  const std::string text = last(name, "");
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size() || value > most)
    return usage_error(name + " " + text + ": needs a whole number from 0 to " + std::to_string(most));
  return value;
}

}  // namespace gen3d
