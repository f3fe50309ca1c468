// SHA-256 (FIPS 180-4).
#pragma once

#include <cstddef>
#include <string>

namespace gen3d {

// The digest of `size` bytes, in 64 lower-case hexadecimal digits.
std::string sha256(const void* data, size_t size);

}  // namespace gen3d
