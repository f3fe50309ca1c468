// What the runtime says goes into errors, and never to standard error.
#pragma once

#include <string>

namespace gen3d {

// Listen to the runtime from here on. Safe to call again.
void listen_to_runtime();

// The last error that the runtime told on this thread; "" after `forget_said`.
const std::string& last_said();
void forget_said();

}  // namespace gen3d
