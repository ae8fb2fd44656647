#include "seqpar/rt/data/Tokenizer.h"

#include "AsciiBlock.h"
#include "Unicode.h"
#include "seqpar/rt/Error.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

namespace seqpar::rt::data {

namespace {

enum class Kind : uint8_t { word, space, punctuation, other };

/// What an ASCII byte does; "other" bytes (dropped controls, and all of 0x80-0xFF) need the full
/// rules for the white-space-delimited piece they stand in.
constexpr std::array<Kind, 256> kinds = [] {
  std::array<Kind, 256> table{};
  for (int c = 0; c < 256; ++c) {
    bool alnum = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
    table[c] = alnum                                             ? Kind::word
               : c == ' ' || c == '\t' || c == '\n' || c == '\r' ? Kind::space
               : c > 32 && c < 127                               ? Kind::punctuation
                                                                 : Kind::other;
  }
  return table;
}();

Kind kindOf(char c) { return kinds[static_cast<uint8_t>(c)]; }

/// The rules up to WordPiece for a text without line structure: calls word(utf8, codePoints).
template <typename Word>
void forEachWord(std::string_view text, size_t offset, Casing casing, Word word) {
  std::u32string piece, lowered, stripped;
  std::string utf8;
  auto flush = [&](std::u32string_view codePoints) {
    if (codePoints.empty())
      return;
    utf8.clear();
    for (char32_t c : codePoints)
      appendUtf8(c, utf8);
    word(std::string_view(utf8), codePoints.size());
  };
  auto endPiece = [&] {
    const std::u32string *source = &piece;
    if (casing == Casing::lower) {
      lowered.clear();
      stripped.clear();
      appendLower(piece, lowered);
      appendStripped(lowered, stripped);
      source = &stripped;
    }
    std::u32string_view rest = *source;
    size_t start = 0;
    for (size_t i = 0; i < rest.size(); ++i)
      if (isPunctuation(rest[i])) {
        flush(rest.substr(start, i - start));
        flush(rest.substr(i, 1));
        start = i + 1;
      }
    flush(rest.substr(start));
    piece.clear();
  };
  for (size_t at = 0; at < text.size();) {
    int32_t decoded = decode(text, at);
    if (decoded < 0)
      fail("text to tokenize: invalid UTF-8 at byte {}", offset + at);
    char32_t c = static_cast<char32_t>(decoded);
    utf8proc_category_t kind = category(c);
    if (c == '\t' || c == '\n' || c == '\r' || c == 0x2028 || c == 0x2029 ||
        kind == UTF8PROC_CATEGORY_ZS) {
      endPiece();
    } else if (c == 0 || c == 0xFFFD || kind == UTF8PROC_CATEGORY_CC ||
               kind == UTF8PROC_CATEGORY_CF) {
      continue;
    } else if (isCjk(c)) {
      endPiece();
      piece += c;
      endPiece();
    } else {
      piece += c;
    }
  }
  endPiece();
}

} // namespace

/// A trie over the bytes of all tokens. Pieces that go on a word hang below the node of "##", so
/// one table serves both positions. Edges are in a hash table with open addressing.
class Tokenizer::PieceTable {
public:
  explicit PieceTable(const Vocabulary &vocabulary) {
    size_t bytes = 2;
    for (int64_t id = 0; id < vocabulary.size(); ++id)
      bytes += vocabulary.token(static_cast<int32_t>(id)).size();
    if (bytes >= 1 << 24) // an edge's key has 24 bits for its node
      fail("{}: {} bytes of tokens are too many for a WordPiece vocabulary", vocabulary.name(),
           bytes);
    edges.resize(1 << 10);
    tokenOf.push_back(-1);
    follow = insert("##");
    for (int64_t id = 0; id < vocabulary.size(); ++id)
      tokenOf[insert(vocabulary.token(static_cast<int32_t>(id)))] = static_cast<int32_t>(id);
  }

  uint32_t firstRoot() const { return 0; }
  uint32_t followRoot() const { return follow; }

  /// Bytes of the longest token at the front of `text`, below `node`; 0 if none. Sets `id`.
  size_t longest(uint32_t node, std::string_view text, int32_t &id) const {
    size_t length = 0;
    for (size_t i = 0; i < text.size(); ++i) {
      const Edge &edge = edges[slot(keyOf(node, text[i]))];
      if (edge.to == 0)
        break;
      node = edge.to;
      if (tokenOf[node] >= 0) {
        id = tokenOf[node];
        length = i + 1;
      }
    }
    return length;
  }

private:
  struct Edge {
    uint32_t key = 0, to = 0; // to = 0: no edge, as no edge leads to the root
  };

  static uint32_t keyOf(uint32_t node, char byte) { return node << 8 | static_cast<uint8_t>(byte); }

  size_t slot(uint32_t key) const {
    size_t mask = edges.size() - 1, at = (key * 0x9E3779B97F4A7C15u >> 32) & mask;
    while (edges[at].to != 0 && edges[at].key != key)
      at = (at + 1) & mask;
    return at;
  }

  uint32_t insert(std::string_view token) {
    uint32_t node = 0;
    for (char c : token) {
      if (2 * tokenOf.size() > edges.size())
        grow();
      Edge &edge = edges[slot(keyOf(node, c))];
      if (edge.to == 0) {
        edge = {keyOf(node, c), static_cast<uint32_t>(tokenOf.size())};
        tokenOf.push_back(-1);
      }
      node = edge.to;
    }
    return node;
  }

  void grow() {
    std::vector<Edge> old(2 * edges.size());
    old.swap(edges);
    for (const Edge &edge : old)
      if (edge.to != 0)
        edges[slot(edge.key)] = edge;
  }

  std::vector<Edge> edges;
  std::vector<int32_t> tokenOf;
  uint32_t follow = 0;
};

/// Direct-mapped tables of words met before. A new word takes the place of the old one.
struct Tokenizer::Memory {
  static constexpr unsigned maxIds = 3, maxPieceBytes = 40, maxPieceIds = 20;
  static constexpr int shortBits = 15, pieceBits = 12;

  /// An ASCII word of up to 15 letters and digits as its (lowered) bytes, zeros behind.
  struct alignas(32) Short {
    uint64_t key[2] = {0, 0};
    int32_t ids[maxIds] = {0, 0, 0};
    uint32_t count = 0;
  };
  /// A white-space-delimited piece with characters outside ASCII.
  struct Piece {
    char bytes[maxPieceBytes];
    uint8_t length = 0, count = 0;
    int32_t ids[maxPieceIds];
  };

  static size_t slot(const uint64_t key[2]) {
    uint64_t hash = key[0] * 0x9E3779B97F4A7C15u ^ std::rotl(key[1] * 0xC2B2AE3D27D4EB4Fu, 31);
    return (hash ^ hash >> 29) * 0x165667B19E3779F9u >> (64 - shortBits);
  }
  static size_t slot(std::string_view piece) {
    return std::hash<std::string_view>()(piece) & ((1 << pieceBits) - 1);
  }

  /// Starts with the vocabulary's own words; of two in one place the one with the lower id, which
  /// is the more frequent in vocabularies made from counts.
  explicit Memory(const Vocabulary &vocabulary, bool lower) {
    for (int32_t id = static_cast<int32_t>(vocabulary.size()); id-- > 0;) {
      const std::string &token = vocabulary.token(id);
      AsciiBlock block = AsciiBlock::load(token.data(), token.data() + token.size(), false);
      bool upper =
          std::any_of(token.begin(), token.end(), [](char c) { return c >= 'A' && c <= 'Z'; });
      if (block.length == 0 || block.length == 16 || block.length != token.size() ||
          (lower && upper))
        continue;
      words[slot(block.key)] = {{block.key[0], block.key[1]}, {id, 0, 0}, 1};
    }
  }

  std::vector<Short> words = std::vector<Short>(1 << shortBits);
  std::vector<Piece> pieces = std::vector<Piece>(1 << pieceBits);
  std::vector<int32_t> output;
};

Casing parseCasing(const std::string &tokenizerName) {
  if (tokenizerName == "BertWordPieceLowerCase")
    return Casing::lower;
  if (tokenizerName == "BertWordPieceCase")
    return Casing::cased;
  fail("tokenizer \"{}\" is unknown; expected BertWordPieceLowerCase or BertWordPieceCase",
       tokenizerName);
}

Tokenizer::Tokenizer(const Vocabulary &vocabulary, Casing casing)
    : vocabulary(vocabulary), casing(casing), pieces(std::make_shared<PieceTable>(vocabulary)),
      memory(std::make_unique<Memory>(vocabulary, casing == Casing::lower)) {
  for (int c = 0; c < 128; ++c) {
    char text = static_cast<char>(c);
    asciiIds[c] = vocabulary.find(std::string_view(&text, 1));
    if (asciiIds[c] < 0)
      asciiIds[c] = vocabulary.unk;
  }
}

Tokenizer::Tokenizer(const Tokenizer &other)
    : vocabulary(other.vocabulary), casing(other.casing), pieces(other.pieces),
      memory(std::make_unique<Memory>(vocabulary, casing == Casing::lower)) {
  std::copy(std::begin(other.asciiIds), std::end(other.asciiIds), asciiIds);
}

Tokenizer::~Tokenizer() = default;

int32_t *Tokenizer::unknown(std::string_view word, int32_t *out) const {
  if (vocabulary.unk < 0)
    fail("{}: \"{}\" is not made of known pieces, and there is no [UNK] to stand for it",
         vocabulary.name(), word);
  *out++ = vocabulary.unk;
  return out;
}

int32_t *Tokenizer::encodeWord(std::string_view word, int codePoints, int32_t *out) const {
  if (codePoints > maxWordLength)
    return unknown(word.substr(0, 40), out);
  int32_t *start = out;
  uint32_t root = pieces->firstRoot();
  for (std::string_view rest = word; !rest.empty();) {
    int32_t id = -1;
    size_t length = pieces->longest(root, rest, id);
    if (length == 0)
      return unknown(word, start);
    *out++ = id;
    rest.remove_prefix(length);
    root = pieces->followRoot();
  }
  return out;
}

int32_t *Tokenizer::encodeShort(const AsciiBlock &block, int32_t *out) {
  Memory::Short &entry = memory->words[Memory::slot(block.key)];
  if (entry.count != 0 && entry.key[0] == block.key[0] && entry.key[1] == block.key[1]) {
    std::memcpy(out, entry.ids, sizeof entry.ids);
    return out + entry.count;
  }
  char bytes[16];
  std::memcpy(bytes, block.key, sizeof bytes);
  int32_t *end =
      encodeWord(std::string_view(bytes, block.length), static_cast<int>(block.length), out);
  if (unsigned count = static_cast<unsigned>(end - out); count <= Memory::maxIds) {
    std::memcpy(entry.key, block.key, sizeof entry.key);
    std::memcpy(entry.ids, out, count * sizeof(int32_t));
    entry.count = count;
  }
  return end;
}

int32_t *Tokenizer::encodeLong(const char *&at, const char *end, int32_t *out) {
  const char *start = at;
  while (at < end && kindOf(*at) == Kind::word)
    ++at;
  size_t length = static_cast<size_t>(at - start);
  if (length > maxWordLength)
    return unknown(std::string_view(start, 40), out);
  char lowered[maxWordLength];
  for (size_t i = 0; i < length; ++i)
    lowered[i] = casing == Casing::lower && start[i] >= 'A' && start[i] <= 'Z'
                     ? static_cast<char>(start[i] + 32)
                     : start[i];
  return encodeWord(std::string_view(lowered, length), static_cast<int>(length), out);
}

int32_t *Tokenizer::encodePiece(std::string_view piece, size_t offset, int32_t *out) {
  Memory::Piece &entry = memory->pieces[Memory::slot(piece)];
  bool fits = piece.size() <= Memory::maxPieceBytes;
  if (fits && entry.length == piece.size() &&
      std::memcmp(entry.bytes, piece.data(), piece.size()) == 0) {
    std::memcpy(out, entry.ids, entry.count * sizeof(int32_t));
    return out + entry.count;
  }
  int32_t *end = out;
  forEachWord(piece, offset, casing, [&](std::string_view word, size_t codePoints) {
    end = encodeWord(word, static_cast<int>(std::min<size_t>(codePoints, maxWordLength + 1)), end);
  });
  if (size_t count = static_cast<size_t>(end - out); fits && count <= Memory::maxPieceIds) {
    std::memcpy(entry.bytes, piece.data(), piece.size());
    std::memcpy(entry.ids, out, count * sizeof(int32_t));
    entry.length = static_cast<uint8_t>(piece.size());
    entry.count = static_cast<uint8_t>(count);
  }
  return end;
}

void Tokenizer::encode(std::string_view text, std::vector<int32_t> &ids) {
  // A token takes at least one byte of its word, and no code point grows by more than a factor of
  // three in bytes when it is decomposed.
  size_t room = 3 * text.size() + 16;
  if (memory->output.size() < room)
    memory->output.resize(room);
  const char *begin = text.data(), *at = begin, *end = at + text.size(), *pieceStart = at;
  int32_t *first = memory->output.data(), *out = first, *pieceOut = out;
  while (at < end) {
    AsciiBlock block = AsciiBlock::load(at, end, casing == Casing::lower);
    if (block.length == 16) {
      out = encodeLong(at, end, out);
      continue;
    }
    if (block.length > 0) {
      out = encodeShort(block, out);
      at += block.length;
      if (at == end)
        break;
    }
    switch (kindOf(*at)) {
    case Kind::space:
      pieceStart = ++at;
      pieceOut = out;
      break;
    case Kind::punctuation:
      if (int32_t id = asciiIds[static_cast<uint8_t>(*at)]; id >= 0)
        *out++ = id;
      else
        out = unknown(std::string_view(at, 1), out);
      ++at;
      break;
    default:
      while (at < end && kindOf(*at) != Kind::space)
        ++at;
      out = encodePiece(std::string_view(pieceStart, static_cast<size_t>(at - pieceStart)),
                        static_cast<size_t>(pieceStart - begin), pieceOut);
    }
  }
  ids.insert(ids.end(), first, out);
}

std::vector<std::string> Tokenizer::words(std::string_view text) const {
  std::vector<std::string> result;
  forEachWord(text, 0, casing, [&](std::string_view word, size_t) { result.emplace_back(word); });
  return result;
}

} // namespace seqpar::rt::data
