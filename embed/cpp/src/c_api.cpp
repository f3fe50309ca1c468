#include <cstdlib>
#include <cstring>
#include <exception>
#include <new>

#include "gen3d/gen3d.h"
#include "info.hpp"
#include "mesh_files.hpp"
#include "pipeline.hpp"

struct gen3d_bundle {
  gen3d::Pipeline pipeline;
};
struct gen3d_asset {
  gen3d::Mesh mesh;
  gen3d::Voxels voxels;
};

namespace {

char* copied(const std::string& text) {
  auto* out = static_cast<char*>(std::malloc(text.size() + 1));
  if (out != nullptr) std::memcpy(out, text.c_str(), text.size() + 1);
  return out;
}

gen3d_code told(const gen3d::Error& error, char** message) {
  if (message != nullptr) *message = copied(error.message);
  return static_cast<gen3d_code>(error.code);
}

// No exception leaves a C function: the standard library's (no memory) become a code.
template <class Work>
gen3d_code guarded(char** message, Work&& work) {
  if (message != nullptr) *message = nullptr;
  try {
    return work();
  } catch (const std::bad_alloc&) {
    return told({gen3d::Code::internal, "no memory left"}, message);
  } catch (const std::exception& error) {
    return told({gen3d::Code::internal, error.what()}, message);
  }
}

gen3d_code null_argument(char** message) { return told(gen3d::usage_error("a pointer that must not be NULL is NULL"), message); }

gen3d::Result<gen3d::Request> request_of(const gen3d_request& given) {
  gen3d::Request request{given.prompt == nullptr ? "" : given.prompt, given.seed, std::nullopt};
  if (given.features == nullptr) return request;
  if (given.features_shape == nullptr) return gen3d::usage_error("features_shape is NULL, and features are given");
  const gen3d::Shape shape(given.features_shape, given.features_shape + given.features_axes);
  if (gen3d::elements(shape) < 0) return gen3d::usage_error("features_shape: no shape");
  request.features = gen3d::Array::of(shape, std::vector<float>(given.features, given.features + gen3d::elements(shape)));
  return request;
}

}  // namespace

extern "C" {

const char* gen3d_version(void) { return GEN3D_VERSION; }
const char* gen3d_runtime_version(void) { return gen3d::runtime_version(); }

gen3d_code gen3d_set_threads(uint32_t count) { return count == 0 || gen3d::set_threads(count) ? GEN3D_OK : GEN3D_INTERNAL; }

gen3d_code gen3d_open(const char* path, gen3d_bundle** bundle, char** message) {
  return guarded(message, [&] {
    if (path == nullptr || bundle == nullptr) return null_argument(message);
    *bundle = nullptr;
    auto pipeline = gen3d::Pipeline::open(path);
    if (!pipeline) return told(pipeline.error(), message);
    *bundle = new gen3d_bundle{std::move(*pipeline)};
    return GEN3D_OK;
  });
}

void gen3d_close(gen3d_bundle* bundle) { delete bundle; }

gen3d_code gen3d_verify(const char* path, char** message) {
  return guarded(message, [&] {
    if (path == nullptr) return null_argument(message);
    auto bundle = gen3d::Bundle::open(path);
    if (!bundle) return told(bundle.error(), message);
    const auto verified = bundle->verify();
    return verified ? GEN3D_OK : told(verified.error(), message);
  });
}

char* gen3d_info(const gen3d_bundle* bundle) {
  char* text = nullptr;
  guarded(nullptr, [&] {
    if (bundle != nullptr) text = copied(gen3d::info_json(bundle->pipeline.bundle()));
    return GEN3D_OK;
  });
  return text;
}

gen3d_code gen3d_load(gen3d_bundle* bundle, char** message) {
  return guarded(message, [&] {
    if (bundle == nullptr) return null_argument(message);
    const auto loaded = bundle->pipeline.load_programs();
    return loaded ? GEN3D_OK : told(loaded.error(), message);
  });
}

gen3d_code gen3d_run(gen3d_bundle* bundle, const gen3d_request* request, gen3d_asset** asset, char** message) {
  return guarded(message, [&] {
    if (bundle == nullptr || request == nullptr || asset == nullptr) return null_argument(message);
    *asset = nullptr;
    if (request->size != sizeof(gen3d_request)) return told(gen3d::usage_error("request.size: set it to sizeof(gen3d_request)"), message);
    const auto asked = request_of(*request);
    if (!asked) return told(asked.error(), message);
    gen3d::RunOptions options;
    options.keep_programs = request->keep_programs != 0;
    if (request->progress != nullptr)
      options.progress = [&](const std::string& component, double done) { return request->progress(request->context, component.c_str(), done) == 0; };
    const auto values = bundle->pipeline.run(*asked, options);
    if (!values) return told(values.error(), message);
    auto mesh = bundle->pipeline.mesh(*values);
    if (!mesh) return told(mesh.error(), message);
    auto voxels = bundle->pipeline.voxels(*values);
    *asset = new gen3d_asset{std::move(*mesh), voxels ? std::move(*voxels) : gen3d::Voxels{}};
    return GEN3D_OK;
  });
}

void gen3d_free_asset(gen3d_asset* asset) { delete asset; }

gen3d_code gen3d_mesh(const gen3d_asset* asset, const float** vertices, const float** normals, size_t* count, const uint32_t** faces, size_t* face_count) {
  if (asset == nullptr) return GEN3D_USAGE;
  const auto& mesh = asset->mesh;
  if (vertices != nullptr) *vertices = mesh.vertices.empty() ? nullptr : mesh.vertices[0].data();
  if (normals != nullptr) *normals = mesh.normals.empty() ? nullptr : mesh.normals[0].data();
  if (count != nullptr) *count = mesh.vertices.size();
  if (faces != nullptr) *faces = mesh.faces.empty() ? nullptr : mesh.faces[0].data();
  if (face_count != nullptr) *face_count = mesh.faces.size();
  return GEN3D_OK;
}

gen3d_code gen3d_voxels(const gen3d_asset* asset, const uint8_t** occupied, size_t* resolution) {
  if (asset == nullptr || asset->voxels.resolution == 0) return GEN3D_USAGE;
  if (occupied != nullptr) *occupied = asset->voxels.occupied.data();
  if (resolution != nullptr) *resolution = static_cast<size_t>(asset->voxels.resolution);
  return GEN3D_OK;
}

gen3d_code gen3d_write(const gen3d_asset* asset, const char* path, char** message) {
  return guarded(message, [&] {
    if (asset == nullptr || path == nullptr) return null_argument(message);
    const auto content = gen3d::content_for(path, asset->mesh);
    if (!content) return told(content.error(), message);
    const auto written = gen3d::write_atomically(path, *content);
    return written ? GEN3D_OK : told(written.error(), message);
  });
}

void gen3d_free_text(char* text) { std::free(text); }

}  // extern "C"
