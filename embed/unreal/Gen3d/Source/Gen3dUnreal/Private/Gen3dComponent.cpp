#include "Gen3dComponent.h"

#include "Async/Async.h"
#include "Gen3dMaker.h"

namespace gen3d_unreal {

// All that a run needs, held by its thread too: the component may go before it ends.
struct Job {
  TSharedPtr<Maker, ESPMode::ThreadSafe> Made;
  std::string Bundle, Prompt;
  uint64_t Seed = 0;
  float Centimetres = 100;
  Watch Watched;
  Arrays Mesh;
  gen3d_api::Outcome Outcome;
};

}  // namespace gen3d_unreal

using gen3d_unreal::Job;

bool UGen3dComponent::Make(const FString& Prompt, int64 Seed) {
  if (Running.IsValid()) return false;
  TSharedPtr<Job, ESPMode::ThreadSafe> Started = MakeShared<Job, ESPMode::ThreadSafe>();
  Started->Made = Last.IsValid() ? Last->Made : TSharedPtr<gen3d_unreal::Maker, ESPMode::ThreadSafe>(MakeShared<gen3d_unreal::Maker, ESPMode::ThreadSafe>());
  Started->Bundle = TCHAR_TO_UTF8(*Bundle);
  Started->Prompt = TCHAR_TO_UTF8(*Prompt);
  Started->Seed = static_cast<uint64_t>(Seed);
  Started->Centimetres = Centimetres;
  Running = Started;
  TWeakObjectPtr<UGen3dComponent> Self(this);
  Async(EAsyncExecution::Thread, [Started, Self]() {
    Started->Outcome = Started->Made->make(Started->Bundle, Started->Prompt, Started->Seed, Started->Centimetres, Started->Watched, Started->Mesh);
    AsyncTask(ENamedThreads::GameThread, [Started, Self]() {
      if (UGen3dComponent* Here = Self.Get()) Here->Ended(Started);
    });
  });
  return true;
}

void UGen3dComponent::Stop() {
  if (Running.IsValid()) Running->Watched.stop = true;
}

float UGen3dComponent::Done() const { return Running.IsValid() ? Running->Watched.done.load() : 0.0f; }

void UGen3dComponent::OnComponentDestroyed(bool bDestroyingHierarchy) {
  Stop();
  Super::OnComponentDestroyed(bDestroyingHierarchy);
}

void UGen3dComponent::Ended(const TSharedPtr<Job, ESPMode::ThreadSafe>& Finished) {
  Last = Finished;
  Running.Reset();
  if (!Finished->Outcome) {
    OnEnded.Broadcast(false, FString(UTF8_TO_TCHAR(Finished->Outcome.message.c_str())));
    return;
  }
  const gen3d_unreal::Arrays& Mesh = Finished->Mesh;
  TArray<FVector> Vertices, Normals;
  TArray<int32> Faces;
  for (size_t i = 0; i < Mesh.vertices.size(); i += 3) {
    Vertices.Add(FVector(Mesh.vertices[i], Mesh.vertices[i + 1], Mesh.vertices[i + 2]));
    Normals.Add(FVector(Mesh.normals[i], Mesh.normals[i + 1], Mesh.normals[i + 2]));
  }
  for (const int32_t Index : Mesh.faces) Faces.Add(Index);
  CreateMeshSection(0, Vertices, Faces, Normals, TArray<FVector2D>(), TArray<FColor>(), TArray<FProcMeshTangent>(), true);
  OnEnded.Broadcast(true, FString());
}
