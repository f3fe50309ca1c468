#pragma once

#include "CoreMinimal.h"
#include "ProceduralMeshComponent.h"

#include "Gen3dComponent.generated.h"

namespace gen3d_unreal {
struct Job;
}

DECLARE_DYNAMIC_MULTICAST_DELEGATE_TwoParams(FGen3dEnded, bool, bMade, const FString&, Message);

// A mesh that a bundle makes of a prompt, on a thread of its own. What is shown stays until the next one is there.
UCLASS(ClassGroup = (Rendering), meta = (BlueprintSpawnableComponent))
class GEN3DUNREAL_API UGen3dComponent : public UProceduralMeshComponent {
  GENERATED_BODY()

 public:
  // A folder that gen3dexport build made.
  UPROPERTY(EditAnywhere, BlueprintReadWrite, Category = "gen3d")
  FString Bundle;

  // The edge of the cube that holds the asset.
  UPROPERTY(EditAnywhere, BlueprintReadWrite, Category = "gen3d")
  float Centimetres = 100;

  // Told at the game's thread: made, or the library's words for why not.
  UPROPERTY(BlueprintAssignable, Category = "gen3d")
  FGen3dEnded OnEnded;

  // Starts one; false while one is being made.
  UFUNCTION(BlueprintCallable, Category = "gen3d")
  bool Make(const FString& Prompt, int64 Seed);

  // Stops it at the next call of a program; OnEnded tells when it has.
  UFUNCTION(BlueprintCallable, Category = "gen3d")
  void Stop();

  // Share of the work that is done.
  UFUNCTION(BlueprintPure, Category = "gen3d")
  float Done() const;

  virtual void OnComponentDestroyed(bool bDestroyingHierarchy) override;

 private:
  void Ended(const TSharedPtr<gen3d_unreal::Job, ESPMode::ThreadSafe>& Finished);

  TSharedPtr<gen3d_unreal::Job, ESPMode::ThreadSafe> Running;
  TSharedPtr<gen3d_unreal::Job, ESPMode::ThreadSafe> Last;
};
