#include "npy.hpp"

#include <cctype>
#include <cstdlib>
#include <cstring>

#include "files.hpp"

namespace gen3d {
namespace {

template <class From, class To>
std::vector<To> converted(std::string_view data, size_t count) {
  std::vector<To> out(count);
  for (size_t i = 0; i < count; ++i) {
    From value;
    std::memcpy(&value, data.data() + i * sizeof value, sizeof value);
    out[i] = static_cast<To>(value);
  }
  return out;
}

// The text behind 'key': in the header's dictionary.
std::string_view field(std::string_view header, const std::string& key) {
  const size_t at = header.find("'" + key + "':");
  return at == std::string_view::npos ? std::string_view{} : header.substr(at + key.size() + 3);
}

bool take_shape(std::string_view text, Shape& shape) {
  const size_t open = text.find('('), close = text.find(')');
  if (open == std::string_view::npos || close == std::string_view::npos) return false;
  for (size_t at = open + 1; at < close;) {
    if (!std::isdigit(static_cast<unsigned char>(text[at]))) {
      ++at;
      continue;
    }
    int64_t value = 0;
    for (; at < close && std::isdigit(static_cast<unsigned char>(text[at])); ++at)
      if (value < (int64_t{1} << 40)) value = value * 10 + (text[at] - '0');
    shape.push_back(value);
  }
  return elements(shape) >= 0;
}

size_t size_of(const std::string& type) {
  if (type == "<f4" || type == "<i4") return 4;
  if (type == "<f8" || type == "<i8") return 8;
  return type == "|b1" || type == "|u1" ? 1 : 0;
}

std::string content(const char* type, const Shape& shape, const void* data, size_t bytes) {
  std::string lengths = "(";
  for (const int64_t length : shape) lengths += std::to_string(length) + ", ";
  if (shape.size() > 1) lengths.resize(lengths.size() - 2);
  if (shape.size() == 1) lengths.pop_back();
  std::string header = std::string("{'descr': '") + type + "', 'fortran_order': False, 'shape': " + lengths + "), }";
  header.append(63 - (header.size() + 10) % 64, ' ');
  header += '\n';
  std::string out = "\x93NUMPY\x01";
  out += '\0';
  out += static_cast<char>(header.size() & 255);
  out += static_cast<char>(header.size() >> 8);
  out += header;
  if (bytes > 0) out.append(static_cast<const char*>(data), bytes);
  return out;
}

}  // namespace

Result<Array> read_npy(const std::string& path) {
  const auto text = read_text(path);
  if (!text) return text.error();
  const Error wrong = usage_error(path + ": no .npy file of float32, int64, uint8 or bool in C order; write it again");
  const std::string_view all = *text;
  if (all.size() < 12 || all.substr(0, 6) != "\x93NUMPY") return wrong;
  const auto byte = [&](size_t at) { return static_cast<size_t>(static_cast<unsigned char>(all[at])); };
  const bool first = byte(6) == 1;
  const size_t length = byte(8) | byte(9) << 8 | (first ? 0 : byte(10) << 16 | byte(11) << 24);
  const size_t begin = first ? 10 : 12;
  if (length > all.size() - begin) return wrong;
  const std::string_view header = all.substr(begin, length);
  const std::string_view type_text = field(header, "descr"), order = field(header, "fortran_order");
  const size_t quote = type_text.find('\'');
  if (quote == std::string_view::npos || type_text.size() < quote + 4) return wrong;
  const std::string type(type_text.substr(quote + 1, 3));
  Array array;
  const size_t wide = size_of(type);
  if (wide == 0 || !take_shape(field(header, "shape"), array.shape)) return wrong;
  const auto count = static_cast<size_t>(elements(array.shape));
  const bool plain = order.find("False") < order.find(',') || array.shape.size() < 2;
  const std::string_view data = all.substr(begin + length);
  if (!plain || data.size() != count * wide) return wrong;
  array.is_float = type[1] == 'f';
  if (type == "<f4") array.floats = converted<float, float>(data, count);
  if (type == "<f8") array.floats = converted<double, float>(data, count);
  if (type == "<i4") array.integers = converted<int32_t, int64_t>(data, count);
  if (type == "<i8") array.integers = converted<int64_t, int64_t>(data, count);
  if (wide == 1) array.integers = converted<uint8_t, int64_t>(data, count);
  return array;
}

std::string npy_content(const Array& array) {
  const size_t bytes = array.is_float ? array.floats.size() * sizeof(float) : array.integers.size() * sizeof(int64_t);
  return content(array.is_float ? "<f4" : "<i8", array.shape, array.data(), bytes);
}

std::string npy_truths(const Shape& shape, const std::vector<uint8_t>& values) { return content("|b1", shape, values.data(), values.size()); }

}  // namespace gen3d
