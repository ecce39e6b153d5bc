#include "temporal/period.h"

#include <gtest/gtest.h>

namespace lamina::temporal {
namespace {

constexpr SystemTime kNewest{300};
constexpr ValidTime kNow{1000};

// Commits 1, 2, 3 at times 100, 200, 300; commit 4 at 400 exists, but not in the snapshot; 9 was
// trimmed.
Result<SystemTime> CommitTime(CommitId commit) {
  if (commit.value == 9)
    return MakeError(ErrorCode::kHistoryTrimmed, "The commit is below the history floor: commit=9");
  if (commit.value > 4) return MakeError(ErrorCode::kNotFound, "No such commit");
  return SystemTime{static_cast<int64_t>(commit.value) * 100};
}

Result<Window> Ask(const SystemPeriod& system, const ValidPeriod& valid = ValidPeriod::Now()) {
  return ResolveWindow(system, valid, kNewest, kNow, CommitTime);
}

SystemInterval System(const SystemPeriod& period) { return Ask(period).ValueOrDie().system; }
ValidInterval Valid(const ValidPeriod& period) {
  return Ask(SystemPeriod::Latest(), period).ValueOrDie().valid;
}
SystemInterval Moment(int64_t s) { return {{s}, {s + 1}}; }

ErrorCode CodeFor(const SystemPeriod& system, const ValidPeriod& valid = ValidPeriod::Now()) {
  const Result<Window> result = Ask(system, valid);
  return result.ok() ? ErrorCode::kInternal : CodeOf(result.status());
}

TEST(PeriodTest, DefaultIsTheNewestCommitAndNow) {
  EXPECT_EQ(System(SystemPeriod::Latest()), Moment(300));
  EXPECT_EQ(Valid(ValidPeriod::Now()), (ValidInterval{{1000}, {1001}}));
}

TEST(PeriodTest, AsOfCommitIsItsTime) {
  EXPECT_EQ(System(SystemPeriod::AsOf(CommitId{1})), Moment(100));
  EXPECT_EQ(System(SystemPeriod::AsOf(CommitId{3})), Moment(300));
}

TEST(PeriodTest, AsOfCommitZeroIsEmptyButNoError) {
  const Window window = Ask(SystemPeriod::AsOf(CommitId{0})).ValueOrDie();
  EXPECT_FALSE(window.Meets(ValidInterval{}, {{100}, SystemTime::Max()}));
}

TEST(PeriodTest, CommitOutsideTheSnapshotIsRefused) {
  EXPECT_EQ(CodeFor(SystemPeriod::AsOf(CommitId{4})), ErrorCode::kInvalidArgument);
  EXPECT_EQ(CodeFor(SystemPeriod::AsOf(CommitId{5})), ErrorCode::kInvalidArgument);
}

TEST(PeriodTest, OtherErrorsOfTheCommitLookupArePassedOn) {
  EXPECT_EQ(CodeFor(SystemPeriod::AsOf(CommitId{9})), ErrorCode::kHistoryTrimmed);
}

TEST(PeriodTest, AsOfTimeAboveNewestIsTheNewestState) {
  EXPECT_EQ(System(SystemPeriod::AsOf(SystemTime{250})), Moment(250));
  EXPECT_EQ(System(SystemPeriod::AsOf(SystemTime{301})), Moment(300));
  EXPECT_EQ(System(SystemPeriod::AsOf(SystemTime::Max())), Moment(300));
}

TEST(PeriodTest, RangesNeverReachBeyondTheSnapshot) {
  EXPECT_EQ(System(SystemPeriod::FromTo({100}, {200})), (SystemInterval{{100}, {200}}));
  EXPECT_EQ(System(SystemPeriod::Between({100}, {200})), (SystemInterval{{100}, {201}}));
  EXPECT_EQ(System(SystemPeriod::FromTo({100}, {900})), (SystemInterval{{100}, {301}}));
  EXPECT_EQ(System(SystemPeriod::FromTo({100}, SystemTime::Max())), (SystemInterval{{100}, {301}}));
  EXPECT_EQ(System(SystemPeriod::All()), (SystemInterval{SystemTime::Min(), {301}}));
}

TEST(PeriodTest, RangeWhollyLaterThanTheSnapshotSeesTheNewestState) {
  EXPECT_EQ(System(SystemPeriod::FromTo({700}, {900})), Moment(300));
}

TEST(PeriodTest, ReversedRangesAreRefused) {
  EXPECT_EQ(CodeFor(SystemPeriod::FromTo({200}, {100})), ErrorCode::kInvalidArgument);
  EXPECT_EQ(CodeFor(SystemPeriod::Between({200}, {100})), ErrorCode::kInvalidArgument);
  EXPECT_EQ(CodeFor(SystemPeriod::Latest(), ValidPeriod::FromTo({2}, {1})),
            ErrorCode::kInvalidArgument);
}

TEST(PeriodTest, EqualEndsSelectNothing) {
  const ValidInterval always;
  const SystemInterval ever;
  for (const Window& window :
       {Ask(SystemPeriod::FromTo({200}, {200})).ValueOrDie(),
        Ask(SystemPeriod::All(), ValidPeriod::FromTo({5}, {5})).ValueOrDie()}) {
    EXPECT_TRUE(window.empty());
    EXPECT_FALSE(window.Meets(always, ever));
    EXPECT_FALSE(window.Meets({{0}, {1000}}, {{100}, {300}}));
  }
}

TEST(PeriodTest, BetweenTheSameMomentIsThatMoment) {
  EXPECT_EQ(System(SystemPeriod::Between({200}, {200})), Moment(200));
  EXPECT_EQ(Valid(ValidPeriod::Between({5}, {5})), (ValidInterval{{5}, {6}}));
}

TEST(PeriodTest, ValidRangesMayBeOpen) {
  EXPECT_EQ(Valid(ValidPeriod::FromTo(ValidTime::Min(), {7})),
            (ValidInterval{ValidTime::Min(), {7}}));
  EXPECT_EQ(Valid(ValidPeriod::Between({7}, ValidTime::Max())),
            (ValidInterval{{7}, ValidTime::Max()}));
  EXPECT_TRUE(Valid(ValidPeriod::All()).all());
}

TEST(PeriodTest, NothingIsValidAtInfinity) {
  const Window window = Ask(SystemPeriod::Latest(), ValidPeriod::At(ValidTime::Max())).ValueOrDie();
  EXPECT_TRUE(window.empty());
  EXPECT_FALSE(window.Meets(ValidInterval{}, SystemInterval{}));
}

TEST(PeriodTest, EmptyDatabaseShowsNothing) {
  const SystemTime none = SystemTime::Min();
  for (const SystemPeriod& period :
       {SystemPeriod::Latest(), SystemPeriod::All(), SystemPeriod::AsOf(SystemTime{50}),
        SystemPeriod::FromTo({10}, {20})}) {
    const Window window =
        ResolveWindow(period, ValidPeriod::All(), none, kNow, CommitTime).ValueOrDie();
    EXPECT_FALSE(window.Meets(ValidInterval{}, {{1}, SystemTime::Max()}));
  }
}

}  // namespace
}  // namespace lamina::temporal
