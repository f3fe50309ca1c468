// A manifest's host steps, version 1, as C++ values. docs/host-steps.md says what each operation computes.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "array.hpp"
#include "bundle.hpp"
#include "json.hpp"
#include "result.hpp"

namespace gen3d {

using Names = std::vector<std::pair<std::string, std::string>>;  // value by a program's input or output

struct Tokenize {
  bool of_prompt = true;
  std::string file;
  int64_t length = 0;
  bool fill_end = false, cut = false;
  std::string ids, mask;  // mask: "" for none
};
struct MakeNoise {
  Shape shape;
  std::string output;
};
struct MakeZeros {
  Shape shape;
  std::string output;
};
struct MakeConstant {
  Shape shape;
  std::vector<float> numbers;
  std::string output;
};
struct ScaleValue {
  std::string value;
  double factor = 1;
  std::string output;
};
struct TakeFeatures {
  int64_t row = -1;  // -1: they are [L, C] alone
  std::string output;
};
struct CallProgram {
  std::string component;
  Names inputs, outputs;
};
struct FlowStep {
  double time = 0, dt = 0, weight = 0;
  bool reuse = false;   // the conditional branch alone, and the last step's difference of the branches
  double previous = 0;  // weight of the velocity before
};
struct FlowEuler {
  std::string component, noise, latent_input, time_input, velocity_output, output;
  int64_t batch = 1;
  Names inputs, conditional, unconditional;
  std::map<std::string, int64_t> join;
  std::vector<FlowStep> steps;
};
using Operation = std::variant<Tokenize, MakeNoise, MakeZeros, MakeConstant, ScaleValue, TakeFeatures, CallProgram, FlowEuler>;

// How an asset is made of a value.
struct AssetRule {
  std::string kind, rule, value;
  double level = 0;
};

struct HostSteps {
  bool prompt = false, seed = false;
  Shape features;  // empty: none are given
  std::vector<Operation> steps;
  std::vector<AssetRule> assets;

  const AssetRule* asset(const std::string& kind) const;
};

// Read the host steps of a bundle, and check that its programs and files have every name in them. An operation, rule or
// version that this library does not know is refused by its name.
Result<HostSteps> parse_host_steps(const Bundle& bundle);

std::string operation_name(const Operation& operation);

// The values that an operation reads, and those that it writes.
std::vector<std::string> takes(const Operation& operation);
std::vector<std::string> makes(const Operation& operation);

// The component whose program an operation runs; "" for none.
std::string component_of(const Operation& operation);

// The most calls of programs that an operation makes.
int64_t calls_of(const Operation& operation);

}  // namespace gen3d
