#include "marching_cubes.hpp"

#include <cmath>
#include <limits>

namespace gen3d {
namespace {

#include "cell_table.inc"

// Corners of a cell by axis: corner i is 1 further along axis 2 (x of the table), 1 or 0.
constexpr int corner_x[8] = {0, 1, 1, 0, 0, 1, 1, 0};
constexpr int corner_y[8] = {0, 0, 1, 1, 0, 0, 1, 1};
constexpr int corner_z[8] = {0, 0, 0, 0, 1, 1, 1, 1};
constexpr int edge_from[12] = {0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3};
constexpr int edge_to[12] = {1, 2, 3, 0, 5, 6, 7, 4, 4, 5, 6, 7};

// A grid edge is named by its lower corner and its axis.
size_t edge_name(int64_t n, int64_t z, int64_t y, int64_t x, int edge) {
  const int a = edge_from[edge], b = edge_to[edge];
  const int axis = corner_x[a] != corner_x[b] ? 0 : corner_y[a] != corner_y[b] ? 1 : 2;
  const int64_t lowest_x = x + (corner_x[a] & corner_x[b]), lowest_y = y + (corner_y[a] & corner_y[b]), lowest_z = z + (corner_z[a] & corner_z[b]);
  return static_cast<size_t>(((lowest_z * n + lowest_y) * n + lowest_x) * 3 + axis);
}

// Where the surface meets an edge: the ends weighted by the inverse of their distance from 0, in float64.
Point on_edge(const double (&values)[8], int64_t z, int64_t y, int64_t x, int edge) {
  constexpr double smallest = std::numeric_limits<double>::epsilon();
  const int a = edge_from[edge], b = edge_to[edge];
  const double near_a = 1.0 / (smallest + std::abs(values[a])), near_b = 1.0 / (smallest + std::abs(values[b]));
  const double sum = near_a + near_b;
  const auto along = [&](const int (&corner)[8], int64_t begin) {
    const double weighted = corner[a] * near_a + corner[b] * near_b;
    return static_cast<float>(static_cast<double>(begin) + weighted / sum);
  };
  return {along(corner_z, z), along(corner_y, y), along(corner_x, x)};
}

int digit(char c) { return c <= '9' ? c - '0' : c - 'a' + 10; }

}  // namespace

Surface marching_cubes(const std::vector<float>& grid, int64_t n) {
  constexpr uint32_t none = 0xffffffff;
  Surface out;
  std::vector<uint32_t> made(grid.size() * 3, none);  // the vertex of each edge
  for (int64_t z = 0; z + 1 < n; ++z)
    for (int64_t y = 0; y + 1 < n; ++y)
      for (int64_t x = 0; x + 1 < n; ++x) {
        double values[8];
        unsigned cell = 0;
        for (int i = 0; i < 8; ++i) {
          values[i] = grid[static_cast<size_t>(((z + corner_z[i]) * n + y + corner_y[i]) * n + x + corner_x[i])];
          if (values[i] > 0) cell |= 1u << i;
        }
        uint32_t corners[3];
        int corner = 0;
        for (const char* edge = cells[cell]; *edge != '\0'; ++edge) {
          uint32_t& vertex = made[edge_name(n, z, y, x, digit(*edge))];
          if (vertex == none) {
            vertex = static_cast<uint32_t>(out.vertices.size());
            out.vertices.push_back(on_edge(values, z, y, x, digit(*edge)));
          }
          corners[corner++] = vertex;
          if (corner == 3) {
            out.faces.push_back({corners[0], corners[1], corners[2]});
            corner = 0;
          }
        }
      }
  return out;
}

}  // namespace gen3d
