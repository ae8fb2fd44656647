#include "Link.h"

#include <algorithm>
#include <sys/prctl.h>

namespace seqpar::rt {

namespace {

constexpr size_t kLargestPart = size_t(1) << 30;
// How long a cancelled transfer may take to end by itself.
constexpr auto kPatience = std::chrono::milliseconds(500);
constexpr auto kIdleInterval = std::chrono::milliseconds(5);

} // namespace

Link::Link(const std::function<std::unique_ptr<Wire>()> &makeWire, const std::string &own) {
  thread = std::thread([&, this] { run(makeWire, own); });
  std::unique_lock lock(mutex);
  wake.wait(lock, [&] { return ready; });
  if (failure) {
    lock.unlock();
    thread.join();
    std::rethrow_exception(failure);
  }
}

Link::~Link() {
  {
    std::lock_guard lock(mutex);
    stop = true;
    wake.notify_all();
  }
  thread.join();
}

void Link::run(const std::function<std::unique_ptr<Wire>()> &makeWire, const std::string &own) {
  prctl(PR_SET_TIMERSLACK, 2000UL); // nanoseconds; sleeps are as short as asked for
  try {
    wire = makeWire();
    processIndex = wire->index();
    theTexts = wire->allGather(own);
  } catch (...) {
    failure = std::current_exception();
  }
  {
    // The constructor's arguments are gone after this.
    std::lock_guard lock(mutex);
    ready = true;
    wake.notify_all();
  }
  if (!failure) {
    try {
      loop();
    } catch (const std::exception &error) {
      refuse(fmt::format("process {}: the exchange between processes has failed: {}", processIndex,
                         error.what()));
    }
  }
  wire.reset();
}

void Link::post(ThreadGroup::State &group, Message &message) {
  std::lock_guard lock(mutex);
  commands.push_back({Command::Post, {&group, &message}});
  wake.notify_all();
}

void Link::cancel(Message &message) {
  std::lock_guard lock(mutex);
  commands.push_back({Command::Cancel, {nullptr, &message}});
  wake.notify_all();
}

void Link::close(const ThreadGroup::State &group) {
  std::lock_guard lock(mutex);
  commands.push_back({Command::Close, {}, group.number});
  wake.notify_all();
}

void Link::loop() {
  listen();
  for (int idle = 0;;) {
    {
      std::lock_guard lock(mutex);
      if (stop)
        return;
      taken.swap(commands);
    }
    for (obeyed = 0; obeyed < taken.size(); ++obeyed)
      obey(taken[obeyed]);
    bool moved = look() || !taken.empty();
    taken.clear();
    giveUpCancelled();
    idle = moved ? 0 : idle + 1;
    if (idle > 2)
      sleep(idle);
  }
}

// After an error of the wire nothing moves. Whoever waits for the link, or asks it for something,
// ends with the message.
void Link::refuse(const std::string &why) {
  std::vector<Posted> open(sends.begin(), sends.end());
  auto add = [&](const Posted &posted) {
    if (std::none_of(open.begin(), open.end(),
                     [&](const Posted &other) { return other.message == posted.message; }))
      open.push_back(posted);
  };
  for (const Transfer &transfer : transfers)
    add(transfer.posted);
  std::unique_lock lock(mutex, std::defer_lock);
  for (;;) {
    for (; obeyed < taken.size(); ++obeyed)
      if (taken[obeyed].kind == Command::Post)
        add(taken[obeyed].posted);
    for (const Posted &posted : open) {
      posted.group->abort(why);
      posted.group->finished(*posted.message);
    }
    open.clear();
    taken.clear();
    obeyed = 0;
    lock.lock();
    wake.wait(lock, [&] { return stop || !commands.empty(); });
    if (stop)
      return;
    taken.swap(commands);
    lock.unlock();
  }
}

// A message library moves bytes only while it is looked at, also those of others: even an idle
// link looks now and then.
void Link::sleep(int idle) {
  Clock::duration interval = kIdleInterval;
  if (busy()) // after half a second a millisecond
    interval = std::chrono::microseconds(std::clamp(idle, std::min(200, 10 * idle), 1000));
  std::unique_lock lock(mutex);
  wake.wait_for(lock, interval, [&] { return stop || !commands.empty(); });
}

void Link::obey(const Command &command) {
  switch (command.kind) {
  case Command::Post: {
    if (!command.posted.message->isSend)
      return announce(command.posted);
    Message &send = *command.posted.message;
    auto found = std::find_if(announcements.begin(), announcements.end(), [&](const auto &other) {
      return other.group == command.posted.group->number && other.source == send.source &&
             other.destination == send.destination && other.tag == send.tag &&
             other.channel == send.channel;
    });
    if (found == announcements.end()) {
      sends.push_back(command.posted);
      return;
    }
    start(command.posted, *found);
    announcements.erase(found);
    return;
  }
  case Command::Cancel:
    return cancelNow(command.posted.message);
  case Command::Close:
    closedBelow = std::max(closedBelow, command.group + 1);
    announcements.remove_if([&](const auto &other) { return other.group < closedBelow; });
    return;
  }
}

// True when something has moved.
bool Link::look() {
  done.clear();
  bool moved = wire->poll(done);
  for (Wire::Token token : done) {
    if (token == incomingToken) {
      // Announcements are taken one by one: their order is that in which they were sent.
      Announcement announcement = incoming;
      listen();
      heard(announcement);
    } else if (auto sent = announcing.find(token); sent != announcing.end()) {
      announcing.erase(sent);
    } else if (auto part = transferOf.find(token); part != transferOf.end()) {
      Transfer *transfer = part->second;
      transferOf.erase(part);
      if (--transfer->left)
        continue;
      transfer->posted.group->finished(*transfer->posted.message);
      transfers.remove_if([&](const Transfer &other) { return &other == transfer; });
    }
  }
  return moved;
}

void Link::listen() {
  incomingToken = wire->receive(&incoming, sizeof(incoming), Wire::kAnyProcess, Wire::kUnannounced);
}

void Link::announce(Posted receive) {
  Message &message = *receive.message;
  int process = receive.group->processOf(message.source);
  int tag = nextPayloadTag;
  nextPayloadTag = tag == std::min(wire->largestTag(), 1 << 30) ? 1 : tag + 1;
  transfer(receive, process, tag);
  auto announcement =
      std::make_unique<Announcement>(Announcement{.group = receive.group->number,
                                                  .source = message.source,
                                                  .destination = message.destination,
                                                  .tag = message.tag,
                                                  .channel = message.channel,
                                                  .payloadTag = tag,
                                                  .bytes = message.bytes,
                                                  .kind = message.kind});
  Wire::Token token =
      wire->send(announcement.get(), sizeof(Announcement), process, Wire::kUnannounced);
  announcing[token] = std::move(announcement);
}

void Link::heard(const Announcement &announcement) {
  if (announcement.group < closedBelow)
    return;
  auto found = std::find_if(sends.begin(), sends.end(), [&](const Posted &posted) {
    const Message &send = *posted.message;
    return posted.group->number == announcement.group && send.source == announcement.source &&
           send.destination == announcement.destination && send.tag == announcement.tag &&
           send.channel == announcement.channel;
  });
  if (found == sends.end()) {
    announcements.push_back(announcement);
    return;
  }
  start(*found, announcement);
  sends.erase(found);
}

void Link::start(Posted send, const Announcement &announcement) {
  Message to = *send.message;
  to.isSend = false;
  to.bytes = announcement.bytes;
  to.kind = announcement.kind;
  if (std::string why = disagreement(*send.message, to); !why.empty()) {
    send.group->abort(why);
    send.group->finished(*send.message);
    return;
  }
  transfer(send, send.group->processOf(send.message->destination), announcement.payloadTag);
}

void Link::transfer(Posted posted, int process, int tag) {
  Message &message = *posted.message;
  Transfer &added = transfers.emplace_back(Transfer{posted, message.isSend, {}, 0, false, {}});
  size_t at = 0;
  do {
    size_t bytes = std::min(message.bytes - at, kLargestPart);
    uint8_t *data = static_cast<uint8_t *>(message.data) + at;
    Wire::Token part = message.isSend ? wire->send(data, bytes, process, tag)
                                      : wire->receive(data, bytes, process, tag);
    added.parts.push_back(part);
    transferOf[part] = &added;
    at += bytes;
  } while (at < message.bytes);
  added.left = added.parts.size();
}

void Link::cancelNow(Message *message) {
  auto waiting = std::find_if(sends.begin(), sends.end(),
                              [&](const Posted &posted) { return posted.message == message; });
  if (waiting != sends.end()) {
    Posted posted = *waiting;
    sends.erase(waiting);
    return posted.group->finished(*message);
  }
  auto moving = std::find_if(transfers.begin(), transfers.end(), [&](const Transfer &transfer) {
    return transfer.posted.message == message;
  });
  if (moving == transfers.end() || moving->cancelled)
    return; // it is done
  moving->cancelled = true;
  moving->giveUp = Clock::now() + kPatience;
  if (!moving->isSend)
    for (Wire::Token part : moving->parts) {
      auto found = transferOf.find(part);
      if (found != transferOf.end() && found->second == &*moving)
        wire->cancel(part);
    }
}

// The other side of a transfer may never answer, because it has gone or has cancelled too.
void Link::giveUpCancelled() {
  transfers.remove_if([&](const Transfer &transfer) {
    if (!transfer.cancelled || Clock::now() <= transfer.giveUp)
      return false;
    for (Wire::Token part : transfer.parts)
      if (auto found = transferOf.find(part);
          found != transferOf.end() && found->second == &transfer) {
        wire->abandon(part);
        transferOf.erase(found);
      }
    transfer.posted.group->finished(*transfer.posted.message);
    return true;
  });
}

} // namespace seqpar::rt
