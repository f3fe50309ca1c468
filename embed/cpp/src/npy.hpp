// NumPy's .npy files of float32, float64, int32, int64, uint8 and bool arrays in C order.
// Source: NumPy's documentation, "numpy.lib.format", versions 1 to 3.
#pragma once

#include <string>
#include <string_view>

#include "array.hpp"
#include "result.hpp"

namespace gen3d {

// The array in a .npy file; whole numbers become int64, the others float32.
Result<Array> read_npy(const std::string& path);

// The bytes of a .npy file.
std::string npy_content(const Array& array);

// The bytes of a .npy file of truth values, 1 or 0.
std::string npy_truths(const Shape& shape, const std::vector<uint8_t>& values);

}  // namespace gen3d
