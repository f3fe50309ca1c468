#include "host_steps.hpp"

#include <algorithm>
#include <cmath>
#include <set>

namespace gen3d {
namespace {

constexpr int64_t largest = int64_t{1} << 28;  // numbers in one array

// Takes fields out of one JSON object; the first that is missing or wrong is kept in `wrong`.
struct Fields {
  const Json& object;
  std::string wrong = {};

  const Json* get(const char* key) {
    const Json* found = object.find(key);
    if (found == nullptr) fail(key);
    return found;
  }
  void fail(const char* key) {
    if (wrong.empty()) wrong = std::string("field ") + json_quoted(key) + " is missing or wrong";
  }
  std::string text(const char* key) {
    const Json* found = get(key);
    const auto value = found == nullptr ? std::nullopt : found->as_text();
    if (!value || value->empty()) fail(key);
    return value.value_or("");
  }
  std::string optional_text(const char* key) {
    const Json* found = object.find(key);
    return found == nullptr || found->kind == Json::Kind::null ? "" : text(key);
  }
  int64_t integer(const char* key, int64_t least, int64_t most) {
    const Json* found = get(key);
    const auto value = found == nullptr ? std::nullopt : found->as_integer();
    if (!value || *value < least || *value > most) fail(key);
    return std::clamp(value.value_or(least), least, most);
  }
  double number(const char* key) {
    const Json* found = get(key);
    const auto value = found == nullptr ? std::nullopt : found->as_number();
    if (!value) fail(key);
    return value.value_or(0);
  }
  bool choice(const char* key, const std::string& yes, const std::string& no) {
    const std::string value = text(key);
    if (value != yes && value != no) fail(key);
    return value == yes;
  }
  Shape shape(const char* key) {
    Shape out;
    const Json* found = get(key);
    if (found == nullptr || found->kind != Json::Kind::list || found->items.empty() || found->items.size() > 8) return fail(key), out;
    for (const Json& length : found->items) out.push_back(length.as_integer().value_or(0));
    const bool good = std::all_of(out.begin(), out.end(), [](int64_t n) { return n >= 1; }) && elements(out) >= 1 && elements(out) <= largest;
    if (!good) fail(key);
    return good ? out : Shape{};
  }
  Names names(const char* key, bool some) {
    Names out;
    const Json* found = get(key);
    if (found == nullptr || found->kind != Json::Kind::object || (some && found->members.empty())) return fail(key), out;
    for (const auto& [port, value] : found->members) {
      if (!value.as_text()) fail(key);
      out.emplace_back(port, value.as_text().value_or(""));
    }
    return out;
  }
};

Operation read_flow(Fields& fields) {
  FlowEuler flow;
  flow.component = fields.text("component");
  flow.noise = fields.text("noise");
  flow.latent_input = fields.text("latent_input");
  flow.time_input = fields.text("time_input");
  flow.velocity_output = fields.text("velocity_output");
  flow.output = fields.text("output");
  flow.batch = fields.integer("batch", 1, 2);
  flow.inputs = fields.names("inputs", false);
  flow.conditional = fields.names("conditional", true);
  flow.unconditional = fields.names("unconditional", true);
  if (const Json* join = fields.get("join"))
    for (const auto& [port, axis] : join->members) flow.join[port] = axis.as_integer().value_or(-1);
  const Json* steps = fields.get("steps");
  if (steps == nullptr || steps->kind != Json::Kind::list || steps->items.empty() || steps->items.size() > 1000) return fields.fail("steps"), flow;
  bool difference = false;  // whether a step before has called both branches
  for (const Json& step : steps->items) {
    Fields inner{step};
    const Json *reuse = step.find("reuse"), *previous = step.find("previous");  // neither is in older bundles
    FlowStep read{inner.number("time"), inner.number("dt"), inner.number("weight")};
    if (reuse != nullptr) read.reuse = reuse->as_truth() ? *reuse->as_truth() : (inner.fail("reuse"), false);
    if (previous != nullptr) read.previous = inner.number("previous");
    if (read.previous != 0 && flow.steps.empty()) inner.fail("previous");
    if (read.reuse && !difference) inner.fail("reuse");
    difference = difference || (read.weight != 1 && !read.reuse);
    flow.steps.push_back(read);
    if (!inner.wrong.empty()) fields.fail("steps");
  }
  std::set<std::string> ports, others, joined;
  for (const auto& member : flow.conditional) ports.insert(member.first);
  for (const auto& member : flow.unconditional) others.insert(member.first);
  for (const auto& member : flow.join) joined.insert(member.first);
  if (ports != others) fields.fail("unconditional");
  if (flow.batch == 2 ? joined != ports : !joined.empty()) fields.fail("join");
  return flow;
}

Operation read_operation(const std::string& op, Fields& fields) {
  if (op == "tokenize") {
    Tokenize step;
    step.of_prompt = fields.choice("text", "prompt", "empty");
    step.file = fields.text("file");
    step.length = fields.integer("length", 2, 1 << 16);
    step.fill_end = fields.choice("fill", "end", "zeros");
    step.cut = fields.choice("overflow", "cut", "refuse");
    step.ids = fields.text("ids");
    step.mask = fields.optional_text("mask");
    return step;
  }
  if (op == "noise") {
    fields.choice("generator", "pcg64-ziggurat-float32", "pcg64-ziggurat-float32");
    return MakeNoise{fields.shape("shape"), fields.text("output")};
  }
  if (op == "zeros") return MakeZeros{fields.shape("shape"), fields.text("output")};
  if (op == "constant") {
    MakeConstant step{fields.shape("shape"), {}, fields.text("output")};
    if (const Json* numbers = fields.get("numbers"))
      for (const Json& number : numbers->items) step.numbers.push_back(static_cast<float>(number.as_number().value_or(HUGE_VAL)));
    const bool finite = std::all_of(step.numbers.begin(), step.numbers.end(), [](float number) { return std::isfinite(number); });
    if (!finite || static_cast<int64_t>(step.numbers.size()) != elements(step.shape)) fields.fail("numbers");
    return step;
  }
  if (op == "scale") return ScaleValue{fields.text("value"), fields.number("factor"), fields.text("output")};
  if (op == "features") {
    const Json* row = fields.object.find("row");
    const bool alone = row == nullptr || row->kind == Json::Kind::null;
    return TakeFeatures{alone ? -1 : fields.integer("row", 0, 1), fields.text("output")};
  }
  if (op == "call") return CallProgram{fields.text("component"), fields.names("inputs", true), fields.names("outputs", true)};
  return read_flow(fields);
}

constexpr const char* operations[] = {"tokenize", "noise", "zeros", "constant", "scale", "features", "call", "flow_euler"};

template <class Some>
bool has(const Some& some, const std::string& name) {
  return std::any_of(some.begin(), some.end(), [&](const auto& one) { return one.name == name; });
}

// Whether the names that a step uses are those of its program; words for what differs.
std::string misfit(const ProgramEntry& program, const std::vector<std::string>& inputs, const std::vector<std::string>& outputs) {
  for (const auto& tensor : program.inputs)
    if (std::count(inputs.begin(), inputs.end(), tensor.name) != 1) return "program " + program.name + " takes " + tensor.name + " once";
  for (const auto& name : inputs)
    if (!has(program.inputs, name)) return "program " + program.name + " takes no " + json_quoted(name);
  for (const auto& name : outputs)
    if (!has(program.outputs, name)) return "program " + program.name + " gives no " + json_quoted(name);
  return "";
}

std::string problem_of(const Operation& operation, const Bundle& bundle, const HostSteps& whole) {
  if (const auto* step = std::get_if<Tokenize>(&operation)) {
    if (bundle.files().count(step->file) == 0) return json_quoted(step->file) + " is no key of files";
    return step->of_prompt && !whole.prompt ? "needs the prompt, and request.prompt is false" : "";
  }
  if (std::holds_alternative<MakeNoise>(operation)) return whole.seed ? "" : "needs the seed, and request.seed is false";
  if (const auto* step = std::get_if<TakeFeatures>(&operation)) {
    const bool fits = whole.features.size() == (step->row < 0 ? 2 : 3) && (step->row < 0 || whole.features[0] == 2);
    return fits ? "" : "needs features, and request.features is another shape or none";
  }
  const std::string component = component_of(operation);
  if (component.empty()) return "";
  const ProgramEntry* program = bundle.component(component);
  if (program == nullptr) return "no program of component " + json_quoted(component);
  std::vector<std::string> inputs, outputs;
  if (const auto* call = std::get_if<CallProgram>(&operation)) {
    for (const auto& member : call->inputs) inputs.push_back(member.first);
    for (const auto& member : call->outputs) outputs.push_back(member.first);
  } else {
    const auto& flow = std::get<FlowEuler>(operation);
    inputs = {flow.latent_input, flow.time_input};
    for (const auto* some : {&flow.inputs, &flow.conditional})
      for (const auto& member : *some) inputs.push_back(member.first);
    outputs = {flow.velocity_output};
  }
  return misfit(*program, inputs, outputs);
}

Status check_order(const HostSteps& whole, const std::string& where) {
  std::set<std::string> made;
  for (size_t i = 0; i < whole.steps.size(); ++i) {
    const std::string at = where + "steps." + std::to_string(i) + ": ";
    for (const auto& name : takes(whole.steps[i]))
      if (made.count(name) == 0) return verification_error(at + json_quoted(name) + " is read before it is made; build the bundle again");
    for (const auto& name : makes(whole.steps[i]))
      if (!made.insert(name).second) return verification_error(at + json_quoted(name) + " is made twice; build the bundle again");
  }
  for (const auto& asset : whole.assets)
    if (made.count(asset.value) == 0) return verification_error(where + "assets." + asset.kind + ": no step makes " + json_quoted(asset.value) + "; build the bundle again");
  return Done{};
}

}  // namespace

const AssetRule* HostSteps::asset(const std::string& kind) const {
  for (const auto& one : assets)
    if (one.kind == kind) return &one;
  return nullptr;
}

Result<HostSteps> parse_host_steps(const Bundle& bundle) {
  const std::string where = bundle.path() + "/manifest.json: host_steps.";
  const Json* json = bundle.host_steps();
  if (json == nullptr)
    return Error{Code::missing, bundle.path() + ": its manifest has no host steps (family " + bundle.family() +
                                    "), so only gen3dexport can run it; build the bundle again with a gen3dexport that declares them"};
  Fields whole{*json};
  const int64_t version = whole.integer("version", 1, 1 << 30);
  if (whole.wrong.empty() && version != 1)
    return verification_error(where + "version: " + std::to_string(version) + ", and this gen3d knows 1; take a newer gen3d");
  HostSteps out;
  const Json *request = whole.get("request"), *steps = whole.get("steps"), *assets = whole.get("assets");
  if (!whole.wrong.empty()) return verification_error(where + whole.wrong + "; copy or build the bundle again");
  const auto asked = [&](const char* key) {
    const Json* found = request->find(key);
    return found != nullptr && found->as_truth().value_or(false);
  };
  out.prompt = asked("prompt");
  out.seed = asked("seed");
  if (asked("image")) return Error{Code::missing, where + "request: a picture, which is not done here; run this bundle with gen3dexport"};
  if (const Json* features = request->find("features"); features != nullptr && features->kind != Json::Kind::null) out.features = Fields{*request}.shape("features");
  for (size_t i = 0; i < steps->items.size(); ++i) {
    const std::string at = where + "steps." + std::to_string(i) + ": ";
    Fields fields{steps->items[i]};
    const std::string op = fields.text("op");
    const bool known = std::any_of(std::begin(operations), std::end(operations), [&](const char* name) { return op == name; });
    if (fields.wrong.empty() && !known)
      return Error{Code::missing, at + "operation " + json_quoted(op) + " is unknown to this gen3d; take a newer gen3d, or run the bundle with gen3dexport"};
    Operation operation = fields.wrong.empty() ? read_operation(op, fields) : Operation{};
    if (!fields.wrong.empty()) return verification_error(at + fields.wrong + "; copy or build the bundle again");
    if (const std::string problem = problem_of(operation, bundle, out); !problem.empty()) return verification_error(at + problem + "; copy or build the bundle again");
    out.steps.push_back(std::move(operation));
  }
  for (const auto& [kind, value] : assets->members) {
    Fields fields{value};
    AssetRule rule{kind, fields.text("rule"), fields.text("value"), 0};
    if (value.find("level") != nullptr) rule.level = fields.number("level");
    if (!fields.wrong.empty()) return verification_error(where + "assets." + kind + ": " + fields.wrong + "; copy or build the bundle again");
    if (rule.rule != "positive" && rule.rule != "marching_cubes_lorensen")
      return Error{Code::missing, where + "assets." + kind + ": rule " + json_quoted(rule.rule) + " is unknown to this gen3d; take a newer gen3d"};
    out.assets.push_back(std::move(rule));
  }
  if (auto checked = check_order(out, where); !checked) return checked.error();
  return out;
}

std::string operation_name(const Operation& operation) { return operations[operation.index()]; }

std::vector<std::string> takes(const Operation& operation) {
  std::vector<std::string> out;
  const auto add = [&](const Names& names) {
    for (const auto& member : names) out.push_back(member.second);
  };
  if (const auto* call = std::get_if<CallProgram>(&operation)) add(call->inputs);
  if (const auto* scale = std::get_if<ScaleValue>(&operation)) out.push_back(scale->value);
  if (const auto* flow = std::get_if<FlowEuler>(&operation)) {
    out.push_back(flow->noise);
    add(flow->inputs), add(flow->conditional), add(flow->unconditional);
  }
  return out;
}

std::vector<std::string> makes(const Operation& operation) {
  if (const auto* step = std::get_if<Tokenize>(&operation)) return step->mask.empty() ? std::vector{step->ids} : std::vector{step->ids, step->mask};
  if (const auto* step = std::get_if<MakeNoise>(&operation)) return {step->output};
  if (const auto* step = std::get_if<MakeZeros>(&operation)) return {step->output};
  if (const auto* step = std::get_if<MakeConstant>(&operation)) return {step->output};
  if (const auto* step = std::get_if<ScaleValue>(&operation)) return {step->output};
  if (const auto* step = std::get_if<TakeFeatures>(&operation)) return {step->output};
  if (const auto* step = std::get_if<FlowEuler>(&operation)) return {step->output};
  std::vector<std::string> out;
  for (const auto& member : std::get<CallProgram>(operation).outputs) out.push_back(member.second);
  return out;
}

std::string component_of(const Operation& operation) {
  if (const auto* call = std::get_if<CallProgram>(&operation)) return call->component;
  if (const auto* flow = std::get_if<FlowEuler>(&operation)) return flow->component;
  return "";
}

int64_t calls_of(const Operation& operation) {
  if (std::holds_alternative<CallProgram>(operation)) return 1;
  const auto* flow = std::get_if<FlowEuler>(&operation);
  if (flow == nullptr) return 0;
  int64_t count = 0;
  for (const auto& step : flow->steps) count += step.weight != 1 && !step.reuse && flow->batch == 1 ? 2 : 1;
  return count;
}

}  // namespace gen3d
