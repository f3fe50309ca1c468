// Triangle meshes, and the surface of occupancy logits. Coordinates: the unit cube [-0.5, 0.5]^3, z up, right-handed.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "array.hpp"
#include "result.hpp"

namespace gen3d {

using Point = std::array<float, 3>;
using Triangle = std::array<uint32_t, 3>;

struct Mesh {
  std::vector<Point> vertices;
  std::vector<Triangle> faces;   // counter-clockwise seen from outside
  std::vector<Point> normals;    // of vertices, unit length
};

struct Voxels {
  int64_t resolution = 0;
  std::vector<uint8_t> occupied;  // [R, R, R] by x, y, z: 1 or 0
};

// The surface where logits [.., R, R, R] cross `level`, with normals: marching cubes after Lorensen and Cline 1987, with
// the vertices and faces, and their order, of gen3dexport's assets/mesh.py. A mirrored shell closes it on the cube.
Result<Mesh> mesh_of_logits(const Array& logits, float level);

// Where a value [.., R, R, R] is above 0.
Result<Voxels> voxels_of(const Array& value);

// Unit normals: the adjacent faces' normals weighted by their angle at the vertex (Thuermer and Wuethrich 1998).
std::vector<Point> vertex_normals(const std::vector<Point>& vertices, const std::vector<Triangle>& faces);

// Normals at length 1; up (0, 0, 1) for those without a direction.
std::vector<Point> always_unit(const std::vector<Point>& normals);

// Whether every edge has one face on either side.
bool is_closed(const std::vector<Triangle>& faces);

}  // namespace gen3d
