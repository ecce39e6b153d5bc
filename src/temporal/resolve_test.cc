// Resolution against its one-line definition: at a point of the plane the newest fact that covers
// it wins.
//
// What is verified: every point of small planes, no overlap of open rows, no empty version, the
// order of output, that the place where a list of facts is split does not matter, and that Cut and
// Versions agree with Resolve. Exhaustive for histories of up to four facts, random beyond. What is
// not: meaning of periods in queries (period_test.cc).
#include "temporal/resolve.h"

#include <algorithm>
#include <string>
#include <tuple>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/random.h"

namespace lamina::temporal {
namespace {

using Rows = std::vector<RowVersion>;
using Facts = std::vector<Fact>;

constexpr SystemTime kOpen = SystemTime::Max();

ValidTime V(int64_t micros) { return {micros}; }
SystemTime S(int64_t micros) { return {micros}; }

Fact Put(int64_t from, int64_t to, int64_t system, uint64_t payload) {
  return {{V(from), V(to)}, S(system), {static_cast<uint64_t>(system)}, FactKind::kPut, payload};
}
Fact PutAlways(int64_t system, uint64_t payload) {
  return {ValidInterval{}, S(system), {static_cast<uint64_t>(system)}, FactKind::kPut, payload};
}
Fact Delete(int64_t from, int64_t to, int64_t system) {
  return {{V(from), V(to)}, S(system), {static_cast<uint64_t>(system)}, FactKind::kDelete, 0};
}
Fact Erase(int64_t system) {
  return {ValidInterval{}, S(system), {static_cast<uint64_t>(system)}, FactKind::kErase, 0};
}
RowVersion Row(int64_t from, int64_t to, int64_t system, SystemTime ended, uint64_t payload) {
  return {{V(from), V(to)}, {S(system), ended}, {static_cast<uint64_t>(system)}, payload};
}

bool Before(const RowVersion& a, const RowVersion& b) {
  return std::tie(a.valid.from, a.system.from) < std::tie(b.valid.from, b.system.from);
}

Rows Sorted(Rows rows) {
  std::sort(rows.begin(), rows.end(), Before);
  return rows;
}

std::string Print(const Facts& facts) {
  std::string text;
  for (const Fact& f : facts) {
    constexpr const char* kNames[] = {"?", "put", "delete", "erase"};
    text += fmt::format("  {} [{}, {}) @{} -> {}\n", kNames[static_cast<int>(f.kind)],
                        f.valid.from.micros, f.valid.to.micros, f.system.micros, f.payload);
  }
  return text;
}

std::string Print(const Rows& rows) {
  std::string text;
  for (const RowVersion& r : rows) {
    text += fmt::format("  {} valid [{}, {}) system [{}, {}) commit {}\n", r.payload,
                        r.valid.from.micros, r.valid.to.micros, r.system.from.micros,
                        r.system.to.micros, r.commit.value);
  }
  return text;
}

// The definition. 0: nothing there (payloads in these tests start at 1).
uint64_t NewestCovering(const Facts& facts, SystemTime s, ValidTime v) {
  for (size_t i = facts.size(); i > 0; --i) {
    const Fact& fact = facts[i - 1];
    if (fact.kind == FactKind::kErase) return 0;
    if (fact.system <= s && fact.valid.Contains(v))
      return fact.kind == FactKind::kPut ? fact.payload : 0;
  }
  return 0;
}

// All settled versions of one key, changed as a flush changes them.
struct Settled {
  Rows rows;

  Rows Open() const {
    Rows open;
    std::copy_if(rows.begin(), rows.end(), std::back_inserter(open),
                 [](const RowVersion& r) { return r.system.to == kOpen; });
    return open;
  }

  void Flush(std::span<const Fact> facts, Resolution* resolution) {
    const Rows open = Open();
    Resolve(open, facts, resolution);
    ASSERT_EQ(resolution->open.size(), open.size());
    if (resolution->erase_history) rows.clear();
    for (size_t i = 0; i < open.size(); ++i) {
      const OpenRowResult& result = resolution->open[i];
      const auto it = std::find(rows.begin(), rows.end(), open[i]);
      switch (result.outcome) {
        case Outcome::kUntouched:
          ASSERT_FALSE(resolution->erase_history);
          break;
        case Outcome::kEnded:
          it->system.to = result.ended_at;
          break;
        case Outcome::kRewritten:
          rows.erase(it);
          break;
        case Outcome::kErased:
          ASSERT_TRUE(resolution->erase_history);
          break;
      }
    }
    for (size_t i = 0; i < resolution->new_rows.size(); ++i) {
      const NewRow& added = resolution->new_rows[i];
      if (i > 0) {
        ASSERT_TRUE(Before(resolution->new_rows[i - 1].row, added.row)) << "not sorted";
      }
      if (added.from_open) {
        ASSERT_EQ(resolution->open.at(added.source).outcome, Outcome::kRewritten);
        ASSERT_EQ(added.row.payload, open.at(added.source).payload);
        ASSERT_EQ(added.row.commit, open.at(added.source).commit);
        ASSERT_EQ(added.row.system.from, open.at(added.source).system.from);
      } else {
        const Fact& fact = facts[added.source];
        ASSERT_EQ(fact.kind, FactKind::kPut);
        ASSERT_EQ(added.row.payload, fact.payload);
        ASSERT_EQ(added.row.commit, fact.commit);
        ASSERT_EQ(added.row.system.from, fact.system);
      }
      rows.push_back(added.row);
    }
  }
};

// What `rows` show at a point; more than one row there is a failure.
uint64_t At(const Rows& rows, SystemTime s, ValidTime v) {
  uint64_t found = 0;
  for (const RowVersion& row : rows) {
    if (!row.system.Contains(s) || !row.valid.Contains(v)) continue;
    EXPECT_EQ(found, 0u) << "two versions at one point";
    found = row.payload;
  }
  return found;
}

bool WellFormed(const Rows& rows) {
  return std::none_of(rows.begin(), rows.end(),
                      [](const RowVersion& r) { return r.system.empty() || r.valid.empty(); });
}

bool OpenRowsOverlap(const Rows& rows) {
  for (size_t i = 0; i < rows.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      if (rows[i].system.to == kOpen && rows[j].system.to == kOpen &&
          rows[i].valid.Overlaps(rows[j].valid))
        return true;
    }
  }
  return false;
}

struct Plane {
  std::vector<SystemTime> system;
  std::vector<ValidTime> valid;
};

// The laws of resolution for one history; `split` cuts it into two flushes.
::testing::AssertionResult Holds(const Facts& facts, size_t split, const Plane& plane,
                                 Resolution* scratch) {
  Settled whole;
  whole.Flush(facts, scratch);
  Settled split_in_two;
  const std::span<const Fact> all(facts);
  split_in_two.Flush(all.first(split), scratch);

  // What a scan sees before the second flush: settled rows cut by the facts on top, and the
  // versions of those facts.
  Rows scanned;
  for (const RowVersion& row : split_in_two.rows) Cut(row, all.subspan(split), &scanned);
  Versions(all.subspan(split), &scanned);

  split_in_two.Flush(all.subspan(split), scratch);

  const auto fail = [&](const char* what) {
    return ::testing::AssertionFailure() << what << ", split at " << split << "\n"
                                         << Print(facts) << "whole:\n"
                                         << Print(Sorted(whole.rows)) << "in two:\n"
                                         << Print(Sorted(split_in_two.rows)) << "scanned:\n"
                                         << Print(Sorted(scanned));
  };
  if (!WellFormed(whole.rows)) return fail("empty version");
  if (OpenRowsOverlap(whole.rows)) return fail("open rows overlap");
  const Rows expected = Sorted(whole.rows);
  if (Sorted(split_in_two.rows) != expected) return fail("split changes the rows");
  if (Sorted(scanned) != expected) return fail("Cut and Versions differ from Resolve");
  for (SystemTime s : plane.system) {
    for (ValidTime v : plane.valid) {
      if (At(whole.rows, s, v) != NewestCovering(facts, s, v)) return fail("wrong at a point");
    }
  }
  return ::testing::AssertionSuccess();
}

// Every history of exactly `count` puts and deletes over valid [0, 3) and system 1..3.
template <typename Visit>
void ForEachHistory(size_t count, Facts* facts, Visit visit) {
  if (facts->size() == count) {
    visit();
    return;
  }
  const int64_t first = facts->empty() ? 1 : facts->back().system.micros;
  for (int64_t system = first; system <= 3; ++system) {
    for (int64_t from = 0; from < 3; ++from) {
      for (int64_t to = from + 1; to <= 3; ++to) {
        for (bool put : {true, false}) {
          const uint64_t payload = facts->size() + 1;
          facts->push_back(put ? Put(from, to, system, payload) : Delete(from, to, system));
          ForEachHistory(count, facts, visit);
          facts->pop_back();
        }
      }
    }
  }
}

TEST(ResolveTest, EveryHistoryOfThreeFactsEqualsNewestCoveringFactWins) {
  const Plane plane{{S(0), S(1), S(2), S(3), S(4)}, {V(-1), V(0), V(1), V(2), V(3)}};
  Resolution scratch;
  size_t histories = 0;
  for (size_t count = 0; count <= 3; ++count) {
    Facts facts;
    ForEachHistory(count, &facts, [&] {
      ++histories;
      if (HasFatalFailure()) return;  // One report is enough.
      for (size_t split = 0; split <= count; ++split)
        ASSERT_TRUE(Holds(facts, split, plane, &scratch));
    });
  }
  EXPECT_EQ(histories, 1u + 3 * 12 + 6 * 144 + 10 * 1728);
}

TEST(ResolveTest, EveryHistoryOfFourFactsEqualsNewestCoveringFactWins) {
  // A long run under sanitizers: one split a history, a different one each.
  const Plane plane{{S(1), S(2), S(3)}, {V(0), V(1), V(2)}};
  Resolution scratch;
  Facts facts;
  size_t histories = 0;
  ForEachHistory(4, &facts, [&] {
    ++histories;
    if (HasFatalFailure()) return;
    ASSERT_TRUE(Holds(facts, histories % 5, plane, &scratch));
  });
  EXPECT_EQ(histories, 15u * 12 * 12 * 12 * 12);
}

Facts RandomHistory(base::Random* random, int64_t valid_end, size_t facts_max) {
  Facts facts;
  const size_t count = 1 + random->Uniform(facts_max);
  int64_t system = 1;
  const bool with_erases = random->OneIn(4);
  const bool mostly_always = random->OneIn(4);
  for (size_t i = 0; i < count; ++i) {
    system += static_cast<int64_t>(random->Uniform(3));  // Often 0: several facts of one commit.
    if (with_erases && random->OneIn(8)) {
      facts.push_back(Erase(system));
      continue;
    }
    Fact fact = random->OneIn(3) ? Delete(0, 0, system) : Put(0, 0, system, i + 1);
    fact.valid = {V(random->UniformRange(0, valid_end)), V(random->UniformRange(0, valid_end))};
    if (fact.valid.from > fact.valid.to)
      std::swap(fact.valid.from, fact.valid.to);  // Equal ends stay: an empty interval.
    if (random->OneIn(6)) fact.valid.from = ValidTime::Min();
    if (random->OneIn(6)) fact.valid.to = ValidTime::Max();
    if (mostly_always && !random->OneIn(5)) fact.valid = ValidInterval{};
    facts.push_back(fact);
  }
  return facts;
}

Plane PlaneOf(const Facts& facts, int64_t valid_end) {
  Plane plane{{SystemTime::Min()}, {ValidTime::Min(), V(-1)}};
  for (int64_t s = 0; s <= facts.back().system.micros + 1; ++s) plane.system.push_back(S(s));
  for (int64_t v = 0; v <= valid_end; ++v) plane.valid.push_back(V(v));
  plane.valid.push_back({ValidTime::Max().micros - 1});
  return plane;
}

TEST(ResolveTest, RandomHistoriesEqualNewestCoveringFactWins) {
  base::Random random(20240611);
  Resolution scratch;
  for (int i = 0; i < 25000; ++i) {
    const int64_t valid_end = random.OneIn(2) ? 6 : 14;
    const Facts facts = RandomHistory(&random, valid_end, 14);
    const size_t split = random.Uniform(facts.size() + 1);
    ASSERT_TRUE(Holds(facts, split, PlaneOf(facts, valid_end), &scratch)) << "history " << i;
  }
}

TEST(ResolveTest, RandomHistoriesFlushedInManyPartsGiveTheSameRows) {
  base::Random random(7);
  Resolution scratch;
  for (int i = 0; i < 2000; ++i) {
    const Facts facts = RandomHistory(&random, 20, 60);
    Settled whole;
    whole.Flush(facts, &scratch);
    Settled parts;
    for (size_t at = 0; at < facts.size();) {
      const size_t size = std::min<size_t>(1 + random.Uniform(6), facts.size() - at);
      parts.Flush(std::span(facts).subspan(at, size), &scratch);
      at += size;
    }
    ASSERT_EQ(Sorted(parts.rows), Sorted(whole.rows)) << "history " << i << "\n" << Print(facts);
  }
}

TEST(ResolveTest, PutOverNothingOpensOneRow) {
  const Facts facts{PutAlways(5, 1)};
  const Resolution got = Resolve({}, facts);
  ASSERT_EQ(got.new_rows.size(), 1u);
  EXPECT_EQ(got.new_rows[0].row, (RowVersion{ValidInterval{}, {S(5), kOpen}, {5}, 1}));
  EXPECT_FALSE(got.new_rows[0].from_open);
  EXPECT_FALSE(got.erase_history);
}

TEST(ResolveTest, PutOverTheSameIntervalEndsTheOldRowWhole) {
  const Rows open{Row(0, 10, 1, kOpen, 1)};
  const Facts facts{Put(0, 10, 5, 2)};
  const Resolution got = Resolve(open, facts);
  EXPECT_EQ(got.open[0].outcome, Outcome::kEnded);
  EXPECT_EQ(got.open[0].ended_at, S(5));
  ASSERT_EQ(got.new_rows.size(), 1u);
  EXPECT_EQ(got.new_rows[0].row, Row(0, 10, 5, kOpen, 2));
}

TEST(ResolveTest, PutInTheMiddleLeavesPiecesWithTheirOwnSystemTime) {
  const Rows open{Row(0, 10, 1, kOpen, 1)};
  const Facts facts{Put(3, 7, 5, 2)};
  const Resolution got = Resolve(open, facts);
  EXPECT_EQ(got.open[0].outcome, Outcome::kRewritten);
  Rows rows;
  for (const NewRow& added : got.new_rows) rows.push_back(added.row);
  EXPECT_EQ(rows, (Rows{Row(0, 3, 1, kOpen, 1), Row(3, 7, 1, S(5), 1), Row(3, 7, 5, kOpen, 2),
                        Row(7, 10, 1, kOpen, 1)}));
  EXPECT_TRUE(got.new_rows[1].from_open);
  EXPECT_FALSE(got.new_rows[2].from_open);
}

TEST(ResolveTest, UntouchedRowsAreNotWrittenAgain) {
  const Rows open{Row(20, 30, 2, kOpen, 2), Row(0, 10, 1, kOpen, 1)};
  const Facts facts{Delete(20, 30, 5), Put(10, 20, 6, 3)};
  const Resolution got = Resolve(open, facts);
  EXPECT_EQ(got.open[0].outcome, Outcome::kEnded);
  EXPECT_EQ(got.open[1].outcome, Outcome::kUntouched);
  ASSERT_EQ(got.new_rows.size(), 1u);
  EXPECT_EQ(got.new_rows[0].source, 1u);
}

TEST(ResolveTest, LaterStatementOfOneCommitWinsAndLeavesNoEmptyVersion) {
  const Facts facts{Put(0, 10, 5, 1), Put(4, 6, 5, 2), Put(0, 4, 5, 3)};
  Rows rows;
  Versions(facts, &rows);
  EXPECT_EQ(rows, (Rows{Row(0, 4, 5, kOpen, 3), Row(4, 6, 5, kOpen, 2), Row(6, 10, 5, kOpen, 1)}));
}

TEST(ResolveTest, RowOfTheFactsOwnCommitVanishes) {
  const Rows open{Row(0, 10, 5, kOpen, 1)};
  const Facts facts{Delete(0, 10, 5)};
  const Resolution got = Resolve(open, facts);
  EXPECT_EQ(got.open[0].outcome, Outcome::kRewritten);
  EXPECT_TRUE(got.new_rows.empty());
}

TEST(ResolveTest, EraseTakesEverythingBeforeItAndNothingAfter) {
  const Rows open{Row(0, 10, 1, kOpen, 1)};
  const Facts facts{Put(0, 5, 2, 2), Erase(3), Put(0, 5, 3, 3), Put(5, 9, 4, 4)};
  const Resolution got = Resolve(open, facts);
  EXPECT_TRUE(got.erase_history);
  EXPECT_EQ(got.open[0].outcome, Outcome::kErased);
  ASSERT_EQ(got.new_rows.size(), 2u);
  EXPECT_EQ(got.new_rows[0].row, Row(0, 5, 3, kOpen, 3));
  EXPECT_EQ(got.new_rows[0].source, 2u);
  EXPECT_EQ(got.new_rows[1].source, 3u);
}

TEST(ResolveTest, EraseWithAnEmptyIntervalStillTakesTheWholeKey) {
  Fact erase = Erase(3);
  erase.valid = {V(4), V(4)};
  const Rows open{Row(0, 10, 1, kOpen, 1)};
  EXPECT_TRUE(Resolve(open, std::span(&erase, 1)).erase_history);
  Rows rows;
  Cut(Row(0, 10, 1, S(2), 1), std::span(&erase, 1), &rows);
  EXPECT_TRUE(rows.empty());
}

TEST(ResolveTest, EmptyIntervalInsideARowChangesNothing) {
  const Rows open{Row(0, 10, 1, kOpen, 1)};
  for (const Facts& facts :
       {Facts{Put(5, 5, 2, 2)}, Facts{Delete(5, 5, 2), Put(7, 7, 2, 2)}, Facts{Delete(8, 3, 2)}}) {
    const Resolution got = Resolve(open, facts);
    EXPECT_EQ(got.open[0].outcome, Outcome::kUntouched);
    EXPECT_TRUE(got.new_rows.empty());
  }
}

TEST(ResolveTest, FactsOfEmptyIntervalsOpenNothing) {
  for (const Facts& facts : {Facts{Put(5, 5, 2, 2)}, Facts{Put(5, 5, 2, 2), Put(5, 5, 3, 3)}}) {
    EXPECT_TRUE(Resolve({}, facts).new_rows.empty());
    Rows rows;
    Versions(facts, &rows);
    EXPECT_TRUE(rows.empty());
  }
}

TEST(ResolveTest, ClosedRowIsCutOnlyByAnErase) {
  const RowVersion closed = Row(0, 10, 1, S(2), 1);
  Rows rows;
  Cut(closed, Facts{Delete(0, 10, 3)}, &rows);
  EXPECT_EQ(rows, Rows{closed});
  Cut(closed, Facts{Erase(4), Put(0, 10, 5, 2)}, &rows);
  EXPECT_EQ(rows, Rows{closed});
}

TEST(ResolveTest, ReusedResolutionCarriesNothingOver) {
  const Rows open{Row(0, 10, 1, kOpen, 1)};
  Resolution reused;
  Resolve(open, Facts{Put(3, 7, 5, 2), Erase(6)}, &reused);
  Resolve(open, Facts{}, &reused);
  EXPECT_FALSE(reused.erase_history);
  EXPECT_TRUE(reused.new_rows.empty());
  EXPECT_EQ(reused.open[0].outcome, Outcome::kUntouched);
}

TEST(ResolveTest, ThousandsOfFactsOnOneKeyStayFast) {
  // Each put nibbles the end of what is left of the first one: there come to be as many live pieces
  // as facts.
  Facts facts{Put(0, 20000, 1, 1)};
  for (int64_t i = 1; i < 10000; ++i) facts.push_back(Put(20000 - 2 * i, 20001 - 2 * i, 1 + i, 2));
  const Resolution got = Resolve({}, facts);
  EXPECT_EQ(got.new_rows.size(),
            1u + 3 * 9999);  // The first put in 10,000 pieces and 9,999 ends, and 9,999 puts.
  Rows rows;
  Cut(Row(0, 20000, 0, kOpen, 9), std::span(facts).subspan(1), &rows);
  EXPECT_EQ(rows.size(), 1u + 2 * 9999);
}

TEST(WindowTest, PointMeetsExactlyTheRowsThatContainIt) {
  const RowVersion row = Row(3, 7, 5, S(9), 1);
  const auto meets = [&](int64_t s, int64_t v) {
    return Window::At(S(s), V(v)).Meets(row.valid, row.system);
  };
  EXPECT_TRUE(meets(5, 3));
  EXPECT_TRUE(meets(8, 6));
  EXPECT_FALSE(meets(9, 6));
  EXPECT_FALSE(meets(8, 7));
  EXPECT_FALSE(meets(4, 3));
  EXPECT_FALSE(meets(5, 2));
}

TEST(WindowTest, NothingIsAtTheOpenEnds) {
  EXPECT_TRUE(Window::At(SystemTime::Max(), V(0)).empty());
  EXPECT_TRUE(Window::At(S(0), ValidTime::Max()).empty());
  EXPECT_FALSE(Window::At(S(0), ValidTime::Max()).Meets(ValidInterval{}, SystemInterval{}));
  EXPECT_FALSE(Window::At(SystemTime::Max(), V(0)).Meets(ValidInterval{}, SystemInterval{}));
}

}  // namespace
}  // namespace lamina::temporal
