// `gen3d check-kit`: every step of this library compared with a kit that `gen3dexport embed-kit` wrote.
#include <sys/stat.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>

#include "commands.hpp"
#include "mesh_files.hpp"
#include "noise.hpp"
#include "npy.hpp"
#include "pipeline.hpp"
#include "sha256.hpp"

namespace gen3d {
namespace {

constexpr double arrays_from_equal_values = 1e-6;  // how far floats of an asset may be when its value is the kit's

// One comparison: what it is of, how far it is and the limit (numbers, or words), and whether it holds.
struct Row {
  std::string name, found, limit;
  bool passed;
};

double relative_l2(const std::vector<float>& found, const std::vector<float>& expected) {
  double difference = 0, size = 0;
  for (size_t i = 0; i < found.size(); ++i) {
    const double d = static_cast<double>(found[i]) - expected[i];
    difference += d * d;
    size += static_cast<double>(expected[i]) * expected[i];
  }
  return size > 0 ? std::sqrt(difference / size) : std::sqrt(difference);
}

double farthest(const std::vector<Point>& found, const std::vector<float>& expected) {
  double most = 0;
  for (size_t i = 0; i < expected.size(); ++i) most = std::max(most, std::abs(static_cast<double>(found[i / 3][i % 3]) - expected[i]));
  return most;
}

class Check {
 public:
  Check(std::string folder, std::string own) : folder_(std::move(folder)), own_(std::move(own)) {}

  std::vector<Row> rows;

  Result<Array> array(const std::string& file) const {
    if (!is_plain_path(file)) return verification_error(folder_ + "/kit.json: " + json_quoted(file) + " lies outside the kit; make it again");
    return read_npy(folder_ + "/" + file);
  }

  Result<std::string> bytes(const std::string& file) const {
    if (!is_plain_path(file)) return verification_error(folder_ + "/kit.json: " + json_quoted(file) + " lies outside the kit; make it again");
    return read_text(folder_ + "/" + file);
  }

  void add(std::string name, double found, double limit, bool passed) { rows.push_back({std::move(name), python_number(found), python_number(limit), passed}); }
  void add(std::string name, bool passed) { rows.push_back({std::move(name), passed ? "equal" : "different", "equal", passed}); }

  // Write what was made under the kit's name, for `gen3dexport embed-kit KIT --check`.
  Status keep(const std::string& file, const std::string& content) const {
    if (own_.empty()) return Done{};
    mkdir(own_.c_str(), 0777);
    for (size_t at = file.find('/'); at != std::string::npos; at = file.find('/', at + 1)) mkdir((own_ + "/" + file.substr(0, at)).c_str(), 0777);
    return write_atomically(own_ + "/" + file, content);
  }

  // A value against the kit's; whether it is the same bit for bit.
  Result<bool> value(const std::string& file, const Array& made, double limit) {
    const auto expected = array(file);
    if (!expected) return expected.error();
    if (auto kept = keep(file, npy_content(made)); !kept) return kept.error();
    if (made.shape != expected->shape || made.is_float != expected->is_float) return add(file, false), false;
    if (!made.is_float) return add(file, made.integers == expected->integers), made.integers == expected->integers;
    const bool same = std::memcmp(made.floats.data(), expected->floats.data(), made.floats.size() * sizeof(float)) == 0;
    const double far = relative_l2(made.floats, expected->floats);
    add(file, far, limit, limit == 0 ? same : far <= limit);
    return same;
  }

 private:
  std::string folder_, own_;
};

Status check_noise(const Json& kit, Check& check) {
  const Json* cases = kit.find("noise");
  if (cases == nullptr) return Done{};
  for (const Json& one : cases->items) {
    const Json *seed = one.find("seed"), *count = one.find("count");
    if (seed == nullptr || count == nullptr || !seed->as_integer() || !count->as_integer()) return verification_error("kit.json: noise: damaged; make the kit again");
    const auto all = Noise(static_cast<uint64_t>(*seed->as_integer())).normal(static_cast<size_t>(std::clamp<int64_t>(*count->as_integer(), 1, 1 << 26)));
    check.add("noise of seed " + seed->text + ", " + count->text + " numbers", sha256(all.data(), all.size() * sizeof(float)) == text_of(one, "sha256"));
    const std::string first = text_of(one, "first");
    const auto expected = check.array(first);
    if (!expected) return expected.error();
    const size_t some = std::min(expected->floats.size(), all.size());
    const auto same = check.value(first, Array::of(expected->shape, std::vector<float>(all.begin(), all.begin() + static_cast<ptrdiff_t>(some))), 0);
    if (!same) return same.error();
  }
  return Done{};
}

Status check_tokens(const Json& kit, const Pipeline& pipeline, Check& check) {
  const Json* cases = kit.find("tokens");
  const Tokenize* step = nullptr;
  for (const Operation& operation : pipeline.steps().steps)
    if (step == nullptr) step = std::get_if<Tokenize>(&operation);
  if (cases == nullptr || step == nullptr) return Done{};
  const auto file = pipeline.bundle().read(step->file);
  if (!file) return file.error();
  const auto tokenizer = Tokenizer::parse(file->text(), step->file);
  if (!tokenizer) return tokenizer.error();
  for (const Json& one : cases->items) {
    std::vector<int64_t> expected;
    if (const Json* ids = one.find("ids"))
      for (const Json& id : ids->items) expected.push_back(id.as_integer().value_or(-1));
    const auto found = tokenizer->ids(text_of(one, "text"));
    if (!found) return found.error();
    const Json* excuse = one.find("may_differ");
    const bool excused = excuse != nullptr && excuse->kind == Json::Kind::text;
    check.add("tokens of " + json_quoted(text_of(one, "text")) + (excused ? " (may differ)" : ""), *found == expected || excused);
  }
  return Done{};
}

Array rows_of(const std::vector<Point>& points) {
  std::vector<float> flat;
  for (const Point& p : points) flat.insert(flat.end(), p.begin(), p.end());
  return Array::of({static_cast<int64_t>(points.size()), 3}, std::move(flat));
}

Status check_mesh(const Json& names, const Mesh& mesh, bool exact, Check& check) {
  std::vector<int64_t> faces;
  for (const Triangle& face : mesh.faces) faces.insert(faces.end(), face.begin(), face.end());
  const std::string vertices_file = text_of(names, "vertices"), faces_file = text_of(names, "faces"), normals_file = text_of(names, "normals");
  if (auto kept = check.keep(vertices_file, npy_content(rows_of(mesh.vertices))); !kept) return kept;
  if (auto kept = check.keep(normals_file, npy_content(rows_of(mesh.normals))); !kept) return kept;
  if (auto kept = check.keep(faces_file, npy_content(Array::of({static_cast<int64_t>(mesh.faces.size()), 3}, faces))); !kept) return kept;
  if (!exact) return Done{};  // the kit's mesh is of other logits; voxels tell how far they are
  for (const auto& [file, points] : {std::pair{vertices_file, &mesh.vertices}, std::pair{normals_file, &mesh.normals}}) {
    const auto expected = check.array(file);
    if (!expected) return expected.error();
    const bool alike = expected->floats.size() == 3 * points->size();
    const double far = alike ? farthest(*points, expected->floats) : HUGE_VAL;
    check.add(file, far, arrays_from_equal_values, far <= arrays_from_equal_values);
  }
  const auto expected = check.array(faces_file);
  if (!expected) return expected.error();
  check.add(faces_file, expected->integers == faces);
  return Done{};
}

Status check_voxels(const Json& kit, const std::string& file, const Voxels& voxels, Check& check) {
  const auto expected = check.array(file);
  if (!expected) return expected.error();
  if (auto kept = check.keep(file, npy_truths({voxels.resolution, voxels.resolution, voxels.resolution}, voxels.occupied)); !kept) return kept;
  if (expected->integers.size() != voxels.occupied.size()) return check.add(file, false), Done{};
  int64_t both = 0, either = 0;
  for (size_t i = 0; i < voxels.occupied.size(); ++i) both += voxels.occupied[i] & expected->integers[i], either += voxels.occupied[i] | expected->integers[i];
  const Json *scores = kit.find("scores"), *floor = scores == nullptr ? nullptr : scores->find("voxels");
  const double iou = either > 0 ? static_cast<double>(both) / static_cast<double>(either) : 1, least = floor == nullptr ? 1 : floor->as_number().value_or(1);
  check.add(file + " (IoU)", iou, least, iou >= least);
  return Done{};
}

Status check_files(const Json& request, const Mesh& mesh, bool exact, Check& check) {
  const Json *files = request.find("files"), *meshes = files == nullptr ? nullptr : files->find("mesh");
  if (meshes == nullptr || !exact) return Done{};
  for (const Json& name : meshes->items) {
    const auto expected = check.bytes(name.as_text().value_or(""));
    if (!expected) return expected.error();
    const auto content = content_for(name.text, mesh);
    if (!content) return content.error();
    const bool same = *content == *expected;
    check.rows.push_back({name.text, same ? "equal" : "differs in normals' last bits or more", "told, not held", true});
  }
  return Done{};
}

Status check_request(const Json& kit, const Json& asked, Pipeline& pipeline, Check& check) {
  const Json *seed = asked.find("seed"), *steps = asked.find("steps"), *assets = asked.find("assets"), *tolerances = kit.find("tolerances");
  const Error damaged = verification_error("kit.json: a request is damaged; make the kit again");
  if (seed == nullptr || steps == nullptr || assets == nullptr || tolerances == nullptr || !seed->as_integer()) return damaged;
  Request request{text_of(asked, "prompt"), static_cast<uint64_t>(*seed->as_integer()), std::nullopt};
  if (const std::string file = text_of(asked, "features"); !file.empty()) {
    auto features = check.array(file);
    if (!features) return features.error();
    request.features = std::move(*features);
  }
  RunOptions options;
  options.keep_programs = true;
  const auto values = pipeline.run(request, options);
  if (!values) return values.error();
  std::map<std::string, bool> exact;
  for (const Json& step : steps->items) {
    const Json* files = step.find("values");
    if (files == nullptr) return damaged;
    for (const auto& [name, file] : files->members) {
      const Json *entry = tolerances->find(name), *limit = entry == nullptr ? nullptr : entry->find("relative_l2");
      if (values->count(name) == 0 || limit == nullptr) return damaged;
      const auto same = check.value(file.as_text().value_or(""), values->at(name), limit->as_number().value_or(0));
      if (!same) return same.error();
      exact[name] = *same;
    }
  }
  if (const Json* names = assets->find("voxels")) {
    const auto voxels = pipeline.voxels(*values);
    if (!voxels) return voxels.error();
    if (auto checked = check_voxels(kit, text_of(*names, "occupancy"), *voxels, check); !checked) return checked;
  }
  if (const Json* names = assets->find("mesh")) {
    const auto mesh = pipeline.mesh(*values);
    if (!mesh) return mesh.error();
    const bool same = exact[pipeline.steps().asset("mesh")->value];
    if (auto checked = check_mesh(*names, *mesh, same, check); !checked) return checked;
    return check_files(asked, *mesh, same, check);
  }
  return Done{};
}

// A number as JSON has it; words, and what no JSON number can be, in quotes.
std::string json_value(const std::string& text) {
  const bool number = text.find_first_not_of("+-.0123456789e") == std::string::npos && !text.empty() && text != "e";
  return number ? text : json_quoted(text);
}

std::string report_of(const std::vector<Row>& rows, bool same_bundle) {
  std::string out;
  for (const Row& row : rows)
    out += (out.empty() ? "" : ",\n") + std::string("  {\"name\": ") + json_quoted(row.name) + ", \"found\": " + json_value(row.found) + ", \"limit\": " +
           json_value(row.limit) + ", \"passed\": " + (row.passed ? "true" : "false") + "}";
  return std::string("{\"bundle_is_the_kits\": ") + (same_bundle ? "true" : "false") + ", \"rows\": [\n" + out + "\n]}\n";
}

}  // namespace

Status check_kit(const Words& words) {
  const auto options = Options::parse(words, {"--json"}, {"--write", "--threads"}, 2);
  if (!options) return options.error();
  const auto threads = options->number("--threads", 0, 256);
  if (!threads) return threads.error();
  if (*threads > 0 && !set_threads(static_cast<uint32_t>(*threads))) return Error{Code::internal, "--threads: the runtime did not take it"};
  const std::string& folder = options->places()[1];
  auto pipeline = Pipeline::open(options->places()[0]);
  if (!pipeline) return pipeline.error();
  const auto text = read_text(folder + "/kit.json");
  if (!text) return usage_error(folder + ": no kit (no kit.json); make one with: gen3dexport embed-kit BUNDLE -o " + folder);
  const auto kit = parse_json(*text);
  const Json* requests = kit ? kit->find("requests") : nullptr;
  if (requests == nullptr || requests->items.empty()) return verification_error(folder + "/kit.json: damaged; make the kit again");
  Check check(folder, options->last("--write", ""));
  if (auto checked = check_noise(*kit, check); !checked) return checked;
  if (auto checked = check_tokens(*kit, *pipeline, check); !checked) return checked;
  for (const Json& request : requests->items)
    if (auto checked = check_request(*kit, request, *pipeline, check); !checked) return checked;
  const bool same_bundle = text_of(*kit, "bundle") == pipeline->bundle().digest();
  if (options->has("--json")) {
    std::fputs(report_of(check.rows, same_bundle).c_str(), stdout);
  } else {
    for (const Row& row : check.rows) std::printf("%s  %s: %s (limit %s)\n", row.passed ? "ok" : "NO", row.name.c_str(), row.found.c_str(), row.limit.c_str());
    if (!same_bundle) std::printf("the kit was made with another bundle: values of quantised programs may differ\n");
  }
  const auto wrong = std::count_if(check.rows.begin(), check.rows.end(), [](const Row& row) { return !row.passed; });
  if (wrong > 0 && options->has("--json")) return Error{Code::nothing, ""};  // the report says it
  if (wrong > 0) return Error{Code::nothing, folder + ": " + std::to_string(wrong) + " of " + std::to_string(check.rows.size()) + " are not the kit's"};
  return Done{};
}

}  // namespace gen3d
