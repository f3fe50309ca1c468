// gen3d: runs, shows and checks bundles of gen3dexport from the command line, without Python.
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "commands.hpp"
#include "errors_json.hpp"
#include "gen3d/gen3d.h"

namespace {

constexpr const char* help =
    "gen3d run BUNDLE -p \"a tall chair\" [-o chair.glb]... [--seed N] [--threads N] [--features FILE.npy]\n"
    "                 [--runs N] [--progress] [--json]\n"
    "    Make an asset. -o may be given again; .glb is y up, .ply is z up (default asset.glb).\n"
    "    --runs N makes it N times with the programs kept, and tells each one's time.\n"
    "gen3d info BUNDLE              what it is, as JSON\n"
    "gen3d verify BUNDLE            check every file's size and SHA-256\n"
    "gen3d check-kit BUNDLE KIT [--write FOLDER] [--threads N] [--json]\n"
    "                               compare every step with a kit of `gen3dexport embed-kit`\n"
    "gen3d tokens TOKENIZER.json    token ids of each line of standard input\n"
    "gen3d noise SEED COUNT FILE    float32 noise into a .npy file\n"
    "gen3d mesh LOGITS.npy -o FILE  the surface of logits [R, R, R]\n"
    "gen3d answer BUNDLE [--threads N]\n"
    "                               call programs for `gen3dexport validate --device`, over standard input and output\n"
    "gen3d --version\n"
    "Exit codes: 1 internal, 2 usage, 3 missing, 5 nothing generated, 7 verification or program, 130 stopped.\n";

#ifdef GEN3D_AOTI
constexpr const char* runtime_name = "torch";
#else
constexpr const char* runtime_name = "executorch";
#endif

// OpenMP's idle threads spin unless they are told not to before its library loads: start again with that said.
void let_threads_sleep(char** arguments) {
#ifdef GEN3D_AOTI
  if (std::getenv("OMP_WAIT_POLICY") != nullptr) return;
  if (::setenv("OMP_WAIT_POLICY", "passive", 1) == 0) ::execv("/proc/self/exe", arguments);
#else
  (void)arguments;
#endif
}

// Tell an error: a line on standard error, or the one JSON object on standard output. One without a message has been told.
int failed(const gen3d::Error& error, bool as_json) {
  if (as_json && !error.message.empty()) std::printf("{%s}\n", gen3d::error_fields(error).c_str());
  if (!as_json && !error.message.empty()) std::fprintf(stderr, "error: %s\n", error.message.c_str());
  return error.code == gen3d::Code::program ? 7 : static_cast<int>(error.code);
}

}  // namespace

int main(int count, char** arguments) {
  let_threads_sleep(arguments);
  const std::vector<std::string> words(arguments + 1, arguments + count);
  if (words.empty() || words[0] == "--help" || words[0] == "-h") {
    std::fputs(help, words.empty() ? stderr : stdout);
    return words.empty() ? 2 : 0;
  }
  if (words[0] == "--version") {
    std::printf("gen3d %s (%s %s)\n", gen3d_version(), runtime_name, gen3d_runtime_version());
    return 0;
  }
  const std::vector<std::string> rest(words.begin() + 1, words.end());
  const bool as_json = std::find(rest.begin(), rest.end(), "--json") != rest.end();
  for (const auto& command : gen3d::commands())
    if (words[0] == command.name) {
      const auto done = command.run(rest);
      return done ? 0 : failed(done.error(), as_json);
    }
  return failed(gen3d::usage_error(words[0] + ": unknown command; see gen3d --help"), as_json);
}
