#include "pipeline.hpp"

#include "noise.hpp"

namespace gen3d {
namespace {

Array features_of(const Array& given, int64_t row) {
  const size_t axes = given.shape.size();
  const Shape shape = {1, given.shape[axes - 2], given.shape[axes - 1]};
  const auto count = static_cast<size_t>(elements(shape));
  const auto begin = given.floats.begin() + static_cast<ptrdiff_t>(row > 0 ? count * static_cast<size_t>(row) : 0);
  return Array::of(shape, std::vector<float>(begin, begin + static_cast<ptrdiff_t>(count)));
}

}  // namespace

Result<Pipeline> Pipeline::open(const std::string& path) {
  auto bundle = Bundle::open(path);
  if (!bundle) return bundle.error();
  Pipeline made;
  made.bundle_ = std::make_unique<Bundle>(std::move(*bundle));
  auto steps = parse_host_steps(*made.bundle_);
  if (!steps) return steps.error();
  made.steps_ = std::make_unique<HostSteps>(std::move(*steps));
  return made;
}

Status Pipeline::check(const Request& request) const {
  if (bundle_->random_weights()) return usage_error(bundle_->path() + ": was built with random weights, for sizing; its assets would mean nothing");
  if (steps_->prompt && is_blank(request.prompt)) return usage_error("prompt: empty; say what to make, e.g. -p \"a tall chair with four legs\"");
  if (!steps_->features.empty()) {
    if (!request.features) return usage_error("this pipeline has no encoder of its own; give it features " + shown(steps_->features) + " (--features FILE.npy)");
    if (request.features->shape != steps_->features || !request.features->is_float)
      return usage_error("features: shape " + shown(request.features->shape) + ", and the model takes float32 " + shown(steps_->features));
  } else if (request.features) {
    return usage_error("this pipeline is conditioned on text; give it a prompt, no features");
  }
  return Done{};
}

Result<Program*> Pipeline::program(const std::string& component) {
  const auto found = programs_.find(component);
  if (found != programs_.end()) return &found->second;
  auto loaded = Program::load(*bundle_, *bundle_->component(component));
  if (!loaded) return loaded.error();
  return &programs_.emplace(component, std::move(*loaded)).first->second;
}

Status Pipeline::load_programs() {
  for (const Operation& step : steps_->steps)
    if (const std::string component = component_of(step); !component.empty())
      if (auto loaded = program(component); !loaded) return loaded.error();
  return Done{};
}

void Pipeline::drop_after(size_t step) {
  const std::string component = component_of(steps_->steps[step]);
  for (size_t later = step + 1; later < steps_->steps.size(); ++later)
    if (component_of(steps_->steps[later]) == component) return;
  programs_.erase(component);
}

Result<std::vector<int64_t>> Pipeline::tokens(const Tokenize& step, const std::string& text) {
  auto found = tokenizers_.find(step.file);
  if (found == tokenizers_.end()) {
    auto bytes = bundle_->read(step.file);
    if (!bytes) return bytes.error();
    auto made = Tokenizer::parse(bytes->text(), bundle_->path() + "/" + step.file);
    if (!made) return made.error();
    found = tokenizers_.emplace(step.file, std::move(*made)).first;
  }
  return found->second.ids(text);
}

Status Pipeline::tokenize(const Tokenize& step, const Request& request, Values& values) {
  auto ids = tokens(step, step.of_prompt ? request.prompt : "");
  if (!ids) return ids.error();
  const auto length = static_cast<size_t>(step.length);
  if (ids->empty()) return verification_error(bundle_->path() + "/" + step.file + ": sets no mark at a prompt's ends, as its encoder needs; copy it again");
  if (ids->size() > length) {
    if (!step.cut)
      return usage_error("prompt: " + std::to_string(ids->size() - 2) + " tokens, and the model takes " + std::to_string(length - 2) + "; shorten it by " +
                         std::to_string(ids->size() - length));
    const int64_t last = ids->back();
    ids->resize(length);
    ids->back() = last;
  }
  std::vector<int64_t> mask(ids->size(), 1);
  mask.resize(length, 0);
  ids->resize(length, step.fill_end ? ids->back() : 0);
  const Shape shape = {1, step.length};
  values[step.ids] = Array::of(shape, std::move(*ids));
  if (!step.mask.empty()) values[step.mask] = Array::of(shape, std::move(mask));
  return Done{};
}

Status Pipeline::scale(const ScaleValue& step, Values& values) const {
  Array scaled = values.at(step.value);
  if (!scaled.is_float) return verification_error(bundle_->path() + ": host step scale: " + step.value + " is not float32; build the bundle again");
  for (float& value : scaled.floats) value *= static_cast<float>(step.factor);
  values[step.output] = std::move(scaled);
  return Done{};
}

Status Pipeline::call(const CallProgram& step, Values& values, const KeepOn& keep_on) {
  auto loaded = program(step.component);
  if (!loaded) return loaded.error();
  if (!keep_on()) return cancelled();
  std::vector<const Array*> inputs;
  for (const auto& wanted : (*loaded)->entry().inputs)
    for (const auto& [port, value] : step.inputs)
      if (port == wanted.name) inputs.push_back(&values.at(value));
  auto outputs = (*loaded)->call(inputs);
  if (!outputs) return outputs.error();
  const auto& entries = (*loaded)->entry().outputs;
  for (const auto& [port, value] : step.outputs)
    for (size_t i = 0; i < entries.size(); ++i)
      if (entries[i].name == port) values[value] = (*outputs)[i];
  return Done{};
}

Status Pipeline::flow(const FlowEuler& step, Values& values, const KeepOn& keep_on) {
  auto loaded = program(step.component);
  if (!loaded) return loaded.error();
  auto x = run_flow(step, **loaded, values, keep_on);
  if (!x) return x.error();
  values[step.output] = std::move(*x);
  return Done{};
}

Error Pipeline::with_place(const Error& error) const {
  if (error.code != Code::program) return error;
  return {error.code, error.message + " (target " + bundle_->target() + ")"};
}

Result<Values> Pipeline::run(const Request& request, const RunOptions& options) {
  if (auto checked = check(request); !checked) return checked.error();
  Values values;
  Noise noise(request.seed);
  int64_t all = 0, done = 0;
  for (const Operation& step : steps_->steps) all += calls_of(step);
  for (size_t i = 0; i < steps_->steps.size(); ++i) {
    const Operation& operation = steps_->steps[i];
    const KeepOn keep_on = [&] {
      const double share = static_cast<double>(done++) / static_cast<double>(std::max<int64_t>(all, 1));
      return !options.progress || options.progress(component_of(operation), share);
    };
    Status status = Done{};
    if (const auto* step = std::get_if<Tokenize>(&operation)) status = tokenize(*step, request, values);
    if (const auto* step = std::get_if<MakeNoise>(&operation)) values[step->output] = Array::of(step->shape, noise.normal(static_cast<size_t>(elements(step->shape))));
    if (const auto* step = std::get_if<MakeZeros>(&operation)) values[step->output] = Array::of(step->shape, std::vector<float>(static_cast<size_t>(elements(step->shape))));
    if (const auto* step = std::get_if<MakeConstant>(&operation)) values[step->output] = Array::of(step->shape, step->numbers);
    if (const auto* step = std::get_if<ScaleValue>(&operation)) status = scale(*step, values);
    if (const auto* step = std::get_if<TakeFeatures>(&operation)) values[step->output] = features_of(*request.features, step->row);
    if (const auto* step = std::get_if<CallProgram>(&operation)) status = call(*step, values, keep_on);
    if (const auto* step = std::get_if<FlowEuler>(&operation)) status = flow(*step, values, keep_on);
    if (!status) return with_place(status.error());
    if (!options.keep_programs) drop_after(i);
    if (options.after_step) options.after_step(i, values);
  }
  return values;
}

Result<Mesh> Pipeline::mesh(const Values& values) const {
  const AssetRule* rule = steps_->asset("mesh");
  if (rule == nullptr || rule->rule != "marching_cubes_lorensen") return usage_error(bundle_->path() + ": makes no mesh");
  return mesh_of_logits(values.at(rule->value), static_cast<float>(rule->level));
}

Result<Voxels> Pipeline::voxels(const Values& values) const {
  const AssetRule* rule = steps_->asset("voxels");
  if (rule == nullptr || rule->rule != "positive") return usage_error(bundle_->path() + ": makes no voxels");
  return voxels_of(values.at(rule->value));
}

}  // namespace gen3d
