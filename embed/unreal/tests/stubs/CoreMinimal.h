// The part of Unreal's types that the plugin uses, by the standard library, to compile and run it where no Unreal is.
// It says nothing of Unreal's header tool or of its own compilers' flags.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#define UCLASS(...)
#define UPROPERTY(...)
#define UFUNCTION(...)
#define GENERATED_BODY() using Super = UProceduralMeshComponent;
#define GEN3DUNREAL_API
#define TCHAR_TO_UTF8(text) (text)
#define UTF8_TO_TCHAR(text) (text)
#define IMPLEMENT_MODULE(Class, Name) [[maybe_unused]] static Class Name;

using int32 = int32_t;
using int64 = int64_t;

class FString {
 public:
  FString() = default;
  FString(const char* text) : text_(text) {}
  const char* operator*() const { return text_.c_str(); }

 private:
  std::string text_;
};

struct FVector {
  double X, Y, Z;
  FVector(double x, double y, double z) : X(x), Y(y), Z(z) {}
};
struct FVector2D {};
struct FColor {};

template <class T>
class TArray {
 public:
  void Add(const T& item) { items_.push_back(item); }
  int32 Num() const { return static_cast<int32>(items_.size()); }
  const T& operator[](int32 index) const { return items_.at(static_cast<size_t>(index)); }

 private:
  std::vector<T> items_;
};

enum class ESPMode { ThreadSafe };

template <class T, ESPMode = ESPMode::ThreadSafe>
class TSharedPtr {
 public:
  TSharedPtr() = default;
  TSharedPtr(std::shared_ptr<T> held) : held_(std::move(held)) {}
  bool IsValid() const { return held_ != nullptr; }
  void Reset() { held_.reset(); }
  T* operator->() const { return held_.get(); }

 private:
  std::shared_ptr<T> held_;
};

template <class T, ESPMode Mode>
TSharedPtr<T, Mode> MakeShared() {
  return TSharedPtr<T, Mode>(std::make_shared<T>());
}

// Objects that were destroyed: a weak pointer of one gives none.
class UObject {
 public:
  UObject() : alive_(std::make_shared<bool>(true)) {}
  virtual ~UObject() { *alive_ = false; }
  std::shared_ptr<bool> alive_;
};

template <class T>
class TWeakObjectPtr {
 public:
  explicit TWeakObjectPtr(T* object) : object_(object), alive_(object->alive_) {}
  T* Get() const { return *alive_ ? object_ : nullptr; }

 private:
  T* object_;
  std::shared_ptr<bool> alive_;
};

#define DECLARE_DYNAMIC_MULTICAST_DELEGATE_TwoParams(Name, First, FirstName, Second, SecondName) \
  struct Name {                                                                                  \
    std::vector<std::function<void(First, Second)>> heard;                                       \
    void Broadcast(First first, Second second) {                                                 \
      for (const auto& each : heard) each(first, second);                                        \
    }                                                                                            \
  };
