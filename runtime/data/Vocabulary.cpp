#include "seqpar/rt/data/Vocabulary.h"

#include "LineBlocks.h"
#include "Unicode.h"
#include "seqpar/rt/Error.h"
#include "seqpar/rt/data/MappedFile.h"

namespace seqpar::rt::data {

Vocabulary Vocabulary::load(const std::string &path) {
  MappedFile file(path, MappedFile::Access::sequential);
  auto bytes = file.bytes();
  return parse({reinterpret_cast<const char *>(bytes.data()), bytes.size()}, path);
}

Vocabulary Vocabulary::parse(std::string_view text, const std::string &name) {
  Vocabulary result;
  result.fileName = name;
  while (!text.empty()) {
    std::string_view line = takeLine(text);
    size_t number = result.tokens.size() + 1;
    if (size_t bad = firstInvalidUtf8(line); bad != line.size())
      fail(
          "{}:{}: invalid UTF-8 at byte {} of the line; a vocabulary is text with one token a line",
          name, number, bad);
    std::string token(stripWhiteSpace(line));
    if (result.ids.contains(token))
      fail("{}:{}: token \"{}\" is already in line {}; ids would be ambiguous", name, number, token,
           result.ids.at(token) + 1);
    result.add(std::move(token));
  }
  auto special = [&](const char *token, bool needed) {
    int32_t id = result.find(token);
    if (id < 0 && needed)
      fail("{}: {} is missing; expected a BERT vocabulary with [CLS], [SEP], [PAD] and [MASK]",
           name, token);
    return id;
  };
  result.cls = special("[CLS]", true);
  result.sep = special("[SEP]", true);
  result.pad = special("[PAD]", true);
  result.mask = special("[MASK]", true);
  result.unk = special("[UNK]", false);
  for (const char *token : {"[BOS]", "[EOS]"})
    if (result.find(token) < 0)
      result.add(token);
  return result;
}

int32_t Vocabulary::find(std::string_view token) const {
  auto found = ids.find(std::string(token));
  return found == ids.end() ? -1 : found->second;
}

int32_t Vocabulary::add(std::string token) {
  int32_t id = static_cast<int32_t>(tokens.size());
  if (id == INT32_MAX)
    fail("{}: more than {} tokens", fileName, INT32_MAX);
  continuation.push_back(token.starts_with("##"));
  ids.emplace(token, id);
  tokens.push_back(std::move(token));
  return id;
}

} // namespace seqpar::rt::data
