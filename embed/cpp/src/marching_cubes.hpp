// Marching cubes over a cubic grid.
#pragma once

#include <cstdint>
#include <vector>

#include "mesh.hpp"

namespace gen3d {

struct Surface {
  std::vector<Point> vertices;  // in grid units, by the grid's axes
  std::vector<Triangle> faces;
};

// The surface where a grid [n, n, n] crosses 0, inside where it is above. Vertices stand in the order in which the cells,
// the last axis fastest, first use them; one vertex an edge.
Surface marching_cubes(const std::vector<float>& grid, int64_t n);

}  // namespace gen3d
