// The stubbed AAR's native part on a desktop: programs by the libraries of ExecuTorch's wheel.
#include <executorch/extension/module/module.h>
#include <executorch/extension/tensor/tensor.h>
#include <jni.h>

#include <cstring>
#include <string>
#include <vector>

#include "kernels.hpp"

using executorch::aten::ScalarType;
using executorch::extension::Module;

namespace {

Module& module_of(jlong handle) { return *reinterpret_cast<Module*>(handle); }

void raise(JNIEnv* env, const std::string& message) { env->ThrowNew(env->FindClass("java/lang/RuntimeException"), message.c_str()); }

}  // namespace

#define NATIVE(type, name) extern "C" JNIEXPORT type JNICALL Java_org_pytorch_executorch_Desktop_##name

NATIVE(jlong, open)(JNIEnv* env, jobject, jstring path) {
  gen3d::register_kernels();
  const char* text = env->GetStringUTFChars(path, nullptr);
  auto* module = new Module(text, Module::LoadMode::Mmap);
  env->ReleaseStringUTFChars(path, text);
  return reinterpret_cast<jlong>(module);
}

NATIVE(jint, load)(JNIEnv*, jobject, jlong handle) { return static_cast<jint>(module_of(handle).load_method("forward")); }

NATIVE(jlongArray, output)(JNIEnv* env, jobject, jlong handle, jint index) {
  const auto meta = module_of(handle).method_meta("forward");
  if (!meta.ok() || static_cast<size_t>(index) >= meta->num_outputs()) return nullptr;
  const auto info = meta->output_tensor_meta(static_cast<size_t>(index));
  std::vector<jlong> row(info->sizes().begin(), info->sizes().end());
  row.push_back(info->scalar_type() == ScalarType::Float ? 1 : 0);
  jlongArray array = env->NewLongArray(static_cast<jsize>(row.size()));
  env->SetLongArrayRegion(array, 0, static_cast<jsize>(row.size()), row.data());
  return array;
}

NATIVE(void, call)(JNIEnv* env, jobject, jlong handle, jobjectArray inputs, jobjectArray shapes, jobjectArray outputs) {
  const auto meta = module_of(handle).method_meta("forward");
  std::vector<executorch::runtime::EValue> values;
  std::vector<executorch::extension::TensorPtr> kept;
  for (jsize i = 0; i < env->GetArrayLength(inputs); ++i) {
    auto shape = static_cast<jlongArray>(env->GetObjectArrayElement(shapes, i));
    std::vector<jlong> lengths(static_cast<size_t>(env->GetArrayLength(shape)));
    env->GetLongArrayRegion(shape, 0, static_cast<jsize>(lengths.size()), lengths.data());
    std::vector<executorch::aten::SizesType> sizes(lengths.begin(), lengths.end());
    void* data = env->GetDirectBufferAddress(env->GetObjectArrayElement(inputs, i));
    kept.push_back(executorch::extension::from_blob(data, sizes, meta->input_tensor_meta(static_cast<size_t>(i))->scalar_type()));
    values.emplace_back(kept.back());
  }
  const auto result = module_of(handle).execute("forward", values);
  if (!result.ok()) return raise(env, "Execution failed: 0x" + std::to_string(static_cast<unsigned>(result.error())));
  for (jsize i = 0; i < env->GetArrayLength(outputs); ++i) {
    const auto tensor = result.get()[static_cast<size_t>(i)].toTensor();
    std::memcpy(env->GetDirectBufferAddress(env->GetObjectArrayElement(outputs, i)), tensor.const_data_ptr(), tensor.nbytes());
  }
}

NATIVE(void, free)(JNIEnv*, jobject, jlong handle) { delete reinterpret_cast<Module*>(handle); }
