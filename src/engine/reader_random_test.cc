// Random histories, a random prefix of them settled in files by hand, the rest in memtables: every
// read must answer as the model.
#include <algorithm>
#include <map>
#include <set>

#include <gtest/gtest.h>

#include "engine/reader_test_support.h"
#include "testing/reference_model.h"

namespace lamina::engine {
namespace {

using reader_testing::OrderOf;
using reader_testing::TestRow;
using reader_testing::Text;
using reader_testing::World;
using storage::FileKind;
using temporal::FactKind;
using temporal::RowVersion;
using temporal::Window;

constexpr int64_t kTick = 10;  // System time of commit n is n * kTick.

struct Statement {
  TestRow row;  // id, name, valid
  FactKind kind;
};

// Settled state of one history and the rest in memtables.
class History {
 public:
  explicit History(uint64_t seed)
      : random_(seed), world_(2 + static_cast<int32_t>(random_.Uniform(3))) {
    keys_ = 2 + static_cast<int64_t>(random_.Uniform(12));
    with_valid_ = !random_.OneIn(4);
    commits_ = 4 + random_.Uniform(30);
    for (uint64_t c = 1; c <= commits_; ++c) AddCommit(c);
    Settle();
    FillMemtables();
  }

  World& w() { return world_; }

 private:
  ValidInterval RandomValid() {
    if (!with_valid_ || random_.OneIn(3)) return {};
    const int64_t from = random_.UniformRange(-1, 7);
    const int64_t to = random_.UniformRange(from + 1, 9);
    return {from == -1 ? ValidTime::Min() : ValidTime{from},
            to == 9 ? ValidTime::Max() : ValidTime{to}};
  }

  void AddCommit(uint64_t commit) {
    std::vector<Statement> statements;
    std::vector<testing::ModelWrite> writes;
    const uint64_t count = 1 + random_.Uniform(4);
    for (uint64_t i = 0; i < count; ++i) {
      Statement s;
      s.row.id = random_.UniformRange(0, keys_ - 1) * 3;
      s.row.valid = RandomValid();
      s.row.name = "v" + std::to_string(commit) + "." + std::to_string(i);
      const uint64_t dice = random_.Uniform(40);
      s.kind = dice == 0 ? FactKind::kErase : dice < 10 ? FactKind::kDelete : FactKind::kPut;
      writes.push_back({"t", world_.Key(s.row.id), s.kind, s.row.valid, s.row.name});
      statements.push_back(std::move(s));
    }
    writes_.push_back(std::move(writes));
    history_.push_back(std::move(statements));
  }

  struct Settled {
    TestRow row;
    size_t file = 0;
    bool closed_file = false;
    bool rewritten = false;
  };

  // Flushes as the engine does: resolution of each key, closed rows to a history file, ends to
  // deletion vectors.
  void Settle() {
    flushed_ = random_.Uniform(commits_ + 1);
    uint64_t done = 0;
    std::vector<Settled> settled;
    size_t file = 0;
    while (done < flushed_) {
      const uint64_t to = std::min(flushed_, done + 1 + random_.Uniform(flushed_));
      std::map<int64_t, std::vector<std::pair<temporal::Fact, const Statement*>>> facts;
      for (uint64_t c = done + 1; c <= to; ++c) {
        for (const Statement& s : history_[c - 1]) {
          temporal::Fact fact{s.row.valid, {static_cast<int64_t>(c) * kTick}, {c}, s.kind, 0};
          facts[s.row.id].push_back({fact, &s});
        }
      }
      const size_t known = settled.size();
      for (const auto& [id, list] : facts) {
        std::vector<RowVersion> open;
        std::vector<size_t> where;
        for (size_t i = 0; i < known; ++i) {
          const Settled& s = settled[i];
          if (s.row.id != id || s.rewritten || s.row.system.to != SystemTime::Max()) continue;
          open.push_back({s.row.valid, s.row.system, {s.row.commit}, 0});
          where.push_back(i);
        }
        std::vector<temporal::Fact> of_key;
        for (const auto& [fact, statement] : list) of_key.push_back(fact);
        const temporal::Resolution resolution = temporal::Resolve(open, of_key);
        if (resolution.erase_history) {
          for (size_t i = 0; i < known; ++i)
            settled[i].rewritten = settled[i].rewritten || settled[i].row.id == id;
        }
        for (size_t i = 0; i < open.size(); ++i) {
          if (resolution.open[i].outcome == temporal::Outcome::kEnded) {
            settled[where[i]].row.system.to = resolution.open[i].ended_at;
          } else if (resolution.open[i].outcome != temporal::Outcome::kUntouched) {
            settled[where[i]].rewritten = true;
          }
        }
        for (const temporal::NewRow& n : resolution.new_rows) {
          Settled s;
          s.row.id = id;
          s.row.name =
              n.from_open ? settled[where[n.source]].row.name : list[n.source].second->row.name;
          s.row.valid = n.row.valid;
          s.row.system = n.row.system;
          s.row.commit = n.row.commit.value;
          s.closed_file = n.row.system.to != SystemTime::Max();
          s.file = file;
          settled.push_back(std::move(s));
        }
      }
      ++file;
      done = to;
    }
    // Compaction folds what the first flushes wrote: open rows into disjoint files of level 1,
    // ended ones into history.
    const size_t compacted = random_.Uniform(file + 1);
    std::map<std::pair<int, size_t>, std::vector<Settled>>
        out;  // (0 current level 0, 1 current level 1, 2 history), number
    const int64_t split = random_.UniformRange(0, keys_ * 3);
    for (const Settled& s : settled) {
      const bool closed = s.row.system.to != SystemTime::Max();
      if (s.file < compacted) {
        if (s.rewritten && random_.OneIn(2)) continue;
        if (closed && !s.rewritten) {
          out[{2, 1000}].push_back(s);
        } else if (!closed) {
          out[{1, s.row.id < split ? 0 : 1}].push_back(s);
        }
      } else if (s.closed_file) {
        out[{2, s.file}].push_back(s);
      } else {
        out[{0, s.file}].push_back(s);
      }
    }
    for (auto& [place, rows] : out) {
      std::stable_sort(rows.begin(), rows.end(), [](const Settled& a, const Settled& b) {
        return OrderOf(a.row) < OrderOf(b.row);
      });
      std::vector<TestRow> at_rest;
      std::vector<size_t> rewritten;
      for (size_t i = 0; i < rows.size(); ++i) {
        TestRow row = rows[i].row;
        if (rows[i].rewritten) {
          rewritten.push_back(i);
          if (place.first != 2) row.system.to = SystemTime::Max();
        }
        at_rest.push_back(std::move(row));
      }
      world_.AddFile(place.first == 2 ? FileKind::kHistory : FileKind::kCurrent,
                     place.first == 1 ? 1 : 0, at_rest, rewritten);
    }
  }

  void FillMemtables() {
    const uint64_t rest = commits_ - flushed_;
    own_from_ = random_.OneIn(2) || rest == 0
                    ? commits_ + 1
                    : commits_;  // The last commit may be a transaction's own.
    // Later commits than the snapshot's may be in the active memtable already.
    seen_ = own_from_ <= commits_ ? own_from_ - 1 : flushed_ + random_.Uniform(rest + 1);
    std::vector<std::shared_ptr<Memtable>> memtables{Memtable::Make()};
    for (uint64_t c = flushed_ + 1; c <= commits_; ++c) {
      WriteBatch batch;
      for (const Statement& s : history_[c - 1])
        ASSERT_TRUE(batch.Add(world_.Write(s.row, s.kind)).ok());
      Memtable* target = nullptr;
      if (c >= own_from_) {
        if (own == nullptr) own = Memtable::Make();
        target = own.get();
      } else {
        if (random_.OneIn(4) && memtables.size() < 3) memtables.push_back(Memtable::Make());
        target = memtables.back().get();
      }
      ASSERT_TRUE(target->Apply(batch, {c}, Time(c)).ok());
    }
    std::vector<std::shared_ptr<const Memtable>> sealed(memtables.begin(), memtables.end() - 1);
    snapshot = world_.MakeSnapshot({seen_}, seen_ == 0 ? SystemTime::Min() : Time(seen_),
                                   {flushed_}, flushed_ == 0 ? SystemTime::Min() : Time(flushed_),
                                   sealed, memtables.back());
    newest = own != nullptr ? Time(commits_) : snapshot->system();
    // What the reads may see: an erase after the snapshot would take from the model what the
    // snapshot still shows.
    for (uint64_t c = 1; c <= commits_; ++c) {
      if (c <= seen_ || c >= own_from_) model.Apply({c}, Time(c), writes_[c - 1]);
    }
  }

  static SystemTime Time(uint64_t commit) { return {static_cast<int64_t>(commit) * kTick}; }

  base::Random random_;
  World world_;
  int64_t keys_;
  bool with_valid_;
  uint64_t commits_;
  uint64_t flushed_ = 0;
  uint64_t seen_ = 0;
  uint64_t own_from_ = 0;
  std::vector<std::vector<Statement>> history_;
  std::vector<std::vector<testing::ModelWrite>> writes_;

 public:
  testing::ReferenceModel model;
  SnapshotPtr snapshot;
  std::shared_ptr<Memtable> own;
  SystemTime newest;  // What reads may look at: the snapshot's or the own commit's time.
  int64_t key_count() const { return keys_; }
  base::Random& random() { return random_; }
  std::vector<testing::ModelRow> ToModel(const std::vector<TestRow>& rows) const {
    std::vector<testing::ModelRow> out;
    out.reserve(rows.size());
    for (const TestRow& row : rows)
      out.push_back({world_.Key(row.id), row.valid, row.system, {row.commit}, row.name});
    return testing::Coalesce(std::move(out));
  }
};

Window RandomWindow(History* h) {
  base::Random& random = h->random();
  Window window{{SystemTime::Min(), {h->newest.micros + 1}}, {}};
  if (h->newest == SystemTime::Min()) return window;
  if (!random.OneIn(3)) {
    const int64_t from = random.UniformRange(0, h->newest.micros);
    window.system = {{from}, {random.UniformRange(from + 1, h->newest.micros + 1)}};
  }
  if (!random.OneIn(3)) {
    const int64_t from = random.UniformRange(-1, 8);
    window.valid = {{from}, {random.UniformRange(from + 1, 10)}};
  }
  return window;
}

class ReaderRandomTest : public ::testing::TestWithParam<uint64_t> {};

TEST_P(ReaderRandomTest, EveryPointOfThePlaneIsTheModels) {
  for (uint64_t i = 0; i < 6; ++i) {
    History h(GetParam() * 1000 + i);
    if (h.newest == SystemTime::Min()) continue;
    std::vector<SystemTime> systems;
    for (const SystemTime s : h.model.SystemBoundaries("t")) {
      if (s <= h.newest) systems.push_back(s);
    }
    for (const SystemTime s : systems) {
      for (const ValidTime v : h.model.ValidBoundaries("t")) {
        if (v == ValidTime::Max()) continue;
        SCOPED_TRACE("seed " + std::to_string(GetParam() * 1000 + i) + " system " + Text(s.micros) +
                     " valid " + Text(v.micros));
        std::vector<testing::ModelRow> rows =
            h.model.ScanWindow("t", {}, Window::At(s, v), h.newest);
        testing::ModelKeyValues expected;
        for (const auto& row : rows) expected.push_back({row.key, row.value});
        ScanSpec spec = h.w().AllColumns(Window::At(s, v));
        spec.batch_rows = 1 + static_cast<int64_t>(h.random().Uniform(9));
        testing::ModelKeyValues full, narrow, unordered, points;
        for (const TestRow& row : h.w().Scan(h.snapshot, spec, h.own))
          full.push_back({h.w().Key(row.id), row.name});
        ASSERT_EQ(full, expected);
        spec.columns = {"name", "id"};
        for (const TestRow& row : h.w().Scan(h.snapshot, spec, h.own))
          narrow.push_back({h.w().Key(row.id), row.name});
        ASSERT_EQ(narrow, expected);
        spec.ordered = false;
        for (const TestRow& row : h.w().Scan(h.snapshot, spec, h.own))
          unordered.push_back({h.w().Key(row.id), row.name});
        std::sort(unordered.begin(), unordered.end());
        ASSERT_EQ(unordered, expected);
        for (int64_t id = 0; id < h.key_count() * 3; ++id) {
          const std::string key = h.w().Key(id);
          for (const bool with_times : {false, true}) {
            PointSpec point{
                h.w().table, key, Window::At(s, v), {"id", "name", "_system_from", "_commit"}};
            if (with_times) point.columns.push_back("_system_to");
            ASSERT_OK_TO(const auto got,
                         h.w().reader.Get(*h.snapshot, point, h.own.get(), nullptr));
            ASSERT_LE(got->num_rows(), 1);
            for (const TestRow& row : World::ToRows(*got)) {
              if (!with_times) points.push_back({h.w().Key(row.id), row.name});
              const auto it = std::find_if(rows.begin(), rows.end(),
                                           [&](const auto& r) { return r.key == key; });
              ASSERT_NE(it, rows.end());
              ASSERT_EQ(it->value, row.name);
              ASSERT_EQ(it->commit.value, row.commit);
              ASSERT_EQ(it->system.from, row.system.from);
              if (with_times) {
                ASSERT_EQ(it->system.to, row.system.to);
              }
            }
          }
        }
        ASSERT_EQ(points, expected);
      }
    }
  }
}

TEST_P(ReaderRandomTest, WindowsGiveTheModelsRowVersionsInOrder) {
  for (uint64_t i = 0; i < 30; ++i) {
    History h(500000 + GetParam() * 1000 + i);
    for (int round = 0; round < 6; ++round) {
      SCOPED_TRACE("seed " + std::to_string(500000 + GetParam() * 1000 + i) + " round " +
                   std::to_string(round));
      const Window window = RandomWindow(&h);
      const auto expected = testing::Coalesce(h.model.ScanWindow("t", {}, window, h.newest));
      ScanSpec spec = h.w().AllColumns(window);
      spec.batch_rows = 1 + static_cast<int64_t>(h.random().Uniform(9));
      const std::vector<TestRow> all = h.w().Scan(h.snapshot, spec, h.own);
      ASSERT_TRUE(std::is_sorted(all.begin(), all.end(), [](const auto& a, const auto& b) {
        return OrderOf(a) < OrderOf(b);
      })) << Text(all);
      ASSERT_EQ(testing::Print(h.ToModel(all)), testing::Print(expected));
      spec.use_pruning = false;
      ASSERT_EQ(Text(h.w().Scan(h.snapshot, spec, h.own)), Text(all));
      spec.ordered = false;
      auto unordered = h.w().Scan(h.snapshot, spec, h.own);
      std::sort(unordered.begin(), unordered.end(),
                [](const auto& a, const auto& b) { return OrderOf(a) < OrderOf(b); });
      ASSERT_EQ(Text(unordered), Text(all));
      spec.columns = {};
      auto stream = h.w().reader.Scan(h.snapshot, spec, h.own);
      ASSERT_TRUE(stream.ok());
      size_t counted = 0;
      while (true) {
        ASSERT_OK_TO(const auto batch, (*stream)->Next());
        if (batch == nullptr) break;
        ASSERT_EQ(batch->num_columns(), 0);
        counted += static_cast<size_t>(batch->num_rows());
      }
      ASSERT_EQ(counted, all.size());
      for (int64_t id = 0; id < h.key_count() * 3; ++id) {
        std::vector<TestRow> of_key;
        for (const TestRow& row : all) {
          if (row.id == id) of_key.push_back(row);
        }
        const std::string key = h.w().Key(id);
        const PointSpec point{h.w().table, key, window, h.w().AllColumns(window).columns};
        ASSERT_OK_TO(const auto got, h.w().reader.Get(*h.snapshot, point, h.own.get(), nullptr));
        ASSERT_EQ(Text(World::ToRows(*got)), Text(of_key));
      }
    }
  }
}

ScalarPtr TimeLiteral(int64_t micros) {
  return std::make_shared<arrow::TimestampScalar>(micros, storage::sst::TimeType());
}

// A predicate and the same as a function.
std::pair<ExprPtr, std::function<bool(const TestRow&)>> RandomPredicate(History* h) {
  base::Random& random = h->random();
  const int64_t id = random.UniformRange(0, h->key_count() * 3);
  const int64_t s = random.UniformRange(
      0, std::max<int64_t>(1, h->newest == SystemTime::Min() ? 1 : h->newest.micros));
  const int64_t v = random.UniformRange(0, 9);
  switch (random.Uniform(11)) {
    case 0:
      return {Eq("id", Lit(id)), [=](const TestRow& r) { return r.id == id; }};
    case 1:
      return {Ge("id", Lit(id)), [=](const TestRow& r) { return r.id >= id; }};
    case 2:
      return {Between("id", Lit(id), Lit(id + 6)),
              [=](const TestRow& r) { return r.id >= id && r.id <= id + 6; }};
    case 3:
      return {StartsWith("name", "v1"), [](const TestRow& r) { return r.name.starts_with("v1"); }};
    case 4:
      return {Lt("score", Lit(static_cast<double>(id * 10))), [=](const TestRow& r) {
                return reader_testing::ScoreOf(r) < static_cast<double>(id * 10);
              }};
    case 5:
      return {Ge("_system_to", TimeLiteral(s)),
              [=](const TestRow& r) { return r.system.to.micros >= s; }};
    case 6:
      return {Lt("_system_to", TimeLiteral(s)),
              [=](const TestRow& r) { return r.system.to.micros < s; }};
    case 7:
      return {Gt("_valid_from", TimeLiteral(v)),
              [=](const TestRow& r) { return r.valid.from.micros > v; }};
    case 8:
      return {Le("_valid_to", TimeLiteral(v)),
              [=](const TestRow& r) { return r.valid.to.micros <= v; }};
    case 9:
      return {Le("_system_from", TimeLiteral(s)),
              [=](const TestRow& r) { return r.system.from.micros <= s; }};
    default:
      return {And({Ge("_commit", Lit(s / kTick)), Ne("id", Lit(id))}), [=](const TestRow& r) {
                return static_cast<int64_t>(r.commit) >= s / kTick && r.id != id;
              }};
  }
}

TEST_P(ReaderRandomTest, PredicatesRangesAndLimitsSelectFromTheWholeScan) {
  for (uint64_t i = 0; i < 20; ++i) {
    History h(900000 + GetParam() * 1000 + i);
    for (int round = 0; round < 12; ++round) {
      SCOPED_TRACE("seed " + std::to_string(900000 + GetParam() * 1000 + i) + " round " +
                   std::to_string(round));
      Window window = RandomWindow(&h);
      if (h.random().OneIn(2))
        window = Window::At({window.system.to.micros - 1}, {h.random().UniformRange(0, 8)});
      ScanSpec spec = h.w().AllColumns(window);
      spec.batch_rows = 1 + static_cast<int64_t>(h.random().Uniform(9));
      const std::vector<TestRow> all = h.w().Scan(h.snapshot, spec, h.own);

      auto [expr, passes] = RandomPredicate(&h);
      ASSERT_OK_TO(spec.predicate, catalog::Predicate::Bind(expr, *h.w().table));
      int64_t low = INT64_MIN, high = INT64_MAX;
      if (h.random().OneIn(2)) {
        low = h.random().UniformRange(0, h.key_count() * 3);
        spec.keys.from = h.w().Key(low);
      }
      if (h.random().OneIn(2)) {
        high = h.random().UniformRange(0, h.key_count() * 3);
        spec.keys.to = h.w().Key(high);
        spec.keys.unbounded_to = false;
      }
      if (h.random().OneIn(2)) spec.limit = static_cast<int64_t>(h.random().Uniform(6));
      std::vector<TestRow> expected;
      for (const TestRow& row : all) {
        if (spec.limit.has_value() && static_cast<int64_t>(expected.size()) == *spec.limit) break;
        if (passes(row) && row.id >= low && row.id < high) expected.push_back(row);
      }
      ASSERT_EQ(Text(h.w().Scan(h.snapshot, spec, h.own)), Text(expected)) << expr->ToString();
      spec.use_pruning = false;
      ASSERT_EQ(Text(h.w().Scan(h.snapshot, spec, h.own)), Text(expected)) << expr->ToString();
      // The predicate's columns need not be shown.
      spec.use_pruning = true;
      spec.columns = {"name"};
      const auto names = h.w().Scan(h.snapshot, spec, h.own);
      ASSERT_EQ(names.size(), expected.size()) << expr->ToString();
      for (size_t r = 0; r < names.size(); ++r) ASSERT_EQ(names[r].name, expected[r].name);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, ReaderRandomTest, ::testing::Values(1, 2, 3));

}  // namespace
}  // namespace lamina::engine
