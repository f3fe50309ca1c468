// Meshes, their files, files below a folder, the C interface without a bundle.
#include <sys/stat.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>

#include "bundle.hpp"
#include "check.hpp"
#include "gen3d/gen3d.h"
#include "marching_cubes.hpp"
#include "mesh_files.hpp"

using namespace gen3d;

namespace {

// Logits that are positive inside a ball of that radius, in voxels.
Array ball(int64_t edge, double radius) {
  std::vector<float> logits;
  const double middle = (static_cast<double>(edge) - 1) / 2;
  for (int64_t x = 0; x < edge; ++x)
    for (int64_t y = 0; y < edge; ++y)
      for (int64_t z = 0; z < edge; ++z) {
        const double a = static_cast<double>(x) - middle, b = static_cast<double>(y) - middle, c = static_cast<double>(z) - middle;
        logits.push_back(static_cast<float>(radius - std::sqrt(a * a + b * b + c * c)));
      }
  return Array::of({1, 1, edge, edge, edge}, std::move(logits));
}

}  // namespace

void test_surfaces() {
  const auto mesh = mesh_of_logits(ball(16, 6), 0);
  CHECK(mesh && is_closed(mesh->faces) && mesh->vertices.size() == mesh->normals.size());
  double volume = 0;
  for (const Triangle& face : mesh->faces) {
    const Point &a = mesh->vertices[face[0]], &b = mesh->vertices[face[1]], &c = mesh->vertices[face[2]];
    volume += (a[0] * (b[1] * c[2] - b[2] * c[1]) + a[1] * (b[2] * c[0] - b[0] * c[2]) + a[2] * (b[0] * c[1] - b[1] * c[0])) / 6.0;
  }
  CHECK(std::abs(volume * 4096 / (4.0 / 3.0 * 3.14159265 * 216) - 1) < 0.05);  // positive: faces outward
  for (size_t i = 0; i < mesh->vertices.size(); ++i) {
    const Point &p = mesh->vertices[i], &n = mesh->normals[i];
    CHECK(p[0] * n[0] + p[1] * n[1] + p[2] * n[2] > 0.9 * std::sqrt(p[0] * p[0] + p[1] * p[1] + p[2] * p[2]));
  }
  const auto full = mesh_of_logits(ball(4, 100), 0);  // a full cube ends on the cube's faces
  CHECK(full && is_closed(full->faces));
  for (const Point& p : full->vertices) CHECK(std::abs(p[0]) <= 0.5f && std::abs(p[1]) <= 0.5f && std::abs(p[2]) <= 0.5f);
  CHECK(mesh_of_logits(ball(4, -1), 0).error().code == Code::nothing);
  Array broken = ball(4, 1);
  broken.floats[3] = std::numeric_limits<float>::quiet_NaN();
  CHECK(mesh_of_logits(broken, 0).error().code == Code::nothing);
  broken.shape = {1, 1, 4, 4, 5};
  CHECK(mesh_of_logits(broken, 0).error().code == Code::verification);
  CHECK(voxels_of(ball(4, 1))->occupied.size() == 64);
  CHECK(!is_closed({{0, 1, 2}}));
  const std::string glb = glb_content(*mesh), ply = ply_content(*mesh);
  uint32_t length = 0;
  std::memcpy(&length, glb.data() + 8, 4);
  CHECK(glb.compare(0, 4, "glTF") == 0 && length == glb.size() && glb.size() % 4 == 0);
  CHECK(ply.size() == ply.find("end_header\n") + 11 + 24 * mesh->vertices.size() + 13 * mesh->faces.size());
  CHECK(check_ending("a.b/chair.GLB") && !check_ending("chair.obj") && !check_ending("a.glb/chair"));
}

void test_files() {
  mkdir("folder", 0777);
  mkdir("folder/inner", 0777);
  CHECK(write_atomically("folder/inner/file", "text"));
  unlink("folder/link");
  unlink("folder/way");
  CHECK(symlink("inner/file", "folder/link") == 0 && symlink("inner", "folder/way") == 0);
  const auto folder = Folder::open("folder");
  CHECK(folder && folder->read("inner/file")->text() == "text");
  CHECK(folder->read("inner/file", 4) && !folder->read("inner/file", 5));
  CHECK(!folder->read("link") && !folder->read("way/file") && !folder->read("inner") && !folder->read("none"));
  CHECK(folder->names() == (std::vector<std::string>{"inner/file", "link", "way"}));
  CHECK(!Folder::open("none"));
  CHECK(!write_atomically("none/file", "text") && !check_place("folder") && !check_place("none/file") && !check_place(""));
  CHECK(Bundle::open("folder").error().code == Code::usage);
}

void test_interface() {
  char* message = nullptr;
  gen3d_bundle* bundle = nullptr;
  CHECK(gen3d_open("none", &bundle, &message) == GEN3D_USAGE && bundle == nullptr && message != nullptr && std::strstr(message, "none") != nullptr);
  gen3d_free_text(message);
  CHECK(gen3d_open(nullptr, &bundle, nullptr) == GEN3D_USAGE && gen3d_open("none", nullptr, nullptr) == GEN3D_USAGE);
  CHECK(gen3d_run(nullptr, nullptr, nullptr, nullptr) == GEN3D_USAGE && gen3d_load(nullptr, nullptr) == GEN3D_USAGE);
  CHECK(gen3d_verify("none", nullptr) == GEN3D_USAGE && gen3d_info(nullptr) == nullptr);
  CHECK(gen3d_mesh(nullptr, nullptr, nullptr, nullptr, nullptr, nullptr) == GEN3D_USAGE && gen3d_voxels(nullptr, nullptr, nullptr) == GEN3D_USAGE);
  CHECK(gen3d_write(nullptr, "a.glb", nullptr) == GEN3D_USAGE);
  gen3d_close(nullptr);
  gen3d_free_asset(nullptr);
  gen3d_free_text(nullptr);
  CHECK(gen3d_set_threads(2) == GEN3D_OK && gen3d_set_threads(0) == GEN3D_OK);
  CHECK(std::strlen(gen3d_version()) > 0 && std::strlen(gen3d_runtime_version()) > 0);
}
