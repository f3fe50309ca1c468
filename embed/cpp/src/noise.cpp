#include "noise.hpp"

#include <array>
#include <cmath>

namespace gen3d {
namespace {

// NumPy's SeedSequence(seed).generate_state(8, uint32): a pool of four words, all mixed with all.
std::array<uint32_t, 8> seed_words(uint64_t seed) {
  const uint32_t entropy[2] = {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)};
  uint32_t constant = 0x43b0d7e5;
  const auto hash = [&](uint32_t value) {
    value ^= constant;
    constant *= 0x931e8875;
    value *= constant;
    return value ^ value >> 16;
  };
  const auto mix = [](uint32_t x, uint32_t y) {
    const uint32_t mixed = x * 0xca01f9ddu - y * 0x4973f715u;
    return mixed ^ mixed >> 16;
  };
  std::array<uint32_t, 4> pool{};
  for (size_t i = 0; i < 4; ++i) pool[i] = hash(i < 2 ? entropy[i] : 0);
  for (size_t i = 0; i < 4; ++i)
    for (size_t j = 0; j < 4; ++j)
      if (i != j) pool[j] = mix(pool[j], hash(pool[i]));
  constant = 0x8b51f9dd;
  std::array<uint32_t, 8> words{};
  for (size_t i = 0; i < 8; ++i) {
    uint32_t value = pool[i % 4] ^ constant;
    constant *= 0x58f38ded;
    value *= constant;
    words[i] = value ^ value >> 16;
  }
  return words;
}

constexpr double tail = 3.6541528853610088;  // where the ziggurat's lowest layer ends
constexpr double area = 0.00492867323399;    // of every layer

// The layers' edges and heights in float32.
struct Layers {
  uint32_t k[256];
  float w[256], f[256];

  Layers() {
    constexpr double scale = 8388608;  // 2^23
    const auto density = [](double x) { return std::exp(-0.5 * x * x); };
    const double q = area / density(tail);
    k[0] = static_cast<uint32_t>(tail / q * scale);
    k[1] = 0;
    w[0] = static_cast<float>(q / scale);
    w[255] = static_cast<float>(tail / scale);
    f[0] = 1;
    f[255] = static_cast<float>(density(tail));
    double before = tail;
    for (size_t i = 254; i >= 1; --i) {
      const double x = std::sqrt(-2 * std::log(area / before + density(before)));
      k[i + 1] = static_cast<uint32_t>(x / before * scale);
      f[i] = static_cast<float>(density(x));
      w[i] = static_cast<float>(x / scale);
      before = x;
    }
  }
};

const Layers& layers() {
  static const Layers made;
  return made;
}

}  // namespace

Noise::Wide Noise::sum(Wide a, Wide b) {
  const uint64_t low = a.low + b.low;
  return {a.high + b.high + (low < a.low ? 1 : 0), low};
}

Noise::Wide Noise::product(Wide a, Wide b) {
  const uint64_t a0 = a.low & 0xffffffff, a1 = a.low >> 32, b0 = b.low & 0xffffffff, b1 = b.low >> 32;
  const uint64_t low = a0 * b0, middle = a1 * b0 + (low >> 32), other = a0 * b1 + (middle & 0xffffffff);
  const uint64_t high = a1 * b1 + (middle >> 32) + (other >> 32);
  return {high + a.high * b.low + a.low * b.high, other << 32 | (low & 0xffffffff)};
}

Noise::Noise(uint64_t seed) {
  const auto words = seed_words(seed);
  const auto pair = [&](size_t i) { return static_cast<uint64_t>(words[i + 1]) << 32 | words[i]; };
  const Wide start{pair(0), pair(2)}, stream{pair(4), pair(6)};
  increment_ = {stream.high << 1 | stream.low >> 63, stream.low << 1 | 1};
  step();
  state_ = sum(state_, start);
  step();
}

void Noise::step() { state_ = sum(product(state_, {0x2360ed051fc65da4, 0x4385df649fccf645}), increment_); }

uint32_t Noise::next() {
  if (held_) {
    held_ = false;
    return half_;
  }
  step();
  const uint64_t x = state_.high ^ state_.low;
  const auto turn = static_cast<unsigned>(state_.high >> 58);
  const uint64_t out = x >> turn | x << (-turn & 63);
  held_ = true;
  half_ = static_cast<uint32_t>(out >> 32);
  return static_cast<uint32_t>(out);
}

float Noise::uniform() { return static_cast<float>(next() >> 8) * (1.0f / 16777216.0f); }

float Noise::one() {
  const Layers& layer = layers();
  for (;;) {
    const uint32_t bits = next();
    const uint32_t i = bits & 255, magnitude = bits >> 9 & 0x7fffff;
    const float size = static_cast<float>(magnitude) * layer.w[i];
    const float x = (bits >> 8 & 1) != 0 ? -size : size;
    if (magnitude < layer.k[i]) return x;
    if (i == 0) {
      for (;;) {
        const float along = -0.27366123732975828f * log1pf(-uniform());
        const float up = -log1pf(-uniform());
        if (up + up > along * along) return (magnitude >> 8 & 1) != 0 ? -(static_cast<float>(tail) + along) : static_cast<float>(tail) + along;
      }
    }
    const float height = (layer.f[i - 1] - layer.f[i]) * uniform() + layer.f[i];
    if (height < std::exp(-0.5 * x * x)) return x;
  }
}

std::vector<float> Noise::normal(size_t count) {
  std::vector<float> out(count);
  for (float& value : out) value = one();
  return out;
}

}  // namespace gen3d
