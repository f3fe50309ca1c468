// A test is a function; a check that fails is told with its line, and counted.
#pragma once

#include <cstdio>

namespace gen3d_tests {

inline int failures = 0;

}  // namespace gen3d_tests

#define CHECK(condition)                                                     \
  do {                                                                       \
    if (!(condition)) {                                                      \
      std::fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
      ++gen3d_tests::failures;                                               \
    }                                                                        \
  } while (false)

void test_json();
void test_digests();
void test_paths();
void test_noise();
void test_tokens();
void test_arrays();
void test_surfaces();
void test_files();
void test_interface();
