// What is checked of a program whichever runtime runs it.
#pragma once

#include <vector>

#include "array.hpp"
#include "bundle.hpp"
#include "result.hpp"

namespace gen3d {

// That the bundle's programs are of the runtime that this library is built for.
Status check_backend(const Bundle& bundle);

// A program's bytes: their digest is the manifest's, and the program is whole.
Result<Bytes> read_program(const Bundle& bundle, const ProgramEntry& entry);

// That inputs, in the entry's order, have the entry's types and shapes.
Status check_inputs(const ProgramEntry& entry, const std::vector<const Array*>& inputs);

}  // namespace gen3d
