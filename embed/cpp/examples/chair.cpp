// The same by the C++ header:  chair BUNDLE "a tall chair" chair.ply
#include <gen3d/gen3d.hpp>

#include <cstdio>

int main(int count, char** arguments) {
  if (count < 4) return GEN3D_USAGE;
  gen3d_api::Bundle bundle;
  gen3d_api::Asset asset;
  auto outcome = bundle.open(arguments[1]);
  if (outcome) outcome = bundle.run(arguments[2], 3, asset);
  if (outcome) outcome = asset.write(arguments[3]);
  if (!outcome) std::fprintf(stderr, "%s\n", outcome.message.c_str());
  return outcome.code;
}
