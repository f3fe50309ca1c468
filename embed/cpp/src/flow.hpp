// A flow's sampler loop with guidance.
#pragma once

#include <functional>

#include "array.hpp"
#include "host_steps.hpp"
#include "program.hpp"
#include "result.hpp"

namespace gen3d {

// Called before each call of a program; false stops the run.
using KeepOn = std::function<bool()>;

// x after the last step, in float32: v = w * c - (w - 1) * u and x = x - dt * v, every operation rounded on its own;
// docs/host-steps.md has steps that reuse a difference or the velocity before.
// Source: Lipman et al. 2022, "Flow Matching for Generative Modeling"; Ho and Salimans 2022 (guidance).
Result<Array> run_flow(const FlowEuler& flow, Program& program, const Values& values, const KeepOn& keep_on);

// Two arrays joined along an axis. They must be alike in type and shape.
Array joined(const Array& a, const Array& b, size_t axis);

Error cancelled();

}  // namespace gen3d
