/* An asset by the C interface, with progress:  chair BUNDLE "a tall chair" chair.glb [STOP_AT] */
#include <gen3d/gen3d.h>
#include <stdio.h>
#include <stdlib.h>

static int progress(void *context, const char *component, double done) {
  const double *stop_at = context;
  fprintf(stderr, "%3.0f %% %s\n", 100 * done, component);
  return done >= *stop_at;
}

static int failed(gen3d_code code, char *message) {
  fprintf(stderr, "error %d: %s\n", (int)code, message == NULL ? "" : message);
  gen3d_free_text(message);
  return (int)code;
}

int main(int count, char **arguments) {
  gen3d_bundle *bundle = NULL;
  gen3d_asset *asset = NULL;
  gen3d_request request = {0};
  char *message = NULL;
  double stop_at = 2;
  size_t vertices = 0, faces = 0;
  gen3d_code code;
  if (count < 4) return GEN3D_USAGE;
  if (count > 4) stop_at = atof(arguments[4]);
  code = gen3d_open(arguments[1], &bundle, &message);
  if (code != GEN3D_OK) return failed(code, message);
  request.size = sizeof request;
  request.prompt = arguments[2];
  request.seed = 3;
  request.progress = progress;
  request.context = &stop_at;
  code = gen3d_run(bundle, &request, &asset, &message);
  gen3d_close(bundle);
  if (code != GEN3D_OK) return failed(code, message);
  gen3d_mesh(asset, NULL, NULL, &vertices, NULL, &faces);
  printf("%zu vertices, %zu faces\n", vertices, faces);
  code = gen3d_write(asset, arguments[3], &message);
  gen3d_free_asset(asset);
  return code == GEN3D_OK ? 0 : failed(code, message);
}
