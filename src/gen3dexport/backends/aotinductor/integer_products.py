"""The product of two int8 matrices in a CPU package, for CPUs that torch's own is slow on.

A package is built for a level of x86-64, and VNNI is in none of them. So the generated code asks the CPU that runs it:
where it has VNNI, torch's product is called; where not, the one in float32, which is exact
(`quantization.integer_product`). The text below goes in front of every file of the generated code.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch.export import ExportedProgram

from gen3dexport.quantization.integer_product import EXACT

HEADER = f"""
#if !defined(__ASSEMBLER__) && !defined(GEN3DEXPORT_INTEGER_PRODUCTS)  // weights go through the compiler as assembly
#define GEN3DEXPORT_INTEGER_PRODUCTS
#include <cstdint>
#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/inductor/aoti_torch/generated/c_shim_cpu.h>

namespace gen3dexport {{

struct Matrix {{
  AtenTensorHandle handle = nullptr;
  float* data = nullptr;
  ~Matrix() {{
    if (handle) aoti_torch_delete_tensor_object(handle);
  }}
  AOTITorchError make(int64_t rows, int64_t columns) {{
    const int64_t sizes[] = {{rows, columns}}, strides[] = {{columns, 1}};
    AOTITorchError failed = aoti_torch_empty_strided(
        2, sizes, strides, aoti_torch_dtype_float32(), aoti_torch_device_type_cpu(), 0, &handle);
    return failed ? failed : aoti_torch_get_data_ptr(handle, reinterpret_cast<void**>(&data));
  }}
}};

struct Bytes {{
  const int8_t* data = nullptr;
  int64_t *sizes = nullptr, *strides = nullptr;
  AOTITorchError read(AtenTensorHandle tensor) {{
    AOTITorchError failed = aoti_torch_get_data_ptr(tensor, reinterpret_cast<void**>(const_cast<int8_t**>(&data)));
    if (!failed) failed = aoti_torch_get_sizes(tensor, &sizes);
    return failed ? failed : aoti_torch_get_strides(tensor, &strides);
  }}
}};

inline void widen(const int8_t* from, int64_t step, int64_t rows, int64_t columns, float* to) {{
#pragma omp parallel for
  for (int64_t i = 0; i < rows; i++) {{
    const int8_t* row = from + i * step;
    float* wide = to + i * columns;
#pragma omp simd
    for (int64_t j = 0; j < columns; j++) wide[j] = row[j];
  }}
}}

inline void add(const float* from, int64_t rows, int64_t columns, bool more, int32_t* to, int64_t step) {{
#pragma omp parallel for
  for (int64_t i = 0; i < rows; i++) {{
    const float* row = from + i * columns;
    int32_t* sum = to + i * step;
    if (!more) {{
#pragma omp simd
      for (int64_t j = 0; j < columns; j++) sum[j] = static_cast<int32_t>(row[j]);
    }} else {{
#pragma omp simd
      for (int64_t j = 0; j < columns; j++) sum[j] += static_cast<int32_t>(row[j]);
    }}
  }}
}}

// left [M, K] times right [K, N], whose columns lie one after the other, as those of a transposed weight do.
inline AOTITorchError int_mm_out(AtenTensorHandle out, AtenTensorHandle left, AtenTensorHandle right) {{
#if defined(__x86_64__)
  static const bool fast = __builtin_cpu_supports("avx512vnni");
#else
  static const bool fast = true;
#endif
  if (fast) return aoti_torch_cpu__int_mm_out(out, left, right);
  Bytes a, b;
  int32_t* sums = nullptr;
  int64_t* steps = nullptr;
  AOTITorchError failed = a.read(left);
  if (!failed) failed = b.read(right);
  if (!failed) failed = aoti_torch_get_data_ptr(out, reinterpret_cast<void**>(&sums));
  if (!failed) failed = aoti_torch_get_strides(out, &steps);
  if (failed) return failed;
  const int64_t m = a.sizes[0], k = a.sizes[1], n = b.sizes[1];
  if (a.strides[1] != 1 || b.strides[0] != 1 || steps[1] != 1) return aoti_torch_cpu__int_mm_out(out, left, right);
  for (int64_t start = 0; start < k; start += {EXACT}) {{
    const int64_t count = k - start < {EXACT} ? k - start : {EXACT};
    Matrix x, w, y;
    failed = x.make(m, count);
    if (!failed) failed = w.make(n, count);
    if (!failed) failed = y.make(m, n);
    if (failed) return failed;
    widen(a.data + start, a.strides[0], m, count, x.data);
    widen(b.data + start, b.strides[1], n, count, w.data);
    const int64_t sizes[] = {{count, n}}, strides[] = {{1, count}};
    Matrix turned;
    failed = aoti_torch__reinterpret_tensor(w.handle, 2, sizes, strides, 0, &turned.handle);
    if (!failed) failed = aoti_torch_cpu_mm_out(y.handle, x.handle, turned.handle);
    if (failed) return failed;
    add(y.data, m, n, start > 0, sums, steps[0]);
  }}
  return 0;
}}

}}  // namespace gen3dexport

#define aoti_torch_cpu__int_mm_out gen3dexport::int_mm_out
#endif
"""


def included(program: ExportedProgram, folder: Path) -> tuple[Path, ...]:
    """The file to put in front of a program's code, written into a folder; none where the program has no such product,
    or has it on another device."""
    products = program.graph.find_nodes(op="call_function", target=torch.ops.aten._int_mm.default)
    if not any(product.meta["val"].device.type == "cpu" for product in products):
        return ()
    (path := folder / "integer_products.h").write_text(HEADER, encoding="utf-8")
    return (path,)
