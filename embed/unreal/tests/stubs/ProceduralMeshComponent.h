#pragma once

#include "CoreMinimal.h"

struct FProcMeshTangent {};

class UProceduralMeshComponent : public UObject {
 public:
  TArray<FVector> Vertices, Normals;
  TArray<int32> Triangles;
  int Sections = 0;

  void CreateMeshSection(int32, const TArray<FVector>& vertices, const TArray<int32>& triangles, const TArray<FVector>& normals, const TArray<FVector2D>&,
                         const TArray<FColor>&, const TArray<FProcMeshTangent>&, bool) {
    Vertices = vertices;
    Triangles = triangles;
    Normals = normals;
    ++Sections;
  }
  virtual void OnComponentDestroyed(bool) {}
};
