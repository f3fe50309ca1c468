// What the plugin promises, against the library, a real bundle and stubs of Unreal:  checks BUNDLE
#include <cmath>
#include <cstdio>

#include "Async/Async.h"
#include "Gen3dComponent.h"
#include "Gen3dMaker.h"

namespace {

int failures = 0;

void that(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "FAILED: %s\n", what);
  ++failures;
}

// Twice three times the volume by the normals that Unreal gives a face: -(b - a) x (c - a).
double volume(const UProceduralMeshComponent& made) {
  double sum = 0;
  for (int32 i = 0; i < made.Triangles.Num(); i += 3) {
    const FVector &a = made.Vertices[made.Triangles[i]], &b = made.Vertices[made.Triangles[i + 1]], &c = made.Vertices[made.Triangles[i + 2]];
    sum -= a.X * (b.Y * c.Z - b.Z * c.Y) - a.Y * (b.X * c.Z - b.Z * c.X) + a.Z * (b.X * c.Y - b.Y * c.X);
  }
  return sum;
}

struct Heard {
  int made = 0, failed = 0;
  std::string message;
};

void listen(UGen3dComponent& component, Heard& heard) {
  component.OnEnded.heard.push_back([&heard](bool made, const FString& message) {
    ++(made ? heard.made : heard.failed);
    heard.message = *message;
  });
}

}  // namespace

int main(int count, char** words) {
  if (count != 2) return 2;
  auto& game = GameThreadStub::one();
  {
    UGen3dComponent component;
    Heard heard;
    listen(component, heard);
    component.Bundle = words[1];
    that(component.Make("a chair", 7), "it starts");
    that(!component.Make("a chair", 7), "one at a time");
    game.run_next();
    that(heard.made == 1 && component.Sections == 1, "a mesh is made");
    that(component.Vertices.Num() > 0 && component.Vertices.Num() == component.Normals.Num(), "normals");
    that(volume(component) > 0, "faces show their outside");
    double widest = 0, outward = 0;
    for (int32 i = 0; i < component.Vertices.Num(); ++i) {
      const FVector &v = component.Vertices[i], &n = component.Normals[i];
      widest = std::max({widest, std::fabs(v.X), std::fabs(v.Y), std::fabs(v.Z)});
      outward += std::fabs(n.X * n.X + n.Y * n.Y + n.Z * n.Z - 1) < 1e-3 ? 1 : 0;
    }
    that(widest > 10 && widest < 60, "centimetres");
    that(outward == component.Vertices.Num(), "normals have length 1");

    gen3d_api::Bundle bundle;
    gen3d_api::Asset asset;
    that(static_cast<bool>(bundle.open(words[1])) && static_cast<bool>(bundle.run("a chair", 7, asset)), "the library by itself");
    that(std::fabs(component.Vertices[5].Y + 100 * asset.vertices()[16]) < 1e-3, "y is turned round");
    that(std::fabs(component.Vertices[5].Z - 100 * asset.vertices()[17]) < 1e-3, "z is up");

    component.Make(" ", 7);
    game.run_next();
    that(heard.failed == 1 && heard.message.find("prompt") != std::string::npos, "the library's words");
    that(component.Sections == 1 && component.Vertices.Num() > 0, "what was shown stays");
    component.Bundle = "/none";
    component.Make("a chair", 7);
    game.run_next();
    that(heard.failed == 2, "no bundle");
    component.Bundle = words[1];
    component.Make("a chair", 7);
    component.Stop();
    game.run_next();
    that(heard.failed == 3 && component.Sections == 1, "stopped");
    component.Make("a chair", 8);
    game.run_next();
    that(heard.made == 2 && component.Sections == 2, "the next one");
  }
  Heard gone;
  {
    UGen3dComponent component;
    listen(component, gone);
    component.Bundle = words[1];
    component.Make("a chair", 7);
    component.OnComponentDestroyed(true);
  }
  game.run_next();  // its thread ends after the component
  that(gone.made == 0 && gone.failed == 0, "a component that is gone hears nothing");
  game.join();
  std::puts(failures == 0 ? "all checks passed" : "checks failed");
  return failures == 0 ? 0 : 1;
}
