// Files of meshes, byte for byte as gen3dexport writes them.
#pragma once

#include <string>

#include "mesh.hpp"
#include "result.hpp"

namespace gen3d {

// glTF 2.0 in one binary file, y up: (x, y, z) becomes (x, z, -y). Source: Khronos, "glTF 2.0 Specification".
std::string glb_content(const Mesh& mesh);

// Binary PLY, z up, with normals.
std::string ply_content(const Mesh& mesh);

// The content for a path by its ending, .glb or .ply.
Result<std::string> content_for(const std::string& path, const Mesh& mesh);

// Whether a path has one of those endings; words for what is wrong.
Status check_ending(const std::string& path);

}  // namespace gen3d
