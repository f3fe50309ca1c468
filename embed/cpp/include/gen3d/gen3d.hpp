// gen3d.h for C++17: owners that free what they hold, and errors as values. Header only.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gen3d.h"

namespace gen3d_api {

// How a call went; `message` says what is wrong, where, and how to mend it.
struct Outcome {
  gen3d_code code = GEN3D_OK;
  std::string message;
  explicit operator bool() const { return code == GEN3D_OK; }

  // Of a call that takes a place for its message.
  template <class Call>
  static Outcome of(Call&& call) {
    char* text = nullptr;
    Outcome out;
    out.code = call(&text);
    if (text != nullptr) out.message = text;
    gen3d_free_text(text);
    return out;
  }
};

class Asset {
 public:
  const float* vertices() const { return vertices_; }
  const float* normals() const { return normals_; }
  const uint32_t* faces() const { return faces_; }
  size_t vertex_count() const { return count_; }
  size_t face_count() const { return face_count_; }

  Outcome write(const std::string& path) const {
    return Outcome::of([&](char** message) { return gen3d_write(asset_.get(), path.c_str(), message); });
  }

 private:
  friend class Bundle;
  struct Free {
    void operator()(gen3d_asset* asset) const { gen3d_free_asset(asset); }
  };
  std::unique_ptr<gen3d_asset, Free> asset_;
  const float *vertices_ = nullptr, *normals_ = nullptr;
  const uint32_t* faces_ = nullptr;
  size_t count_ = 0, face_count_ = 0;
};

class Bundle {
 public:
  using Progress = std::function<bool(const std::string& component, double done)>;  // false stops the run

  Outcome open(const std::string& path) {
    gen3d_bundle* opened = nullptr;
    Outcome out = Outcome::of([&](char** message) { return gen3d_open(path.c_str(), &opened, message); });
    bundle_.reset(opened);
    return out;
  }

  Outcome load() {
    return Outcome::of([&](char** message) { return gen3d_load(bundle_.get(), message); });
  }

  Outcome run(const std::string& prompt, uint64_t seed, Asset& asset, bool keep_programs = false, const Progress& progress = {}) {
    gen3d_request request{};
    request.size = sizeof request;
    request.prompt = prompt.c_str();
    request.seed = seed;
    request.keep_programs = keep_programs ? 1 : 0;
    Progress called = progress;
    if (called) {
      request.context = &called;
      request.progress = [](void* context, const char* component, double done) { return (*static_cast<Progress*>(context))(component, done) ? 0 : 1; };
    }
    gen3d_asset* made = nullptr;
    Outcome out = Outcome::of([&](char** message) { return gen3d_run(bundle_.get(), &request, &made, message); });
    asset.asset_.reset(made);
    if (out) gen3d_mesh(made, &asset.vertices_, &asset.normals_, &asset.count_, &asset.faces_, &asset.face_count_);
    return out;
  }

 private:
  struct Close {
    void operator()(gen3d_bundle* bundle) const { gen3d_close(bundle); }
  };
  std::unique_ptr<gen3d_bundle, Close> bundle_;
};

}  // namespace gen3d_api
