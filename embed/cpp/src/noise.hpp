// NumPy's noise: numpy.random.default_rng(seed).standard_normal(n, dtype=float32), bit for bit.
// Sources: O'Neill 2014 (PCG XSL-RR 128/64), O'Neill 2015 (seed_seq), Marsaglia and Tsang 2000 (ziggurat).
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace gen3d {

class Noise {
 public:
  explicit Noise(uint64_t seed);

  // The next `count` numbers of the normal distribution.
  std::vector<float> normal(size_t count);

 private:
  // 128 bits as two words: not every compiler has an integer of that size.
  struct Wide {
    uint64_t high = 0, low = 0;
  };
  static Wide sum(Wide a, Wide b);
  static Wide product(Wide a, Wide b);
  void step();
  uint32_t next();
  float uniform();
  float one();

  Wide state_, increment_;
  bool held_ = false;
  uint32_t half_ = 0;
};

}  // namespace gen3d
