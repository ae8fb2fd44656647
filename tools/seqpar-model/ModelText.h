//===- ModelText.h - A BERT model in dialect nn -----------------------------------------------===//

#pragma once

#include "ModelConfig.h"

#include <string>

namespace seqpar::tool {

/// The text of a model file. `command` is shown in its first lines as what wrote it. Parameters are
/// named as in Hugging Face's MegatronBertForPreTraining (norm before a block) or
/// BertForPreTraining (after).
std::string writeModel(const ModelConfig &config, const std::string &command);

} // namespace seqpar::tool
