// Files below a folder that is not trusted, and files that appear whole or not at all. POSIX.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "bytes.hpp"
#include "result.hpp"

namespace gen3d {

// An open folder; names are relative to it and follow no links.
class Folder {
 public:
  static Result<Folder> open(const std::string& path);
  Folder(Folder&& other) noexcept : path_(std::move(other.path_)), handle_(std::exchange(other.handle_, -1)) {}
  Folder& operator=(Folder&& other) noexcept {
    std::swap(path_, other.path_);
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~Folder();

  const std::string& path() const { return path_; }

  // The bytes of a regular file. `expected` is its size when that is known: a file of another size is not read.
  Result<Bytes> read(const std::string& name, int64_t expected = -1) const;

  // Names of everything below that is no folder, sorted.
  std::vector<std::string> names() const;

  bool has(const std::string& name) const;

 private:
  Folder(std::string path, int handle) : path_(std::move(path)), handle_(handle) {}
  std::string path_;
  int handle_ = -1;
};

// Whether a name is a plain relative path that stays inside its folder, as a manifest may have it.
bool is_plain_path(std::string_view name);

// Write a file through a temporary one beside it, so that no reader sees half of it.
Status write_atomically(const std::string& path, std::string_view content);

// Refuse a place that cannot be written, before any work is done for it.
Status check_place(const std::string& path);

// The text of an ordinary file, links allowed.
Result<std::string> read_text(const std::string& path);

}  // namespace gen3d
