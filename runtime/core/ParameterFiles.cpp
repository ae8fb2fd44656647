#include "ParameterFiles.h"

#include "Initialize.h"
#include "RankMessages.h"
#include "seqpar/rt/Error.h"

#include <charconv>
#include <cstring>
#include <filesystem>
#include <map>
#include <set>
#include <vector>

namespace seqpar::rt {

using namespace program;

namespace {

constexpr const char *kPrefixes[] = {"param.", "moment1.", "moment2."};
constexpr const char *kVersionKey = "seqpar_checkpoint", *kVersion = "1";
constexpr ParameterPart kParts[] = {ParameterPart::Value, ParameterPart::FirstMoment,
                                    ParameterPart::SecondMoment};

std::vector<int64_t> shapeOf(const Parameter &parameter) {
  if (!parameter.shape())
    return {};
  return {parameter.shape()->begin(), parameter.shape()->end()};
}

/// Parameters of all stages by name; a tied one is on two stages.
std::map<std::string, const Parameter *> parametersOf(const ProgramFile &program) {
  std::map<std::string, const Parameter *> result;
  for (const Stage *stage : *program.program().stages())
    for (const Parameter *parameter : *stage->parameters())
      result.emplace(parameter->name()->str(), parameter);
  return result;
}

std::string nameIn(const SafetensorsFile &file, const std::string &parameter) {
  std::string prefixed = "param." + parameter;
  return file.find(prefixed) ? prefixed : parameter;
}

void copyTensor(Executor &executor, int index, ParameterPart part, const Tensor &tensor) {
  std::vector<float> values(static_cast<size_t>(tensor.elements()));
  if (tensor.bytes)
    std::memcpy(values.data(), tensor.data, tensor.bytes);
  executor.writeParameter(index, part, values);
}

// Hugging Face ties these to other parameters.
void checkTie(const SafetensorsFile &file, const std::string &name, const Tensor &tensor) {
  static const std::map<std::string, std::string> kTies = {
      {"cls.predictions.decoder.weight", "bert.embeddings.word_embeddings.weight"},
      {"cls.predictions.decoder.bias", "cls.predictions.bias"}};
  auto tie = kTies.find(name);
  const Tensor *other = tie == kTies.end() ? nullptr : file.find(nameIn(file, tie->second));
  if (!other)
    fail("{}: tensor {} is no parameter of the model", file.path(), name);
  if (tensor.dtype != other->dtype || tensor.bytes != other->bytes ||
      std::memcmp(tensor.data, other->data, tensor.bytes) != 0)
    fail("{}: tensor {} differs from {}, to which the model ties it", file.path(), name,
         tie->second);
}

} // namespace

void checkParameterFile(const ProgramFile &program, const SafetensorsFile &file) {
  auto parameters = parametersOf(program);
  for (const auto &[name, parameter] : parameters)
    file.get(nameIn(file, name), "F32", shapeOf(*parameter));
  for (const auto &[full, tensor] : file.tensors()) {
    std::string name = full.starts_with("param.") ? full.substr(6) : full;
    if (!parameters.count(name) && !full.starts_with("batch.") &&
        name != "bert.embeddings.position_ids")
      checkTie(file, name, tensor);
  }
}

void loadParameters(Executor &executor, const SafetensorsFile &file) {
  const auto &parameters = *executor.stage().parameters();
  for (unsigned i = 0; i < parameters.size(); ++i) {
    const Parameter &parameter = *parameters.Get(i);
    copyTensor(executor, static_cast<int>(i), ParameterPart::Value,
               file.get(nameIn(file, parameter.name()->str()), "F32", shapeOf(parameter)));
  }
}

namespace {

/// One tensor of a file, and who has it.
struct SavedTensor {
  std::string name;
  const Parameter *parameter;
  int index;
  ParameterPart part;
  int stage;
};

// The same list on every rank. A tied parameter is taken from the first stage that has the part.
void addTensors(std::vector<SavedTensor> &tensors, const ProgramFile &program, ParameterPart part,
                const std::string &prefix) {
  std::set<std::string> listed;
  for (int pp = 0; pp < program.grid().pp; ++pp) {
    const auto &parameters = *program.stage(pp).parameters();
    for (unsigned i = 0; i < parameters.size(); ++i) {
      const Parameter &parameter = *parameters.Get(i);
      bool has = Executor::hasParameterPart(program.stage(pp), static_cast<int>(i), part);
      if (has && listed.insert(parameter.name()->str()).second)
        tensors.push_back(
            {prefix + parameter.name()->str(), &parameter, static_cast<int>(i), part, pp});
    }
  }
}

// A stage gathers a tensor on its first rank, which sends it to rank 0.
void sendTensors(std::span<const SavedTensor> tensors, Executor &executor,
                 Communicator &communicator) {
  Coordinates at = communicator.coordinates();
  bool sends = at.dp == 0 && at.sp == 0 && at.pp != 0;
  std::vector<float> values;
  for (const SavedTensor &tensor : tensors) {
    if (tensor.stage != at.pp)
      continue;
    if (sends)
      values.resize(static_cast<size_t>(elementsOf(*tensor.parameter)));
    executor.gatherParameter(tensor.index, tensor.part, values);
    if (sends)
      communicator.wait(communicator.send(values.data(), values.size() * sizeof(float), 0,
                                          kTensorTag, Traffic::PointToPoint));
  }
}

void receiveAndWrite(const std::string &path, std::span<const SavedTensor> tensors,
                     Executor &executor, Communicator &communicator,
                     const std::map<std::string, std::string> &metadata, float factor) {
  std::vector<TensorToWrite> list;
  for (const SavedTensor &tensor : tensors) {
    auto fill = [&](std::span<uint8_t> buffer) {
      // The writer's buffer comes from operator new, aligned for any number.
      std::span<float> values(reinterpret_cast<float *>(buffer.data()),
                              buffer.size() / sizeof(float));
      int owner = communicator.grid().rankOf({0, tensor.stage, 0});
      if (tensor.stage == 0)
        executor.gatherParameter(tensor.index, tensor.part, values);
      else
        communicator.wait(communicator.receive(buffer.data(), buffer.size(), owner, kTensorTag));
      for (float &value : values)
        value *= factor;
    };
    list.push_back({tensor.name, "F32", shapeOf(*tensor.parameter),
                    static_cast<size_t>(elementsOf(*tensor.parameter)) * sizeof(float), fill});
  }
  writeSafetensors(path, list, metadata);
}

// No rank goes on before the file is there: it would wait for rank 0 in an exchange, where waiting
// has a limit.
void write(const std::string &path, std::span<const SavedTensor> tensors, Executor &executor,
           Communicator &communicator, const std::map<std::string, std::string> &metadata,
           float factor = 1) {
  NoTimeout patient(communicator);
  if (communicator.rank() == 0)
    receiveAndWrite(path, tensors, executor, communicator, metadata, factor);
  else
    sendTensors(tensors, executor, communicator);
  communicator.barrier();
}

} // namespace

void saveParameters(const std::string &path, const ProgramFile &program, Executor &executor,
                    Communicator &communicator, ParameterPart part, const std::string &prefix,
                    float factor) {
  std::vector<SavedTensor> tensors;
  addTensors(tensors, program, part, prefix);
  write(path, tensors, executor, communicator, {{"format", "pt"}}, factor);
}

void saveCheckpoint(const std::string &directory, const ProgramFile &program, Executor &executor,
                    Communicator &communicator, const RunPosition &position, uint32_t seed) {
  std::vector<SavedTensor> tensors;
  for (size_t i = 0; i < std::size(kParts); ++i)
    addTensors(tensors, program, kParts[i], kPrefixes[i]);
  std::error_code error;
  if (communicator.rank() == 0)
    std::filesystem::create_directories(directory, error);
  if (error)
    fail("{}: cannot be written: {}", directory, error.message());
  std::map<std::string, std::string> metadata = {{kVersionKey, kVersion},
                                                 {"step", std::to_string(position.step)},
                                                 {"samples", std::to_string(position.samples)},
                                                 {"seed", std::to_string(seed)}};
  if (position.lossScale || position.skipped)
    metadata["skipped"] = std::to_string(position.skipped);
  if (position.lossScale) {
    metadata["loss_scale"] = fmt::format("{}", position.lossScale->scale);
    metadata["loss_scale_good_steps"] = std::to_string(position.lossScale->goodSteps);
    metadata["loss_scale_hysteresis"] = std::to_string(position.lossScale->hysteresis);
  }
  write(fmt::format("{}/step-{:09}.safetensors", directory, position.step), tensors, executor,
        communicator, metadata);
}

std::string findCheckpoint(const std::string &path) {
  std::error_code error;
  if (!std::filesystem::is_directory(path, error))
    return path;
  std::string newest;
  for (const auto &entry : std::filesystem::directory_iterator(path, error)) {
    std::string name = entry.path().filename().string();
    // Steps have as many digits as they need and at least nine: longer is larger.
    bool later = name.size() != newest.size() ? name.size() > newest.size() : name > newest;
    if (name.starts_with("step-") && name.ends_with(".safetensors") && later)
      newest = name;
  }
  if (newest.empty())
    fail("{}: there is no checkpoint step-*.safetensors in it", path);
  return path + "/" + newest;
}

namespace {

void checkVersion(const SafetensorsFile &file) {
  auto found = file.metadata().find(kVersionKey);
  if (found == file.metadata().end())
    fail("{}: not a checkpoint: its metadata has no {}; a file of parameters is for --init-from",
         file.path(), kVersionKey);
  if (found->second != kVersion)
    fail("{}: expected a checkpoint of version {}, found {}", file.path(), kVersion, found->second);
}

/// A name is a prefix of kPrefixes and a parameter.
void checkName(const SafetensorsFile &file, const std::string &name,
               const std::map<std::string, const Parameter *> &parameters) {
  for (const char *prefix : kPrefixes)
    if (name.starts_with(prefix)) {
      if (!parameters.count(name.substr(std::strlen(prefix))))
        fail("{}: tensor {} is of no parameter of the model", file.path(), name);
      return;
    }
  fail("{}: tensor {}: expected a name that begins with {}", file.path(), name,
       fmt::join(kPrefixes, ", "));
}

} // namespace

RunPosition checkCheckpoint(const ProgramFile &program, const SafetensorsFile &file,
                            uint32_t seed) {
  checkVersion(file);
  auto read = [&](const char *key, auto value) {
    auto found = file.metadata().find(key);
    if (found == file.metadata().end())
      fail("{}: not a checkpoint: its metadata has no {}", file.path(), key);
    const std::string &text = found->second;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || !(value >= 0))
      fail("{}: expected a number from 0 for {} in its metadata, found '{}'", file.path(), key, text);
    return value;
  };
  auto number = [&](const char *key) { return read(key, int64_t(-1)); };
  RunPosition position{.step = number("step"), .samples = number("samples")};
  if (file.metadata().count("skipped"))
    position.skipped = number("skipped");
  if (position.skipped > position.step)
    fail("{}: its metadata has {} steps, of which {} were skipped", file.path(), position.step,
         position.skipped);
  if (program.hasLossScale() && file.metadata().count("loss_scale")) {
    position.lossScale = {read("loss_scale", -1.0), number("loss_scale_good_steps"),
                          number("loss_scale_hysteresis")};
    if (!position.lossScale->isValid())
      fail(
          "{}: expected a loss scale from {:g} to {:g}, up to {} good steps and a hysteresis up to "
          "{}, found {}, {} and {}",
          file.path(), LossScale::kLeast, LossScale::kMost, LossScale::kGrowthSteps - 1,
          LossScale::kHysteresis, position.lossScale->scale, position.lossScale->goodSteps,
          position.lossScale->hysteresis);
  }
  if (number("seed") != seed)
    fail("{}: it was made with --seed={}, this run has {}", file.path(), number("seed"), seed);
  auto parameters = parametersOf(program);
  for (const Stage *stage : *program.program().stages())
    for (unsigned i = 0; i < stage->parameters()->size(); ++i)
      for (size_t part = 0; part < std::size(kParts); ++part)
        if (Executor::hasParameterPart(*stage, static_cast<int>(i), kParts[part]))
          file.get(kPrefixes[part] + stage->parameters()->Get(i)->name()->str(), "F32",
                   shapeOf(*stage->parameters()->Get(i)));
  for (const auto &[name, tensor] : file.tensors())
    checkName(file, name, parameters);
  return position;
}

void loadCheckpoint(Executor &executor, const SafetensorsFile &file) {
  const auto &parameters = *executor.stage().parameters();
  for (unsigned i = 0; i < parameters.size(); ++i)
    for (size_t part = 0; part < std::size(kParts); ++part)
      if (Executor::hasParameterPart(executor.stage(), static_cast<int>(i), kParts[part]))
        copyTensor(executor, static_cast<int>(i), kParts[part],
                   file.get(kPrefixes[part] + parameters.Get(i)->name()->str(), "F32",
                            shapeOf(*parameters.Get(i))));
}

} // namespace seqpar::rt
