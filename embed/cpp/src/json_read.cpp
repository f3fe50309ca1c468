#include <charconv>
#include <cmath>
#include <cstdlib>
#include <unordered_set>

#if !defined(__cpp_lib_to_chars)
#include <locale.h>
#include <stdlib.h>
#if defined(__APPLE__)
#include <xlocale.h>
#endif
#endif

#include "json.hpp"
#include "utf8.hpp"

namespace gen3d {
namespace {

constexpr int deepest = 64;
constexpr int64_t most = 1'000'000;

class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}

  Result<Json> document() {
    Json value;
    if (!read(value, 0)) return problem();
    skip_space();
    if (at_ != text_.size()) fail("more after the end of the value");
    if (!wrong_.empty()) return problem();
    return value;
  }

 private:
  Error problem() const {
    return verification_error("no JSON: " + wrong_ + " at byte " + std::to_string(at_));
  }
  bool fail(const char* what) {
    if (wrong_.empty()) wrong_ = what;
    return false;
  }
  void skip_space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t' || text_[at_] == '\r')) ++at_;
  }
  bool take(char c) {
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  bool word(std::string_view expected) {
    if (text_.substr(at_, expected.size()) != expected) return fail("an unknown word");
    at_ += expected.size();
    return true;
  }

  bool read(Json& out, int depth) {
    if (depth > deepest) return fail("too many levels");
    if (++count_ > most) return fail("too many values");
    skip_space();
    if (at_ >= text_.size()) return fail("it ends too early");
    switch (text_[at_]) {
      case '{': return object(out, depth);
      case '[': return list(out, depth);
      case '"': out.kind = Json::Kind::text; return string(out.text);
      case 't': out.kind = Json::Kind::boolean; out.truth = true; return word("true");
      case 'f': out.kind = Json::Kind::boolean; return word("false");
      case 'n': return word("null");
      default: out.kind = Json::Kind::number; return number(out.text);
    }
  }

  bool object(Json& out, int depth) {
    out.kind = Json::Kind::object;
    ++at_;
    skip_space();
    if (take('}')) return true;
    std::unordered_set<std::string> seen;
    do {
      skip_space();
      std::string key;
      if (!string(key)) return false;
      if (!seen.insert(key).second) return fail("a key twice");
      skip_space();
      if (!take(':')) return fail("no colon after a key");
      out.members.emplace_back(std::move(key), Json{});
      if (!read(out.members.back().second, depth + 1)) return false;
      skip_space();
    } while (take(','));
    return take('}') || fail("an object that does not end");
  }

  bool list(Json& out, int depth) {
    out.kind = Json::Kind::list;
    ++at_;
    skip_space();
    if (take(']')) return true;
    do {
      out.items.emplace_back();
      if (!read(out.items.back(), depth + 1)) return false;
      skip_space();
    } while (take(','));
    return take(']') || fail("a list that does not end");
  }

  bool hex4(char32_t& out) {
    out = 0;
    for (int i = 0; i < 4; ++i, ++at_) {
      const char c = at_ < text_.size() ? text_[at_] : '\0';
      const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
      if (digit < 0) return fail("a wrong \\u");
      out = out * 16 + static_cast<char32_t>(digit);
    }
    return true;
  }

  bool escape(std::string& out) {
    if (at_ >= text_.size()) return fail("a string that does not end");
    const char c = text_[at_++];
    constexpr std::string_view names = "\"\\/bfnrt", values = "\"\\/\b\f\n\r\t";
    if (const size_t which = names.find(c); which != std::string_view::npos) {
      out += values[which];
      return true;
    }
    char32_t high = 0, low = 0;
    if (c != 'u') return fail("an unknown escape");
    if (!hex4(high)) return false;
    if (high >= 0xd800 && high < 0xdc00) {
      if (!take('\\') || !take('u') || !hex4(low) || low < 0xdc00 || low > 0xdfff) return fail("half of a surrogate pair");
      high = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
    } else if (high >= 0xdc00 && high <= 0xdfff) {
      return fail("half of a surrogate pair");
    }
    append_utf8(out, high);
    return true;
  }

  bool string(std::string& out) {
    if (!take('"')) return fail("no string where one must be");
    const size_t begin = at_;
    bool ascii = true;
    while (at_ < text_.size() && text_[at_] != '"') {
      const auto c = static_cast<unsigned char>(text_[at_]);
      if (c < 0x20) return fail("a control character in a string");
      ascii = ascii && c < 0x80;
      ++at_;
      if (c != '\\') out += static_cast<char>(c);
      else if (!escape(out)) return false;
    }
    if (!take('"')) return fail("a string that does not end");
    if (!ascii && !is_utf8(text_.substr(begin, at_ - begin - 1))) return fail("a string that is no UTF-8");
    return true;
  }

  bool digits() {
    const size_t begin = at_;
    while (at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9') ++at_;
    return at_ > begin || fail("no number where one must be");
  }

  bool number(std::string& out) {
    const size_t begin = at_;
    take('-');
    if (!take('0') && !digits()) return false;
    if (take('.') && !digits()) return false;
    if (take('e') || take('E')) {
      if (!take('+')) take('-');
      if (!digits()) return false;
    }
    out = text_.substr(begin, at_ - begin);
    if (out.size() > 400) return fail("a number of too many digits");
    return true;
  }

  std::string_view text_;
  size_t at_ = 0;
  int64_t count_ = 0;
  std::string wrong_;
};

}  // namespace

const Json* Json::find(std::string_view key) const {
  for (const auto& [name, value] : members)
    if (name == key) return &value;
  return nullptr;
}

std::string text_of(const Json* object, std::string_view key) {
  const Json* found = object == nullptr ? nullptr : object->find(key);
  return found == nullptr ? "" : found->as_text().value_or("");
}

std::optional<std::string> Json::as_text() const {
  return kind == Kind::text ? std::optional(text) : std::nullopt;
}

std::optional<int64_t> Json::as_integer() const {
  int64_t value = 0;
  if (kind != Kind::number) return std::nullopt;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() ? std::optional(value) : std::nullopt;
}

std::optional<double> Json::as_number() const {
  double value = 0;
  if (kind != Kind::number) return std::nullopt;
#if defined(__cpp_lib_to_chars)
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool whole = error == std::errc() && end == text.data() + text.size() && std::isfinite(value);
#else  // the NDK's and Apple's libc++ have no from_chars of floating numbers
  static const locale_t plain = newlocale(LC_ALL_MASK, "C", nullptr);
  char* end = nullptr;
  value = strtod_l(text.c_str(), &end, plain);
  const bool whole = end == text.c_str() + text.size() && std::isfinite(value);
#endif
  return whole ? std::optional(value) : std::nullopt;
}

std::optional<bool> Json::as_truth() const {
  return kind == Kind::boolean ? std::optional(truth) : std::nullopt;
}

Result<Json> parse_json(std::string_view document) { return Reader(document).document(); }

}  // namespace gen3d
