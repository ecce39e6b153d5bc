#include "testing/history_checker.h"

#include <algorithm>
#include <map>

#include <gtest/gtest.h>

#include "base/random.h"

namespace lamina::testing {
namespace {

using Op = ListOperation;
using Outcome = ListTransaction::Outcome;

/// Transactions that all overlap in time, unless placed.
ListTransaction T(int64_t id, std::vector<Op> operations, Outcome outcome = Outcome::kCommitted) {
  return {id, 0, 100, outcome, std::move(operations)};
}
ListTransaction At(int64_t begin, int64_t end, ListTransaction t) {
  t.begin = begin;
  t.end = end;
  return t;
}

std::vector<AnomalyKind> Kinds(const std::vector<ListTransaction>& history,
                               Consistency promised = Consistency::kSerializable) {
  std::vector<AnomalyKind> kinds;
  for (const Anomaly& anomaly : CheckListHistory(history, promised)) kinds.push_back(anomaly.kind);
  return kinds;
}

using AnomalyList = std::vector<AnomalyKind>;

TEST(HistoryCheckerTest, SoundHistoryHasNoAnomaly) {
  EXPECT_EQ(
      Kinds({At(0, 1, T(1, {Op::Read(1, {}), Op::Append(1, 11)})),
             At(2, 3, T(2, {Op::Append(1, 12), Op::Append(1, 13), Op::Read(1, {11, 12, 13})})),
             At(4, 5, T(3, {Op::Append(1, 14)}, Outcome::kAborted)),
             At(6, 7, T(4, {Op::Read(1, {11, 12, 13}), Op::Append(2, 21)})),
             At(8, 9, T(5, {Op::Read(2, {21}), Op::Read(1, {11, 12, 13})}))},
            Consistency::kStrictSerializable),
      AnomalyList{});
}

TEST(HistoryCheckerTest, WriteCycleIsG0) {
  EXPECT_EQ(Kinds({T(1, {Op::Append(1, 11), Op::Append(2, 21)}),
                   T(2, {Op::Append(1, 12), Op::Append(2, 22)}),
                   T(3, {Op::Read(1, {11, 12}), Op::Read(2, {22, 21})})}),
            AnomalyList{AnomalyKind::kWriteCycle});
}

TEST(HistoryCheckerTest, ReadOfAnAbortedAppendIsG1a) {
  EXPECT_EQ(Kinds({T(1, {Op::Append(1, 11)}, Outcome::kAborted), T(2, {Op::Read(1, {11})})}),
            AnomalyList{AnomalyKind::kAbortedRead});
}

TEST(HistoryCheckerTest, ReadInsideATransactionIsG1b) {
  const AnomalyList kinds = Kinds({T(1, {Op::Append(1, 11), Op::Append(1, 12)}),
                                   T(2, {Op::Read(1, {11})}), T(3, {Op::Read(1, {11, 12})})});
  EXPECT_EQ(std::count(kinds.begin(), kinds.end(), AnomalyKind::kIntermediateRead), 1);
}

TEST(HistoryCheckerTest, EachReadsTheOtherIsG1c) {
  EXPECT_EQ(Kinds({T(1, {Op::Append(1, 11), Op::Read(2, {21})}),
                   T(2, {Op::Append(2, 21), Op::Read(1, {11})})}),
            AnomalyList{AnomalyKind::kCircularInformation});
}

TEST(HistoryCheckerTest, HalfOfACommitIsReadSkew) {
  EXPECT_EQ(Kinds({T(1, {Op::Append(1, 11), Op::Append(2, 21)}),
                   T(2, {Op::Read(1, {11}), Op::Read(2, {})}), T(3, {Op::Read(2, {21})})}),
            AnomalyList{AnomalyKind::kReadSkew});
}

TEST(HistoryCheckerTest, TwoUpdatesOfOneReadAreALostUpdate) {
  const std::vector<ListTransaction> history = {T(1, {Op::Read(1, {}), Op::Append(1, 11)}),
                                                T(2, {Op::Read(1, {}), Op::Append(1, 12)}),
                                                T(3, {Op::Read(1, {11, 12})})};
  EXPECT_EQ(Kinds(history), AnomalyList{AnomalyKind::kLostUpdate});
  EXPECT_EQ(Kinds(history, Consistency::kSnapshot), AnomalyList{AnomalyKind::kLostUpdate});
}

TEST(HistoryCheckerTest, WriteSkewIsG2AndAllowedInSnapshots) {
  const std::vector<ListTransaction> history = {
      T(1, {Op::Read(1, {}), Op::Read(2, {}), Op::Append(1, 11)}),
      T(2, {Op::Read(1, {}), Op::Read(2, {}), Op::Append(2, 21)}),
      T(3, {Op::Read(1, {11}), Op::Read(2, {21})})};
  EXPECT_EQ(Kinds(history), AnomalyList{AnomalyKind::kWriteSkew});
  EXPECT_EQ(Kinds(history, Consistency::kSnapshot), AnomalyList{});
}

TEST(HistoryCheckerTest, LongCycleOfThreeIsFound) {
  EXPECT_EQ(
      Kinds({T(1, {Op::Read(1, {}), Op::Append(2, 21)}), T(2, {Op::Read(2, {}), Op::Append(3, 31)}),
             T(3, {Op::Read(3, {}), Op::Append(1, 11)}),
             T(4, {Op::Read(1, {11}), Op::Read(2, {21}), Op::Read(3, {31})})}),
      AnomalyList{AnomalyKind::kWriteSkew});
}

TEST(HistoryCheckerTest, StaleReadNeedsRealTime) {
  const std::vector<ListTransaction> history = {At(0, 1, T(1, {Op::Append(1, 11)})),
                                                At(2, 3, T(2, {Op::Read(1, {})})),
                                                At(4, 5, T(3, {Op::Read(1, {11})}))};
  EXPECT_EQ(Kinds(history), AnomalyList{});
  EXPECT_EQ(Kinds(history, Consistency::kStrictSerializable), AnomalyList{AnomalyKind::kStaleRead});
  // Overlapping, it may come first.
  std::vector<ListTransaction> overlapping = history;
  overlapping[1].begin = 0;
  EXPECT_EQ(Kinds(overlapping, Consistency::kStrictSerializable), AnomalyList{});
}

TEST(HistoryCheckerTest, ObserversThatDisagreeOnTheOrderNeedRealTimeOrAnEdge) {
  // 4 sees 1 and not 2, then 5 sees 2 and not 1.
  EXPECT_EQ(Kinds({T(1, {Op::Append(1, 11)}), T(2, {Op::Append(2, 21)}),
                   T(4, {Op::Read(1, {11}), Op::Read(2, {})}),
                   T(5, {Op::Read(1, {}), Op::Read(2, {21})})}),
            AnomalyList{AnomalyKind::kWriteSkew});
}

TEST(HistoryCheckerTest, CommittedAppendThatNobodySeesLaterIsLost) {
  EXPECT_EQ(Kinds({At(0, 1, T(1, {Op::Append(1, 11)})), At(2, 3, T(2, {Op::Read(1, {})}))},
                  Consistency::kStrictSerializable),
            AnomalyList{AnomalyKind::kLostAppend});
}

TEST(HistoryCheckerTest, UnknownOutcomeMayGoEitherWay) {
  const auto unknown = T(1, {Op::Append(1, 11), Op::Append(2, 21)}, Outcome::kUnknown);
  EXPECT_EQ(Kinds({unknown, At(200, 201, T(2, {Op::Read(1, {}), Op::Read(2, {})}))},
                  Consistency::kStrictSerializable),
            AnomalyList{});
  EXPECT_EQ(Kinds({unknown, At(200, 201, T(2, {Op::Read(1, {11}), Op::Read(2, {21})}))},
                  Consistency::kStrictSerializable),
            AnomalyList{});
  // But not half.
  EXPECT_EQ(Kinds({unknown, T(2, {Op::Read(1, {11}), Op::Read(2, {})}), T(3, {Op::Read(2, {21})})}),
            AnomalyList{AnomalyKind::kReadSkew});
}

TEST(HistoryCheckerTest, UnknownOutcomeHasNoEndInRealTime) {
  // Seen late, although it was given up early: it took effect after the read that misses it.
  EXPECT_EQ(Kinds({At(0, 1, T(1, {Op::Append(1, 11)}, Outcome::kUnknown)),
                   At(2, 3, T(2, {Op::Read(1, {})})), At(4, 5, T(3, {Op::Read(1, {11})}))},
                  Consistency::kStrictSerializable),
            AnomalyList{});
}

TEST(HistoryCheckerTest, DamagedListsAreNamed) {
  EXPECT_EQ(Kinds({T(1, {Op::Read(1, {99})})}), AnomalyList{AnomalyKind::kGarbageRead});
  EXPECT_EQ(Kinds({T(1, {Op::Append(1, 11)}), T(2, {Op::Append(1, 11)})}),
            AnomalyList{AnomalyKind::kDuplicate});
  EXPECT_EQ(Kinds({T(1, {Op::Append(1, 11)}), T(2, {Op::Read(1, {11, 11})})}),
            AnomalyList{AnomalyKind::kDuplicate});
  EXPECT_EQ(Kinds({T(1, {Op::Append(1, 11)}), T(2, {Op::Append(1, 12)}), T(3, {Op::Read(1, {11})}),
                   T(4, {Op::Read(1, {12})})}),
            AnomalyList{AnomalyKind::kIncompatibleOrder});
}

TEST(HistoryCheckerTest, OwnAppendsMustBeSeen) {
  EXPECT_EQ(Kinds({T(1, {Op::Append(1, 11), Op::Read(1, {})})}),
            AnomalyList{AnomalyKind::kInternal});
  // The second read also shows it before and after the other.
  EXPECT_EQ(Kinds({T(1, {Op::Append(1, 11)}), T(2, {Op::Read(1, {}), Op::Read(1, {11})})}),
            (AnomalyList{AnomalyKind::kInternal, AnomalyKind::kReadSkew}));
}

TEST(HistoryCheckerTest, MessageNamesTransactionsAndEdges) {
  const auto found =
      CheckListHistory({At(0, 1, T(7, {Op::Append(1, 11)})), At(2, 3, T(8, {Op::Read(1, {})})),
                        At(4, 5, T(9, {Op::Read(1, {11})}))},
                       Consistency::kStrictSerializable);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].text, "stale read (real time): T8 -rw 1-> T7 -time-> T8");
  EXPECT_EQ(found[0].transactions, (std::vector<int64_t>{8, 7}));
}

/// Runs random transactions one after another, so the history is sound; then breaks one read.
TEST(HistoryCheckerTest, SerialHistoriesAreSoundAndAStaleReadInThemIsFound) {
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    base::Random random(seed);
    std::map<int64_t, std::vector<int64_t>> lists;
    std::vector<ListTransaction> history;
    int64_t element = 0;
    for (int64_t id = 0; id < 60; ++id) {
      ListTransaction t{id,
                        id * 10,
                        id * 10 + 1 + static_cast<int64_t>(random.Uniform(60)),
                        Outcome::kCommitted,
                        {}};
      const bool aborted = random.OneIn(6);
      auto after = lists;
      for (uint64_t i = 1 + random.Uniform(4); i > 0; --i) {
        const auto key = static_cast<int64_t>(random.Uniform(4));
        if (random.OneIn(2)) {
          t.operations.push_back(Op::Append(key, ++element));
          after[key].push_back(element);
        } else {
          t.operations.push_back(Op::Read(key, after[key]));
        }
      }
      if (aborted) {
        t.outcome = Outcome::kAborted;
      } else {
        lists = after;
        if (random.OneIn(6)) t.outcome = Outcome::kUnknown;
      }
      history.push_back(std::move(t));
    }
    for (int64_t key = 0; key < 4; ++key)
      history.push_back(
          {1000 + key, 10'000, 10'001, Outcome::kCommitted, {Op::Read(key, lists[key])}});
    const auto found = CheckListHistory(history, Consistency::kStrictSerializable);
    ASSERT_EQ(found.size(), 0u) << "seed " << seed << "\n" << Print(found);

    // The last reader of some list misses its end.
    ListTransaction& broken = history[60 + random.Uniform(4)];
    if (broken.operations[0].list.empty()) continue;
    broken.operations[0].list.pop_back();
    const int64_t key = broken.operations[0].key;  // the push below may move `broken`
    history.push_back({2000, 20'000, 20'001, Outcome::kCommitted, {Op::Read(key, lists[key])}});
    // Not where a transaction of unknown outcome wrote the end: it may have come later.
    const int64_t last = lists[key].back();
    const auto writer = std::find_if(history.begin(), history.end(), [&](const ListTransaction& t) {
      return std::any_of(t.operations.begin(), t.operations.end(), [&](const Op& op) {
        return op.kind == Op::Kind::kAppend && op.element == last;
      });
    });
    if (writer->outcome == Outcome::kUnknown) continue;
    EXPECT_FALSE(CheckListHistory(history, Consistency::kStrictSerializable).empty())
        << "seed " << seed;
  }
}

}  // namespace
}  // namespace lamina::testing
