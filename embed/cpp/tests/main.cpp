#include <cstring>

#include "check.hpp"

int main(int count, char** arguments) {
  const struct {
    const char* name;
    void (*run)();
  } tests[] = {{"json", test_json},     {"digests", test_digests},   {"paths", test_paths}, {"noise", test_noise},        {"tokens", test_tokens},
               {"arrays", test_arrays}, {"surfaces", test_surfaces}, {"files", test_files}, {"interface", test_interface}};
  for (const auto& test : tests)
    if (count == 2 && std::strcmp(arguments[1], test.name) == 0) {
      test.run();
      return gen3d_tests::failures == 0 ? 0 : 1;
    }
  return 2;
}
