#include "commands.hpp"

#include <sys/resource.h>

#include <chrono>
#include <cstdio>
#include <iostream>

#include "gen3d/gen3d.h"
#include "info.hpp"
#include "mesh_files.hpp"
#include "noise.hpp"
#include "npy.hpp"
#include "pipeline.hpp"

namespace gen3d {
namespace {

constexpr uint64_t largest_seed = (uint64_t{1} << 63) - 1;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

// Most memory that this process had resident so far, in bytes.
int64_t peak_memory() {
  struct rusage usage {};
  getrusage(RUSAGE_SELF, &usage);
#if defined(__APPLE__)
  return usage.ru_maxrss;
#else
  return static_cast<int64_t>(usage.ru_maxrss) * 1024;
#endif
}

bool show_progress(const std::string& component, double done) {
  std::fprintf(stderr, "\r%3.0f %%  %-24s", 100 * done, component.c_str());
  return true;
}

struct Timing {
  double load = 0;
  std::vector<double> runs;
};

std::string told_json(const Words& paths, const Mesh& mesh, const std::string& prompt, uint64_t seed, const Timing& timing) {
  std::string assets, runs;
  for (const auto& path : paths)
    assets += (assets.empty() ? "" : ", ") + std::string("{\"path\": ") + json_quoted(path) + ", \"kind\": \"mesh\", \"vertices\": " +
              std::to_string(mesh.vertices.size()) + ", \"faces\": " + std::to_string(mesh.faces.size()) + "}";
  for (const double seconds : timing.runs) runs += (runs.empty() ? "" : ", ") + python_number(seconds);
  return "{\"assets\": [" + assets + "], \"prompt\": " + json_quoted(prompt) + ", \"seed\": " + std::to_string(seed) +
         ", \"seconds\": " + python_number(timing.runs.back()) + ", \"load_seconds\": " + python_number(timing.load) + ", \"run_seconds\": [" + runs +
         "], \"peak_memory_bytes\": " + std::to_string(peak_memory()) + "}";
}

Status run(const Words& words) {
  const auto options = Options::parse(words, {"--json", "--progress"}, {"-p/--prompt", "-o/--out", "--seed", "--threads", "--features", "--runs"}, 1);
  if (!options) return options.error();
  const auto seed = options->number("--seed", 0, largest_seed), threads = options->number("--threads", 0, 256), runs = options->number("--runs", 1, 1'000'000);
  for (const auto* number : {&seed, &threads, &runs})
    if (!*number) return number->error();
  if (*runs == 0) return usage_error("--runs 0: needs 1 or more");
  const Words paths = options->has("-o") ? options->all("-o") : Words{"asset.glb"};
  for (const auto& path : paths) {
    if (auto known = check_ending(path); !known) return known;
    if (auto place = check_place(path); !place) return place;
  }
  Request request{options->last("-p", ""), *seed, std::nullopt};
  if (options->has("--features")) {
    auto features = read_npy(options->last("--features", ""));
    if (!features) return features.error();
    request.features = std::move(*features);
  }
  if (*threads > 0 && !set_threads(static_cast<uint32_t>(*threads))) return Error{Code::internal, "--threads: the runtime did not take it"};
  auto pipeline = Pipeline::open(options->places()[0]);
  if (!pipeline) return pipeline.error();
  RunOptions how;
  how.keep_programs = *runs > 1;
  if (options->has("--progress")) how.progress = show_progress;
  Timing timing;
  auto begin = Clock::now();
  if (how.keep_programs) {
    if (auto loaded = pipeline->load_programs(); !loaded) return loaded;
    timing.load = seconds_since(begin);
  }
  Mesh mesh;
  for (uint64_t i = 0; i < *runs; ++i) {
    begin = Clock::now();
    auto values = pipeline->run(request, how);
    if (how.progress) std::fputs("\r                                  \r", stderr);
    if (!values) return values.error();
    auto made = pipeline->mesh(*values);
    if (!made) return made.error();
    mesh = std::move(*made);
    timing.runs.push_back(seconds_since(begin));
  }
  for (const auto& path : paths) {
    const auto content = content_for(path, mesh);
    if (!content) return content.error();
    if (auto written = write_atomically(path, *content); !written) return written;
  }
  if (options->has("--json")) {
    std::printf("%s\n", told_json(paths, mesh, request.prompt, request.seed, timing).c_str());
  } else {
    for (const auto& path : paths) std::printf("%s: mesh of %zu vertices, %zu faces\n", path.c_str(), mesh.vertices.size(), mesh.faces.size());
    std::printf("made in %.2f s\n", timing.runs.back());
  }
  return Done{};
}

Status info(const Words& words) {
  const auto options = Options::parse(words, {"--json"}, {}, 1);
  if (!options) return options.error();
  const auto bundle = Bundle::open(options->places()[0]);
  if (!bundle) return bundle.error();
  std::printf("%s\n", info_json(*bundle).c_str());
  return Done{};
}

Status verify(const Words& words) {
  const auto options = Options::parse(words, {}, {}, 1);
  if (!options) return options.error();
  const auto bundle = Bundle::open(options->places()[0]);
  if (!bundle) return bundle.error();
  if (auto verified = bundle->verify(); !verified) return verified;
  std::printf("%s: %zu files are as the manifest says\n", bundle->path().c_str(), bundle->files().size());
  return Done{};
}

Status tokens(const Words& words) {
  const auto options = Options::parse(words, {}, {}, 1);
  if (!options) return options.error();
  const auto text = read_text(options->places()[0]);
  if (!text) return text.error();
  const auto tokenizer = Tokenizer::parse(*text, options->places()[0]);
  if (!tokenizer) return tokenizer.error();
  for (std::string line; std::getline(std::cin, line);) {
    const auto ids = tokenizer->ids(line);
    if (!ids) return ids.error();
    for (size_t i = 0; i < ids->size(); ++i) std::printf("%s%lld", i > 0 ? " " : "", static_cast<long long>((*ids)[i]));
    std::printf("\n");
  }
  return Done{};
}

Status noise(const Words& words) {
  if (words.size() != 3) return usage_error("needs SEED COUNT FILE; see gen3d --help");
  const auto numbers = Options::parse({"--seed", words[0], "--count", words[1]}, {}, {"--seed", "--count"}, 0);
  const auto seed = numbers->number("--seed", 0, largest_seed), count = numbers->number("--count", 0, uint64_t{1} << 28);
  if (!seed) return seed.error();
  if (!count) return count.error();
  return write_atomically(words[2], npy_content(Array::of(Shape{static_cast<int64_t>(*count)}, Noise(*seed).normal(*count))));
}

Status mesh(const Words& words) {
  const auto options = Options::parse(words, {}, {"-o/--out"}, 1);
  if (!options) return options.error();
  const auto logits = read_npy(options->places()[0]);
  if (!logits) return logits.error();
  const auto made = mesh_of_logits(*logits, 0);
  if (!made) return made.error();
  for (const auto& path : options->all("-o")) {
    const auto content = content_for(path, *made);
    if (!content) return content.error();
    if (auto written = write_atomically(path, *content); !written) return written;
  }
  return Done{};
}

}  // namespace

const std::vector<Command>& commands() {
  static const std::vector<Command> all = {{"run", run},       {"info", info},   {"verify", verify}, {"check-kit", check_kit},
                                           {"tokens", tokens}, {"noise", noise}, {"mesh", mesh},     {"answer", answer}};
  return all;
}

}  // namespace gen3d
