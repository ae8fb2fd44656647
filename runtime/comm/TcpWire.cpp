//===- TcpWire.cpp - a wire of TCP connections ------------------*- C++ -*-===//
//
// A connection between any two processes. Messages are framed, one after another in each direction;
// the bytes go straight from and to the callers' buffers. Nothing waits: a connection that takes no
// more is tried again in the next poll, and none moves so much in one that the others starve.
//
//===----------------------------------------------------------------------===//

#include "Rendezvous.h"
#include "Wire.h"
#include "seqpar/rt/Error.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

namespace seqpar::rt {

namespace {

// What a connection may move in each direction in one poll.
constexpr size_t kMostAtATime = 4 << 20;
// How long a connection may be broken before that is told: the end of its process tells more.
constexpr auto kGrace = std::chrono::seconds(3);

class TcpWire final : public Wire {
public:
  explicit TcpWire(const Launch &launch)
      : process(launch.index), rendezvous(launch), peers(static_cast<size_t>(launch.count)) {
    Listener listener;
    auto sockets = listener.connect(process, rendezvous.gather(listener.address()));
    for (size_t i = 0; i < peers.size(); ++i)
      peers[i].socket = std::move(sockets[i]);
  }

  int index() const override { return process; }
  int count() const override { return static_cast<int>(peers.size()); }
  int largestTag() const override { return 1 << 30; }
  std::vector<std::string> allGather(const std::string &own) override {
    return rendezvous.gather(own);
  }

  Token send(const void *data, size_t bytes, int to, int tag) override {
    Peer &peer = peers[static_cast<size_t>(to)];
    Token token = next++;
    peer.sends.push_back(
        {token, {bytes, tag, kMark}, static_cast<const uint8_t *>(data), bytes, 0, {}});
    write(peer);
    return token;
  }
  Token receive(void *data, size_t bytes, int from, int tag) override {
    receives.push_back({next, static_cast<uint8_t *>(data), bytes, from, tag});
    return next++;
  }
  void cancel(Token token) override {
    if (forgetReceive(token))
      ended.push_back(token);
  }
  void abandon(Token token) override;
  bool poll(std::vector<Token> &done) override;

private:
  static constexpr Token kNone = ~Token(0);
  static constexpr uint32_t kMark = 0x51504152;

  struct Header {
    uint64_t bytes;
    int32_t tag;
    uint32_t mark;
  };
  struct Sending {
    Token token; ///< kNone: given up
    Header header;
    const uint8_t *data;
    size_t bytes;
    size_t sent;               ///< of header and data
    std::vector<uint8_t> kept; ///< of one that was given up on its way
  };
  struct Receiving {
    Token token;
    uint8_t *data;
    size_t bytes;
    int from, tag;
  };
  /// The message that comes in.
  struct Frame {
    Header header;
    size_t headerBytes = 0; ///< that have come
    bool placed = false;    ///< its receive is known
    uint8_t *to = nullptr;  ///< null: it was taken back
    Token token = kNone;
    size_t bytes = 0; ///< that have come
  };
  struct Peer {
    Socket socket;
    std::deque<Sending> sends;
    Frame frame;
  };

  int numberOf(const Peer &peer) const { return static_cast<int>(&peer - peers.data()); }
  bool forgetReceive(Token token);
  void write(Peer &peer);
  void read(Peer &peer);
  bool place(Peer &peer);
  size_t take(Peer &peer, void *to, size_t bytes);
  bool waits(const Peer &peer) const;
  const Receiving *findReceive(const Peer &peer) const;
  void lose(Peer &peer, const std::string &why);

  const int process;
  Rendezvous rendezvous;
  std::vector<Peer> peers;
  std::vector<Receiving> receives; // posted, in order
  std::vector<Token> ended;        // since the last poll
  std::vector<pollfd> entries;
  std::vector<uint8_t> unwanted = std::vector<uint8_t>(64 << 10);
  Token next = 0;
  bool moved = false;
  std::string failure; // the first
  std::chrono::steady_clock::time_point failedAt;
};

// A connection that is lost tells it twice: the end of a process reaches the ranks sooner, by its
// other connections. Its transfers are never done.
void TcpWire::lose(Peer &peer, const std::string &why) {
  peer.socket.close();
  if (!failure.empty())
    return;
  failure = fmt::format("the data connection to process {} is lost: {}", numberOf(peer), why);
  failedAt = std::chrono::steady_clock::now();
}

bool TcpWire::forgetReceive(Token token) {
  auto posted = std::find_if(receives.begin(), receives.end(),
                             [&](const Receiving &each) { return each.token == token; });
  if (posted != receives.end()) {
    receives.erase(posted);
    return true;
  }
  for (Peer &peer : peers)
    if (peer.frame.placed && peer.frame.token == token) {
      peer.frame.to = nullptr; // the rest comes, and goes nowhere
      peer.frame.token = kNone;
      return true;
    }
  return false;
}

void TcpWire::abandon(Token token) {
  if (forgetReceive(token))
    return;
  for (Peer &peer : peers)
    for (auto each = peer.sends.begin(); each != peer.sends.end(); ++each) {
      if (each->token != token)
        continue;
      if (each->sent == 0) {
        peer.sends.erase(each);
        return;
      }
      // The other side expects the rest of the frame.
      each->kept.assign(each->data, each->data + each->bytes);
      each->data = each->kept.data();
      each->token = kNone;
      return;
    }
}

void TcpWire::write(Peer &peer) {
  size_t budget = kMostAtATime;
  while (!peer.sends.empty() && peer.socket && budget) {
    Sending &each = peer.sends.front();
    size_t ofHeader = std::min(each.sent, sizeof(Header)), ofData = each.sent - ofHeader;
    iovec parts[2] = {
        {reinterpret_cast<uint8_t *>(&each.header) + ofHeader, sizeof(Header) - ofHeader},
        {const_cast<uint8_t *>(each.data) + ofData, std::min(each.bytes - ofData, budget)}};
    msghdr message{};
    message.msg_iov = parts;
    message.msg_iovlen = 2;
    ssize_t put = sendmsg(peer.socket.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (put < 0) {
      if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
        lose(peer, std::strerror(errno));
      return;
    }
    moved = true;
    each.sent += static_cast<size_t>(put);
    budget -= std::min(budget, static_cast<size_t>(put));
    if (each.sent < sizeof(Header) + each.bytes)
      continue;
    if (each.token != kNone)
      ended.push_back(each.token);
    peer.sends.pop_front();
  }
}

const TcpWire::Receiving *TcpWire::findReceive(const Peer &peer) const {
  auto found = std::find_if(receives.begin(), receives.end(), [&](const Receiving &each) {
    return each.tag == peer.frame.header.tag &&
           (each.from == kAnyProcess || each.from == numberOf(peer));
  });
  return found == receives.end() ? nullptr : &*found;
}

// Whether the next message is one that comes unannounced, and nobody receives yet.
bool TcpWire::waits(const Peer &peer) const {
  return peer.frame.headerBytes == sizeof(Header) && !peer.frame.placed && !findReceive(peer);
}

// Finds out where the message goes whose header has come. False when it must wait.
bool TcpWire::place(Peer &peer) {
  Frame &frame = peer.frame;
  if (frame.header.mark != kMark || frame.header.tag < 0)
    fail("process {} sends what is no message", numberOf(peer));
  const Receiving *found = findReceive(peer);
  if (!found && frame.header.tag == kUnannounced)
    return false;
  frame.placed = true;
  if (!found) // it was taken back
    return true;
  if (found->bytes != frame.header.bytes)
    fail("process {} sends {} bytes with tag {}, expected {}", numberOf(peer), frame.header.bytes,
         frame.header.tag, found->bytes);
  frame.to = found->data;
  frame.token = found->token;
  receives.erase(receives.begin() + (found - receives.data()));
  return true;
}

// How many bytes have come; 0: none now, or never again.
size_t TcpWire::take(Peer &peer, void *to, size_t bytes) {
  ssize_t got = recv(peer.socket.get(), to, bytes, MSG_DONTWAIT);
  if (got > 0) {
    moved = true;
    return static_cast<size_t>(got);
  }
  if (got == 0)
    lose(peer, "the other side has closed it");
  else if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
    lose(peer, std::strerror(errno));
  return 0;
}

void TcpWire::read(Peer &peer) {
  Frame &frame = peer.frame;
  for (size_t budget = kMostAtATime; budget;) {
    if (frame.headerBytes < sizeof(Header)) {
      size_t got = take(peer, reinterpret_cast<uint8_t *>(&frame.header) + frame.headerBytes,
                        sizeof(Header) - frame.headerBytes);
      if (!got)
        return;
      frame.headerBytes += got;
      continue;
    }
    if (!frame.placed && !place(peer))
      return;
    size_t left = frame.header.bytes - frame.bytes;
    if (left) {
      size_t most = std::min(left, frame.to ? budget : unwanted.size());
      size_t got = take(peer, frame.to ? frame.to + frame.bytes : unwanted.data(), most);
      if (!got)
        return;
      frame.bytes += got;
      budget -= std::min(budget, got);
      left -= got;
    }
    if (left)
      continue;
    if (frame.token != kNone)
      ended.push_back(frame.token);
    frame = Frame();
  }
}

bool TcpWire::poll(std::vector<Token> &done) {
  if (!failure.empty() && std::chrono::steady_clock::now() > failedAt + kGrace)
    fail("{}", failure);
  entries.clear();
  for (const Peer &peer : peers)
    entries.push_back(
        {peer.socket.get(),
         static_cast<short>((waits(peer) ? 0 : POLLIN) | (peer.sends.empty() ? 0 : POLLOUT)), 0});
  ::poll(entries.data(), entries.size(), 0);
  for (size_t i = 0; i < peers.size(); ++i) {
    if (peers[i].socket && entries[i].revents & (POLLIN | POLLHUP | POLLERR))
      read(peers[i]);
    if (peers[i].socket && entries[i].revents & POLLOUT)
      write(peers[i]);
  }
  done.insert(done.end(), ended.begin(), ended.end());
  ended.clear();
  return std::exchange(moved, false) || !done.empty();
}

} // namespace

std::unique_ptr<Wire> createTcpWire(const Launch &launch) {
  return std::make_unique<TcpWire>(launch);
}

} // namespace seqpar::rt
