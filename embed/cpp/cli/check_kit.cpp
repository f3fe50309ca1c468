#include "commands.hpp"
namespace gen3d {
Status check_kit(const Words&) { return usage_error("not there"); }
}
