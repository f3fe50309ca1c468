#include "flow.hpp"

#include <algorithm>

namespace gen3d {
namespace {

template <class T>
std::vector<T> join(const std::vector<T>& a, const std::vector<T>& b, size_t block) {
  std::vector<T> out;
  out.reserve(a.size() + b.size());
  for (size_t at = 0; at < a.size(); at += block) {
    out.insert(out.end(), a.begin() + static_cast<ptrdiff_t>(at), a.begin() + static_cast<ptrdiff_t>(at + block));
    out.insert(out.end(), b.begin() + static_cast<ptrdiff_t>(at), b.begin() + static_cast<ptrdiff_t>(at + block));
  }
  return out;
}

// One loop: what its calls take, by the program's input.
struct Loop {
  const FlowEuler& flow;
  Program& program;
  std::map<std::string, const Array*> shared;
  Array latent, time;

  Result<std::vector<float>> velocity(const std::map<std::string, const Array*>& branch, double at) {
    std::fill(time.floats.begin(), time.floats.end(), static_cast<float>(at));
    std::vector<const Array*> inputs;
    for (const auto& wanted : program.entry().inputs) {
      const auto own = branch.find(wanted.name);
      if (wanted.name == flow.latent_input) inputs.push_back(&latent);
      else if (wanted.name == flow.time_input) inputs.push_back(&time);
      else inputs.push_back(own != branch.end() ? own->second : shared.at(wanted.name));
    }
    auto outputs = program.call(inputs);
    if (!outputs) return outputs.error();
    const auto& entries = program.entry().outputs;
    for (size_t i = 0; i < entries.size(); ++i)
      if (entries[i].name == flow.velocity_output) return std::move((*outputs)[i].floats);
    return Error{Code::internal, "no velocity among the outputs of " + program.entry().name};
  }
};

std::map<std::string, const Array*> branch_of(const Names& names, const Values& values) {
  std::map<std::string, const Array*> out;
  for (const auto& [port, value] : names) out[port] = &values.at(value);
  return out;
}

Error refused(const FlowEuler& flow, const std::string& what) { return verification_error("host step flow_euler of " + flow.component + ": " + what + "; build the bundle again"); }

}  // namespace

Error cancelled() { return {Code::cancelled, "stopped: the caller asked for it"}; }

Array joined(const Array& a, const Array& b, size_t axis) {
  Array out;
  out.is_float = a.is_float;
  out.shape = a.shape;
  out.shape[axis] += b.shape[axis];
  size_t block = 1;
  for (size_t i = axis; i < a.shape.size(); ++i) block *= static_cast<size_t>(a.shape[i]);
  out.floats = join(a.floats, b.floats, block);
  out.integers = join(a.integers, b.integers, block);
  return out;
}

Result<Array> run_flow(const FlowEuler& flow, Program& program, const Values& values, const KeepOn& keep_on) {
  const Array& noise = values.at(flow.noise);
  Loop loop{flow, program, branch_of(flow.inputs, values), {}, {}};
  for (const auto& wanted : program.entry().inputs)
    if (wanted.name == flow.time_input) loop.time = Array::of(wanted.shape, std::vector<float>(static_cast<size_t>(elements(wanted.shape))));
  auto with = branch_of(flow.conditional, values), without = branch_of(flow.unconditional, values);
  const bool both = flow.batch == 2;
  std::map<std::string, Array> held;  // of joined branches: the conditional one twice, and both
  if (both) {
    std::map<std::string, const Array*> alone, pair;
    for (const auto& [port, axis] : flow.join) {
      const Array &a = *with.at(port), &b = *without.at(port);
      if (a.shape != b.shape || a.is_float != b.is_float || axis < 0 || static_cast<size_t>(axis) >= a.shape.size()) return refused(flow, "the branches of " + port + " cannot be joined");
      alone[port] = &(held["alone " + port] = joined(a, a, static_cast<size_t>(axis)));
      pair[port] = &(held["pair " + port] = joined(a, b, static_cast<size_t>(axis)));
    }
    with = std::move(alone), without = std::move(pair);
  }
  if (!noise.is_float || noise.shape.empty()) return refused(flow, "its noise is no float32 array");
  Array x = noise;
  std::vector<float> difference, before;  // of the branches, and the velocity of the step before
  for (const FlowStep& step : flow.steps) {
    const bool guided = step.weight != 1 && !step.reuse;
    loop.latent = both ? joined(x, x, 0) : x;
    if (!keep_on()) return cancelled();
    auto first = loop.velocity(both && guided ? without : with, step.time);
    if (!first) return first.error();
    std::vector<float>& v = *first;
    if (v.size() != loop.latent.floats.size()) return refused(flow, "its velocity has another shape than its latent");
    if (guided) {
      std::vector<float> other;
      if (both) {
        other.assign(v.begin() + static_cast<ptrdiff_t>(x.floats.size()), v.end());
      } else {
        if (!keep_on()) return cancelled();
        auto second = loop.velocity(without, step.time);
        if (!second) return second.error();
        other = std::move(*second);
      }
      const auto weight = static_cast<float>(step.weight), away = static_cast<float>(step.weight - 1);
      difference.resize(x.floats.size());
      for (size_t i = 0; i < x.floats.size(); ++i) {
        const float toward = weight * v[i], from = away * other[i];
        difference[i] = v[i] - other[i];
        v[i] = toward - from;
      }
    } else if (step.reuse) {
      const auto away = static_cast<float>(step.weight - 1);
      for (size_t i = 0; i < x.floats.size(); ++i) {
        const float more = away * difference[i];
        v[i] = v[i] + more;
      }
    }
    const auto dt = static_cast<float>(step.dt), ahead = static_cast<float>(1 + step.previous), back = static_cast<float>(step.previous);
    for (size_t i = 0; i < x.floats.size(); ++i) {
      float direction = v[i];
      if (step.previous != 0) {
        const float toward = ahead * v[i], from = back * before[i];
        direction = toward - from;
      }
      const float move = dt * direction;
      x.floats[i] = x.floats[i] - move;
    }
    before = std::move(v);
  }
  return x;
}

}  // namespace gen3d
