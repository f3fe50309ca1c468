// JSON as the manifest has it: a strict reader that keeps the order of keys and the text of numbers, so that a manifest's
// own digest can be taken from what was read. Source: RFC 8259.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "result.hpp"

namespace gen3d {

class Json {
 public:
  enum class Kind { null, boolean, number, text, list, object };

  Kind kind = Kind::null;
  bool truth = false;
  std::string text;                                   // a string's UTF-8, or a number as it was written
  std::vector<Json> items;                            // of a list
  std::vector<std::pair<std::string, Json>> members;  // of an object, in their order

  // The member of an object by its key; null for none, and for no object.
  const Json* find(std::string_view key) const;

  // The value as a C++ type; nothing when it is of another kind or does not fit.
  std::optional<std::string> as_text() const;
  std::optional<int64_t> as_integer() const;
  std::optional<double> as_number() const;
  std::optional<bool> as_truth() const;
};

// The text under a key; empty for no object, no such key and no text.
std::string text_of(const Json* object, std::string_view key);
inline std::string text_of(const Json& object, std::string_view key) { return text_of(&object, key); }

// Parse a whole document of UTF-8. No comments, no repeated keys, no lone surrogates, 64 levels, a million values.
Result<Json> parse_json(std::string_view document);

// The text that Python's json.dumps writes: ASCII; without spaces, or with an indent of one space.
std::string json_text(const Json& value, bool indented);

// A string in JSON, with its quotes; ASCII alone.
std::string json_quoted(std::string_view utf8);

// A double as Python writes it: the shortest digits that give it back.
std::string python_number(double value);

}  // namespace gen3d
