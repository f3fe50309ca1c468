// Meshes by the library gen3d in Unreal's frame. Knows no type of Unreal.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include <gen3d/gen3d.hpp>

namespace gen3d_unreal {

// A mesh in Unreal's frame: left-handed, z up, centimetres; faces are counter-clockwise seen from outside.
struct Arrays {
  std::vector<float> vertices, normals;  // x, y, z one after the other
  std::vector<int32_t> faces;
};

// How far a run is, and whether it is to stop; shared by the thread that makes and the one that looks.
struct Watch {
  std::atomic<float> done{0};
  std::atomic<bool> stop{false};
};

// Opens a bundle once and keeps its programs. One thread at a time.
class Maker {
 public:
  // `centimetres`: the edge of the cube that holds the asset.
  gen3d_api::Outcome make(const std::string& bundle, const std::string& prompt, uint64_t seed, float centimetres, Watch& watch, Arrays& arrays);

 private:
  gen3d_api::Bundle bundle_;
  std::string opened_;
};

}  // namespace gen3d_unreal
