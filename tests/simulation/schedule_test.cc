// The real engine under the deterministic scheduler: concurrent writers, readers, maintenance and
// background work on two workers, with the reference model as the judge.
//
// Writers and readers cannot be judged while they run: a commit may be seen before its writer knows
// its number. So everything is written down and judged at the end: commits are dense and each knows
// its number, so the model is built commit by commit, and every answer is compared with the model
// as of the snapshot that gave it. A number that no writer got is an erase's, in their order.
//
// A failing seed is printed; LAMINA_SIM_SEED runs that one alone and prints its trace,
// LAMINA_SIM_FIRST and LAMINA_SIM_SEEDS run others, with LAMINA_SIM_KEEP_GOING=1 past failures.
#include <algorithm>
#include <cstdlib>
#include <map>
#include <set>

#include <arrow/builder.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/check.h"
#include "base/random.h"
#include "base/scope_guard.h"
#include "base/thread.h"
#include "db/open.h"
#include "lamina/database.h"
#include "storage/object_store/memory_store.h"
#include "testing/reference_model.h"
#include "testing/sim_scheduler.h"
#include "testing/sim_store.h"

namespace lamina {
namespace {

using testing::ModelKeyValues;
using testing::ModelRow;
using testing::ModelWrite;
using testing::ReferenceModel;
using testing::SimScheduler;

constexpr char kTable[] = "t";
constexpr char kDocuments[] = "documents";
constexpr int kIds = 6;
constexpr int kCounters = 2;

std::shared_ptr<arrow::Schema> Schema() {
  static const auto schema =
      arrow::schema({arrow::field("id", arrow::int64(), false), arrow::field("note", arrow::utf8()),
                     arrow::field("tags", arrow::list(arrow::int32()))});
  return schema;
}

/// A row whose columns all derive from (id, value): a mix-up of columns shows.
std::shared_ptr<arrow::RecordBatch> MakeRows(
    const std::vector<std::pair<int64_t, std::string>>& rows) {
  arrow::Int64Builder id;
  arrow::StringBuilder note;
  auto numbers = std::make_shared<arrow::Int32Builder>();
  arrow::ListBuilder tags(arrow::default_memory_pool(), numbers);
  for (const auto& [key, value] : rows) {
    EXPECT_TRUE(id.Append(key).ok());
    EXPECT_TRUE((value.empty() ? note.AppendNull() : note.Append(value)).ok());
    EXPECT_TRUE(tags.Append().ok());
    for (size_t i = 0; i < value.size() % 3; ++i) EXPECT_TRUE(numbers->Append(value[i]).ok());
  }
  return arrow::RecordBatch::Make(
      Schema(), static_cast<int64_t>(rows.size()),
      {id.Finish().ValueOrDie(), note.Finish().ValueOrDie(), tags.Finish().ValueOrDie()});
}

std::string KeyText(int64_t id) { return fmt::format("{:04}", id); }

Result<std::string> RowText(const arrow::RecordBatch& batch, int64_t row) {
  const auto& id = static_cast<const arrow::Int64Array&>(*batch.GetColumnByName("id"));
  const auto& note = static_cast<const arrow::StringArray&>(*batch.GetColumnByName("note"));
  const std::string value = note.IsNull(row) ? "" : note.GetString(row);
  const auto expected = MakeRows({{id.Value(row), value}});
  if (!expected->GetColumnByName("tags")->RangeEquals(0, 1, row, batch.GetColumnByName("tags"))) {
    return Status::Invalid("columns of different rows are mixed: id=", id.Value(row),
                           " note=", value);
  }
  return value;
}

Result<ModelKeyValues> KeyValues(ScanReader& reader) {
  ModelKeyValues out;
  for (;;) {
    testing::SimYield("scan.next");
    std::shared_ptr<arrow::RecordBatch> batch;
    ARROW_RETURN_NOT_OK(reader.ReadNext(&batch));
    if (batch == nullptr) return out;
    for (int64_t i = 0; i < batch->num_rows(); ++i) {
      if (batch->schema()->GetFieldIndex("doc") >= 0) {
        const auto text = [&](const char* name) {
          return static_cast<const arrow::BinaryArray&>(*batch->GetColumnByName(name)).GetString(i);
        };
        out.emplace_back(text("key"), text("doc"));
        continue;
      }
      ARROW_ASSIGN_OR_RAISE(auto value, RowText(*batch, i));
      out.emplace_back(
          KeyText(static_cast<const arrow::Int64Array&>(*batch->GetColumnByName("id")).Value(i)),
          std::move(value));
    }
  }
}

std::string Print(const ModelKeyValues& rows) {
  std::string out;
  for (const auto& [key, value] : rows) out += fmt::format(" {}={}", key, value);
  return out;
}

Status Equal(const std::string& what, const ModelKeyValues& expected,
             const ModelKeyValues& actual) {
  if (expected == actual) return Status::OK();
  return Status::Invalid(what, "\nexpected:", Print(expected), "\nactual:  ", Print(actual));
}

/// What a simulated history came to.
struct Outcome {
  Status status;
  uint64_t hash = 0;
  std::string trace;
  uint64_t steps = 0;
  uint64_t switches = 0;
  uint64_t commits = 0;
  bool deadlocked = false;
};

class History {
 public:
  explicit History(uint64_t seed)
      : seed_(seed),
        random_(seed * 2 + 1),
        sim_owner_(std::make_unique<SimScheduler>(seed)),
        sim_(*sim_owner_),
        memory_(std::make_shared<storage::MemoryStore>()),
        latency_(random_.OneIn(3) ? 500 : 0),
        store_(std::make_shared<testing::SimStore>(memory_, latency_)) {}

  Outcome Run() {
    Outcome outcome;
    outcome.status = Play();
    // Not after a deadlock: closing would wait for what is never released.
    if (!deadlocked_) {
      held_.reset();
      db_.reset();
    }
    outcome.hash = sim_.trace_hash();
    outcome.trace = sim_.trace();
    outcome.steps = sim_.steps();
    outcome.switches = sim_.switches();
    outcome.commits = commits_.size();
    outcome.deadlocked = deadlocked_;
    if (deadlocked_) sim_owner_.reset();
    return outcome;
  }

 private:
  struct Acknowledged {
    SystemTime system;
    std::vector<ModelWrite> writes;
  };
  struct Observed {
    CommitId snapshot;
    std::string table;
    SystemTime system;
    ValidTime valid;
    ModelKeyValues rows;
    std::string who;
    std::optional<std::string> only;  // this key was looked at
  };

  Status Open() {
    engine::EngineOptions options;
    options.store = store_;
    options.random_seed = seed_ + 1;
    if (shared_executor_) options.executor = sim_.executor();
    options.rows_per_page = 2 + static_cast<int32_t>(random_.Uniform(4));
    options.rows_per_row_group =
        options.rows_per_page * (1 + static_cast<int32_t>(random_.Uniform(3)));
    // Most of the time of a run is a codec's setting up of its tables.
    if (!random_.OneIn(8)) options.upper_codec = options.last_codec = Codec::kNone;
    options.memtable_rows = 1 + static_cast<int64_t>(random_.Uniform(30));
    if (random_.OneIn(4)) options.memtable_age_micros = 1'000;
    options.auto_flush = !random_.OneIn(5);
    options.auto_compact = !random_.OneIn(5);
    options.max_sealed_memtables = options.auto_flush ? 1 + random_.Uniform(4) : 1000;
    options.level0_files = 2;
    options.level0_slowdown_files = 4;
    options.level0_stop_files = 6;
    options.history_files = 2;
    options.level1_bytes = 16 << 10;
    options.file_bytes_target = random_.OneIn(2) ? 8 << 10 : 64 << 20;
    options.page_cache_bytes = random_.OneIn(3) ? 0 : random_.OneIn(2) ? 4 << 10 : 1 << 20;
    options.footer_cache_bytes = random_.OneIn(3) ? 0 : 1 << 20;
    options.deletion_cache_bytes = random_.OneIn(3) ? 0 : 1 << 20;
    options.retained_conflict_bytes = random_.OneIn(3) ? 0 : 1 << 20;
    options.wal_segment_bytes = 4 << 10;
    options.sync = random_.OneIn(3)   ? SyncPolicy::kAlways
                   : random_.OneIn(2) ? SyncPolicy::kInterval
                                      : SyncPolicy::kOff;
    options.sync_interval_micros = 1'000;
    options.gc_grace_micros = random_.OneIn(3) ? 1'000 : 0;
    options.auto_gc = !random_.OneIn(4);
    return db::OpenWith(std::move(options)).Value(&db_);
  }

  Status Play() {
    shared_executor_ = !random_.OneIn(3);
    ARROW_RETURN_NOT_OK(Open());
    ARROW_RETURN_NOT_OK(db_->CreateTable(kTable, Schema(), {.names = {"id"}}));
    const int phases = random_.OneIn(3) ? 2 : 1;
    for (int phase = 0; phase < phases; ++phase) {
      if (phase > 0) {
        held_.reset();
        ARROW_RETURN_NOT_OK(db_->Close());
        db_.reset();
        ARROW_RETURN_NOT_OK(Open());
      }
      writers_left_ = 3;
      for (int w = 0; w < 3; ++w) {
        base::Random random = random_.Fork();
        sim_.Spawn(fmt::format("writer-{}", w), [this, w, random]() mutable {
          Note(Write(w, &random));
          --writers_left_;
        });
      }
      for (int r = 0; r < 2; ++r) {
        base::Random random = random_.Fork();
        sim_.Spawn(fmt::format("reader-{}", r), [this, r, random]() mutable {
          Note(Read(fmt::format("reader-{}", r), &random));
        });
      }
      base::Random random = random_.Fork();
      sim_.Spawn("care", [this, random]() mutable { Note(Care(&random)); });
      if (random_.OneIn(4)) {
        base::Random of_other = random_.Fork();
        sim_.Spawn("other", [this, of_other]() mutable { Note(OtherDatabase(&of_other)); });
      }
      if (Status ran = sim_.Run(); !ran.ok()) {
        deadlocked_ = true;
        return ran;
      }
      ARROW_RETURN_NOT_OK(failure_);
    }
    return Judge();
  }

  void Note(const Status& status) {
    if (!status.ok() && failure_.ok()) failure_ = status;
  }

  // ---- Writers

  static ValidInterval RandomInterval(base::Random* random) {
    if (random->OneIn(4)) return {};
    const auto a = static_cast<int64_t>(random->Uniform(7));
    const auto b = a + 1 + static_cast<int64_t>(random->Uniform(4));
    return {random->OneIn(5) ? ValidTime::Min() : ValidTime{a},
            random->OneIn(4) ? ValidTime::Max() : ValidTime{b}};
  }

  void Record(const CommitResult& result, std::vector<ModelWrite> writes) {
    if (result.replayed || result.commit.value == 0) return;
    const bool fresh =
        commits_.emplace(result.commit.value, Acknowledged{result.system_time, std::move(writes)})
            .second;
    if (!fresh) Note(Status::Invalid("two commits have one number: ", result.commit.value));
  }

  Status Write(int writer, base::Random* random) {
    const int count = 10 + static_cast<int>(random->Uniform(20));
    for (int i = 0; i < count; ++i) {
      ARROW_RETURN_NOT_OK(failure_);
      if (random->OneIn(5)) {
        ARROW_RETURN_NOT_OK(Increment(static_cast<int>(random->Uniform(kCounters)), random));
      } else if (random->OneIn(3)) {
        ARROW_RETURN_NOT_OK(WriteOne(random));
      } else {
        ARROW_RETURN_NOT_OK(WriteSome(writer, random));
      }
      if (random->OneIn(10)) sim_.clock()->SleepMicros(random->UniformRange(1, 2'000));
    }
    return Status::OK();
  }

  std::string NewValue(base::Random* random) {
    return random->OneIn(8) ? "" : fmt::format("v{}", ++values_);
  }

  Status WriteOne(base::Random* random) {
    const auto id = static_cast<int64_t>(random->Uniform(kIds));
    const ValidInterval valid = RandomInterval(random);
    const std::string value = NewValue(random);
    const bool put = !random->OneIn(4);
    const auto kind = put ? temporal::FactKind::kPut : temporal::FactKind::kDelete;
    if (random->OneIn(2)) {
      const std::string key = "doc/" + KeyText(id);
      ARROW_ASSIGN_OR_RAISE(const auto result, put ? db_->PutDocument(key, value, valid)
                                                   : db_->DeleteDocument(key, valid));
      Record(result, {{kDocuments, key, kind, valid, value}});
      return Status::OK();
    }
    const auto rows = MakeRows({{id, value}});
    WriteOptions options;
    options.valid = valid;
    ARROW_ASSIGN_OR_RAISE(const auto result, put ? db_->Put(kTable, rows, options)
                                                 : db_->Delete(kTable, rows, options));
    Record(result, {{kTable, KeyText(id), kind, valid, value}});
    return Status::OK();
  }

  Status WriteSome(int writer, base::Random* random) {
    TransactionOptions of_transaction;
    if (random->OneIn(2)) of_transaction.isolation = Isolation::kSnapshot;
    if (random->OneIn(6)) of_transaction.durable = true;
    if (random->OneIn(8)) {
      of_transaction.idempotency_key = fmt::format("request-{}", random->Uniform(6));
    }
    ARROW_ASSIGN_OR_RAISE(auto transaction, db_->Begin(of_transaction));
    std::vector<ModelWrite> writes;
    const uint64_t n = 1 + random->Uniform(4);
    for (uint64_t i = 0; i < n; ++i) {
      const auto kind = random->OneIn(4) ? temporal::FactKind::kDelete : temporal::FactKind::kPut;
      const ValidInterval valid = RandomInterval(random);
      const auto id = static_cast<int64_t>(random->Uniform(kIds));
      const std::string value = NewValue(random);
      if (random->OneIn(3)) {
        const std::string key = "doc/" + KeyText(id);
        ARROW_RETURN_NOT_OK(kind == temporal::FactKind::kPut
                                ? transaction->PutDocument(key, value, valid)
                                : transaction->DeleteDocument(key, valid));
        writes.push_back({kDocuments, key, kind, valid, value});
        continue;
      }
      WriteOptions options;
      options.valid = valid;
      std::vector<std::pair<int64_t, std::string>> rows = {{id, value}};
      if (random->OneIn(3)) rows.emplace_back((id + 1) % kIds, value + "b");
      const auto batch = MakeRows(rows);
      ARROW_RETURN_NOT_OK(kind == temporal::FactKind::kPut
                              ? transaction->Put(kTable, batch, options)
                              : transaction->Delete(kTable, batch, options));
      for (const auto& [key, text] : rows)
        writes.push_back({kTable, KeyText(key), kind, valid, text});
    }
    if (random->OneIn(10)) {
      transaction->Abort();
      return Status::OK();
    }
    auto result = transaction->Commit();
    if (!result.ok()) {
      return CodeOf(result.status()) == ErrorCode::kConflict ? Status::OK() : result.status();
    }
    sim_.Trace(fmt::format("writer {} commit {}", writer, result->commit.value));
    Record(*result, std::move(writes));
    return Status::OK();
  }

  /// Read, add one, write: serializable or by the written key, no increment may be lost.
  Status Increment(int counter, base::Random* random) {
    const std::string key = fmt::format("counter/{}", counter);
    TransactionOptions options;
    if (random->OneIn(2)) options.isolation = Isolation::kSnapshot;
    ARROW_ASSIGN_OR_RAISE(auto transaction, db_->Begin(options));
    ARROW_ASSIGN_OR_RAISE(const auto seen, transaction->GetDocument(key));
    const int value = seen ? std::stoi(*seen) : 0;
    if (random->OneIn(3)) sim_.clock()->SleepMicros(100);
    ARROW_RETURN_NOT_OK(transaction->PutDocument(key, std::to_string(value + 1)));
    auto result = transaction->Commit();
    if (!result.ok()) {
      return CodeOf(result.status()) == ErrorCode::kConflict ? Status::OK() : result.status();
    }
    ++increments_[counter];
    Record(*result, {{kDocuments, key, temporal::FactKind::kPut, {}, std::to_string(value + 1)}});
    return Status::OK();
  }

  static std::vector<std::string> DocumentKeys() {
    std::vector<std::string> keys;
    for (int i = 0; i < kCounters; ++i) keys.push_back(fmt::format("counter/{}", i));
    for (int i = 0; i < kIds; ++i) keys.push_back("doc/" + KeyText(i));
    return keys;
  }

  // ---- Readers

  Result<ModelKeyValues> ScanAt(const SnapshotPtr& snapshot, const std::string& table,
                                SystemPeriod system, ValidTime valid, int64_t batch_rows) {
    if (table == kDocuments) {
      ModelKeyValues rows;
      for (const std::string& key : DocumentKeys()) {
        ARROW_ASSIGN_OR_RAISE(auto document,
                              db_->GetDocument(snapshot, key, system, ValidPeriod::At(valid)));
        if (document) rows.emplace_back(key, std::move(*document));
      }
      return rows;
    }
    ScanOptions options;
    options.system = system;
    options.valid = ValidPeriod::At(valid);
    options.batch_rows = batch_rows;
    ARROW_ASSIGN_OR_RAISE(auto reader, db_->Scan(snapshot, table, options));
    return KeyValues(*reader);
  }

  Status Observe(const std::string& who, const SnapshotPtr& snapshot, base::Random* random) {
    const ValidTime valid{static_cast<int64_t>(random->Uniform(11))};
    SystemTime system = snapshot->system_time();
    if (random->OneIn(3) && snapshot->commit().value > 1) {
      const auto time = db_->TimeOf({1 + random->Uniform(snapshot->commit().value - 1)});
      if (time.ok()) system = *time;
    }
    const std::string table = random->OneIn(3) ? kDocuments : kTable;
    if (table == kTable && random->OneIn(3)) {
      const auto id = static_cast<int64_t>(random->Uniform(kIds));
      auto got =
          db_->Get(snapshot, kTable, {Lit(id)}, SystemPeriod::AsOf(system), ValidPeriod::At(valid));
      if (!got.ok()) return Trimmed(got.status(), table, system);
      if ((*got)->num_rows() > 1) return Status::Invalid("two rows at one point");
      ModelKeyValues found;
      if ((*got)->num_rows() == 1) {
        ARROW_ASSIGN_OR_RAISE(auto text, RowText(**got, 0));
        found.emplace_back(KeyText(id), std::move(text));
      }
      observed_.push_back({snapshot->commit(), table, system, valid, std::move(found),
                           fmt::format("{} gets {}", who, KeyText(id)), KeyText(id)});
      return Status::OK();
    }
    auto rows = ScanAt(snapshot, table, SystemPeriod::AsOf(system), valid,
                       1 + static_cast<int64_t>(random->Uniform(4)));
    if (!rows.ok()) return Trimmed(rows.status(), table, system);
    observed_.push_back(
        {snapshot->commit(), table, system, valid, std::move(*rows), who, std::nullopt});
    return Status::OK();
  }

  Status Trimmed(const Status& status, const std::string& table, SystemTime system) {
    if (table == kTable && CodeOf(status) == ErrorCode::kHistoryTrimmed && system < floor_asked_) {
      return Status::OK();
    }
    return status;
  }

  Status Read(const std::string& who, base::Random* random) {
    uint64_t newest = 0;
    while (writers_left_ > 0 && failure_.ok()) {
      const SnapshotPtr snapshot = db_->GetSnapshot();
      if (snapshot->commit().value < newest) return Status::Invalid("the newest commit went back");
      newest = snapshot->commit().value;
      // All that was acknowledged before is seen.
      const uint64_t reads = 1 + random->Uniform(3);
      for (uint64_t i = 0; i < reads; ++i) ARROW_RETURN_NOT_OK(Observe(who, snapshot, random));
      sim_.clock()->SleepMicros(random->UniformRange(1, 500));
    }
    return Status::OK();
  }

  // ---- Maintenance

  Status Care(base::Random* random) {
    while (writers_left_ > 0 && failure_.ok()) {
      ARROW_RETURN_NOT_OK(CareOnce(random));
      if (random->OneIn(2)) sim_.clock()->SleepMicros(random->UniformRange(1, 2'000));
    }
    return Status::OK();
  }

  Status CareOnce(base::Random* random) {
    const uint64_t what = random->Uniform(15);
    sim_.Trace(fmt::format("care {}", what));
    switch (what) {
      case 0:
      case 1:
        return db_->Flush();
      case 2:
      case 3:
        return db_->Compact();
      case 4:
      case 5:
        return db_->CollectGarbage(false, 0).status();
      case 6:
      case 7:
        if (random->OneIn(2)) return Erase(random);
        return Status::OK();
      case 8:
        if (random->OneIn(3)) return Trim(random);
        return Status::OK();
      case 9:
      case 10:
        return Hold(random);
      case 11:
        return db_->WaitForBackground();
      case 12: {
        if (!random->OneIn(4)) return db_->Sync();
        ARROW_ASSIGN_OR_RAISE(const auto findings, db_->Check());
        if (!findings.empty()) return Status::Invalid("check beside writers: ", findings[0]);
        return Status::OK();
      }
      case 13: {
        constexpr int64_t kJumps[] = {1'000'000, int64_t{1200} * 1'000'000,
                                      int64_t{3650} * 86'400 * 1'000'000};
        const int64_t most = kJumps[random->Uniform(3)];
        sim_.JumpWallClock(random->UniformRange(-most, most));
        return Status::OK();
      }
      default:
        static_cast<void>(db_->metrics());
        static_cast<void>(db_->ListVersions());
        return Status::OK();
    }
  }

  Status Erase(base::Random* random) {
    const auto id = static_cast<int64_t>(random->Uniform(kIds));
    if (random->OneIn(2)) {
      const std::string key = "doc/" + KeyText(id);
      erases_.push_back({kDocuments, key, temporal::FactKind::kErase, {}, ""});
      return db_->EraseDocument(key);
    }
    erases_.push_back({kTable, KeyText(id), temporal::FactKind::kErase, {}, ""});
    return db_->EraseKey(kTable, {Lit(id)});
  }

  Status Trim(base::Random* random) {
    const uint64_t newest = db_->newest_commit().value;
    if (newest < 2) return Status::OK();
    ARROW_ASSIGN_OR_RAISE(const auto floor, db_->TimeOf({1 + random->Uniform(newest)}));
    if (floor <= floor_asked_) return Status::OK();
    floor_asked_ = floor;
    return db_->TrimHistory(kTable, floor);
  }

  Status Hold(base::Random* random) {
    if (held_ == nullptr) {
      held_ = db_->GetSnapshot();
      held_valid_ = {static_cast<int64_t>(random->Uniform(11))};
    } else if (random->OneIn(3)) {
      held_.reset();
      return Status::OK();
    }
    for (const std::string table : {kTable, kDocuments}) {
      ARROW_ASSIGN_OR_RAISE(
          auto rows, ScanAt(held_, table, SystemPeriod::AsOf(held_->system_time()), held_valid_,
                            1 + static_cast<int64_t>(random->Uniform(4))));
      observed_.push_back({held_->commit(), table, held_->system_time(), held_valid_,
                           std::move(rows), "held snapshot", std::nullopt});
    }
    return Status::OK();
  }

  /// Opens and closes beside the one that is judged, on the same workers.
  Status OtherDatabase(base::Random* random) {
    auto memory = std::make_shared<storage::MemoryStore>();
    int written = 0;
    for (int round = 0; round < 3; ++round) {
      engine::EngineOptions options;
      options.store = std::make_shared<testing::SimStore>(memory);
      options.executor = sim_.executor();
      options.random_seed = seed_ + 77;
      options.memtable_rows = 2;
      options.sync_interval_micros = 300;
      options.level0_files = 2;
      options.gc_grace_micros = 0;
      ARROW_ASSIGN_OR_RAISE(auto other, db::OpenWith(std::move(options)));
      for (int i = 0; i < written; ++i) {
        ARROW_ASSIGN_OR_RAISE(const auto found, other->GetDocument(fmt::format("k{}", i)));
        if (found != std::to_string(i)) return Status::Invalid("other database lost ", i);
      }
      const int count = static_cast<int>(random->Uniform(6));
      for (int i = 0; i < count; ++i) {
        ARROW_RETURN_NOT_OK(
            other->PutDocument(fmt::format("k{}", written), std::to_string(written)).status());
        ++written;
      }
      if (random->OneIn(2)) ARROW_RETURN_NOT_OK(other->Close());
    }
    return Status::OK();
  }

  // ---- The judge

  Status Judge() {
    const uint64_t newest = db_->newest_commit().value;
    if (!commits_.empty() && commits_.rbegin()->first > newest) {
      return Status::Invalid("acknowledged but not there: ", commits_.rbegin()->first);
    }
    std::stable_sort(observed_.begin(), observed_.end(),
                     [](const Observed& a, const Observed& b) { return a.snapshot < b.snapshot; });
    auto next_erase = erases_.begin();
    auto next_observed = observed_.begin();
    ReferenceModel model;
    for (uint64_t c = 0; c <= newest; ++c) {
      if (c > 0) {
        const auto found = commits_.find(c);
        if (found != commits_.end()) {
          model.Apply({c}, found->second.system, found->second.writes);
          ARROW_ASSIGN_OR_RAISE(const auto time, db_->TimeOf({c}));
          if (time != found->second.system) return Status::Invalid("time of commit ", c, " moved");
        } else {
          if (next_erase == erases_.end()) return Status::Invalid("commit of nobody: ", c);
          ARROW_ASSIGN_OR_RAISE(const auto time, db_->TimeOf({c}));
          model.Apply({c}, time, {*next_erase++});
        }
      }
      for (; next_observed != observed_.end() && next_observed->snapshot.value == c;
           ++next_observed) {
        const Observed& o = *next_observed;
        const ModelKeyValues expected = Expected(model, o);
        ARROW_RETURN_NOT_OK(
            Equal(fmt::format("{}: {} at snapshot {} system {} valid {}", o.who, o.table,
                              o.snapshot.value, o.system.micros, o.valid.micros),
                  expected, o.rows));
      }
    }
    if (next_erase != erases_.end()) return Status::Invalid("an acknowledged erase is not there");
    if (next_observed != observed_.end()) return Status::Invalid("a snapshot saw the future");
    model.SetHistoryFloor(kTable, floor_asked_);
    for (int i = 0; i < kCounters; ++i) {
      const std::string key = fmt::format("counter/{}", i);
      ARROW_ASSIGN_OR_RAISE(const auto value, db_->GetDocument(key));
      if ((value ? std::stoi(*value) : 0) != increments_[i]) {
        return Status::Invalid("increments were lost: ", key);
      }
    }
    ARROW_RETURN_NOT_OK(CompareAll(model));
    if (random_.OneIn(2)) ARROW_RETURN_NOT_OK(db_->WaitForBackground());
    held_.reset();
    ARROW_RETURN_NOT_OK(db_->Close());
    db_.reset();
    ARROW_RETURN_NOT_OK(Open());
    if (db_->newest_commit().value != newest) return Status::Invalid("reopen lost commits");
    ARROW_RETURN_NOT_OK(CompareAll(model));
    ARROW_ASSIGN_OR_RAISE(const auto findings, db_->Check());
    if (!findings.empty()) return Status::Invalid("check: ", findings[0]);
    return Status::OK();
  }

  static ModelKeyValues Expected(const ReferenceModel& model, const Observed& o) {
    ModelKeyValues rows = model.Scan(o.table, {}, o.system, o.valid);
    if (o.only) std::erase_if(rows, [&](const auto& row) { return row.first != *o.only; });
    return rows;
  }

  Status CompareAll(const ReferenceModel& model) {
    for (const std::string table : {kTable, kDocuments}) {
      const auto points = model.AllPoints(table);
      for (int i = 0; i < 8 && !points.empty(); ++i) {
        const auto& point = points[random_.Uniform(points.size())];
        std::shared_ptr<ScanReader> reader;
        if (table == kDocuments) {
          ARROW_ASSIGN_OR_RAISE(reader, db_->ScanPrefix("", SystemPeriod::AsOf(point.system),
                                                        ValidPeriod::At(point.valid)));
        } else {
          ScanOptions options;
          options.system = SystemPeriod::AsOf(point.system);
          options.valid = ValidPeriod::At(point.valid);
          ARROW_ASSIGN_OR_RAISE(reader, db_->Scan(table, options));
        }
        ARROW_ASSIGN_OR_RAISE(const auto rows, KeyValues(*reader));
        ARROW_RETURN_NOT_OK(Equal(fmt::format("in the end: {} at system {} valid {}", table,
                                              point.system.micros, point.valid.micros),
                                  model.Scan(table, {}, point.system, point.valid), rows));
      }
      ARROW_RETURN_NOT_OK(CompareVersions(model, table));
    }
    return Status::OK();
  }

  /// `key`: of a document, whose versions do not say it.
  static Status AppendVersions(const arrow::RecordBatch& batch,
                               const std::optional<std::string>& key, std::vector<ModelRow>* rows) {
    const auto number = [&](const char* name, int64_t i) {
      return batch.GetColumnByName(name)->data()->GetValues<int64_t>(1)[i];
    };
    for (int64_t i = 0; i < batch.num_rows(); ++i) {
      ModelRow row;
      if (key) {
        row.key = *key;
        row.value =
            static_cast<const arrow::BinaryArray&>(*batch.GetColumnByName("doc")).GetString(i);
      } else {
        row.key = KeyText(number("id", i));
        ARROW_ASSIGN_OR_RAISE(row.value, RowText(batch, i));
      }
      row.valid = {{number("_valid_from", i)}, {number("_valid_to", i)}};
      row.system = {{number("_system_from", i)}, {number("_system_to", i)}};
      row.commit = {static_cast<uint64_t>(number("_commit", i))};
      rows->push_back(std::move(row));
    }
    return Status::OK();
  }

  Status CompareVersions(const ReferenceModel& model, const std::string& table) {
    if (model.HistoryFloor(table) != SystemTime::Min()) return Status::OK();
    std::vector<ModelRow> rows;
    if (table == kDocuments) {
      for (const std::string& key : DocumentKeys()) {
        ARROW_ASSIGN_OR_RAISE(const auto batch, db_->DocumentVersions(key));
        ARROW_RETURN_NOT_OK(AppendVersions(*batch, key, &rows));
      }
    } else {
      ScanOptions options;
      options.system = SystemPeriod::All();
      options.valid = ValidPeriod::All();
      options.columns =
          std::vector<std::string>{"id",        "note",         "tags",       "_valid_from",
                                   "_valid_to", "_system_from", "_system_to", "_commit"};
      ARROW_ASSIGN_OR_RAISE(auto reader, db_->Scan(table, options));
      for (;;) {
        std::shared_ptr<arrow::RecordBatch> batch;
        ARROW_RETURN_NOT_OK(reader->ReadNext(&batch));
        if (batch == nullptr) break;
        ARROW_RETURN_NOT_OK(AppendVersions(*batch, std::nullopt, &rows));
      }
    }
    const auto expected = testing::Coalesce(model.ScanWindow(table, {}, {{}, {}}));
    const auto actual = testing::Coalesce(rows);
    if (expected == actual) return Status::OK();
    return Status::Invalid("all versions of ", table, " differ\nexpected:\n",
                           testing::Print(expected), "actual:\n", testing::Print(actual));
  }

  const uint64_t seed_;
  base::Random random_;
  std::unique_ptr<SimScheduler> sim_owner_;
  SimScheduler& sim_;
  const std::shared_ptr<storage::MemoryStore> memory_;
  const int64_t latency_;
  const std::shared_ptr<ObjectStore> store_;
  bool shared_executor_ = true;
  bool deadlocked_ = false;
  std::unique_ptr<Database> db_;

  // Written by actors, of which one runs at a time.
  Status failure_;
  int writers_left_ = 0;
  uint64_t values_ = 0;
  std::map<uint64_t, Acknowledged> commits_;
  std::vector<ModelWrite> erases_;
  std::vector<Observed> observed_;
  int increments_[kCounters] = {};
  SystemTime floor_asked_ = SystemTime::Min();
  SnapshotPtr held_;
  ValidTime held_valid_;
};

Outcome RunHistory(uint64_t seed) {
  // After a deadlock the actors that are left go on using it.
  auto* history = new History(seed);
  Outcome outcome = history->Run();
  if (!outcome.deadlocked) delete history;
  return outcome;
}

// Sanitizers make a run ten times slower, and look for other things.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr uint64_t kSeeds = 20;
#else
constexpr uint64_t kSeeds = 200;
#endif

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

TEST(ScheduleTest, SeededHistoriesAnswerAsTheModelWhateverTheScheduler) {
  const uint64_t only = FromEnvironment("LAMINA_SIM_SEED", 0);
  const uint64_t first = only != 0 ? only : FromEnvironment("LAMINA_SIM_FIRST", 1);
  const uint64_t seeds = only != 0 ? 1 : FromEnvironment("LAMINA_SIM_SEEDS", kSeeds);
  uint64_t commits = 0;
  uint64_t steps = 0;
  uint64_t switches = 0;
  for (uint64_t seed = first; seed < first + seeds; ++seed) {
    const Outcome outcome = RunHistory(seed);
    commits += outcome.commits;
    steps += outcome.steps;
    switches += outcome.switches;
    if (only != 0) std::printf("%s", outcome.trace.c_str());
    if (outcome.status.ok()) continue;
    ADD_FAILURE() << "seed " << seed << " (LAMINA_SIM_SEED=" << seed
                  << "): " << outcome.status.ToString();
    if (FromEnvironment("LAMINA_SIM_KEEP_GOING", 0) == 0) break;
  }
  std::printf("%llu seeds: %llu commits, %llu scheduling points, %llu switches\n",
              static_cast<unsigned long long>(seeds), static_cast<unsigned long long>(commits),
              static_cast<unsigned long long>(steps), static_cast<unsigned long long>(switches));
}

// ---- What the scheduler found ------------------------------------------------------------------

/// A database on two simulated workers, for scenarios that found a bug.
struct Scene {
  explicit Scene(uint64_t seed, const std::function<void(engine::EngineOptions*)>& change = {})
      : sim(seed) {
    engine::EngineOptions options;
    options.store = std::make_shared<testing::SimStore>(std::make_shared<storage::MemoryStore>());
    options.random_seed = seed + 1;
    options.executor = sim.executor();
    options.gc_grace_micros = 0;
    options.upper_codec = options.last_codec = Codec::kNone;
    if (change) change(&options);
    db = db::OpenWith(std::move(options)).ValueOrDie();
  }
  SimScheduler sim;
  std::unique_ptr<Database> db;
};

// Check read the log's floor, then listed the segments; a flush between the two moved the floor and
// pruned: "segment is missing". Found by seed 1012 of the histories of that day.
TEST(ScheduleTest, CheckBesideFlushesMissesNoSegment) {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    Scene scene(seed);
    scene.sim.Spawn("writer", [&] {
      for (int i = 0; i < 12; ++i) {
        ASSERT_TRUE(scene.db->PutDocument(std::to_string(i), "x").ok());
        ASSERT_TRUE(scene.db->Flush().ok());
      }
    });
    scene.sim.Spawn("checker", [&] {
      for (int i = 0; i < 4; ++i) {
        const auto findings = scene.db->Check();
        ASSERT_TRUE(findings.ok());
        ASSERT_EQ(*findings, std::vector<std::string>()) << "seed " << seed;
      }
    });
    ASSERT_TRUE(scene.sim.Run().ok());
  }
}

// What a running compaction wrote was told from garbage by the clock: a wall clock that stepped
// back and forth while it ran made its files look older than the job, and a collection deleted them
// before they were published.
TEST(ScheduleTest, ACollectionSparesARunningCompactionWhateverTheClockDoes) {
  constexpr int64_t kHour = int64_t{3600} * 1'000'000;
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    Scene scene(seed, [](engine::EngineOptions* options) {
      options->auto_compact = false;
      options->auto_gc = false;
    });
    for (int i = 0; i < 4; ++i) {
      ASSERT_TRUE(scene.db->PutDocument(std::to_string(i), "x").ok());
      ASSERT_TRUE(scene.db->Flush().ok());
    }
    scene.sim.clock()->SleepMicros(2 * kHour);
    scene.sim.Spawn("compaction", [&] {
      const Status compacted = scene.db->Compact();
      ASSERT_TRUE(compacted.ok()) << compacted.ToString();
    });
    scene.sim.Spawn("clock", [&] {
      for (int i = 0; i < 40; ++i) {
        scene.sim.JumpWallClock(-kHour);
        scene.sim.JumpWallClock(kHour);
      }
    });
    scene.sim.Spawn("collector", [&] {
      for (int i = 0; i < 20; ++i) ASSERT_TRUE(scene.db->CollectGarbage(false, 0).ok());
    });
    ASSERT_TRUE(scene.sim.Run().ok());
    const auto findings = scene.db->Check();
    ASSERT_TRUE(findings.ok());
    ASSERT_EQ(*findings, std::vector<std::string>()) << "seed " << seed;
  }
}

// A full compaction planned all its jobs on one version; before the later ones began, a flush could
// replace a deletion vector that they were to read, and a collection delete it.
TEST(ScheduleTest, AFullCompactionReadsTheVersionItBeginsWith) {
  for (uint64_t seed = 1; seed <= 150; ++seed) {
    Scene scene(seed, [](engine::EngineOptions* options) {
      options->auto_compact = false;
      options->auto_gc = false;
      options->deletion_cache_bytes = 0;
    });
    for (int round = 0; round < 2; ++round) {
      for (int i = 0; i < 6; ++i) {
        ASSERT_TRUE(scene.db->PutDocument(std::to_string(i), "x").ok());
      }
      ASSERT_TRUE(scene.db->Flush().ok());
    }
    ASSERT_TRUE(scene.db->Compact().ok());
    int erasers = 3;
    for (int e = 0; e < 3; ++e) {
      scene.sim.Spawn("eraser-" + std::to_string(e), [&, e] {
        for (int i = e; i < 6; i += 3) {
          const Status done = scene.db->EraseDocument(std::to_string(i));
          ASSERT_TRUE(done.ok()) << "seed " << seed << ": " << done.ToString();
        }
        --erasers;
      });
    }
    scene.sim.Spawn("compaction", [&] {
      while (erasers > 0) {
        const Status done = scene.db->Compact();
        ASSERT_TRUE(done.ok()) << "seed " << seed << ": " << done.ToString();
      }
    });
    scene.sim.Spawn("collector", [&] {
      while (erasers > 0) ASSERT_TRUE(scene.db->CollectGarbage(false, 0).ok());
    });
    ASSERT_TRUE(scene.sim.Run().ok());
    const auto findings = scene.db->Check();
    ASSERT_TRUE(findings.ok());
    ASSERT_EQ(*findings, std::vector<std::string>()) << "seed " << seed;
    if (HasFatalFailure()) return;
  }
}

// A commit that finds its idempotency key in its own group has the group's fate: when the log could
// not be written, it was acknowledged all the same.
TEST(ScheduleTest, AReplayOfACommitThatFailedIsNotAcknowledged) {
  const base::ScopeGuard disarm([] { base::DisarmFaults(); });
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    Scene scene(seed, [](engine::EngineOptions* options) { options->sync = SyncPolicy::kOff; });
    base::ArmFault("wal.append", MakeError(ErrorCode::kUnavailable, "injected"));
    for (int w = 0; w < 4; ++w) {
      scene.sim.Spawn("writer-" + std::to_string(w), [&] {
        TransactionOptions options;
        options.idempotency_key = "same";
        auto transaction = scene.db->Begin(options);
        ASSERT_TRUE(transaction.ok());
        ASSERT_TRUE((*transaction)->PutDocument("k", "v").ok());
        const auto result = (*transaction)->Commit();
        EXPECT_FALSE(result.ok()) << "seed " << seed << ": commit " << result->commit.value
                                  << " replayed " << result->replayed;
      });
    }
    ASSERT_TRUE(scene.sim.Run().ok());
    base::DisarmFaults();
    if (::testing::Test::HasFailure()) return;
  }
}

// Without a lock only the claim in the manifest keeps two owners apart. To one that slept while
// another took over, the other's files looked like orphans past the grace: it deleted live data.
TEST(ScheduleTest, AnOwnerThatWasReplacedCollectsNothing) {
  constexpr int64_t kHour = int64_t{3600} * 1'000'000;
  SimScheduler sim(1);
  auto memory = std::make_shared<storage::MemoryStore>();
  const auto open = [&](uint64_t random_seed) {
    engine::EngineOptions options;
    options.store = std::make_shared<testing::SimStore>(memory, 0, /*locks_exclude=*/false);
    options.random_seed = random_seed;
    options.executor = sim.executor();
    options.auto_gc = false;
    return db::OpenWith(std::move(options)).ValueOrDie();
  };
  auto sleeper = open(1);
  ASSERT_TRUE(sleeper->PutDocument("a", "1").ok());
  ASSERT_TRUE(sleeper->Flush().ok());
  auto owner = open(2);
  ASSERT_TRUE(owner->PutDocument("b", "2").ok());
  ASSERT_TRUE(owner->Flush().ok());
  sim.clock()->SleepMicros(kHour);
  const auto collected = sleeper->CollectGarbage();
  EXPECT_EQ(CodeOf(collected.status()), ErrorCode::kFenced) << collected.status().ToString();
  EXPECT_FALSE(sleeper->PutDocument("c", "3").ok());
  const auto findings = owner->Check();
  ASSERT_TRUE(findings.ok());
  EXPECT_EQ(*findings, std::vector<std::string>());
  EXPECT_TRUE(owner->CollectGarbage().ok());
}

// ---- Death --------------------------------------------------------------------------------------

// A process dies between any two steps: its store refuses everything from then on, and what it had
// synced by then is reopened. The database, its threads and its writers unwind by themselves.
TEST(ScheduleTest, AKilledDatabaseReopensWithEveryDurableCommit) {
  constexpr int kProcess = 1;
  int killed_early = 0;
  for (uint64_t seed = 1; seed <= 120; ++seed) {
    auto memory = std::make_shared<storage::MemoryStore>();
    std::shared_ptr<storage::MemoryStore> survived;
    std::map<std::string, std::string> acknowledged;
    const auto options = [&](std::shared_ptr<ObjectStore> store) {
      engine::EngineOptions out;
      out.store = std::move(store);
      out.random_seed = seed + 1;
      out.sync = SyncPolicy::kAlways;
      out.memtable_rows = 5;
      out.level0_files = 2;
      out.gc_grace_micros = 0;
      out.upper_codec = out.last_codec = Codec::kNone;
      return out;
    };
    SimScheduler sim(seed);
    bool done = false;
    sim.Spawn("process", kProcess, [&] {
      auto opened = db::OpenWith(options(std::make_shared<testing::SimStore>(memory, 50)));
      if (!opened.ok()) {
        EXPECT_TRUE(testing::SimKilled()) << opened.status().ToString();
        return;
      }
      Database* const db = opened->get();
      std::vector<base::Thread> writers;
      for (int w = 0; w < 3; ++w) {
        writers.emplace_back("writer-" + std::to_string(w), [&, db, w] {
          for (int i = 0; i < 15; ++i) {
            const std::string key = fmt::format("{}/{}", w, i % 4);
            const std::string value = std::to_string(i);
            const auto put = db->PutDocument(key, value);
            if (testing::SimKilled()) return;
            ASSERT_TRUE(put.ok()) << put.status().ToString();
            acknowledged[key] = value;
          }
        });
      }
      writers.clear();  // joins
      done = true;
    });
    sim.Spawn("killer", [&] {
      sim.clock()->SleepMicros(sim.random().UniformRange(0, 6'000));
      if (!done) ++killed_early;
      sim.KillGroup(kProcess);
      survived = memory->CrashClone(&sim.random());
    });
    const Status ran = sim.Run();
    ASSERT_TRUE(ran.ok()) << ran.ToString();
    auto reopened = db::OpenWith(options(survived));
    ASSERT_TRUE(reopened.ok()) << "seed " << seed << ": " << reopened.status().ToString();
    for (const auto& [key, value] : acknowledged) {
      const auto found = (*reopened)->GetDocument(key);
      ASSERT_TRUE(found.ok());
      ASSERT_TRUE(found->has_value()) << "seed " << seed << ": lost " << key;
      // A newer one may have been written, but not acknowledged.
      ASSERT_GE(std::stoi(**found), std::stoi(value)) << "seed " << seed << ": " << key;
    }
    const auto findings = (*reopened)->Check();
    ASSERT_TRUE(findings.ok());
    ASSERT_EQ(*findings, std::vector<std::string>()) << "seed " << seed;
  }
  EXPECT_GT(killed_early, 60);
}

TEST(ScheduleTest, TheSameSeedGivesTheSameTraceByteForByte) {
  const uint64_t seeds =
      FromEnvironment("LAMINA_SIM_SEED", 0) != 0 ? 0 : FromEnvironment("LAMINA_SIM_TWICE", kSeeds);
  for (uint64_t seed = 1; seed <= seeds; ++seed) {
    const Outcome once = RunHistory(seed);
    const Outcome again = RunHistory(seed);
    if (once.trace != again.trace) {
      size_t at = 0;
      while (at < once.trace.size() && at < again.trace.size() && once.trace[at] == again.trace[at])
        ++at;
      const size_t from = at < 400 ? 0 : at - 400;
      FAIL() << "seed " << seed << " differs:\n"
             << once.trace.substr(from, 600) << "\n---\n"
             << again.trace.substr(from, 600);
    }
    ASSERT_EQ(once.hash, again.hash) << "seed " << seed;
  }
}

}  // namespace
}  // namespace lamina
