#include "mesh_files.hpp"

#include <algorithm>
#include <cctype>
#include <cstring>

#include "json.hpp"

namespace gen3d {
namespace {

// Files are little-endian, and so are the machines that this library is built for.
template <class T>
void append(std::string& out, const T& value) {
  char bytes[sizeof(T)];
  std::memcpy(bytes, &value, sizeof(T));
  out.append(bytes, sizeof(T));
}

// A turn gives sums that begin at +0, so no coordinate is -0.
Point plain(const Point& p) { return {p[0] + 0.0f, p[1] + 0.0f, p[2] + 0.0f}; }
Point y_up(const Point& p) { return {p[0] + 0.0f, p[2] + 0.0f, -p[1] + 0.0f}; }

template <class Turn>
std::vector<Point> turned(const std::vector<Point>& points, Turn turn) {
  std::vector<Point> out(points.size());
  std::transform(points.begin(), points.end(), out.begin(), turn);
  return out;
}

std::string number(size_t value) { return std::to_string(value); }

std::string bounds(const std::vector<Point>& points) {
  if (points.empty()) return "";
  Point low = points[0], high = points[0];
  for (const Point& p : points)
    for (size_t axis = 0; axis < 3; ++axis) low[axis] = std::min(low[axis], p[axis]), high[axis] = std::max(high[axis], p[axis]);
  const auto list = [](const Point& p) { return "[" + python_number(p[0]) + "," + python_number(p[1]) + "," + python_number(p[2]) + "]"; };
  return ",\"min\":" + list(low) + ",\"max\":" + list(high);
}

// The chunks of a binary buffer, each padded to four bytes, and their views and accessors in JSON.
struct Buffer {
  std::string data, views, accessors;
  size_t count = 0;

  void add(const std::string& bytes, size_t length, int component, const char* type, int target, const std::string& more) {
    const char* comma = count > 0 ? "," : "";
    views += comma + std::string("{\"buffer\":0,\"byteOffset\":") + number(data.size()) + ",\"byteLength\":" + number(bytes.size()) +
             ",\"target\":" + std::to_string(target) + "}";
    accessors += comma + std::string("{\"bufferView\":") + number(count) + ",\"componentType\":" + std::to_string(component) + ",\"count\":" + number(length) +
                 ",\"type\":\"" + type + "\"" + more + "}";
    data += bytes;
    data.append((4 - bytes.size() % 4) % 4, '\0');
    ++count;
  }
};

std::string bytes_of(const std::vector<Point>& points) {
  std::string out;
  out.reserve(points.size() * sizeof(Point));
  for (const Point& p : points) append(out, p);
  return out;
}

std::string indices_of(const std::vector<Triangle>& faces, bool small) {
  std::string out;
  for (const Triangle& face : faces)
    for (const uint32_t index : face) small ? append(out, static_cast<uint16_t>(index)) : append(out, index);
  return out;
}

void append_chunk(std::string& out, const char* kind, const std::string& data) {
  append(out, static_cast<uint32_t>(data.size()));
  out.append(kind, 4);
  out += data;
}

std::string ending_of(const std::string& path) {
  const size_t dot = path.rfind('.'), slash = path.rfind('/');
  if (dot == std::string::npos || (slash != std::string::npos && dot < slash)) return "";
  std::string ending = path.substr(dot);
  std::transform(ending.begin(), ending.end(), ending.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return ending;
}

}  // namespace

std::string glb_content(const Mesh& mesh) {
  constexpr int floats = 5126, shorts = 5123, integers = 5125, vertices = 34962, elements = 34963;
  const std::vector<Point> points = turned(mesh.vertices, y_up), normals = turned(always_unit(mesh.normals), y_up);
  const bool small = points.size() < 65535;
  Buffer buffer;
  buffer.add(bytes_of(points), points.size(), floats, "VEC3", vertices, bounds(points));
  buffer.add(bytes_of(normals), normals.size(), floats, "VEC3", vertices, "");
  buffer.add(indices_of(mesh.faces, small), mesh.faces.size() * 3, small ? shorts : integers, "SCALAR", elements, "");
  std::string json =
      "{\"asset\":{\"version\":\"2.0\",\"generator\":\"gen3dexport\"},\"scene\":0,\"scenes\":[{\"nodes\":[0]}],\"nodes\":[{\"mesh\":0}],"
      "\"meshes\":[{\"primitives\":[{\"attributes\":{\"POSITION\":0,\"NORMAL\":1},\"material\":0,\"indices\":2}]}],\"accessors\":[" +
      buffer.accessors + "],\"bufferViews\":[" + buffer.views + "],\"buffers\":[{\"byteLength\":" + number(buffer.data.size()) +
      "}],\"materials\":[{\"name\":\"surface\",\"pbrMetallicRoughness\":{\"metallicFactor\":0,\"roughnessFactor\":0.9},\"doubleSided\":" +
      (is_closed(mesh.faces) ? "false" : "true") + "}]}";
  json.append((4 - json.size() % 4) % 4, ' ');
  std::string body;
  append_chunk(body, "JSON", json);
  append_chunk(body, "BIN\0", buffer.data);
  std::string out = "glTF";
  append(out, uint32_t{2});
  append(out, static_cast<uint32_t>(12 + body.size()));
  return out + body;
}

std::string ply_content(const Mesh& mesh) {
  const std::vector<Point> points = turned(mesh.vertices, plain), normals = turned(always_unit(mesh.normals), plain);
  std::string out = "ply\nformat binary_little_endian 1.0\ncomment https://github.com/mikedh/trimesh\nelement vertex " + number(points.size());
  for (const char* name : {"x", "y", "z", "nx", "ny", "nz"}) out += std::string("\nproperty float ") + name;
  out += "\nelement face " + number(mesh.faces.size()) + "\nproperty list uchar int vertex_indices\nend_header\n";
  for (size_t i = 0; i < points.size(); ++i) append(out, points[i]), append(out, normals[i]);
  for (const Triangle& face : mesh.faces) {
    out += '\3';
    for (const uint32_t index : face) append(out, static_cast<int32_t>(index));
  }
  return out;
}

Status check_ending(const std::string& path) {
  const std::string ending = ending_of(path);
  if (ending == ".glb" || ending == ".ply") return Done{};
  return usage_error(path + ": unknown format " + json_quoted(ending) + "; gen3d writes .glb and .ply");
}

Result<std::string> content_for(const std::string& path, const Mesh& mesh) {
  if (auto known = check_ending(path); !known) return known.error();
  return ending_of(path) == ".glb" ? glb_content(mesh) : ply_content(mesh);
}

}  // namespace gen3d
