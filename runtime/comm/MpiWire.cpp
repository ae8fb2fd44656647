#include "Wire.h"

#include "seqpar/rt/Error.h"

#include <chrono>
#include <mpi.h>

namespace seqpar::rt {

namespace {

// How long a transfer may have failed before that is told: the end of its process tells more.
constexpr auto kGrace = std::chrono::seconds(3);

std::string textOf(int status, const char *what) {
  char text[MPI_MAX_ERROR_STRING];
  int length = 0;
  MPI_Error_string(status, text, &length);
  return fmt::format("{}: {}", what, std::string(text, static_cast<size_t>(length)));
}

class MpiWire final : public Wire {
public:
  MpiWire() {
    // All calls come from the thread that makes this object.
    int provided = 0;
    check(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided), "MPI_Init_thread");
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    MPI_Comm_rank(MPI_COMM_WORLD, &process);
    MPI_Comm_size(MPI_COMM_WORLD, &processes);
    int *bound = nullptr, found = 0;
    MPI_Comm_get_attr(MPI_COMM_WORLD, MPI_TAG_UB, &bound, &found);
    tagBound = found ? *bound : 32767;
  }
  ~MpiWire() override {
    if (failure.empty()) // else it may wait for ever
      MPI_Finalize();
  }

  int index() const override { return process; }
  int count() const override { return processes; }
  int largestTag() const override { return tagBound; }

  std::vector<std::string> allGather(const std::string &own) override {
    int bytes = static_cast<int>(own.size());
    std::vector<int> sizes(static_cast<size_t>(processes)), offsets(sizes.size());
    check(MPI_Allgather(&bytes, 1, MPI_INT, sizes.data(), 1, MPI_INT, MPI_COMM_WORLD),
          "MPI_Allgather");
    int total = 0;
    for (size_t i = 0; i < sizes.size(); ++i) {
      offsets[i] = total;
      total += sizes[i];
    }
    std::string all(static_cast<size_t>(total), ' ');
    check(MPI_Allgatherv(own.data(), bytes, MPI_BYTE, all.data(), sizes.data(), offsets.data(),
                         MPI_BYTE, MPI_COMM_WORLD),
          "MPI_Allgatherv");
    std::vector<std::string> texts;
    for (size_t i = 0; i < sizes.size(); ++i)
      texts.push_back(all.substr(static_cast<size_t>(offsets[i]), static_cast<size_t>(sizes[i])));
    return texts;
  }

  Token send(const void *data, size_t bytes, int to, int tag) override {
    Token token = take();
    note(MPI_Isend(data, static_cast<int>(bytes), MPI_BYTE, to, tag, MPI_COMM_WORLD,
                   &requests[token]),
         "MPI_Isend", token);
    return token;
  }
  Token receive(void *data, size_t bytes, int from, int tag) override {
    Token token = take();
    note(MPI_Irecv(data, static_cast<int>(bytes), MPI_BYTE,
                   from == kAnyProcess ? MPI_ANY_SOURCE : from, tag, MPI_COMM_WORLD,
                   &requests[token]),
         "MPI_Irecv", token);
    return token;
  }
  void cancel(Token token) override {
    if (requests[token] != MPI_REQUEST_NULL)
      MPI_Cancel(&requests[token]);
  }
  void abandon(Token token) override {
    if (requests[token] != MPI_REQUEST_NULL)
      MPI_Request_free(&requests[token]);
    ended.push_back(token);
  }

  bool poll(std::vector<Token> &done) override {
    // A token's number is used again only when the caller has dealt with its end.
    unused.insert(unused.end(), ended.begin(), ended.end());
    ended.clear();
    if (!failure.empty() && std::chrono::steady_clock::now() > failedAt + kGrace)
      fail("{}", failure);
    int number = 0;
    completed.resize(requests.size());
    statuses.resize(requests.size());
    int status = MPI_Testsome(static_cast<int>(requests.size()), requests.data(), &number,
                              completed.data(), statuses.data());
    if (status != MPI_SUCCESS && status != MPI_ERR_IN_STATUS) {
      note(status, "MPI_Testsome");
      return false;
    }
    for (int i = 0; number != MPI_UNDEFINED && i < number; ++i) {
      auto token = static_cast<Token>(completed[static_cast<size_t>(i)]);
      // Only with this status is the field set. Then the data has not come.
      int error = statuses[static_cast<size_t>(i)].MPI_ERROR;
      if (status == MPI_ERR_IN_STATUS && error != MPI_SUCCESS) {
        note(error, "a transfer of MPI", token);
        continue;
      }
      done.push_back(token);
      ended.push_back(token);
    }
    return !done.empty();
  }

private:
  static constexpr Token kNone = ~Token(0);

  void check(int status, const char *what) {
    note(status, what);
    if (status != MPI_SUCCESS)
      fail("{}", failure);
  }
  // Keeps the first error. Its transfer is never done.
  void note(int status, const char *what, Token token = kNone) {
    if (status == MPI_SUCCESS)
      return;
    if (token != kNone)
      requests[token] = MPI_REQUEST_NULL;
    if (!failure.empty())
      return;
    failure = textOf(status, what);
    failedAt = std::chrono::steady_clock::now();
  }
  Token take() {
    if (unused.empty()) {
      unused.push_back(static_cast<Token>(requests.size()));
      requests.push_back(MPI_REQUEST_NULL);
    }
    Token token = unused.back();
    unused.pop_back();
    return token;
  }

  int process = 0, processes = 1, tagBound = 0;
  std::vector<MPI_Request> requests; // by token; null when it is not in use
  std::vector<Token> unused, ended;
  std::vector<int> completed;
  std::vector<MPI_Status> statuses;
  std::string failure; // the first
  std::chrono::steady_clock::time_point failedAt;
};

} // namespace

std::unique_ptr<Wire> createMpiWire() { return std::make_unique<MpiWire>(); }

} // namespace seqpar::rt
