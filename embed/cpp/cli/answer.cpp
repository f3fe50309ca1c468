// `gen3d answer`: programs of a bundle called from another machine, over standard input and output.
//
// A question is a line of JSON and `bytes` bytes behind it; so is its answer. Tensors are float32 and int64, little-endian,
// one behind the other in the order of the program's record.
//     {"do": "load", "program": NAME, "bytes": 0}              -> {"bytes": 0}
//     {"do": "call", "program": NAME, "bytes": N} inputs       -> {"bytes": M} outputs
//     {"do": "time", "program": NAME, "warmup": W, "runs": R, "seconds": S, "bytes": N} inputs
//                                                              -> {"milliseconds": [...], "peak_memory_bytes": P, "bytes": 0}
//     {"do": "asset", "prompt": TEXT, "seed": N, "bytes": 0}   -> {"milliseconds": [T], "bytes": 0}
// What went wrong is {"error": KIND, "message": TEXT, "bytes": 0}, and the next question may come. One program is loaded at a
// time, so that the peak of its memory is its own: resident memory above what the process had before it loaded it.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <memory>
#include <optional>

#include "commands.hpp"
#include "errors_json.hpp"
#include "pipeline.hpp"

#if defined(__GLIBC__)
#include <malloc.h>
#endif

namespace gen3d {
namespace {

constexpr int64_t most_bytes = int64_t{1} << 34;
constexpr int64_t least_runs = 5;
using Clock = std::chrono::steady_clock;

double milliseconds_since(Clock::time_point begin) { return std::chrono::duration<double, std::milli>(Clock::now() - begin).count(); }

// A field of /proc/self/status in bytes; -1 where there is none.
int64_t status_bytes(const char* field) {
  std::FILE* file = std::fopen("/proc/self/status", "r");
  if (file == nullptr) return -1;
  char line[256];
  long long kilobytes = -1;
  const size_t length = std::strlen(field);
  while (std::fgets(line, sizeof line, file) != nullptr)
    if (std::strncmp(line, field, length) == 0 && line[length] == ':') std::sscanf(line + length + 1, "%lld", &kilobytes);
  std::fclose(file);
  return kilobytes < 0 ? -1 : kilobytes * 1024;
}

// Sets VmHWM to the present size; false where the system does not.
bool reset_peak() {
  std::FILE* file = std::fopen("/proc/self/clear_refs", "w");
  if (file == nullptr) return false;
  const bool written = std::fputs("5", file) >= 0;
  return std::fclose(file) == 0 && written;
}

bool read_exactly(std::string& into, size_t count) {
  into.resize(count);
  return std::fread(into.data(), 1, count, stdin) == count;
}

bool read_line(std::string& line) {
  line.clear();
  for (int c = std::getchar(); c != EOF; c = std::getchar()) {
    if (c == '\n') return true;
    line += static_cast<char>(c);
  }
  return false;
}

void tell(const std::string& fields, const std::string& content = "") {
  std::printf("{%s%s\"bytes\": %zu}\n", fields.c_str(), fields.empty() ? "" : ", ", content.size());
  std::fwrite(content.data(), 1, content.size(), stdout);
  std::fflush(stdout);
}

int64_t whole(const Json& question, std::string_view key, int64_t otherwise) {
  const Json* found = question.find(key);
  return found == nullptr ? otherwise : found->as_integer().value_or(-1);
}

std::string listed(const std::vector<double>& numbers) {
  std::string out;
  for (const double number : numbers) out += (out.empty() ? "" : ", ") + python_number(number);
  return "[" + out + "]";
}

class Answers {
 public:
  explicit Answers(Bundle bundle) : bundle_(std::move(bundle)) {}

  // Answer one question.
  Status answer(const Json& question, const std::string& content) {
    const std::string what = text_of(question, "do");
    if (what == "asset") return asset(question);
    if (what != "load" && what != "call" && what != "time") return usage_error(json_quoted(what) + ": unknown question; take a gen3d as new as gen3dexport");
    if (auto ready = load(text_of(question, "program")); !ready) return ready;
    if (what == "load") return tell(""), Done{};
    const auto arrays = inputs(content);
    if (!arrays) return arrays.error();
    std::vector<const Array*> given;
    for (const Array& array : *arrays) given.push_back(&array);
    return what == "call" ? call(given) : time(question, given);
  }

 private:
  Status load(const std::string& name) {
    if (loaded_ && loaded_->entry().name == name) return Done{};
    loaded_.reset();
    pipeline_.reset();
#if defined(__GLIBC__)
    malloc_trim(0);
#endif
    for (const ProgramEntry& entry : bundle_.programs())
      if (entry.name == name) {
        for (const auto* tensors : {&entry.inputs, &entry.outputs})
          for (const Tensor& tensor : *tensors)
            if (tensor.dtype != "float32" && tensor.dtype != "int64")
              return Error{Code::missing, "program " + name + ": " + tensor.name + " is " + tensor.dtype + ", and gen3d takes float32 and int64"};
        peak_known_ = reset_peak();
        before_ = status_bytes("VmRSS");
        auto loaded = Program::load(bundle_, entry);
        if (!loaded) return loaded.error();
        loaded_ = std::make_unique<Program>(std::move(*loaded));
        return Done{};
      }
    return usage_error("program " + json_quoted(name) + ": the bundle has none of that name");
  }

  Result<std::vector<Array>> inputs(const std::string& content) const {
    std::vector<Array> arrays;
    size_t at = 0;
    for (const Tensor& wanted : loaded_->entry().inputs) {
      const auto count = static_cast<size_t>(std::max<int64_t>(elements(wanted.shape), 0));
      const bool is_float = wanted.dtype == "float32";
      const size_t bytes = count * (is_float ? sizeof(float) : sizeof(int64_t));
      if (bytes > content.size() - at) return usage_error("program " + loaded_->entry().name + ": inputs end before " + wanted.name);
      Array array = is_float ? Array::of(wanted.shape, std::vector<float>(count)) : Array::of(wanted.shape, std::vector<int64_t>(count));
      if (bytes > 0) std::memcpy(array.data(), content.data() + at, bytes);
      at += bytes;
      arrays.push_back(std::move(array));
    }
    if (at != content.size()) return usage_error("program " + loaded_->entry().name + ": " + std::to_string(content.size() - at) + " bytes too many");
    return arrays;
  }

  Status call(const std::vector<const Array*>& given) {
    const auto outputs = loaded_->call(given);
    if (!outputs) return outputs.error();
    std::string content;
    for (const Array& array : *outputs)
      content.append(static_cast<const char*>(array.data()), array.is_float ? array.floats.size() * sizeof(float) : array.integers.size() * sizeof(int64_t));
    tell("", content);
    return Done{};
  }

  Status time(const Json& question, const std::vector<const Array*>& given) {
    const int64_t warmup = whole(question, "warmup", 0), runs = whole(question, "runs", 1);
    const Json* limit = question.find("seconds");
    const double seconds = limit == nullptr ? 20 : limit->as_number().value_or(-1);
    if (warmup < 0 || runs < 1 || runs > 1'000'000 || !(seconds > 0)) return usage_error("warmup, runs or seconds: need numbers that are not negative");
    for (int64_t i = 0; i < warmup; ++i)
      if (const auto outputs = loaded_->call(given); !outputs) return outputs.error();
    std::vector<double> times;
    double all = 0;
    while (static_cast<int64_t>(times.size()) < runs && (static_cast<int64_t>(times.size()) < least_runs || all < 1e3 * seconds)) {
      const auto begin = Clock::now();
      const auto outputs = loaded_->call(given);
      if (!outputs) return outputs.error();
      times.push_back(milliseconds_since(begin));
      all += times.back();
    }
    const int64_t peak = status_bytes("VmHWM");
    const bool known = peak_known_ && before_ >= 0 && peak >= 0;
    tell("\"milliseconds\": " + listed(times) + ", \"peak_memory_bytes\": " + (known ? std::to_string(std::max<int64_t>(0, peak - before_)) : "null"));
    return Done{};
  }

  // A whole asset by the bundle's host steps; programs are loaded first, and stay for the next one.
  Status asset(const Json& question) {
    if (!pipeline_) {
      loaded_.reset();
      auto opened = Pipeline::open(bundle_.path());
      if (!opened) return opened.error();
      if (auto loaded = opened->load_programs(); !loaded) return loaded;
      pipeline_ = std::make_unique<Pipeline>(std::move(*opened));
    }
    RunOptions how;
    how.keep_programs = true;
    const auto begin = Clock::now();
    const auto values = pipeline_->run(Request{text_of(question, "prompt"), static_cast<uint64_t>(std::max<int64_t>(whole(question, "seed", 0), 0)), std::nullopt}, how);
    if (!values) return values.error();
    if (const auto mesh = pipeline_->mesh(*values); !mesh) return mesh.error();
    tell("\"milliseconds\": " + listed({milliseconds_since(begin)}));
    return Done{};
  }

  Bundle bundle_;
  std::unique_ptr<Program> loaded_;
  std::unique_ptr<Pipeline> pipeline_;
  bool peak_known_ = false;
  int64_t before_ = -1;
};

}  // namespace

Status answer(const Words& words) {
  const auto options = Options::parse(words, {}, {"--threads"}, 1);
  if (!options) return options.error();
  const auto threads = options->number("--threads", 0, 256);
  if (!threads) return threads.error();
  auto bundle = Bundle::open(options->places()[0]);
  if (!bundle) return bundle.error();
  if (*threads > 0 && !set_threads(static_cast<uint32_t>(*threads))) return Error{Code::internal, "--threads: the runtime did not take it"};
  Answers answers(std::move(*bundle));
  tell("\"gen3d\": " + json_quoted(GEN3D_VERSION) + ", \"executorch\": " + json_quoted(runtime_version()));
  for (std::string line, content; read_line(line);) {
    const auto question = parse_json(line);
    const int64_t bytes = question ? whole(*question, "bytes", 0) : -1;
    if (bytes < 0 || bytes > most_bytes) return usage_error("a question that is no line of JSON with its bytes");
    if (!read_exactly(content, static_cast<size_t>(bytes))) return usage_error("a question ends too early");
    if (const auto answered = answers.answer(*question, content); !answered) tell(error_fields(answered.error()));
  }
  return Done{};
}

}  // namespace gen3d
