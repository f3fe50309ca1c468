/* gen3d: makes 3D assets with bundles of gen3dexport. A C interface, for every language that can call C.
 *
 * Functions that can fail give a code, and a message where `message` is not NULL: what is wrong, where, how to mend it.
 * The caller frees messages and other texts with gen3d_free_text. Texts are UTF-8. A bundle is used by one thread at a
 * time; several bundles may be open. No function throws, exits or writes to standard output or error. */
#ifndef GEN3D_H
#define GEN3D_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#define GEN3D_API
#else
#define GEN3D_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef enum gen3d_code {
  GEN3D_OK = 0,
  GEN3D_INTERNAL = 1,      /* an error of this library, or no memory */
  GEN3D_USAGE = 2,         /* the request or an argument is wrong */
  GEN3D_MISSING = 3,       /* a kernel, backend or operation that this build has not */
  GEN3D_NOTHING = 5,       /* nothing was generated: try another seed or prompt */
  GEN3D_VERIFICATION = 7,  /* the bundle was changed, is damaged or of another format */
  GEN3D_PROGRAM = 9,       /* a program failed in its runtime */
  GEN3D_CANCELLED = 130    /* the progress callback asked to stop */
} gen3d_code;

typedef struct gen3d_bundle gen3d_bundle;
typedef struct gen3d_asset gen3d_asset;

/* Called before each call of a program: the component that comes, and the share of the calls that is done, 0 to 1.
 * Gives 0 to go on, anything else to stop. */
typedef int (*gen3d_progress)(void *context, const char *component, double done);

/* What an asset is made of. Set everything to 0, then `size` to sizeof(gen3d_request), then what is wanted. */
typedef struct gen3d_request {
  size_t size;
  const char *prompt;
  uint64_t seed;                  /* the same seed makes the same asset */
  const float *features;          /* for pipelines without an encoder: [L, C] or [2, L, C], else NULL */
  const int64_t *features_shape;
  size_t features_axes;
  int keep_programs;              /* 1: keep programs loaded for the next asset; 0: each goes after its last step */
  gen3d_progress progress;        /* or NULL */
  void *context;                  /* given to it */
} gen3d_request;

/* Version of this library, and of the runtime that it was built with. */
GEN3D_API const char *gen3d_version(void);
GEN3D_API const char *gen3d_runtime_version(void);

/* So many threads run programs, in the whole process; 0 for the runtime's own choice. Call it before programs are loaded. */
GEN3D_API gen3d_code gen3d_set_threads(uint32_t count);

/* Open a bundle's folder: its manifest is checked, and that its host steps are known here. No program is loaded. */
GEN3D_API gen3d_code gen3d_open(const char *path, gen3d_bundle **bundle, char **message);
GEN3D_API void gen3d_close(gen3d_bundle *bundle);

/* Check every file of a bundle's folder; it need not be one that can be run here. */
GEN3D_API gen3d_code gen3d_verify(const char *path, char **message);

/* What a bundle is, as a JSON object. */
GEN3D_API char *gen3d_info(const gen3d_bundle *bundle);

/* Load every program now, so that the first asset does not wait for it; for requests with keep_programs. */
GEN3D_API gen3d_code gen3d_load(gen3d_bundle *bundle, char **message);

/* Make an asset. */
GEN3D_API gen3d_code gen3d_run(gen3d_bundle *bundle, const gen3d_request *request, gen3d_asset **asset, char **message);
GEN3D_API void gen3d_free_asset(gen3d_asset *asset);

/* The mesh: vertices and normals [count][3], z up, in the cube [-0.5, 0.5]^3; faces [face_count][3], counter-clockwise
 * seen from outside. The pointers live as long as the asset; any may be NULL. */
GEN3D_API gen3d_code gen3d_mesh(const gen3d_asset *asset, const float **vertices, const float **normals, size_t *count,
                                const uint32_t **faces, size_t *face_count);

/* The occupied voxels [resolution]^3 by x, y, z: 1 or 0. */
GEN3D_API gen3d_code gen3d_voxels(const gen3d_asset *asset, const uint8_t **occupied, size_t *resolution);

/* Write the mesh; the path's ending says how: .glb (y up) or .ply (z up). The file appears whole or not at all. */
GEN3D_API gen3d_code gen3d_write(const gen3d_asset *asset, const char *path, char **message);

GEN3D_API void gen3d_free_text(char *text);

#ifdef __cplusplus
}
#endif
#endif
