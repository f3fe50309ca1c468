// Values between steps: arrays in row-major order.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <vector>

namespace gen3d {

using Shape = std::vector<int64_t>;

// The number of elements of a shape; -1 when it is none (a length below 0, or more elements than 2^40).
inline int64_t elements(const Shape& shape) {
  int64_t count = 1;
  for (const int64_t length : shape) {
    if (length < 0 || (length > 0 && count > (int64_t{1} << 40) / length)) return -1;
    count *= length;
  }
  return count;
}

// A float32 or an int64 array; `floats` or `integers` has its elements.
struct Array {
  bool is_float = true;
  Shape shape;
  std::vector<float> floats;
  std::vector<int64_t> integers;

  static Array of(Shape shape, std::vector<float> values) { return {true, std::move(shape), std::move(values), {}}; }
  static Array of(Shape shape, std::vector<int64_t> values) { return {false, std::move(shape), {}, std::move(values)}; }

  // A copy of as many elements as the shape has.
  static Array copy(Shape shape, bool is_float, const void* data) {
    const auto count = static_cast<size_t>(elements(shape));
    if (is_float) return of(std::move(shape), std::vector<float>(static_cast<const float*>(data), static_cast<const float*>(data) + count));
    return of(std::move(shape), std::vector<int64_t>(static_cast<const int64_t*>(data), static_cast<const int64_t*>(data) + count));
  }

  const void* data() const { return is_float ? static_cast<const void*>(floats.data()) : integers.data(); }
  void* data() { return is_float ? static_cast<void*>(floats.data()) : integers.data(); }
  std::string dtype() const { return is_float ? "float32" : "int64"; }
};

using Values = std::map<std::string, Array>;

inline std::string shown(const Shape& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i > 0 ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

}  // namespace gen3d
