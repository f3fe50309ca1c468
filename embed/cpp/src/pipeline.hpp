// A bundle's pipeline: the host steps over its programs, from a request to assets.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "bundle.hpp"
#include "flow.hpp"
#include "host_steps.hpp"
#include "mesh.hpp"
#include "program.hpp"
#include "tokenizer.hpp"

namespace gen3d {

struct Request {
  std::string prompt;
  uint64_t seed = 0;
  std::optional<Array> features;  // float32 [L, C], or [2, L, C]
};

struct RunOptions {
  // Keep programs in memory for the next asset; else each goes after its last step.
  bool keep_programs = false;
  // Called before each call of a program with the component that comes and the share that is done; false stops the run.
  std::function<bool(const std::string& component, double done)> progress;
  // Called after each step with the values so far.
  std::function<void(size_t step, const Values& values)> after_step;
};

class Pipeline {
 public:
  // A bundle whose host steps this library can do, all of them; no program is loaded.
  static Result<Pipeline> open(const std::string& path);

  const Bundle& bundle() const { return *bundle_; }
  const HostSteps& steps() const { return *steps_; }

  // Load every program now, so that the first asset does not wait for it.
  Status load_programs();
  void drop_programs() { programs_.clear(); }

  // The values that the steps make of a request.
  Result<Values> run(const Request& request, const RunOptions& options);

  // Assets of those values.
  Result<Mesh> mesh(const Values& values) const;
  Result<Voxels> voxels(const Values& values) const;

 private:
  Pipeline() = default;
  Status check(const Request& request) const;
  Result<Program*> program(const std::string& component);
  void drop_after(size_t step);
  Result<std::vector<int64_t>> tokens(const Tokenize& step, const std::string& text);
  Status tokenize(const Tokenize& step, const Request& request, Values& values);
  Status scale(const ScaleValue& step, Values& values) const;
  Status call(const CallProgram& step, Values& values, const KeepOn& keep_on);
  Status flow(const FlowEuler& step, Values& values, const KeepOn& keep_on);
  Error with_place(const Error& error) const;

  std::unique_ptr<Bundle> bundle_;
  std::unique_ptr<HostSteps> steps_;
  std::map<std::string, Program> programs_;
  std::map<std::string, Tokenizer> tokenizers_;
};

}  // namespace gen3d
