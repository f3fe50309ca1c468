// Kernels of the operators that bundles call outside delegates, so that an application ships no kernel library.
#pragma once

#include <string>
#include <vector>

namespace gen3d {

// Register the kernels of this library that no other library of the process has registered. Safe to call again.
void register_kernels();

// Of operators by the exporter's names (aten.embedding.default), those that this process has no kernel for.
std::vector<std::string> missing_kernels(const std::vector<std::string>& operators);

}  // namespace gen3d
