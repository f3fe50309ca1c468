// Errors as JSON, by the names that gen3dexport has for them.
#pragma once

#include <string>

#include "json.hpp"
#include "result.hpp"

namespace gen3d {

inline const char* error_name(Code code) {
  switch (code) {
    case Code::usage: return "UsageError";
    case Code::missing: return "MissingError";
    case Code::nothing: return "AccuracyError";
    case Code::verification: return "VerificationError";
    case Code::program: return "ProgramError";
    case Code::cancelled: return "Interrupted";
    default: return "GenExportError";
  }
}

// `"error": KIND, "message": TEXT`
inline std::string error_fields(const Error& error) {
  return std::string("\"error\": ") + json_quoted(error_name(error.code)) + ", \"message\": " + json_quoted(error.message);
}

}  // namespace gen3d
