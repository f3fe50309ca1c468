// gen3d.h for Kotlin (Native.kt), and the application's runtime for gen3d/outside.h. Every function runs on the thread
// that called it from Kotlin, callbacks too. Texts are UTF-8 in byte arrays: JNI's own strings are of another encoding.
#include <jni.h>

#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "gen3d/gen3d.h"
#include "gen3d/outside.h"

namespace {

JavaVM* machine = nullptr;
jclass error_class, tensor_class;
jmethodID new_error, new_tensor, load_program, call_program, close_program, keep_on, said_of;
jobject runtime = nullptr;  // Kotlin's Runtime
std::string runtime_version;

JNIEnv* here() {
  void* env = nullptr;
  machine->GetEnv(&env, JNI_VERSION_1_6);
  return static_cast<JNIEnv*>(env);
}

jbyteArray bytes_of(JNIEnv* env, const char* text) {
  const auto length = static_cast<jsize>(text == nullptr ? 0 : std::strlen(text));
  jbyteArray bytes = env->NewByteArray(length);
  if (bytes != nullptr && length > 0) env->SetByteArrayRegion(bytes, 0, length, reinterpret_cast<const jbyte*>(text));
  return bytes;
}

std::string text_of(JNIEnv* env, jbyteArray bytes) {
  std::string text(static_cast<size_t>(env->GetArrayLength(bytes)), '\0');
  env->GetByteArrayRegion(bytes, 0, static_cast<jsize>(text.size()), reinterpret_cast<jbyte*>(text.data()));
  return text;
}

// Throws what a code and a message say; the message is freed. True for GEN3D_OK.
bool well(JNIEnv* env, gen3d_code code, char* message) {
  if (code != GEN3D_OK && !env->ExceptionCheck()) {
    jobject error = env->NewObject(error_class, new_error, static_cast<jint>(code), bytes_of(env, message));
    if (error != nullptr) env->Throw(static_cast<jthrowable>(error));
  }
  gen3d_free_text(message);
  return code == GEN3D_OK;
}

// The exception that a callback ended with becomes text: 1 where there was one.
int failed(JNIEnv* env, char* said, size_t room) {
  jthrowable thrown = env->ExceptionOccurred();
  if (thrown == nullptr) return 0;
  env->ExceptionClear();
  auto bytes = static_cast<jbyteArray>(env->CallStaticObjectMethod(error_class, said_of, thrown));
  if (env->ExceptionCheck()) env->ExceptionClear();
  else std::snprintf(said, room, "%s", text_of(env, bytes).c_str());
  return 1;
}

// Local references of a callback go with it: a run makes thousands.
class Frame {
 public:
  explicit Frame(JNIEnv* env) : env_(env), pushed_(env->PushLocalFrame(64) == 0) {}
  ~Frame() {
    if (pushed_) env_->PopLocalFrame(nullptr);
  }
  Frame(const Frame&) = delete;
  Frame& operator=(const Frame&) = delete;

 private:
  JNIEnv* env_;
  bool pushed_;
};

jobjectArray tensors(JNIEnv* env, const gen3d_tensor* given, size_t count) {
  jobjectArray array = env->NewObjectArray(static_cast<jsize>(count), tensor_class, nullptr);
  for (size_t i = 0; array != nullptr && i < count; ++i) {
    jlongArray shape = env->NewLongArray(static_cast<jsize>(given[i].axes));
    if (shape == nullptr) return nullptr;
    env->SetLongArrayRegion(shape, 0, static_cast<jsize>(given[i].axes), reinterpret_cast<const jlong*>(given[i].shape));
    jobject buffer = env->NewDirectByteBuffer(given[i].data, static_cast<jlong>(given[i].bytes));
    if (buffer == nullptr) return nullptr;
    jobject tensor = env->NewObject(tensor_class, new_tensor, bytes_of(env, given[i].name), shape, static_cast<jboolean>(given[i].is_float), buffer);
    if (tensor == nullptr) return nullptr;
    env->SetObjectArrayElement(array, static_cast<jsize>(i), tensor);
    env->DeleteLocalRef(shape);
    env->DeleteLocalRef(buffer);
    env->DeleteLocalRef(tensor);
  }
  return array;
}

int load(void*, const char* path, void** program, char* said, size_t room) {
  JNIEnv* env = here();
  const Frame frame(env);
  jobject loaded = env->CallObjectMethod(runtime, load_program, bytes_of(env, path));
  if (failed(env, said, room) != 0 || loaded == nullptr) return 1;
  *program = env->NewGlobalRef(loaded);
  return *program == nullptr ? 1 : 0;
}

int call(void*, void* program, const gen3d_tensor* inputs, size_t input_count, gen3d_tensor* outputs, size_t output_count, char* said, size_t room) {
  JNIEnv* env = here();
  const Frame frame(env);
  jobjectArray given = tensors(env, inputs, input_count);
  jobjectArray wanted = given == nullptr ? nullptr : tensors(env, outputs, output_count);
  if (wanted != nullptr) env->CallVoidMethod(static_cast<jobject>(program), call_program, given, wanted);
  return failed(env, said, room) != 0 || wanted == nullptr ? 1 : 0;
}

void drop(void*, void* program) {
  JNIEnv* env = here();
  const Frame frame(env);
  char said[8];
  jthrowable earlier = env->ExceptionOccurred();
  if (earlier != nullptr) env->ExceptionClear();
  env->CallVoidMethod(static_cast<jobject>(program), close_program);
  (void)failed(env, said, sizeof said);
  env->DeleteGlobalRef(static_cast<jobject>(program));
  if (earlier != nullptr) env->Throw(earlier);
}

// A run's progress: the exception that it threw is thrown again when the run has ended.
struct Watched {
  JNIEnv* env;
  jobject watch;
  jthrowable thrown;
};

int progress(void* context, const char* component, double done) {
  auto* watched = static_cast<Watched*>(context);
  JNIEnv* env = watched->env;
  jbyteArray name = bytes_of(env, component);
  const bool on = name != nullptr && env->CallBooleanMethod(watched->watch, keep_on, name, static_cast<jdouble>(done)) == JNI_TRUE;
  env->DeleteLocalRef(name);
  watched->thrown = env->ExceptionOccurred();
  if (watched->thrown != nullptr) env->ExceptionClear();
  return on && watched->thrown == nullptr ? 0 : 1;
}

gen3d_bundle* bundle(jlong handle) { return reinterpret_cast<gen3d_bundle*>(handle); }
gen3d_asset* asset(jlong handle) { return reinterpret_cast<gen3d_asset*>(handle); }

jfloatArray floats(JNIEnv* env, const float* values, size_t count) {
  jfloatArray array = env->NewFloatArray(static_cast<jsize>(count));
  if (array != nullptr && count > 0) env->SetFloatArrayRegion(array, 0, static_cast<jsize>(count), values);
  return array;
}

jclass global_class(JNIEnv* env, const char* name) {
  jclass found = env->FindClass(name);
  return found == nullptr ? nullptr : static_cast<jclass>(env->NewGlobalRef(found));
}

jmethodID method_of(JNIEnv* env, const char* name, const char* method, const char* signature) {
  jclass found = env->FindClass(name);
  return found == nullptr ? nullptr : env->GetMethodID(found, method, signature);
}

}  // namespace

#define NATIVE(type, name) extern "C" JNIEXPORT type JNICALL Java_org_gen3dexport_gen3d_Native_##name

extern "C" JNIEXPORT jint JNICALL JNI_OnLoad(JavaVM* vm, void*) {
  machine = vm;
  JNIEnv* env = here();
  const char* error_name = "org/gen3dexport/gen3d/Gen3dException";
  const char* tensor_name = "org/gen3dexport/gen3d/NativeTensor";
  error_class = global_class(env, error_name);
  tensor_class = error_class == nullptr ? nullptr : global_class(env, tensor_name);
  if (tensor_class == nullptr) return JNI_ERR;
  const char* tensors_to_void = "([Lorg/gen3dexport/gen3d/NativeTensor;[Lorg/gen3dexport/gen3d/NativeTensor;)V";
  const bool all = (new_error = env->GetMethodID(error_class, "<init>", "(I[B)V")) != nullptr &&
                   (said_of = env->GetStaticMethodID(error_class, "saidOf", "(Ljava/lang/Throwable;)[B")) != nullptr &&
                   (new_tensor = env->GetMethodID(tensor_class, "<init>", "([B[JZLjava/nio/ByteBuffer;)V")) != nullptr &&
                   (load_program = method_of(env, "org/gen3dexport/gen3d/Runtime", "load", "([B)Lorg/gen3dexport/gen3d/Program;")) != nullptr &&
                   (call_program = method_of(env, "org/gen3dexport/gen3d/Program", "call", tensors_to_void)) != nullptr &&
                   (close_program = method_of(env, "org/gen3dexport/gen3d/Program", "close", "()V")) != nullptr &&
                   (keep_on = method_of(env, "org/gen3dexport/gen3d/Watch", "keepOn", "([BD)Z")) != nullptr;
  return all ? JNI_VERSION_1_6 : JNI_ERR;
}

NATIVE(void, useRuntime)(JNIEnv* env, jobject, jobject given, jbyteArray version) {
  if (runtime != nullptr) env->DeleteGlobalRef(runtime);
  runtime = env->NewGlobalRef(given);
  runtime_version = text_of(env, version);
  gen3d_runtime told{};
  told.size = sizeof told;
  told.version = runtime_version.c_str();
  told.load = load;
  told.call = call;
  told.drop = drop;
  char* message = nullptr;
  const gen3d_code code = gen3d_use_runtime(&told, &message);
  well(env, code, message);
}

NATIVE(jbyteArray, version)(JNIEnv* env, jobject) {
  return bytes_of(env, (std::string(gen3d_version()) + ", " + gen3d_runtime_version()).c_str());
}

NATIVE(jlong, open)(JNIEnv* env, jobject, jbyteArray path) {
  gen3d_bundle* opened = nullptr;
  char* message = nullptr;
  const gen3d_code code = gen3d_open(text_of(env, path).c_str(), &opened, &message);
  return well(env, code, message) ? reinterpret_cast<jlong>(opened) : 0;
}

NATIVE(void, close)(JNIEnv*, jobject, jlong handle) { gen3d_close(bundle(handle)); }

NATIVE(jbyteArray, info)(JNIEnv* env, jobject, jlong handle) {
  char* text = gen3d_info(bundle(handle));
  jbyteArray bytes = bytes_of(env, text);
  gen3d_free_text(text);
  return bytes;
}

NATIVE(void, load)(JNIEnv* env, jobject, jlong handle) {
  char* message = nullptr;
  const gen3d_code code = gen3d_load(bundle(handle), &message);
  well(env, code, message);
}

NATIVE(jlong, run)(JNIEnv* env, jobject, jlong handle, jbyteArray prompt, jlong seed, jboolean keep_programs, jobject watch) {
  const std::string text = text_of(env, prompt);
  Watched watched{env, watch, nullptr};
  gen3d_request request{};
  request.size = sizeof request;
  request.prompt = text.c_str();
  request.seed = static_cast<uint64_t>(seed);
  request.keep_programs = keep_programs == JNI_TRUE ? 1 : 0;
  if (watch != nullptr) {
    request.progress = progress;
    request.context = &watched;
  }
  gen3d_asset* made = nullptr;
  char* message = nullptr;
  const gen3d_code code = gen3d_run(bundle(handle), &request, &made, &message);
  if (watched.thrown != nullptr) env->Throw(watched.thrown);
  return well(env, code, message) ? reinterpret_cast<jlong>(made) : 0;
}

NATIVE(void, freeAsset)(JNIEnv*, jobject, jlong handle) { gen3d_free_asset(asset(handle)); }

NATIVE(jfloatArray, vertices)(JNIEnv* env, jobject, jlong handle) {
  const float* values = nullptr;
  size_t count = 0;
  gen3d_mesh(asset(handle), &values, nullptr, &count, nullptr, nullptr);
  return floats(env, values, 3 * count);
}

NATIVE(jfloatArray, normals)(JNIEnv* env, jobject, jlong handle) {
  const float* values = nullptr;
  size_t count = 0;
  gen3d_mesh(asset(handle), nullptr, &values, &count, nullptr, nullptr);
  return floats(env, values, 3 * count);
}

NATIVE(jintArray, faces)(JNIEnv* env, jobject, jlong handle) {
  const uint32_t* values = nullptr;
  size_t count = 0;
  gen3d_mesh(asset(handle), nullptr, nullptr, nullptr, &values, &count);
  jintArray array = env->NewIntArray(static_cast<jsize>(3 * count));
  if (array != nullptr && count > 0) env->SetIntArrayRegion(array, 0, static_cast<jsize>(3 * count), reinterpret_cast<const jint*>(values));
  return array;
}

NATIVE(void, write)(JNIEnv* env, jobject, jlong handle, jbyteArray path) {
  char* message = nullptr;
  const gen3d_code code = gen3d_write(asset(handle), text_of(env, path).c_str(), &message);
  well(env, code, message);
}
