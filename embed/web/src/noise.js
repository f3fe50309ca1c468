// numpy.random.default_rng(seed).standard_normal(n, dtype=float32): docs/host-steps.md.
//
// SeedSequence -> PCG64 (XSL-RR, 128 bits) -> its 32-bit halves, low half first -> Ziggurat of 256 layers in float32.
// Sources: O'Neill 2014, "PCG: a family of simple fast space-efficient statistically good algorithms for random number
// generation"; Marsaglia and Tsang 2000, "The ziggurat method for generating random variables". Tables are computed.

const M32 = 0xffffffffn;
const M64 = (1n << 64n) - 1n;
const M128 = (1n << 128n) - 1n;
const MULTIPLIER = 0x2360ed051fc65da44385df649fccf645n;
const f = Math.fround;
const u32 = (x) => x >>> 0;

/** `count` 32-bit words of numpy's SeedSequence(seed), whose pool has four words. */
function seedWords(seed, count) {
  const entropy = [];
  for (let rest = seed; rest > 0n || entropy.length === 0; rest >>= 32n) entropy.push(Number(rest & M32));
  let constant = 0x43b0d7e5;
  const hash = (value) => {
    let v = u32(value ^ constant);
    constant = u32(Math.imul(constant, 0x931e8875));
    v = u32(Math.imul(v, constant));
    return u32(v ^ (v >>> 16));
  };
  const mix = (x, y) => {
    const v = u32(Math.imul(x, 0xca01f9dd) - Math.imul(y, 0x4973f715));
    return u32(v ^ (v >>> 16));
  };
  const pool = [0, 1, 2, 3].map((i) => hash(entropy[i] ?? 0));
  for (let i = 0; i < 4; i++) for (let j = 0; j < 4; j++) if (i !== j) pool[j] = mix(pool[j], hash(pool[i]));
  for (let i = 4; i < entropy.length; i++) for (let j = 0; j < 4; j++) pool[j] = mix(pool[j], hash(entropy[i]));
  let out = 0x8b51f9dd;
  return Array.from({ length: count }, (_, i) => {
    let v = u32(pool[i % 4] ^ out);
    out = u32(Math.imul(out, 0x58f38ded));
    v = u32(Math.imul(v, out));
    return u32(v ^ (v >>> 16));
  });
}

// Layer i ends at x[i]; a draw is below it without a further test where its 23 bits are below ki[i].
const TAIL = 3.6541528853610088;
const AREA = 0.00492867323399;
const ki = new Uint32Array(256);
const wi = new Float32Array(256);
const fi = new Float32Array(256);
{
  const density = (x) => Math.exp(-0.5 * x * x);
  const scale = 2 ** 23;
  const base = AREA / density(TAIL);
  ki[0] = Math.trunc((TAIL / base) * scale);
  wi[0] = base / scale;
  fi[0] = 1;
  wi[255] = TAIL / scale;
  fi[255] = density(TAIL);
  for (let i = 254, outer = TAIL; i >= 1; i--) {
    const x = Math.sqrt(-2 * Math.log(AREA / outer + density(outer)));
    ki[i + 1] = Math.trunc((x / outer) * scale);
    wi[i] = x / scale;
    fi[i] = density(x);
    outer = x;
  }
}

/** NumPy's default generator: PCG64, seeded by a whole number from 0 on (a bigint). */
export class Generator {
  #state = 0n;
  #increment;
  #half = null;

  constructor(seed) {
    const words = seedWords(BigInt(seed), 8).map(BigInt);
    const [a, b, c, d] = [0, 2, 4, 6].map((i) => words[i] | (words[i + 1] << 32n));
    this.#increment = ((((c << 64n) | d) << 1n) | 1n) & M128;
    this.#step();
    this.#state = (this.#state + ((a << 64n) | b)) & M128;
    this.#step();
  }

  #step() {
    this.#state = (this.#state * MULTIPLIER + this.#increment) & M128;
  }

  #next32() {
    if (this.#half !== null) {
      const half = this.#half;
      this.#half = null;
      return half;
    }
    this.#step();
    const folded = ((this.#state >> 64n) ^ this.#state) & M64;
    const turn = this.#state >> 122n;
    const drawn = ((folded >> turn) | (folded << ((64n - turn) & 63n))) & M64;
    this.#half = Number(drawn >> 32n);
    return Number(drawn & M32);
  }

  #uniform() {
    return f((this.#next32() >>> 8) * (1 / 16777216));
  }

  /** `count` numbers of the standard normal distribution, as a Float32Array. */
  standardNormal(count) {
    const out = new Float32Array(count);
    for (let k = 0; k < count; k++) out[k] = this.#normal();
    return out;
  }

  #normal() {
    for (;;) {
      const drawn = this.#next32();
      const layer = drawn & 255;
      const bits = (drawn >>> 9) & 0x7fffff;
      const x = (drawn >>> 8) & 1 ? -f(bits * wi[layer]) : f(bits * wi[layer]);
      if (bits < ki[layer]) return x;
      if (layer === 0) return this.#tail((bits >>> 8) & 1);
      const height = f(f(f(fi[layer - 1] - fi[layer]) * this.#uniform()) + fi[layer]);
      if (height < Math.exp(-0.5 * x * x)) return x;
    }
  }

  #tail(negative) {
    for (;;) {
      // Rounded correctly; C libraries' float32 functions are not always, which a last bit beyond ±TAIL may tell.
      const x = f(f(-0.27366123732975828) * f(Math.log1p(-this.#uniform())));
      const y = f(-Math.log1p(-this.#uniform()));
      if (f(y + y) > f(x * x)) return negative ? -f(f(TAIL) + x) : f(f(TAIL) + x);
    }
  }
}
