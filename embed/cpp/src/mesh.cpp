#include "mesh.hpp"

#include <algorithm>
#include <cmath>

#include "marching_cubes.hpp"

namespace gen3d {
namespace {

using Vector = std::array<double, 3>;

Vector difference(const Vector& a, const Vector& b) { return {a[0] - b[0], a[1] - b[1], a[2] - b[2]}; }
double dot(const Vector& a, const Vector& b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }
Vector cross(const Vector& a, const Vector& b) { return {a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]}; }

Vector unit(const Vector& v) {
  const double length = std::sqrt(dot(v, v));
  return length > 0 ? Vector{v[0] / length, v[1] / length, v[2] / length} : Vector{0, 0, 0};
}

Point always_unit(const Vector& v) {
  const double length = std::sqrt(dot(v, v));
  if (!std::isfinite(length) || !(length > 1e-12)) return {0, 0, 1};
  return {static_cast<float>(v[0] / length), static_cast<float>(v[1] / length), static_cast<float>(v[2] / length)};
}

// The edge R of a value [1, .., R, R, R]; 0 for another shape.
int64_t edge_of(const Array& value) {
  const size_t axes = value.shape.size();
  if (!value.is_float || axes < 3) return 0;
  const int64_t edge = value.shape[axes - 1];
  const bool cube = value.shape[axes - 2] == edge && value.shape[axes - 3] == edge;
  return cube && elements(value.shape) == edge * edge * edge && edge <= 2048 ? edge : 0;
}

Error no_cube(const Array& value) { return verification_error("a value of shape " + shown(value.shape) + " is no cube [R, R, R]; build the bundle again"); }

// The logits kept a hair away from 0, inside a shell that mirrors its neighbours: [R + 2]^3.
std::vector<float> shelled(const std::vector<float>& field, int64_t edge, float hair) {
  const int64_t n = edge + 2;
  std::vector<float> out(static_cast<size_t>(n * n * n));
  size_t at = 0;
  for (int64_t z = 0; z < n; ++z)
    for (int64_t y = 0; y < n; ++y)
      for (int64_t x = 0; x < n; ++x, ++at) {
        const auto inside = [&](int64_t i) { return std::clamp<int64_t>(i - 1, 0, edge - 1); };
        const float raw = field[static_cast<size_t>((inside(z) * edge + inside(y)) * edge + inside(x))];
        const float value = raw > 0 ? std::max(raw, hair) : std::min(raw, -hair);
        const bool outer = z == 0 || y == 0 || x == 0 || z == n - 1 || y == n - 1 || x == n - 1;
        out[at] = outer ? -std::abs(value) : value;
      }
  return out;
}

}  // namespace

Result<Mesh> mesh_of_logits(const Array& logits, float level) {
  const int64_t edge = edge_of(logits);
  if (edge == 0) return no_cube(logits);
  std::vector<float> field(logits.floats);
  float farthest = 0;
  bool finite = true, occupied = false;
  for (float& value : field) {
    value -= level;
    finite = finite && std::isfinite(value);
    occupied = occupied || value > 0;
    farthest = std::max(farthest, std::abs(value));
  }
  if (!finite)
    return Error{Code::nothing, "the decoder gave logits that are not finite, so there is no surface; build with scheme fp32 to see whether the precision is the cause"};
  if (!occupied) return Error{Code::nothing, "nothing was generated: no voxel is occupied; try another seed or another prompt"};
  Surface surface = marching_cubes(shelled(field, edge, 1e-3f * farthest), edge + 2);
  Mesh mesh;
  mesh.faces = std::move(surface.faces);
  mesh.vertices = std::move(surface.vertices);
  const auto resolution = static_cast<float>(edge);
  for (Point& point : mesh.vertices)
    for (float& value : point) {
      const float moved = (value - 0.5f) / resolution;
      value = moved - 0.5f;
    }
  mesh.normals = vertex_normals(mesh.vertices, mesh.faces);
  return mesh;
}

Result<Voxels> voxels_of(const Array& value) {
  const int64_t edge = edge_of(value);
  if (edge == 0) return no_cube(value);
  Voxels out{edge, std::vector<uint8_t>(value.floats.size())};
  std::transform(value.floats.begin(), value.floats.end(), out.occupied.begin(), [](float v) { return static_cast<uint8_t>(v > 0); });
  return out;
}

std::vector<Point> vertex_normals(const std::vector<Point>& vertices, const std::vector<Triangle>& faces) {
  std::vector<Vector> total(vertices.size(), Vector{0, 0, 0});
  for (const Triangle& face : faces) {
    Vector corners[3];
    for (size_t k = 0; k < 3; ++k)
      for (size_t axis = 0; axis < 3; ++axis) corners[k][axis] = vertices[face[k]][axis];
    const Vector flat = unit(cross(difference(corners[1], corners[0]), difference(corners[2], corners[0])));
    for (size_t k = 0; k < 3; ++k) {
      const Vector ahead = unit(difference(corners[(k + 1) % 3], corners[k])), behind = unit(difference(corners[(k + 2) % 3], corners[k]));
      const double angle = std::acos(std::clamp(dot(ahead, behind), -1.0, 1.0));
      for (size_t axis = 0; axis < 3; ++axis) total[face[k]][axis] += angle * flat[axis];
    }
  }
  std::vector<Point> out;
  out.reserve(total.size());
  for (const Vector& sum : total) out.push_back(always_unit(sum));
  return out;
}

std::vector<Point> always_unit(const std::vector<Point>& normals) {
  std::vector<Point> out;
  out.reserve(normals.size());
  for (const Point& normal : normals) out.push_back(always_unit(Vector{normal[0], normal[1], normal[2]}));
  return out;
}

bool is_closed(const std::vector<Triangle>& faces) {
  std::vector<uint64_t> there, back;
  for (const Triangle& face : faces)
    for (size_t k = 0; k < 3; ++k) {
      const uint64_t a = face[k], b = face[(k + 1) % 3];
      there.push_back(a << 32 | b);
      back.push_back(b << 32 | a);
    }
  std::sort(there.begin(), there.end());
  std::sort(back.begin(), back.end());
  return !faces.empty() && there == back && std::adjacent_find(there.begin(), there.end()) == there.end();
}

}  // namespace gen3d
