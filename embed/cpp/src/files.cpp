#include "files.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

namespace gen3d {
namespace {

constexpr int64_t largest = int64_t{1} << 40;

std::string why() { return std::strerror(errno); }

// Opens `name` below `folder`, no part of it through a link; -1 and errno where it cannot be.
int open_below(int folder, const std::string& name) {
  int at = dup(folder);
  size_t begin = 0;
  while (at >= 0) {
    const size_t end = name.find('/', begin);
    const bool last = end == std::string::npos;
    const std::string part = name.substr(begin, last ? std::string::npos : end - begin);
    const int flags = O_RDONLY | O_NOFOLLOW | O_CLOEXEC | (last ? O_NONBLOCK : O_DIRECTORY);
    const int next = openat(at, part.c_str(), flags);
    const int problem = errno;
    close(at);
    errno = problem;
    if (last) return next;
    at = next;
    begin = end + 1;
  }
  return -1;
}

// Closes a file when its block ends.
struct Open {
  int handle;
  ~Open() {
    if (handle >= 0) close(handle);
  }
};

void collect(int folder, const std::string& prefix, int depth, std::vector<std::string>& names) {
  DIR* directory = depth < 32 ? fdopendir(folder) : nullptr;
  if (directory == nullptr) {
    close(folder);
    return;
  }
  while (const dirent* entry = readdir(directory)) {
    const std::string name = entry->d_name;
    if (name == "." || name == "..") continue;
    struct stat status {};
    if (fstatat(dirfd(directory), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) continue;
    if (!S_ISDIR(status.st_mode)) {
      names.push_back(prefix + name);
      continue;
    }
    const int below = openat(dirfd(directory), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (below >= 0) collect(below, prefix + name + "/", depth + 1, names);
  }
  closedir(directory);
}

std::string parent_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace

Bytes::Bytes(size_t size) {
  if (size == 0) return;
  void* room = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (room != MAP_FAILED) data_ = static_cast<char*>(room);
  size_ = size;
}

Bytes::~Bytes() {
  if (data_ != nullptr) munmap(data_, size_);
}

void give_back(const void* begin, size_t size) {
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto first = (reinterpret_cast<uintptr_t>(begin) + page - 1) / page * page;
  const auto last = (reinterpret_cast<uintptr_t>(begin) + size) / page * page;
  if (last > first) madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
}

Result<Folder> Folder::open(const std::string& path) {
  const int handle = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (handle < 0) return usage_error(path + ": no such folder (" + why() + "); check the path");
  return Folder(path, handle);
}

Folder::~Folder() {
  if (handle_ >= 0) close(handle_);
}

Result<Bytes> Folder::read(const std::string& name, int64_t expected) const {
  const Open file{open_below(handle_, name)};
  const std::string where = path_ + "/" + name;
  if (file.handle < 0) {
    if (errno == ELOOP || errno == ENOTDIR) return verification_error(where + ": a link; a bundle has none; copy the bundle again");
    return verification_error(where + ": cannot be read (" + why() + "); copy or build the bundle again");
  }
  struct stat status {};
  if (fstat(file.handle, &status) != 0 || !S_ISREG(status.st_mode))
    return verification_error(where + ": not a regular file; copy or build the bundle again");
  if (expected >= 0 && status.st_size != expected)
    return verification_error(where + ": " + std::to_string(status.st_size) + " bytes, the manifest says " + std::to_string(expected) +
                              "; copy or build the bundle again");
  if (status.st_size > largest) return verification_error(where + ": too large to be read");
  Bytes bytes(static_cast<size_t>(status.st_size));
  if (!bytes.ok()) return Error{Code::internal, where + ": no memory for its " + std::to_string(status.st_size) + " bytes"};
  for (size_t done = 0; done < bytes.size();) {
    const ssize_t count = ::read(file.handle, bytes.data() + done, bytes.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return verification_error(where + ": ends too early; copy or build the bundle again");
    done += static_cast<size_t>(count);
  }
  return bytes;
}

std::vector<std::string> Folder::names() const {
  std::vector<std::string> found;
  const int handle = openat(handle_, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (handle >= 0) collect(handle, "", 0, found);
  std::sort(found.begin(), found.end());
  return found;
}

bool Folder::has(const std::string& name) const {
  struct stat status {};
  return fstatat(handle_, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0;
}

bool is_plain_path(std::string_view name) {
  if (name.empty() || name.front() == '/' || name.back() == '/' || name.size() > 1000) return false;
  for (size_t begin = 0; begin <= name.size();) {
    const size_t end = std::min(name.find('/', begin), name.size());
    const std::string_view part = name.substr(begin, end - begin);
    if (part.empty() || part == "." || part == "..") return false;
    begin = end + 1;
  }
  return std::none_of(name.begin(), name.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte < 0x20 || byte == 0x7f || c == '\\' || c == ':';
  });
}

Status check_place(const std::string& path) {
  struct stat status {};
  if (path.empty()) return usage_error("the output has no name; name a file, e.g. asset.glb");
  if (stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode)) return usage_error(path + ": is a folder; name a file, e.g. " + path + "/asset.glb");
  const std::string folder = parent_of(path);
  if (stat(folder.c_str(), &status) != 0 || !S_ISDIR(status.st_mode))
    return usage_error(path + ": cannot be written, " + folder + " is no folder; make it, or name an output in another");
  if (access(folder.c_str(), W_OK | X_OK) != 0) return usage_error(path + ": cannot be written, no permission in " + folder + "; name an output elsewhere");
  return Done{};
}

Status write_atomically(const std::string& path, std::string_view content) {
  const auto refused = [&] {
    return usage_error(path + ": cannot be written (" + why() + "); name an output in a folder that you can write to, with space left");
  };
  std::string temporary = path + ".XXXXXX";
  const int handle = mkstemp(temporary.data());
  if (handle < 0) return refused();
  const mode_t mask = umask(0);
  umask(mask);
  bool good = fchmod(handle, 0666 & ~mask) == 0;
  for (size_t done = 0; good && done < content.size();) {
    const ssize_t count = write(handle, content.data() + done, content.size() - done);
    if (count < 0 && errno == EINTR) continue;
    good = count > 0;
    if (good) done += static_cast<size_t>(count);
  }
  good = close(handle) == 0 && good;
  if (good && rename(temporary.c_str(), path.c_str()) == 0) return Done{};
  const Error error = refused();
  unlink(temporary.c_str());
  return error;
}

Result<std::string> read_text(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  std::ostringstream text;
  if (!stream || !(text << stream.rdbuf())) return usage_error(path + ": cannot be read; check the path");
  return text.str();
}

}  // namespace gen3d
