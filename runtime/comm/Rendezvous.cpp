#include "Rendezvous.h"

#include "seqpar/rt/Error.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fmt/ranges.h>
#include <memory>
#include <netdb.h>
#include <sys/socket.h>
#include <thread>

namespace seqpar::rt {

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr char kMagic[8] = {'s', 'e', 'q', 'p', 'a', 'r', '\r', '\n'};
// Less than Processes gives all of the joining, so that this tells who is missing.
constexpr auto kJoinTime = seconds(100);
constexpr auto kAnswerTime = seconds(20);
// A name server that does not answer may yet.
constexpr auto kNameTime = seconds(5);
constexpr auto kFirstPause = milliseconds(20), kLongestPause = milliseconds(500);
constexpr uint32_t kLongestText = 1 << 20;

using Addresses = std::unique_ptr<addrinfo, decltype(&freeaddrinfo)>;

Addresses resolve(const std::string &host, int port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV;
  auto until = SocketClock::now() + kNameTime;
  for (;;) {
    addrinfo *list = nullptr;
    int status = getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &list);
    if (status == 0)
      return Addresses(list, freeaddrinfo);
    if (status != EAI_AGAIN || SocketClock::now() > until)
      fail("MASTER_ADDR={}: cannot be resolved: {}", host, gai_strerror(status));
    std::this_thread::sleep_for(kLongestPause);
  }
}

} // namespace

std::string Greeting::bytes() const {
  std::string text(kMagic, sizeof(kMagic));
  for (uint32_t word : {version, count, index, uint32_t(0)})
    text.append(reinterpret_cast<const char *>(&word), sizeof(word));
  return text.append(reinterpret_cast<const char *>(&run), sizeof(run));
}

std::optional<Greeting> Greeting::parse(std::string_view bytes) {
  if (bytes.size() != kBytes || bytes.substr(0, sizeof(kMagic)) != std::string_view(kMagic, 8))
    return std::nullopt;
  uint32_t words[4];
  Greeting found;
  std::memcpy(words, bytes.data() + sizeof(kMagic), sizeof(words));
  std::memcpy(&found.run, bytes.data() + sizeof(kMagic) + sizeof(words), sizeof(found.run));
  if (words[3] != 0)
    return std::nullopt;
  found.version = words[0];
  found.count = words[1];
  found.index = words[2];
  return found;
}

std::string Greeting::refusal(const Launch &launch) const {
  if (version != kVersion)
    return fmt::format("RANK=0 greets in version {}, another process in version {}: expected the "
                       "same build of the same tool",
                       kVersion, version);
  if (run != launch.run)
    return fmt::format("processes of two runs meet at port {} ({}): set SEQPAR_PORT to another "
                       "port",
                       launch.port, launch.portRule);
  if (count != static_cast<uint32_t>(launch.count))
    return fmt::format("RANK={} has WORLD_SIZE={}, RANK=0 has WORLD_SIZE={}: expected the same",
                       index, count, launch.count);
  if (index == 0 || index >= count)
    return fmt::format("RANK={} has connected to RANK=0: expected a rank from 1 to {}", index,
                       count - 1);
  return "";
}

Rendezvous::Rendezvous(const Launch &launch)
    : launch(launch), sockets(static_cast<size_t>(launch.count)) {
  if (launch.index == 0)
    receiveAll();
  else
    connect();
}

std::string Rendezvous::where() const {
  return fmt::format("MASTER_ADDR={}, port {} ({})", launch.host, launch.port, launch.portRule);
}

void Rendezvous::receiveAll() {
  Socket listening = listenOn(launch.port);
  if (!listening)
    fail(
        "cannot listen for the other processes at port {} ({}): {}; set SEQPAR_PORT to a port that "
        "is free on this machine",
        launch.port, launch.portRule, std::strerror(errno));
  Reception reception(listening, Greeting::kBytes);
  auto until = SocketClock::now() + kJoinTime;
  for (;;) {
    std::vector<size_t> missing;
    for (size_t i = 1; i < sockets.size(); ++i)
      if (!sockets[i])
        missing.push_back(i);
    if (missing.empty())
      return;
    std::string failure;
    if (!reception.receive(until, [&](Socket made, const std::string &bytes) {
          receive(std::move(made), bytes, failure);
        }))
      fail("RANK={} of WORLD_SIZE={} has not come to {} within {} s", fmt::join(missing, ","),
           launch.count, where(), kJoinTime.count());
    if (!failure.empty())
      fail("{}", failure);
  }
}

void Rendezvous::receive(Socket made, const std::string &bytes, std::string &failure) {
  auto greeting = Greeting::parse(bytes);
  if (!greeting)
    return;
  std::string refusal = greeting->refusal(launch);
  if (refusal.empty() && sockets[greeting->index])
    refusal = fmt::format("two processes have RANK={}", greeting->index);
  put(made, refusal);
  if (refusal.empty())
    sockets[greeting->index] = std::move(made);
  else if (greeting->version == Greeting::kVersion && greeting->run == launch.run)
    failure = refusal; // one of this run, which cannot be complete
}

void Rendezvous::connect() {
  Addresses addresses = resolve(launch.host, launch.port);
  auto until = SocketClock::now() + kJoinTime;
  milliseconds pause = kFirstPause;
  int error = 0;
  for (;;) {
    for (addrinfo *each = addresses.get(); each; each = each->ai_next) {
      first = connectTo(*each, std::min(until, SocketClock::now() + seconds(5)));
      if (first)
        return greet();
      error = errno;
    }
    if (SocketClock::now() > until)
      fail("RANK=0 cannot be reached within {} s: {}: {}", kJoinTime.count(), where(),
           std::strerror(error));
    std::this_thread::sleep_for(pause);
    pause = std::min(2 * pause, kLongestPause);
  }
}

void Rendezvous::greet() {
  std::string own = Greeting{.count = static_cast<uint32_t>(launch.count),
                             .index = static_cast<uint32_t>(launch.index),
                             .run = launch.run}
                        .bytes();
  auto until = SocketClock::now() + kAnswerTime;
  char magic[sizeof(kMagic)];
  if (!writeAll(first, own.data(), own.size(), until) ||
      !readAll(first, magic, sizeof(magic), until) ||
      std::memcmp(magic, kMagic, sizeof(kMagic)) != 0)
    fail("{}: what listens there does not answer as RANK=0 of this run: it has ended, or another "
         "program has the port: then set SEQPAR_PORT to one that is free",
         where());
  uint32_t size = 0;
  std::string refusal;
  if (readAll(first, &size, sizeof(size), until) && size <= kLongestText) {
    refusal.resize(size);
    if (readAll(first, refusal.data(), size, until) && refusal.empty())
      return;
  }
  fail("{}", refusal.empty() ? "RANK=0 has ended while the processes joined" : refusal);
}

// Magic, bytes, text. What cannot be sent the other side will say.
void Rendezvous::put(const Socket &to, const std::string &text) const {
  auto size = static_cast<uint32_t>(text.size());
  std::string all(kMagic, sizeof(kMagic));
  all.append(reinterpret_cast<const char *>(&size), sizeof(size)).append(text);
  writeAll(to, all.data(), all.size(), SocketClock::now() + kAnswerTime);
}

std::string Rendezvous::get(const Socket &from) const {
  auto until = SocketClock::now() + kJoinTime;
  char magic[sizeof(kMagic)];
  uint32_t size = 0;
  std::string text;
  if (readAll(from, magic, sizeof(magic), until) && readAll(from, &size, sizeof(size), until) &&
      size <= kLongestText) {
    text.resize(size);
    if (readAll(from, text.data(), size, until))
      return text;
  }
  fail("a process has ended while the processes joined at {}", where());
}

std::vector<std::string> Rendezvous::gather(const std::string &own) {
  std::vector<std::string> texts = {own};
  if (launch.index > 0) {
    put(first, own);
    texts.clear();
    for (int i = 0; i < launch.count; ++i)
      texts.push_back(get(first));
    return texts;
  }
  for (size_t i = 1; i < sockets.size(); ++i)
    texts.push_back(get(sockets[i]));
  for (size_t i = 1; i < sockets.size(); ++i)
    for (const std::string &text : texts)
      put(sockets[i], text);
  return texts;
}

} // namespace seqpar::rt
