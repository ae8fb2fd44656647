#include "CommunicatorConformance.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <thread>

namespace seqpar::rt::test {

namespace {

using testing::Each;
using testing::HasSubstr;

// Every axes set of a grid with three different extents.
const Grid kGrid{2, 2, 3};

std::vector<int> groupOf(const Grid &grid, int rank, int axes) {
  std::vector<int> members;
  Coordinates at = grid.of(rank);
  for (int other = 0; other < grid.size(); ++other) {
    Coordinates to = grid.of(other);
    if ((to.dp == at.dp || (axes & kAxisDp)) && (to.pp == at.pp || (axes & kAxisPp)) &&
        (to.sp == at.sp || (axes & kAxisSp)))
      members.push_back(other);
  }
  return members;
}

TEST(Grid, RankAndCoordinatesAgree) {
  for (int rank = 0; rank < kGrid.size(); ++rank)
    EXPECT_EQ(kGrid.rankOf(kGrid.of(rank)), rank);
  EXPECT_EQ(kGrid.rankOf({1, 1, 2}), 11);
  EXPECT_EQ(kGrid.of(4).pp, 1);
}

TEST(Grid, GroupsHoldTheirMembersInRankOrder) {
  for (int axes = 0; axes <= kAllAxes; ++axes)
    for (int rank = 0; rank < kGrid.size(); ++rank) {
      std::vector<int> members = groupOf(kGrid, rank, axes);
      ASSERT_EQ(kGrid.groupSize(axes), static_cast<int>(members.size()));
      for (int i = 0; i < static_cast<int>(members.size()); ++i) {
        EXPECT_EQ(kGrid.groupMember(rank, axes, i), members[static_cast<size_t>(i)]);
        EXPECT_EQ(kGrid.groupIndex(members[static_cast<size_t>(i)], axes), i);
      }
    }
}

float valueOf(int rank, size_t i) { return std::sin(float(rank * 131 + int(i))) * (1 + rank); }

TEST_P(CommunicatorConformance, AllReduceSumsInRankOrderWithTheSameBitsEverywhere) {
  for (int axes : {1, 2, 4, 5, 6, 7})
    for (size_t elements : {size_t(1), size_t(7), size_t(33), size_t(5000)})
      run(kGrid, [&](Communicator &communicator) {
        std::vector<float> buffer(elements);
        for (size_t i = 0; i < elements; ++i)
          buffer[i] = valueOf(communicator.rank(), i);
        communicator.allReduce(buffer.data(), elements, ElementType::F32, axes);
        for (size_t i = 0; i < elements; ++i) {
          std::vector<int> members = groupOf(kGrid, communicator.rank(), axes);
          float expected = valueOf(members[0], i);
          for (size_t m = 1; m < members.size(); ++m)
            expected += valueOf(members[m], i);
          if (buffer[i] != expected)
            fail("element {} is {}, expected {}", i, buffer[i], expected);
        }
      });
}

TEST_P(CommunicatorConformance, AllReduceAddsEveryType) {
  run({1, 1, 4}, [](Communicator &communicator) {
    double real[] = {0.5, 1e300};
    int32_t number[] = {communicator.rank(), -1};
    int64_t large[] = {int64_t(1) << 40};
    communicator.allReduce(real, 1, ElementType::F64, kAllAxes);
    communicator.allReduce(number, 2, ElementType::I32, kAxisSp);
    communicator.allReduce(large, 1, ElementType::I64, kAxisSp);
    if (real[0] != 2 || real[1] != 1e300 || number[0] != 6 || number[1] != -4 ||
        large[0] != int64_t(4) << 40)
      fail("wrong sum {} {} {} {} {}", real[0], real[1], number[0], number[1], large[0]);
  });
}

TEST_P(CommunicatorConformance, AllGatherPutsMembersBetweenOuterAndInner) {
  for (int axes : {1, 4, 5})
    run(kGrid, [&](Communicator &communicator) {
      constexpr size_t kOuter = 3, kInner = 5;
      size_t members = static_cast<size_t>(kGrid.groupSize(axes));
      std::vector<float> send(kOuter * kInner), receive(send.size() * members, NAN);
      for (size_t i = 0; i < send.size(); ++i)
        send[i] = valueOf(communicator.rank(), i);
      communicator.allGather(send.data(), receive.data(), kOuter, kInner, ElementType::F32, axes);
      for (size_t i = 0; i < receive.size(); ++i) {
        size_t outer = i / (members * kInner), member = i / kInner % members;
        int rank = kGrid.groupMember(communicator.rank(), axes, static_cast<int>(member));
        if (receive[i] != valueOf(rank, outer * kInner + i % kInner))
          fail("element {} is not that of rank {}", i, rank);
      }
    });
}

TEST_P(CommunicatorConformance, BytesAreGathered) {
  run(kGrid, [&](Communicator &communicator) {
    constexpr size_t kOuter = 2, kInner = 3;
    size_t members = static_cast<size_t>(kGrid.groupSize(5));
    std::vector<uint8_t> send(kOuter * kInner), receive(send.size() * members, 255);
    for (size_t i = 0; i < send.size(); ++i)
      send[i] = static_cast<uint8_t>(10 * communicator.rank() + static_cast<int>(i));
    communicator.allGather(send.data(), receive.data(), kOuter, kInner, ElementType::Byte, 5);
    for (size_t i = 0; i < receive.size(); ++i) {
      size_t outer = i / (members * kInner), member = i / kInner % members;
      int rank = kGrid.groupMember(communicator.rank(), 5, static_cast<int>(member));
      if (receive[i] != 10 * rank + static_cast<int>(outer * kInner + i % kInner))
        fail("byte {} is not that of rank {}", i, rank);
    }
  });
}

TEST_P(CommunicatorConformance, ReduceScatterIsAllReduceThenOwnPart) {
  for (int axes : {2, 4, 7})
    run(kGrid, [&](Communicator &communicator) {
      constexpr size_t kOuter = 2, kInner = 7;
      size_t members = static_cast<size_t>(kGrid.groupSize(axes));
      size_t own = static_cast<size_t>(kGrid.groupIndex(communicator.rank(), axes));
      std::vector<float> send(kOuter * members * kInner), receive(kOuter * kInner, NAN);
      for (size_t i = 0; i < send.size(); ++i)
        send[i] = valueOf(communicator.rank(), i);
      communicator.reduceScatter(send.data(), receive.data(), kOuter, kInner, ElementType::F32,
                                 axes);
      communicator.allReduce(send.data(), send.size(), ElementType::F32, axes);
      for (size_t o = 0; o < kOuter; ++o)
        for (size_t i = 0; i < kInner; ++i)
          if (receive[o * kInner + i] != send[(o * members + own) * kInner + i])
            fail("element {},{} differs from the all-reduce", o, i);
    });
}

TEST_P(CommunicatorConformance, CollectivesWorkInPlace) {
  for (int axes : {1, 4, 5})
    run(kGrid, [&](Communicator &communicator) {
      constexpr size_t kInner = 37;
      size_t members = static_cast<size_t>(kGrid.groupSize(axes));
      size_t own = static_cast<size_t>(kGrid.groupIndex(communicator.rank(), axes));
      std::vector<float> buffer(members * kInner), sum;
      for (size_t i = 0; i < buffer.size(); ++i)
        buffer[i] = valueOf(communicator.rank(), i);
      sum = buffer;
      communicator.allReduce(sum.data(), sum.size(), ElementType::F32, axes);
      float *part = buffer.data() + own * kInner;
      communicator.reduceScatter(buffer.data(), part, 1, kInner, ElementType::F32, axes);
      communicator.allGather(part, buffer.data(), 1, kInner, ElementType::F32, axes);
      if (buffer != sum)
        fail("scattered and gathered sums differ from the all-reduce");
    });
}

// Several pending, waited for in another order, while the members meet in other collectives.
TEST_P(CommunicatorConformance, StartedReductionsHaveTheBitsOfTheOthers) {
  constexpr size_t kReductions = 5;
  for (int axes : {2, 4, 5, 7})
    run(kGrid, [&](Communicator &communicator) {
      size_t members = static_cast<size_t>(kGrid.groupSize(axes));
      size_t own = static_cast<size_t>(kGrid.groupIndex(communicator.rank(), axes));
      for (int round = 0; round < 3; ++round) {
        std::vector<float> sums[kReductions], started[kReductions];
        std::vector<Communicator::Request> requests;
        for (size_t k = 0; k < kReductions; ++k) {
          started[k].resize(members * (100 * k + 1));
          for (size_t i = 0; i < started[k].size(); ++i)
            started[k][i] = valueOf(communicator.rank() + round, i + k);
          sums[k] = started[k];
          float *all = started[k].data();
          requests.push_back(
              k % 2 ? communicator.startAllReduce(all, started[k].size(), ElementType::F32, axes)
                    : communicator.startReduceScatter(all, all + own * (100 * k + 1), 1,
                                                      100 * k + 1, ElementType::F32, axes));
        }
        for (size_t k = 0; k < kReductions; ++k)
          communicator.allReduce(sums[k].data(), sums[k].size(), ElementType::F32, axes);
        for (size_t k : {3, 0, 4, 2, 1}) {
          communicator.wait(requests[k]);
          size_t part = 100 * k + 1, begin = k % 2 ? 0 : own * part;
          size_t end = k % 2 ? sums[k].size() : begin + part;
          for (size_t i = begin; i < end; ++i)
            if (started[k][i] != sums[k][i])
              fail("element {} of reduction {} differs from the all-reduce", i, k);
        }
      }
    });
}

// Whoever begins first cannot work yet: what it waits for next may need what it has begun.
TEST_P(CommunicatorConformance, StartedReductionsMoveWhileTheirRanksWaitForOthers) {
  constexpr size_t kElements = 3000;
  for (int late : {0, 1, 2})
    run({1, 1, 3}, [&](Communicator &communicator) {
      std::vector<float> sum(kElements, float(communicator.rank() + 1)), other(600, 1);
      int note = 0, heard = 0, rank = communicator.rank();
      // What joins the ranks for messages is made by all of them, at the first one.
      auto in = communicator.receive(&heard, 4, (rank + 2) % 3, 0);
      auto out = communicator.send(&note, 4, (rank + 1) % 3, 0, Traffic::RingShift);
      communicator.wait(in);
      communicator.wait(out);
      if (rank == late)
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
      auto begun = communicator.startAllReduce(sum.data(), kElements, ElementType::F32, kAxisSp);
      if (rank == late)
        communicator.wait(begun);
      // The others wait for the late one, which waits for the sum.
      if (rank == late)
        communicator.wait(communicator.send(&note, 4, (late + 1) % 3, 1, Traffic::PointToPoint));
      else if (rank == (late + 1) % 3)
        communicator.wait(communicator.receive(&note, 4, late, 1));
      communicator.barrier();
      communicator.allReduce(other.data(), other.size(), ElementType::F32, kAxisSp);
      if (rank != late)
        communicator.wait(begun);
      for (float value : sum)
        if (value != 6)
          fail("the sum is {}, expected 6", value);
      if (other[599] != 3)
        fail("the other sum is {}, expected 3", other[599]);
    });
}

TEST_P(CommunicatorConformance, MessagesOfATagArriveInOrderAndTagsDoNotMix) {
  run({1, 1, 2}, [](Communicator &communicator) {
    int peer = 1 - communicator.rank(), sent[] = {1, 2, 3}, got[3] = {};
    std::vector<Communicator::Request> requests;
    if (communicator.rank() == 0) {
      requests.push_back(communicator.send(&sent[0], 4, peer, 7, Traffic::PointToPoint));
      requests.push_back(communicator.send(&sent[1], 4, peer, 9, Traffic::PointToPoint));
      requests.push_back(communicator.send(&sent[2], 4, peer, 7, Traffic::PointToPoint));
    } else {
      requests.push_back(communicator.receive(&got[0], 4, peer, 9));
      requests.push_back(communicator.receive(&got[1], 4, peer, 7));
      requests.push_back(communicator.receive(&got[2], 4, peer, 7));
    }
    for (auto request : requests)
      communicator.wait(request);
    if (communicator.rank() == 1 && (got[0] != 2 || got[1] != 1 || got[2] != 3))
      fail("received {} {} {}", got[0], got[1], got[2]);
  });
}

TEST_P(CommunicatorConformance, GroupsOfMessagesAreOneAtATime) {
  run({1, 1, 2}, [](Communicator &communicator) {
    auto errorOf = [](auto call) -> std::string {
      try {
        call();
      } catch (const Error &error) {
        return error.what();
      }
      return "";
    };
    std::string ended = errorOf([&] { communicator.endGroup(); });
    communicator.beginGroup();
    std::string begun = errorOf([&] { communicator.beginGroup(); });
    communicator.endGroup();
    if (ended !=
        fmt::format("rank {} ends a group of messages that it has not begun", communicator.rank()))
      fail("an end without a begin: {}", ended);
    if (begun != fmt::format("rank {} begins a group of messages in another one: expected one at a "
                             "time",
                             communicator.rank()))
      fail("a begin within a group: {}", begun);
  });
}

TEST_P(CommunicatorConformance, RingShiftsBringEveryBlockHome) {
  for (int ranks : {1, 2, 5, 8})
    run({1, 1, ranks}, [&](Communicator &communicator) {
      std::vector<float> block(1000, float(communicator.rank())), next(1000);
      int rank = communicator.rank(), size = communicator.size();
      for (int i = 1; i <= size; ++i) {
        auto in = communicator.receive(next.data(), 4000, (rank + size - 1) % size, 3);
        auto out = communicator.send(block.data(), 4000, (rank + 1) % size, 3, Traffic::RingShift);
        communicator.wait(out);
        communicator.wait(in);
        std::swap(block, next);
        if (block[999] != float((rank - i + 2 * size) % size))
          fail("after {} shifts: block of rank {}", i, block[999]);
      }
      uint64_t expected = size == 1 ? 0 : 4000u * unsigned(size);
      if (communicator.bytesSent(Traffic::RingShift) != expected)
        fail("counted {} bytes, expected {}", communicator.bytesSent(Traffic::RingShift), expected);
    });
}

TEST_P(CommunicatorConformance, CountsTheBytesOfEachKind) {
  run({1, 1, 4}, [](Communicator &communicator) {
    std::vector<float> small(10), large(40);
    communicator.allReduce(small.data(), 10, ElementType::F32, kAxisSp);
    communicator.allReduce(small.data(), 10, ElementType::F32, kAxisDp);
    communicator.allGather(small.data(), large.data(), 2, 5, ElementType::F32, kAxisSp);
    communicator.reduceScatter(large.data(), small.data(), 2, 5, ElementType::F32, kAxisSp);
    communicator.wait(
        communicator.startReduceScatter(large.data(), small.data(), 2, 5, ElementType::F32, 4));
    communicator.wait(communicator.startAllReduce(small.data(), 10, ElementType::F32, kAxisSp));
    if (communicator.bytesSent(Traffic::AllReduce) != 80 ||
        communicator.bytesSent(Traffic::AllGather) != 40 ||
        communicator.bytesSent(Traffic::ReduceScatter) != 320)
      fail("counted {} {} {}", communicator.bytesSent(Traffic::AllReduce),
           communicator.bytesSent(Traffic::AllGather),
           communicator.bytesSent(Traffic::ReduceScatter));
  });
}

TEST_P(CommunicatorConformance, BarrierHoldsEveryoneBack) {
  run({2, 1, 2}, [](Communicator &communicator) {
    auto now = [] { return double(std::chrono::steady_clock::now().time_since_epoch().count()); };
    for (int round = 0; round < 50; ++round) {
      double came = now(), all[4];
      communicator.barrier();
      double left = now();
      communicator.allGather(&came, all, 1, 1, ElementType::F64, kAllAxes);
      if (left < *std::max_element(all, all + 4))
        fail("rank {} left before the last one came", communicator.rank());
    }
  });
}

// The failing rank's message must reach all, whatever they are doing.
void expectOneMessage(const std::vector<std::string> &errors) {
  EXPECT_THAT(errors, Each("rank 2 has had enough"));
}

TEST_P(CommunicatorConformance, AFailureEndsRanksThatWaitForMessages) {
  expectOneMessage(GetParam().run({1, 1, 4}, [](Communicator &communicator) {
    if (communicator.rank() == 2)
      fail("rank 2 has had enough");
    std::vector<float> block(64);
    communicator.wait(communicator.receive(block.data(), 256, 2, 0));
  }));
}

TEST_P(CommunicatorConformance, AFailureEndsRanksInCollectives) {
  expectOneMessage(GetParam().run({1, 1, 4}, [](Communicator &communicator) {
    if (communicator.rank() == 2)
      fail("rank 2 has had enough");
    float value = 1;
    communicator.allReduce(&value, 1, ElementType::F32, kAllAxes);
  }));
}

TEST_P(CommunicatorConformance, AFailureEndsRanksThatWaitForStartedReductions) {
  for (bool begins : {false, true}) {
    // What a rank has begun outlives its failure, as a program's memory does.
    std::vector<std::vector<float>> blocks(4, std::vector<float>(4000));
    expectOneMessage(GetParam().run({1, 1, 4}, [&](Communicator &communicator) {
      std::vector<float> &block = blocks[static_cast<size_t>(communicator.rank())];
      Communicator::Request request = 0;
      if (begins || communicator.rank() != 2)
        request = communicator.startAllReduce(block.data(), 4000, ElementType::F32, kAllAxes);
      if (communicator.rank() == 2)
        fail("rank 2 has had enough");
      communicator.wait(request);
      communicator.barrier();
    }));
  }
}

TEST_P(CommunicatorConformance, AFailureEndsRanksInBarriers) {
  expectOneMessage(GetParam().run({1, 1, 4}, [](Communicator &communicator) {
    if (communicator.rank() == 2)
      fail("rank 2 has had enough");
    communicator.barrier();
  }));
}

TEST_P(CommunicatorConformance, AFailureInTheMiddleOfManyExchangesEndsAll) {
  for (int failing : {0, 13, 57})
    expectOneMessage(GetParam().run({1, 1, 4}, [&](Communicator &communicator) {
      int rank = communicator.rank();
      std::vector<float> block(500), next(500);
      for (int round = 0;; ++round) {
        if (rank == 2 && round == failing)
          fail("rank 2 has had enough");
        auto in = communicator.receive(next.data(), 2000, (rank + 3) % 4, 0);
        auto out = communicator.send(block.data(), 2000, (rank + 1) % 4, 0, Traffic::RingShift);
        communicator.allReduce(block.data(), 500, ElementType::F32, kAxisSp);
        communicator.wait(in);
        communicator.wait(out);
      }
    }));
}

TEST_P(CommunicatorConformance, ReceiveOfAnotherSizeIsAnError) {
  auto errors = GetParam().run({1, 1, 2}, [](Communicator &communicator) {
    std::vector<float> block(64);
    communicator.wait(communicator.rank() == 0
                          ? communicator.send(block.data(), 256, 1, 5, Traffic::PointToPoint)
                          : communicator.receive(block.data(), 128, 0, 5));
  });
  EXPECT_THAT(errors, Each(HasSubstr("256 bytes")));
  EXPECT_EQ(errors[0], errors[1]);
}

// The others wait for the one that is late, and say so.
TEST_P(CommunicatorConformance, AWaitThatLastsTooLongNamesWhoIsMissing) {
  auto errors = GetParam().run({1, 1, 3}, [](Communicator &communicator) {
    int value = 0;
    communicator.barrier();
    if (communicator.rank() == 1) {
      communicator.wait(communicator.receive(&value, sizeof(value), 2, 8)); // for ever
      return;
    }
    communicator.setTimeout(communicator.rank() == 0 ? 0.2 : 30);
    communicator.wait(communicator.receive(&value, sizeof(value), 1, 7));
  });
  EXPECT_THAT(errors, Each(testing::StartsWith(
                          "waited 0.2 s in vain for rank 1 to send 4 bytes with tag 7")));
}

TEST_P(CommunicatorConformance, ACollectiveThatLastsTooLongNamesWhoIsMissing) {
  auto errors = GetParam().run({1, 1, 4}, [](Communicator &communicator) {
    float value = 0;
    communicator.barrier();
    if (communicator.rank() == 2) {
      communicator.wait(communicator.receive(&value, sizeof(value), 0, 8)); // for ever
      return;
    }
    communicator.setTimeout(communicator.rank() == 0 ? 0.2 : 30);
    communicator.allReduce(&value, 1, ElementType::F32, kAllAxes);
  });
  EXPECT_THAT(errors, Each(testing::AllOf(testing::StartsWith("waited 0.2 s in vain for rank 2"),
                                          HasSubstr("--timeout"))));
}

TEST_P(CommunicatorConformance, CollectivesThatDoNotMatchAreAnError) {
  auto errors = GetParam().run({1, 1, 3}, [](Communicator &communicator) {
    std::vector<float> block(64);
    size_t elements = communicator.rank() == 1 ? 32 : 64;
    communicator.allReduce(block.data(), elements, ElementType::F32, kAxisSp);
  });
  EXPECT_THAT(errors, Each(HasSubstr("different")));
}

TEST_P(CommunicatorConformance, StartedReductionsThatDoNotMatchAreAnError) {
  auto errors = GetParam().run({1, 1, 3}, [](Communicator &communicator) {
    std::vector<float> block(64);
    size_t elements = communicator.rank() == 1 ? 32 : 64;
    communicator.wait(
        communicator.startAllReduce(block.data(), elements, ElementType::F32, kAxisSp));
  });
  EXPECT_THAT(errors, Each(HasSubstr("different")));
}

} // namespace

INSTANTIATE_TEST_SUITE_P(All, CommunicatorConformance, testing::ValuesIn(communicatorCases()),
                         [](const testing::TestParamInfo<CommunicatorCase> &info) {
                           return info.param.name;
                         });

} // namespace seqpar::rt::test
