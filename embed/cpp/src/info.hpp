// What a bundle is, in JSON.
#pragma once

#include <string>

#include "bundle.hpp"

namespace gen3d {

// Name, family, target, digest, programs with inputs and outputs, operators outside delegates and which of them have no
// kernel here; whether it has host steps.
std::string info_json(const Bundle& bundle);

}  // namespace gen3d
