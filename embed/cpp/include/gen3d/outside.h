/* gen3d over the application's own runtime: for a build of the library with -DGEN3D_RUNTIME=outside, which has no
 * ExecuTorch inside. The application says once how programs are loaded, called and dropped, before it loads any; the
 * rest is gen3d.h. Functions are called on the thread that called the library, and must not throw through it. */
#ifndef GEN3D_OUTSIDE_H
#define GEN3D_OUTSIDE_H

#include "gen3d.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A row-major array. Of an input, `data` is only read; of an output it is room that `call` fills. */
typedef struct gen3d_tensor {
  const char *name;
  const int64_t *shape;
  size_t axes;
  int is_float; /* 1: float32; 0: int64 */
  void *data;
  size_t bytes;
} gen3d_tensor;

/* Functions give 0 when all went well, else anything else, and may write up to `room` bytes of text with a NUL to `said`. */
typedef struct gen3d_runtime {
  size_t size;         /* sizeof(gen3d_runtime) */
  void *context;       /* given to each function */
  const char *version; /* of the runtime, for gen3d_runtime_version; kept, not copied */

  /* Load the program of a file. Size and digest of its bytes were compared with the manifest just before. */
  int (*load)(void *context, const char *path, void **program, char *said, size_t room);

  /* Call it: inputs and outputs in the order of the manifest, which is the program's own. */
  int (*call)(void *context, void *program, const gen3d_tensor *inputs, size_t input_count, gen3d_tensor *outputs, size_t output_count,
              char *said, size_t room);

  void (*drop)(void *context, void *program);

  /* So many threads from here on, or NULL where the runtime takes no such wish. */
  int (*set_threads)(void *context, uint32_t count);
} gen3d_runtime;

/* Programs that are loaded from here on are loaded by this runtime; its struct is copied. */
GEN3D_API gen3d_code gen3d_use_runtime(const gen3d_runtime *runtime, char **message);

#ifdef __cplusplus
}
#endif
#endif
