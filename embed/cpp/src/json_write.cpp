#include <charconv>
#include <cstdlib>

#include "json.hpp"
#include "utf8.hpp"

namespace gen3d {
namespace {

void write(std::string& out, const Json& value, bool indented, size_t depth);

void new_line(std::string& out, bool indented, size_t depth) {
  if (!indented) return;
  out += '\n';
  out.append(depth, ' ');
}

template <class Some, class Each>
void write_some(std::string& out, const Some& some, const char* ends, bool indented, size_t depth, Each each) {
  out += ends[0];
  bool first = true;
  for (const auto& one : some) {
    if (!first) out += ',';
    first = false;
    new_line(out, indented, depth + 1);
    each(one);
  }
  if (!first) new_line(out, indented, depth);
  out += ends[1];
}

void write(std::string& out, const Json& value, bool indented, size_t depth) {
  switch (value.kind) {
    case Json::Kind::null: out += "null"; return;
    case Json::Kind::boolean: out += value.truth ? "true" : "false"; return;
    case Json::Kind::number: out += value.text; return;
    case Json::Kind::text: out += json_quoted(value.text); return;
    case Json::Kind::list:
      write_some(out, value.items, "[]", indented, depth, [&](const Json& one) { write(out, one, indented, depth + 1); });
      return;
    case Json::Kind::object:
      write_some(out, value.members, "{}", indented, depth, [&](const auto& member) {
        out += json_quoted(member.first);
        out += indented ? ": " : ":";
        write(out, member.second, indented, depth + 1);
      });
      return;
  }
}

void append_unit(std::string& out, unsigned unit) {
  constexpr char hex[] = "0123456789abcdef";
  out += "\\u";
  for (int shift = 12; shift >= 0; shift -= 4) out += hex[unit >> shift & 15];
}

}  // namespace

std::string json_text(const Json& value, bool indented) {
  std::string out;
  write(out, value, indented, 0);
  return out;
}

std::string json_quoted(std::string_view utf8) {
  std::string out = "\"";
  for (size_t at = 0; at < utf8.size();) {
    const char32_t c = next_code_point(utf8, at);
    constexpr std::string_view values = "\"\\\b\f\n\r\t", names = "\"\\bfnrt";
    const size_t which = c < 0x80 ? values.find(static_cast<char>(c)) : std::string_view::npos;
    if (which != std::string_view::npos) {
      out += '\\';
      out += names[which];
    } else if (c >= 0x20 && c < 0x7f) {
      out += static_cast<char>(c);
    } else if (c == 0x7f) {
      out += static_cast<char>(c);
    } else if (c < 0x10000) {
      append_unit(out, c);
    } else {
      append_unit(out, 0xd800 + ((c - 0x10000) >> 10));
      append_unit(out, 0xdc00 + ((c - 0x10000) & 0x3ff));
    }
  }
  return out + '"';
}

std::string python_number(double value) {
  char buffer[40];
  char* end = std::to_chars(buffer, buffer + sizeof buffer - 1, value, std::chars_format::scientific).ptr;
  *end = '\0';
  const std::string_view text(buffer, static_cast<size_t>(end - buffer));
  const size_t e = text.find('e');
  if (e == std::string_view::npos) return std::string(text);  // not finite
  const bool negative = text[0] == '-';
  std::string digits;
  for (const char c : text.substr(0, e))
    if (c >= '0' && c <= '9') digits += c;
  const int exponent = std::atoi(buffer + e + 1);
  std::string out = negative ? "-" : "";
  const int count = static_cast<int>(digits.size());
  if (exponent < -4 || exponent >= 16) {
    out += digits.substr(0, 1) + (count > 1 ? "." + digits.substr(1) : "");
    const std::string power = std::to_string(std::abs(exponent));
    return out + (exponent < 0 ? "e-" : "e+") + (power.size() < 2 ? "0" : "") + power;
  }
  if (exponent < 0) return out + "0." + std::string(static_cast<size_t>(-exponent - 1), '0') + digits;
  if (count <= exponent + 1) return out + digits + std::string(static_cast<size_t>(exponent + 1 - count), '0') + ".0";
  return out + digits.substr(0, static_cast<size_t>(exponent + 1)) + "." + digits.substr(static_cast<size_t>(exponent + 1));
}

}  // namespace gen3d
