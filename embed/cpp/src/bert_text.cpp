#include "bert_text.hpp"

#include <algorithm>
#include <cstdint>
#include <iterator>

#include "utf8.hpp"

namespace gen3d {
namespace {

enum Kind : uint8_t { drop, space, shift, spaced };

struct Run {
  char32_t first, last;
  uint8_t kind;
  int32_t by;
};
struct Several {
  char32_t from;
  char32_t to[3];
};
struct Span {
  char32_t first, last;
};

#include "unicode_table.inc"

// The run that has a character, or null. Runs are sorted.
template <class T, size_t N>
const T* found(const T (&table)[N], char32_t c) {
  const T* at = std::upper_bound(std::begin(table), std::end(table), c, [](char32_t value, const T& run) { return value < run.first; });
  return at != std::begin(table) && (at - 1)->last >= c ? at - 1 : nullptr;
}

// Syllables are decomposed by arithmetic (The Unicode Standard, section 3.12).
bool add_hangul(std::u32string& out, char32_t c) {
  constexpr char32_t first = 0xac00, count = 11172, vowels = 21, tails = 28;
  if (c < first || c >= first + count) return false;
  const char32_t at = c - first;
  out += 0x1100 + at / (vowels * tails);
  out += 0x1161 + at % (vowels * tails) / tails;
  if (at % tails != 0) out += 0x11a7 + at % tails;
  return true;
}

bool add_several(std::u32string& out, char32_t c) {
  const auto* at = std::lower_bound(std::begin(several), std::end(several), c, [](const Several& some, char32_t value) { return some.from < value; });
  if (at == std::end(several) || at->from != c) return false;
  for (const char32_t part : at->to)
    if (part != 0) out += part;
  return true;
}

void add(std::u32string& out, char32_t c) {
  if (c >= 0x21 && c < 0x7f) {
    out += c >= 'A' && c <= 'Z' ? c + 32 : c;
    return;
  }
  if (add_hangul(out, c) || add_several(out, c)) return;
  const Run* run = found(runs, c);
  if (run == nullptr) {
    out += c;
    return;
  }
  const auto moved = static_cast<char32_t>(static_cast<int32_t>(c) + run->by);
  switch (run->kind) {
    case drop: return;
    case space: out += U' '; return;
    case shift: out += moved; return;
    default: out += U' ', out += moved, out += U' ';
  }
}

}  // namespace

std::u32string normalised(std::string_view utf8) {
  std::u32string out;
  for (size_t at = 0; at < utf8.size();) add(out, next_code_point(utf8, at));
  return out;
}

bool is_punctuation(char32_t c) { return found(punctuation, c) != nullptr; }

bool is_space(char32_t c) {
  if ((c >= 9 && c <= 13) || c == 0x20 || c == 0x85) return true;
  const Run* run = found(runs, c);
  return run != nullptr && run->kind == space;
}

}  // namespace gen3d
