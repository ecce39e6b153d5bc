// The model against examples worked out by hand, and its two rules (points, rectangles) against
// each other and against temporal::Resolve, from which it shares no code.
#include "testing/reference_model.h"

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/random.h"
#include "temporal/period.h"

namespace lamina::testing {
namespace {

using temporal::FactKind;
using temporal::Window;

constexpr SystemTime kOpen = SystemTime::Max();
const Window kEverything{};
const ModelKeyRange kAllKeys{};

ValidInterval Valid(int64_t from, int64_t to) { return {{from}, {to}}; }
ValidInterval Since(int64_t from) { return {{from}, ValidTime::Max()}; }
ModelWrite Put(std::string key, ValidInterval valid, std::string value) {
  return {"t", std::move(key), FactKind::kPut, valid, std::move(value)};
}
ModelWrite Delete(std::string key, ValidInterval valid = {}) {
  return {"t", std::move(key), FactKind::kDelete, valid, ""};
}
ModelWrite Erase(std::string key) { return {"t", std::move(key), FactKind::kErase, {}, ""}; }

class ReferenceModelTest : public ::testing::Test {
 protected:
  // Commit n has system time 10 n.
  void Commit(const std::vector<ModelWrite>& writes) {
    ++commits_;
    model_.Apply({commits_}, {static_cast<int64_t>(commits_) * 10}, writes);
  }
  // "-" where there is nothing.
  std::string Get(const std::string& key, int64_t s, int64_t v) const {
    return model_.Get("t", key, {s}, {v}).value_or("-");
  }
  std::string Rows(SystemTime newest = kOpen) const {
    return "\n" + Print(model_.ScanWindow("t", kAllKeys, kEverything, newest));
  }

  ReferenceModel model_;
  uint64_t commits_ = 0;
};

TEST_F(ReferenceModelTest, SlowlyChangingDimensionIsReadByValidTime) {
  Commit({Put("c", Valid(0, 100), "bronze")});
  Commit({Put("c", Valid(100, 200), "silver")});
  Commit({Put("c", Since(200), "gold")});
  EXPECT_EQ(Get("c", 30, 50), "bronze");
  EXPECT_EQ(Get("c", 30, 99), "bronze");
  EXPECT_EQ(Get("c", 30, 100), "silver");
  EXPECT_EQ(Get("c", 30, 150), "silver");
  EXPECT_EQ(Get("c", 30, 250), "gold");
  EXPECT_EQ(Get("c", 30, -1), "-");
  EXPECT_EQ(model_.Get("t", "c", {30}, ValidTime::Max()), std::nullopt);
  EXPECT_EQ(Get("c", 20, 250), "-") << "not yet known";
  EXPECT_EQ(Rows(), R"(
c [0,100) [10,+) #1 = bronze
c [100,200) [20,+) #2 = silver
c [200,+) [30,+) #3 = gold
)");
}

TEST_F(ReferenceModelTest, NarrowFactLiesOverAWideOne) {
  Commit({Put("c", Valid(0, 100), "wide")});
  Commit({Put("c", Valid(40, 60), "narrow")});
  EXPECT_EQ(Get("c", 20, 39), "wide");
  EXPECT_EQ(Get("c", 20, 40), "narrow");
  EXPECT_EQ(Get("c", 20, 60), "wide");
  EXPECT_EQ(Rows(), R"(
c [0,40) [10,+) #1 = wide
c [40,60) [10,20) #1 = wide
c [40,60) [20,+) #2 = narrow
c [60,100) [10,+) #1 = wide
)");
}

TEST_F(ReferenceModelTest, RetroactiveCorrectionKeepsTheOldBelief) {
  Commit({Put("salary", Since(0), "4000")});
  Commit({Put("salary", Since(50), "5000")});
  Commit({Put("salary", Valid(50, 80), "4500")});
  EXPECT_EQ(Get("salary", 20, 60), "5000");
  EXPECT_EQ(Get("salary", 29, 60), "5000");
  EXPECT_EQ(Get("salary", 30, 60), "4500");
  EXPECT_EQ(Get("salary", 30, 80), "5000");
  EXPECT_EQ(Rows(), R"(
salary [0,50) [10,+) #1 = 4000
salary [50,+) [10,20) #1 = 4000
salary [50,80) [20,30) #2 = 5000
salary [50,80) [30,+) #3 = 4500
salary [80,+) [20,+) #2 = 5000
)");
}

TEST_F(ReferenceModelTest, PartialOverlapCutsBothNeighbours) {
  Commit({Put("k", Valid(0, 10), "a"), Put("k", Valid(10, 20), "b")});
  Commit({Put("k", Valid(5, 15), "c")});
  EXPECT_EQ(Rows(), R"(
k [0,5) [10,+) #1 = a
k [5,10) [10,20) #1 = a
k [5,15) [20,+) #2 = c
k [10,15) [10,20) #1 = b
k [15,20) [10,+) #1 = b
)");
}

TEST_F(ReferenceModelTest, DeleteOfAPortionLeavesAHole) {
  Commit({Put("k", Valid(0, 10), "a")});
  Commit({Delete("k", Valid(3, 7))});
  EXPECT_EQ(Get("k", 20, 2), "a");
  EXPECT_EQ(Get("k", 20, 3), "-");
  EXPECT_EQ(Get("k", 20, 7), "a");
  EXPECT_EQ(Get("k", 10, 5), "a");
  EXPECT_EQ(Rows(), R"(
k [0,3) [10,+) #1 = a
k [3,7) [10,20) #1 = a
k [7,10) [10,+) #1 = a
)");
}

TEST_F(ReferenceModelTest, DeleteKeepsHistoryAndEraseDoesNot) {
  Commit({Put("k", {}, "a"), Put("other", {}, "o")});
  Commit({Delete("k")});
  EXPECT_EQ(Get("k", 20, 0), "-");
  EXPECT_EQ(Get("k", 19, 0), "a");
  Commit({Erase("k"), Put("k", Since(5), "again")});
  EXPECT_EQ(Get("k", 19, 0), "-");
  EXPECT_EQ(Rows(), R"(
k [5,+) [30,+) #3 = again
other [-,+) [10,+) #1 = o
)");
}

TEST_F(ReferenceModelTest, LaterStatementOfOneCommitWins) {
  Commit(
      {Put("k", Valid(0, 10), "first"), Put("k", Valid(4, 6), "second"), Delete("k", Valid(0, 1))});
  EXPECT_EQ(Rows(), R"(
k [1,4) [10,+) #1 = first
k [4,6) [10,+) #1 = second
k [6,10) [10,+) #1 = first
)");
}

// docs/guide/bitemporal.md shows this history; a day is written month * 100 + day.
TEST_F(ReferenceModelTest, ExamplesOfTheGuideAreTrue) {
  model_.Apply({1}, {110}, {Put("ada", Since(101), "4000")});
  model_.Apply({2}, {305}, {Put("ada", Since(301), "5000")});
  model_.Apply({3}, {420}, {Put("ada", Valid(301, 401), "4500")});
  model_.Apply({4}, {602}, {Delete("ada", Since(601))});
  EXPECT_EQ(Rows(), R"(
ada [101,301) [110,+) #1 = 4000
ada [301,+) [110,305) #1 = 4000
ada [301,401) [305,420) #2 = 5000
ada [301,401) [420,+) #3 = 4500
ada [401,601) [305,+) #2 = 5000
ada [601,+) [305,602) #2 = 5000
)");
  EXPECT_EQ(Get("ada", 701, 315), "4500");
  EXPECT_EQ(Get("ada", 410, 315), "5000");
  EXPECT_EQ(Get("ada", 201, 315), "4000");
  EXPECT_EQ(Get("ada", 701, 701), "-");
  EXPECT_EQ(Get("ada", 601, 701), "5000");
  EXPECT_EQ(Get("ada", 420, 315), "4500") << "commit 3 is seen at its own time";
  EXPECT_EQ(Get("ada", 419, 315), "5000");

  const auto rows = [&](const SystemPeriod& system, const ValidPeriod& valid) {
    const auto commit_time = [](CommitId commit) -> Result<SystemTime> {
      constexpr int64_t kTimes[] = {0, 110, 305, 420, 602};
      return SystemTime{kTimes[commit.value]};
    };
    const Result<Window> window =
        temporal::ResolveWindow(system, valid, model_.newest_time(), {701}, commit_time);
    return "\n" + Print(model_.ScanWindow("t", kAllKeys, window.ValueOrDie()));
  };
  const ValidPeriod march = ValidPeriod::At({315});
  EXPECT_EQ(rows(SystemPeriod::AsOf(CommitId{2}), march), R"(
ada [301,401) [305,420) #2 = 5000
)");
  EXPECT_EQ(rows(SystemPeriod::All(), march), R"(
ada [301,+) [110,305) #1 = 4000
ada [301,401) [305,420) #2 = 5000
ada [301,401) [420,+) #3 = 4500
)");
  EXPECT_EQ(rows(SystemPeriod::FromTo({305}, {420}), march), R"(
ada [301,401) [305,420) #2 = 5000
)");
  EXPECT_EQ(rows(SystemPeriod::Between({305}, {420}), march), R"(
ada [301,401) [305,420) #2 = 5000
ada [301,401) [420,+) #3 = 4500
)");
  EXPECT_EQ(rows(SystemPeriod::Latest(), ValidPeriod::FromTo({201}, {401})), R"(
ada [101,301) [110,+) #1 = 4000
ada [301,401) [420,+) #3 = 4500
)");
  EXPECT_EQ(rows(SystemPeriod::Latest(), ValidPeriod::Between({201}, {401})), R"(
ada [101,301) [110,+) #1 = 4000
ada [301,401) [420,+) #3 = 4500
ada [401,601) [305,+) #2 = 5000
)");
  EXPECT_EQ(rows(SystemPeriod::Latest(), ValidPeriod::All()), R"(
ada [101,301) [110,+) #1 = 4000
ada [301,401) [420,+) #3 = 4500
ada [401,601) [305,+) #2 = 5000
)");
  EXPECT_EQ(rows(SystemPeriod::Latest(), ValidPeriod::Now()), "\n");
}

TEST_F(ReferenceModelTest, ScanIsSortedAndHonoursTheKeyRange) {
  Commit({Put("b", {}, "2"), Put("a", {}, "1"), Put("c", {}, "3"), Put("d", Valid(0, 5), "4")});
  EXPECT_EQ(model_.Scan("t", kAllKeys, {10}, {9}),
            (ModelKeyValues{{"a", "1"}, {"b", "2"}, {"c", "3"}}));
  EXPECT_EQ(model_.Scan("t", {"b", "d"}, {10}, {0}), (ModelKeyValues{{"b", "2"}, {"c", "3"}}));
  EXPECT_EQ(model_.Scan("t", {"c", std::nullopt}, {10}, {0}),
            (ModelKeyValues{{"c", "3"}, {"d", "4"}}));
  EXPECT_TRUE(model_.Scan("t", kAllKeys, {9}, {0}).empty());
  EXPECT_TRUE(model_.Scan("nothing", kAllKeys, {10}, {0}).empty());
}

TEST_F(ReferenceModelTest, WindowSelectsVersionsThatMeetIt) {
  Commit({Put("k", Valid(0, 10), "a")});
  Commit({Put("k", Valid(0, 10), "b")});
  const auto rows = [&](SystemInterval system, ValidInterval valid) {
    return Print(model_.ScanWindow("t", kAllKeys, {system, valid}));
  };
  const std::string a = "k [0,10) [10,20) #1 = a\n", b = "k [0,10) [20,+) #2 = b\n";
  EXPECT_EQ(rows({{10}, {20}}, {}), a) << "the end is excluded";
  EXPECT_EQ(rows({{10}, {21}}, {}), a + b);
  EXPECT_EQ(rows({{20}, {30}}, {}), b);
  EXPECT_EQ(rows({{0}, {10}}, {}), "");
  EXPECT_EQ(rows({}, Valid(10, 20)), "");
  EXPECT_EQ(rows({}, Valid(9, 10)), a + b);
  EXPECT_EQ(rows({{15}, {15}}, {}), "") << "an empty window meets nothing";
}

TEST_F(ReferenceModelTest, OlderSnapshotShowsRowsThatEndedLaterAsOpen) {
  Commit({Put("k", {}, "a")});
  Commit({Put("k", {}, "b")});
  EXPECT_EQ(Rows({10}), "\nk [-,+) [10,+) #1 = a\n");
  EXPECT_EQ(Rows({20}), "\nk [-,+) [10,20) #1 = a\nk [-,+) [20,+) #2 = b\n");
}

TEST_F(ReferenceModelTest, HistoryFloorTellsWhatMayBeAsked) {
  Commit({Put("k", {}, "a")});
  Commit({Put("k", {}, "b")});
  model_.SetHistoryFloor("t", {15});
  model_.SetHistoryFloor("t", {12});
  EXPECT_EQ(model_.HistoryFloor("t"), SystemTime{15});
  EXPECT_FALSE(model_.Answers("t", {14}));
  EXPECT_TRUE(model_.Answers("t", {15}));
  EXPECT_TRUE(model_.Answers("u", {14}));
  EXPECT_EQ(Get("k", 15, 0), "a");
  for (const ModelPoint& point : model_.AllPoints("t")) EXPECT_GE(point.system, SystemTime{15});
}

TEST_F(ReferenceModelTest, AllPointsHasOnePointInEachCell) {
  Commit({Put("k", Valid(0, 10), "a"), Put("l", Since(4), "b")});
  Commit({Erase("k")});
  EXPECT_EQ(model_.SystemBoundaries("t"), (std::vector<SystemTime>{SystemTime::Min(), {10}, {20}}));
  EXPECT_EQ(model_.ValidBoundaries("t"),
            (std::vector<ValidTime>{ValidTime::Min(), {0}, {4}, {10}}));
  EXPECT_EQ(model_.AllPoints("t").size(), 12u);
}

TEST_F(ReferenceModelTest, CoalesceJoinsOnlyWhatIsOneRow) {
  const ModelRow left{"k", Valid(0, 5), {{10}, kOpen}, {1}, "a"};
  ModelRow right = left;
  right.valid = Valid(5, 9);
  ModelRow joined = left;
  joined.valid = Valid(0, 9);
  EXPECT_EQ(Coalesce({right, left}), std::vector<ModelRow>{joined});

  for (int field = 0; field < 5; ++field) {
    ModelRow other = right;
    if (field == 0) other.key = "l";
    if (field == 1) other.system.to = {20};
    if (field == 2) other.commit = {2};
    if (field == 3) other.value = "b";
    if (field == 4) other.valid.from = {6};
    EXPECT_EQ(Coalesce({other, left}), (std::vector<ModelRow>{left, other})) << field;
  }
}

// Random databases: points against rectangles, and rectangles against temporal::Resolve.
TEST(ReferenceModelLawTest, PointsRectanglesAndResolveAgree) {
  base::Random random(99);
  const std::vector<std::string> keys{"a", "b", "c"};
  for (int round = 0; round < 1500; ++round) {
    ReferenceModel model;
    std::map<std::string, std::vector<temporal::Fact>> facts;
    const uint64_t commits = 1 + random.Uniform(8);
    uint64_t writes_count = 0;
    for (uint64_t commit = 1; commit <= commits; ++commit) {
      const SystemTime system{static_cast<int64_t>(commit) * 10};
      std::vector<ModelWrite> writes;
      for (uint64_t i = random.Uniform(5); i > 0; --i) {
        ModelWrite write =
            Put(keys[random.Uniform(keys.size())], {}, std::to_string(++writes_count));
        if (!random.OneIn(4))
          write.valid = Valid(random.UniformRange(0, 8), random.UniformRange(0, 8));
        if (random.OneIn(3)) write.kind = FactKind::kDelete;
        if (random.OneIn(20)) write.kind = FactKind::kErase;
        facts[write.key].push_back({write.valid, system, {commit}, write.kind, writes_count});
        writes.push_back(write);
      }
      model.Apply({commit}, system, writes);
    }

    std::vector<ModelRow> resolved;
    for (const auto& [key, list] : facts) {
      for (const temporal::NewRow& added : temporal::Resolve({}, list).new_rows) {
        const temporal::RowVersion& row = added.row;
        resolved.push_back({key, row.valid, row.system, row.commit, std::to_string(row.payload)});
      }
    }
    const std::vector<ModelRow> rows = model.ScanWindow("t", kAllKeys, kEverything);
    ASSERT_EQ(rows, resolved) << "round " << round << "\n"
                              << Print(rows) << "resolved:\n"
                              << Print(resolved);

    for (const ModelPoint& point : model.AllPoints("t")) {
      ModelKeyValues shown;
      for (const ModelRow& row :
           model.ScanWindow("t", kAllKeys, Window::At(point.system, point.valid))) {
        shown.emplace_back(row.key, row.value);
      }
      ASSERT_EQ(shown, model.Scan("t", kAllKeys, point.system, point.valid))
          << "round " << round << "\n"
          << Print(rows);
      // A snapshot of that moment answers the same about the moment.
      ModelKeyValues snapshot;
      for (const ModelRow& row :
           model.ScanWindow("t", kAllKeys, Window::At(point.system, point.valid), point.system)) {
        ASSERT_EQ(row.system.to, kOpen);
        snapshot.emplace_back(row.key, row.value);
      }
      ASSERT_EQ(snapshot, shown);
    }
  }
}

}  // namespace
}  // namespace lamina::testing
