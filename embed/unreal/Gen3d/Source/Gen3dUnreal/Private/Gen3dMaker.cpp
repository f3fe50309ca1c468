#include "Gen3dMaker.h"

namespace gen3d_unreal {
namespace {

// Right-handed to left-handed: y is turned round. A face keeps its order, for both frames show it counter-clockwise.
std::vector<float> mirrored(const float* rows, size_t count, float factor) {
  std::vector<float> out(3 * count);
  for (size_t i = 0; i < count; ++i) {
    out[3 * i] = factor * rows[3 * i];
    out[3 * i + 1] = -factor * rows[3 * i + 1];
    out[3 * i + 2] = factor * rows[3 * i + 2];
  }
  return out;
}

}  // namespace

gen3d_api::Outcome Maker::make(const std::string& bundle, const std::string& prompt, uint64_t seed, float centimetres, Watch& watch, Arrays& arrays) {
  if (opened_ != bundle) {
    opened_.clear();
    if (auto opened = bundle_.open(bundle); !opened) return opened;
    opened_ = bundle;
  }
  gen3d_api::Asset asset;
  auto outcome = bundle_.run(prompt, seed, asset, true, [&](const std::string&, double done) {
    watch.done = static_cast<float>(done);
    return !watch.stop;
  });
  if (!outcome) return outcome;
  arrays.vertices = mirrored(asset.vertices(), asset.vertex_count(), centimetres);
  arrays.normals = mirrored(asset.normals(), asset.vertex_count(), 1);
  arrays.faces.assign(asset.faces(), asset.faces() + 3 * asset.face_count());
  watch.done = 1;
  return outcome;
}

}  // namespace gen3d_unreal
