// Bytes of a file that was read: anonymous memory of their own, pages of which can be given back early.
#pragma once

#include <cstddef>
#include <string_view>
#include <utility>

namespace gen3d {

class Bytes {
 public:
  Bytes() = default;
  // Room for `size` bytes, zero; `ok` is false when there is no memory.
  explicit Bytes(size_t size);
  Bytes(Bytes&& other) noexcept { *this = std::move(other); }
  Bytes& operator=(Bytes&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  Bytes(const Bytes&) = delete;
  Bytes& operator=(const Bytes&) = delete;
  ~Bytes();

  bool ok() const { return size_ == 0 || data_ != nullptr; }
  char* data() { return data_; }
  const char* data() const { return data_; }
  size_t size() const { return size_; }
  std::string_view text() const { return {data_, size_}; }

 private:
  char* data_ = nullptr;
  size_t size_ = 0;
};

// Give the whole pages of a part of a Bytes back to the system; what is read there afterwards is zero.
void give_back(const void* begin, size_t size);

}  // namespace gen3d
