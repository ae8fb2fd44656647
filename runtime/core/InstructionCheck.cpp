//===- InstructionCheck.cpp - the instruction lists of a program -*- C++ -*-===//

#include "InstructionCheck.h"

#include "OrderCheck.h"
#include "seqpar/rt/Error.h"

#include <algorithm>
#include <string>
#include <vector>

namespace seqpar::rt {

using namespace program;

namespace {

using InstructionList = flatbuffers::Vector<flatbuffers::Offset<Instruction>>;

/// The loop an instruction is in.
struct Place {
  bool update = false, ring = false;
  const RowsLoop *rows = nullptr;
};

class InstructionChecker {
public:
  InstructionChecker(const Program &program, const Stage &stage) : program(program), stage(stage) {
    kindOf.assign(stage.buffers()->size(), -1);
    for (const Input *input : *stage.inputs())
      kindOf[static_cast<size_t>(input->buffer())] = static_cast<int>(input->kind());
  }

  void list(const InstructionList &instructions, const Place &place);

private:
  void instruction(const Instruction &instruction, const Place &place);
  const Buffer &buffer(int index, const char *name);
  void operand(const Operand *operand, const char *name, uint64_t bytes, DataType type);
  void floats(const Operand *value, const char *name, std::initializer_list<int64_t> extents) {
    tensor(value, name, extents, DataType::F32);
  }
  void tensor(const Operand *value, const char *name, std::initializer_list<int64_t> extents,
              DataType type) {
    int64_t elements = static_cast<int64_t>(product(extents));
    operand(value, name, product({elements, static_cast<int64_t>(bytesOf(type))}), type);
  }
  DataType floatingType(const Operand *value, const char *name);
  DataType resultType(const Operand *value, const char *name, DataType operands);
  void matrix(const Operand *value, const char *name, int64_t rows, int64_t columns, int64_t ld,
              DataType type);
  void combine(Combine combine, const Place &place);
  void active(int64_t extent, const Place &place);

  void gemm(const Gemm &op, const Place &place);
  void rowKernel(const RowKernel &op, const Place &place);
  void kernelOperand(const Kernel &kernel, unsigned index, const RowKernel &op, const Place &place);
  void indexed(const KernelOperand &table, const Operand &operand, const Operand &index);
  void epilogue(const Gemm &op, DataType result);
  template <typename Op> DataType attention(const Op &op, const Place &place);
  template <typename Op> void attentionResult(const Op &op, DataType type) {
    int64_t width = static_cast<int64_t>(product({op.heads(), op.head_dim()}));
    tensor(op.out(), "out", {op.batch(), op.query_length(), width}, type);
  }
  void ringShift(const RingShiftStart &op);
  template <typename Op> void blocks(const Op &op, int64_t sendParts, int64_t receiveParts);
  template <typename Op> void peer(const Op &op);
  void ringLoop(const RingLoop &op, const Place &place);
  void rowsLoop(const RowsLoop &op, const Place &place);
  void axes(int set) {
    if (set < 1 || set > 7)
      fail("expected a set of axes from 1 to 7, found {}", set);
  }
  /// Tags below zero are the runtime's own (RankMessages.h).
  void exchangeTag(int tag) {
    if (tag < 0)
      fail("expected a tag from 0, found {}", tag);
  }
  void added(DataType type) {
    if (type == DataType::BF16 || type == DataType::F16)
      fail("cannot add elements of {}: reductions are of F32, F64 or I32", EnumNameDataType(type));
  }
  void reductionTag(int tag, const Place &place) {
    if (tag < -1)
      fail("expected a tag from 0, or -1 for none, found {}", tag);
    if (tag >= 0 && place.ring)
      fail("a reduction that is waited for later cannot begin in a ring loop");
  }
  int64_t members(int set) {
    return int64_t(set & 1 ? program.dp() : 1) * (set & 2 ? program.pp() : 1) *
           (set & 4 ? program.sp() : 1);
  }

  const Program &program;
  const Stage &stage;
  std::vector<int> kindOf; // input kind by buffer, -1: none
};

bool isIndexed(Access access) {
  return access == Access::Gather || access == Access::ScatterAdd || access == Access::Scatter;
}

void InstructionChecker::list(const InstructionList &instructions, const Place &place) {
  for (const Instruction *each : instructions) {
    try {
      instruction(*each, place);
    } catch (const Error &error) {
      fail("{}: {}", locationOf(*each), error.what());
    }
  }
}

void InstructionChecker::instruction(const Instruction &instruction, const Place &place) {
  Operation type = instruction.operation_type();
  bool compute = type == Operation::Gemm || type == Operation::RowKernel || type == Operation::Fill;
  if (place.rows && !compute)
    fail("{} cannot be in a rows loop, which other ranks run another number of times",
         EnumNameOperation(type));
  switch (type) {
  case Operation::Gemm:
    return gemm(*instruction.operation_as_Gemm(), place);
  case Operation::RowKernel:
    return rowKernel(*instruction.operation_as_RowKernel(), place);
  case Operation::AttentionForward: {
    auto &op = *instruction.operation_as_AttentionForward();
    DataType type = attention(op, place), out = resultType(op.out(), "out", type);
    if (out != DataType::F32 && (!op.initialize() || !op.finish() || place.ring))
      fail("out: the accumulator of several blocks must be F32, found {}", EnumNameDataType(out));
    attentionResult(op, out);
    return floats(op.sum(), "sum", {op.batch(), op.heads(), op.query_length()});
  }
  case Operation::AttentionBackward: {
    auto &op = *instruction.operation_as_AttentionBackward();
    DataType type = attention(op, place);
    int64_t width = static_cast<int64_t>(product({op.heads(), op.head_dim()}));
    attentionResult(op, type);
    tensor(op.dout(), "dout", {op.batch(), op.query_length(), width}, type);
    floats(op.delta(), "delta", {op.batch(), op.heads(), op.query_length()});
    floats(op.dq(), "dq", {op.batch(), op.query_length(), width});
    floats(op.dk(), "dk", {op.batch(), op.key_length(), width});
    floats(op.dv(), "dv", {op.batch(), op.key_length(), width});
    return combine(op.combine_kv(), place);
  }
  case Operation::RingShiftStart:
    return ringShift(*instruction.operation_as_RingShiftStart());
  case Operation::Wait:
    return exchangeTag(instruction.operation_as_Wait()->tag());
  case Operation::AllReduce: {
    auto &op = *instruction.operation_as_AllReduce();
    axes(op.axes());
    reductionTag(op.tag(), place);
    added(op.type());
    return operand(op.buffer(), "buffer",
                   product({static_cast<int64_t>(std::min(op.elements(), kLargestBytes + 1)),
                            static_cast<int64_t>(bytesOf(op.type()))}),
                   op.type());
  }
  case Operation::AllGather: {
    auto &op = *instruction.operation_as_AllGather();
    axes(op.axes());
    return blocks(op, 1, members(op.axes()));
  }
  case Operation::ReduceScatter: {
    auto &op = *instruction.operation_as_ReduceScatter();
    axes(op.axes());
    reductionTag(op.tag(), place);
    added(op.type());
    return blocks(op, members(op.axes()), 1);
  }
  case Operation::Send:
    return peer(*instruction.operation_as_Send());
  case Operation::Receive:
    return peer(*instruction.operation_as_Receive());
  case Operation::Fill: {
    auto &op = *instruction.operation_as_Fill();
    for (int index : {op.buffer()->buffer(), op.buffer()->alternate()})
      if (index != -1 && buffer(index, "buffer").bytes() < op.bytes())
        fail("buffer {} must hold {} bytes, it has {}", index, op.bytes(),
             buffer(index, "buffer").bytes());
    if (op.buffer()->buffer() == -1)
      fail("no buffer to fill");
    return;
  }
  case Operation::RingLoop:
    return ringLoop(*instruction.operation_as_RingLoop(), place);
  case Operation::RowsLoop:
    return rowsLoop(*instruction.operation_as_RowsLoop(), place);
  case Operation::NONE:
    break;
  }
  fail("unknown operation {}", static_cast<int>(type));
}

const Buffer &InstructionChecker::buffer(int index, const char *name) {
  if (index < 0 || static_cast<unsigned>(index) >= stage.buffers()->size())
    fail("{}: there is no buffer {}", name, index);
  return *stage.buffers()->Get(static_cast<unsigned>(index));
}

void InstructionChecker::operand(const Operand *operand, const char *name, uint64_t bytes,
                                 DataType type) {
  for (int index : {operand->buffer(), operand->alternate()}) {
    if (index == -1 && index == operand->alternate() && operand->buffer() != -1)
      continue;
    const Buffer &found = buffer(index, name);
    if (found.type() != type || found.bytes() < bytes)
      fail("{}: buffer {} must hold {} bytes of {}, it has {} of {}", name, index, bytes,
           EnumNameDataType(type), found.bytes(), EnumNameDataType(found.type()));
  }
}

/// The type of an operand that must hold F32, BF16 or F16.
DataType InstructionChecker::floatingType(const Operand *value, const char *name) {
  DataType type = buffer(value->buffer(), name).type();
  if (type != DataType::F32 && type != DataType::BF16 && type != DataType::F16)
    fail("{}: expected F32, BF16 or F16, found {}", name, EnumNameDataType(type));
  return type;
}

/// The type of a result of operands of one type: that type, or F32.
DataType InstructionChecker::resultType(const Operand *value, const char *name, DataType operands) {
  DataType type = buffer(value->buffer(), name).type();
  if (type == operands || type == DataType::F32)
    return type;
  std::string_view found = EnumNameDataType(type);
  if (operands == DataType::F32)
    fail("{}: expected F32, the type of the operands, found {}", name, found);
  fail("{}: expected {}, the type of the operands, or F32, found {}", name,
       EnumNameDataType(operands), found);
}

void InstructionChecker::matrix(const Operand *value, const char *name, int64_t rows,
                                int64_t columns, int64_t ld, DataType type) {
  if (ld < columns)
    fail("{}: leading dimension {} is below the {} columns", name, ld, columns);
  uint64_t elements = product({rows - 1, ld}) + static_cast<uint64_t>(columns);
  tensor(value, name, {static_cast<int64_t>(elements)}, type);
}

void InstructionChecker::combine(Combine combine, const Place &place) {
  if (combine < Combine::MIN || combine > Combine::MAX)
    fail("unknown combine {}", static_cast<int>(combine));
  // In the first micro-batch every chunk would overwrite the ones before it.
  if (combine == Combine::AddAfterFirstMicroBatch && (place.rows || place.update))
    fail("AddAfterFirstMicroBatch has no meaning {}",
         place.update ? "in the update" : "in a rows loop: fill first, then add");
}

// `extent` is replaced by the rows of a chunk, so it must be able to hold a full one.
void InstructionChecker::active(int64_t extent, const Place &place) {
  if (!place.rows)
    fail("active rows outside of a rows loop");
  if (extent < place.rows->chunk())
    fail("{} rows cannot hold a chunk of {}", extent, place.rows->chunk());
}

void InstructionChecker::gemm(const Gemm &op, const Place &place) {
  if (op.m() < 1 || op.n() < 1 || op.k() < 1)
    fail("expected positive extents, found m {}, n {}, k {}", op.m(), op.n(), op.k());
  combine(op.combine(), place);
  switch (op.active_rows()) {
  case ActiveRows::None:
    break;
  case ActiveRows::M:
    active(op.m(), place);
    break;
  case ActiveRows::K:
    active(op.k(), place);
    break;
  default:
    fail("unknown active rows {}", static_cast<int>(op.active_rows()));
  }
  DataType type = floatingType(op.a(), "a");
  if (op.transpose_a())
    matrix(op.a(), "a", op.k(), op.m(), op.lda(), type);
  else
    matrix(op.a(), "a", op.m(), op.k(), op.lda(), type);
  if (op.transpose_b())
    matrix(op.b(), "b", op.n(), op.k(), op.ldb(), type);
  else
    matrix(op.b(), "b", op.k(), op.n(), op.ldb(), type);
  DataType result = resultType(op.c(), "c", type);
  matrix(op.c(), "c", op.m(), op.n(), op.ldc(), result);
  epilogue(op, result);
}

void InstructionChecker::epilogue(const Gemm &op, DataType result) {
  if (op.bias() && op.combine() != Combine::Overwrite)
    fail("bias: expected combine Overwrite, found {}", EnumNameCombine(op.combine()));
  if (op.bias() && op.active_rows() == ActiveRows::K)
    fail("bias: a product over the present rows may have no terms, and none is added to those");
  if (op.bias())
    tensor(op.bias(), "bias", {op.n()}, result);
  if (!op.saved())
    return;
  if (!op.bias())
    fail("saved: expected a bias beside it");
  if (op.ldc() % 8 != 0)
    fail("saved: expected a leading dimension that 8 divides, found {}", op.ldc());
  matrix(op.saved(), "saved", op.m(), op.n(), op.ldc(), result);
}

void InstructionChecker::rowKernel(const RowKernel &op, const Place &place) {
  if (op.kernel() < 0 || static_cast<unsigned>(op.kernel()) >= program.kernels()->size())
    fail("there is no kernel {}", op.kernel());
  const Kernel &kernel = *program.kernels()->Get(static_cast<unsigned>(op.kernel()));
  if (op.operands()->size() != kernel.operands()->size())
    fail("kernel {} takes {} operands, found {}", kernel.symbol()->string_view(),
         kernel.operands()->size(), op.operands()->size());
  if (op.rows() < 1)
    fail("expected at least one row, found {}", op.rows());
  combine(op.combine(), place);
  if (op.active_rows())
    active(op.rows(), place);
  for (unsigned i = 0; i < kernel.operands()->size(); ++i)
    kernelOperand(kernel, i, op, place);
  for (unsigned i = 0; i < kernel.operands()->size(); ++i) {
    const KernelOperand &table = *kernel.operands()->Get(i);
    if (isIndexed(table.access()))
      indexed(table, *op.operands()->Get(i),
              *op.operands()->Get(static_cast<unsigned>(table.index())));
  }
}

void InstructionChecker::kernelOperand(const Kernel &kernel, unsigned index, const RowKernel &op,
                                       const Place &place) {
  const KernelOperand &declared = *kernel.operands()->Get(index);
  const Operand &given = *op.operands()->Get(index);
  int64_t size = static_cast<int64_t>(bytesOf(declared.type()));
  uint64_t bytes = product({declared.columns(), size});
  if (declared.access() == Access::Row)
    bytes = product({op.rows(), declared.columns(), size});
  else if (declared.access() == Access::RowScalar)
    bytes = product({op.rows(), size});
  else if (declared.access() == Access::Scalar)
    bytes = static_cast<uint64_t>(size);
  std::string name = "operand " + std::to_string(index);
  bool advances = place.rows &&
                  (given.buffer() == place.rows->rows() || given.buffer() == place.rows->labels());
  if (advances && (!op.active_rows() || declared.access() != Access::RowScalar))
    fail("{}: a buffer that advances with the rows loop is for one number a row, active rows only",
         name);
  // A chunk's active rows end where the list of masked rows does.
  operand(&given, name.c_str(), advances ? sizeof(int32_t) : bytes, declared.type());
}

// Row numbers come from inputs only, whose values the feed has checked or made.
void InstructionChecker::indexed(const KernelOperand &table, const Operand &operand,
                                 const Operand &index) {
  int64_t rows =
      static_cast<int64_t>(buffer(operand.buffer(), "table").bytes() /
                           (static_cast<uint64_t>(table.columns()) * bytesOf(table.type())));
  int64_t needed = 0;
  switch (kindOf[static_cast<size_t>(index.buffer())]) {
  case static_cast<int>(InputKind::Tokens):
  case static_cast<int>(InputKind::MaskedLabels):
    needed = program.vocabulary();
    break;
  case static_cast<int>(InputKind::Types):
    needed = 1;
    break;
  case static_cast<int>(InputKind::Positions):
    needed = program.seq_length();
    break;
  case static_cast<int>(InputKind::MaskedRows):
  case static_cast<int>(InputKind::FirstTokenRows):
    needed = program.micro_batch() * program.chunk_length();
    break;
  case static_cast<int>(InputKind::SentenceOrder):
    needed = 2;
    break;
  default:
    fail("a table is indexed by buffer {}, which is no input of row numbers", index.buffer());
  }
  if (index.alternate() != -1 || operand.alternate() != -1)
    fail("a table and its index cannot alternate");
  if (rows < needed)
    fail("a table of {} rows is indexed by numbers up to {}", rows, needed - 1);
}

/// Returns the type of q, k and v.
template <typename Op> DataType InstructionChecker::attention(const Op &op, const Place &place) {
  for (int64_t extent : {op.batch(), op.heads(), op.head_dim(), op.query_length(), op.key_length(),
                         op.mask_length()})
    if (extent < 1)
      fail("expected positive extents, found {}", extent);
  if (op.head_dim() > 256)
    fail("expected a head dimension up to 256, found {}", op.head_dim());
  if (op.block() < KeyBlock::MIN || op.block() > KeyBlock::MAX)
    fail("unknown key block {}", static_cast<int>(op.block()));
  if (op.block() == KeyBlock::RingIteration && !place.ring)
    fail("a key block of a ring iteration outside of a ring loop");
  int64_t keyBlocks = op.block() == KeyBlock::Whole ? 1 : program.sp();
  if (product({op.key_length(), keyBlocks}) > static_cast<uint64_t>(op.mask_length()))
    fail("{} blocks of {} keys do not fit a mask of {}", keyBlocks, op.key_length(),
         op.mask_length());
  if (!(op.dropout() >= 0 && op.dropout() < 1) || op.site() < 0 || op.site() > 65535)
    fail("expected a dropout rate in [0, 1) and a site below 65536, found {} and {}", op.dropout(),
         op.site());
  auto samples = static_cast<int>(InputKind::SampleNumbers);
  if (op.dropout() > 0 && std::find(kindOf.begin(), kindOf.end(), samples) == kindOf.end())
    fail("dropout needs the input SampleNumbers");
  if (op.dropout() > 0 && op.batch() != program.micro_batch())
    fail("dropout needs the batch {} to be the micro-batch {}", op.batch(), program.micro_batch());
  int64_t width = static_cast<int64_t>(product({op.heads(), op.head_dim()}));
  DataType type = floatingType(op.q(), "q");
  tensor(op.q(), "q", {op.batch(), op.query_length(), width}, type);
  tensor(op.k(), "k", {op.batch(), op.key_length(), width}, type);
  tensor(op.v(), "v", {op.batch(), op.key_length(), width}, type);
  floats(op.lse(), "lse", {op.batch(), op.heads(), op.query_length()});
  operand(op.mask(), "mask", product({op.batch(), op.mask_length(), 4}), DataType::I32);
  return type;
}

void InstructionChecker::ringShift(const RingShiftStart &op) {
  exchangeTag(op.tag());
  if (op.send()->size() != op.receive()->size() || op.send()->size() == 0)
    fail("expected as many buffers to send as to receive, found {} and {}", op.send()->size(),
         op.receive()->size());
  for (const auto *side : {op.send(), op.receive()})
    for (const Operand *each : *side) {
      for (int index : {each->buffer(), each->alternate()})
        if ((index != -1 || each->buffer() == -1) && buffer(index, "buffer").bytes() < op.bytes())
          fail("buffer {} must hold {} bytes, it has {}", index, op.bytes(),
               buffer(index, "buffer").bytes());
    }
}

template <typename Op>
void InstructionChecker::blocks(const Op &op, int64_t sendParts, int64_t receiveParts) {
  int64_t outer = static_cast<int64_t>(std::min(op.outer(), kLargestBytes + 1));
  int64_t inner = static_cast<int64_t>(std::min(op.inner(), kLargestBytes + 1));
  int64_t bytes =
      static_cast<int64_t>(product({outer, inner, static_cast<int64_t>(bytesOf(op.type()))}));
  operand(op.send(), "send", product({bytes, sendParts}), op.type());
  operand(op.receive(), "receive", product({bytes, receiveParts}), op.type());
}

template <typename Op> void InstructionChecker::peer(const Op &op) {
  exchangeTag(op.tag());
  if (op.stage() < 0 || op.stage() >= program.pp() ||
      program.stages()->Get(static_cast<unsigned>(op.stage())) == &stage)
    fail("expected another stage below {}, found {}", program.pp(), op.stage());
  for (int index : {op.buffer()->buffer(), op.buffer()->alternate()})
    if ((index != -1 || op.buffer()->buffer() == -1) &&
        buffer(index, "buffer").bytes() < op.bytes())
      fail("buffer {} must hold {} bytes", index, op.bytes());
}

void InstructionChecker::ringLoop(const RingLoop &op, const Place &place) {
  if (place.ring)
    fail("a ring loop in a ring loop");
  Place inside = place;
  inside.ring = true;
  list(*op.body(), inside);
}

void InstructionChecker::rowsLoop(const RowsLoop &op, const Place &place) {
  if (place.ring)
    fail("a rows loop in a ring loop");
  if (op.chunk() < 1)
    fail("expected chunks of at least one row, found {}", op.chunk());
  auto advances = [&](int index, InputKind kind) {
    if (index != -1 && (buffer(index, "buffer").segment() != Segment::Input ||
                        kindOf[static_cast<size_t>(index)] != static_cast<int>(kind)))
      fail("buffer {} is not the input {}", index, EnumNameInputKind(kind));
  };
  advances(op.rows(), InputKind::MaskedRows);
  advances(op.labels(), InputKind::MaskedLabels);
  Place inside = place;
  inside.rows = &op;
  list(*op.body(), inside);
}

} // namespace

void checkInstructions(const Program &program, const Stage &stage) {
  InstructionChecker checker(program, stage);
  for (const InstructionList *list : {stage.micro_batch(), stage.update()}) {
    Place place;
    place.update = list == stage.update();
    checker.list(*list, place);
  }
  checkExchanges(program, stage);
}

IndexLimits indexLimits(const Program &program) {
  IndexLimits limits;
  limits.rows.fill(std::numeric_limits<int64_t>::max());
  for (const Stage *stage : *program.stages()) {
    std::vector<int> kindOf(stage->buffers()->size(), -1);
    for (const Input *input : *stage->inputs())
      kindOf[static_cast<size_t>(input->buffer())] = static_cast<int>(input->kind());
    auto visit = [&](auto &self, const InstructionList &list) -> void {
      for (const Instruction *each : list) {
        if (auto *loop = each->operation_as_RingLoop())
          self(self, *loop->body());
        if (auto *loop = each->operation_as_RowsLoop())
          self(self, *loop->body());
        auto *op = each->operation_as_RowKernel();
        if (!op)
          continue;
        const Kernel &kernel = *program.kernels()->Get(static_cast<unsigned>(op->kernel()));
        for (unsigned i = 0; i < kernel.operands()->size(); ++i) {
          const KernelOperand &table = *kernel.operands()->Get(i);
          if (!isIndexed(table.access()))
            continue;
          int index = op->operands()->Get(static_cast<unsigned>(table.index()))->buffer();
          uint64_t row = static_cast<uint64_t>(table.columns()) * bytesOf(table.type());
          uint64_t bytes = stage->buffers()
                               ->Get(static_cast<unsigned>(op->operands()->Get(i)->buffer()))
                               ->bytes();
          int64_t &limit = limits.rows[static_cast<size_t>(kindOf[static_cast<size_t>(index)])];
          limit = std::min(limit, static_cast<int64_t>(bytes / row));
        }
      }
    };
    visit(visit, *stage->micro_batch());
    visit(visit, *stage->update());
  }
  return limits;
}

} // namespace seqpar::rt
