// Random histories through the public interface against the brute-force model, at every point of
// the plane.
//
// A history mixes puts, deletes, partial overlaps, documents, transactions, aborts, flushes,
// compactions, garbage collection, erases, trims and reopens over small files (a few rows a page),
// so that every boundary is met. After some steps and at the end:
//   * every cell of the plane: scan of each table = model (point reads too, sampled);
//   * all versions, joined where they touch = the model's exact rectangles;
//   * a snapshot taken earlier still answers what it answered then;
//   * the check of everything at rest finds nothing.
// The seed of a failing history is printed; LAMINA_MODEL_SEED runs that one alone,
// LAMINA_MODEL_HISTORIES sets how many.
#include <atomic>
#include <cstdlib>
#include <thread>

#include <arrow/builder.h>
#include <arrow/table.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/random.h"
#include "lamina/database.h"
#include "testing/reference_model.h"

namespace lamina {
namespace {

using testing::ModelRow;
using testing::ModelWrite;
using testing::ReferenceModel;

constexpr char kTable[] = "t";
constexpr char kDocuments[] = "documents";

std::shared_ptr<arrow::Schema> Schema() {
  return arrow::schema({arrow::field("id", arrow::int64(), false),
                        arrow::field("note", arrow::utf8()),
                        arrow::field("tags", arrow::list(arrow::int32()))});
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

class History {
 public:
  explicit History(uint64_t seed) : random_(seed), store_(MakeMemoryStore()) {}

  Status Run() {
    ARROW_RETURN_NOT_OK(Open());
    ARROW_RETURN_NOT_OK(db_->CreateTable(kTable, Schema(), {.names = {"id"}}));
    const uint64_t steps = 4 + random_.Uniform(24);
    for (uint64_t i = 0; i < steps; ++i) {
      ARROW_RETURN_NOT_OK(Step());
      if (random_.OneIn(12)) ARROW_RETURN_NOT_OK(CompareAll());
    }
    ARROW_RETURN_NOT_OK(CompareAll());
    ARROW_ASSIGN_OR_RAISE(const auto findings, db_->Check());
    if (!findings.empty()) return Status::Invalid("check: ", findings[0]);
    return Status::OK();
  }
  const std::string& log() const { return log_; }

 private:
  Status Open() {
    held_.reset();
    db_.reset();
    DatabaseOptions options;
    options.rows_per_page = 2 + static_cast<int32_t>(random_.Uniform(4));
    options.rows_per_row_group =
        options.rows_per_page * (1 + static_cast<int32_t>(random_.Uniform(3)));
    options.memtable_rows = random_.OneIn(2) ? 1 + static_cast<int64_t>(random_.Uniform(12)) : 0;
    options.auto_flush = random_.OneIn(2);
    options.auto_compact = random_.OneIn(2);
    // Sealed memtables that nobody flushes must not hold the history up.
    options.max_sealed_memtables = options.auto_flush ? 4 : 1000;
    options.level0_files = 2;
    options.level1_bytes = 16 << 10;
    options.file_bytes_target = random_.OneIn(2) ? 8 << 10 : 64 << 20;
    options.page_cache_bytes = random_.OneIn(3) ? 0 : 1 << 20;
    options.wal_segment_bytes = 4 << 10;
    options.sync = random_.OneIn(2) ? SyncPolicy::kAlways : SyncPolicy::kOff;
    options.gc_grace_micros = 0;
    return Database::Open(store_, options).Value(&db_);
  }

  ValidInterval RandomInterval() {
    if (random_.OneIn(4)) return {};
    const auto a = static_cast<int64_t>(random_.Uniform(7));
    const auto b = a + 1 + static_cast<int64_t>(random_.Uniform(4));
    return {random_.OneIn(5) ? ValidTime::Min() : ValidTime{a},
            random_.OneIn(4) ? ValidTime::Max() : ValidTime{b}};
  }

  Status Step() {
    switch (random_.Uniform(16)) {
      case 0:
        log_ += "flush\n";
        return db_->Flush();
      case 1:
        log_ += "compact\n";
        return db_->Compact();
      case 2:
        log_ += "gc\n";
        return db_->CollectGarbage(false, 0).status();
      case 3:
        log_ += "reopen\n";
        return Open();
      case 4:
        if (random_.OneIn(4)) return Erase();
        return Commit();
      case 5:
        if (random_.OneIn(4)) return Trim();
        return Commit();
      case 6:
        return Hold();
      default:
        return Commit();
    }
  }

  Status Commit() {
    ARROW_ASSIGN_OR_RAISE(auto transaction, db_->Begin());
    std::vector<ModelWrite> writes;
    const uint64_t n = 1 + random_.Uniform(4);
    for (uint64_t i = 0; i < n; ++i) {
      const auto kind = random_.OneIn(4) ? temporal::FactKind::kDelete : temporal::FactKind::kPut;
      const ValidInterval valid = RandomInterval();
      const auto id = static_cast<int64_t>(random_.Uniform(6));
      const std::string value = random_.OneIn(8) ? "" : fmt::format("v{}", ++values_);
      if (random_.OneIn(3)) {
        const std::string key = "doc/" + KeyText(id);
        ARROW_RETURN_NOT_OK(kind == temporal::FactKind::kPut
                                ? transaction->PutDocument(key, value, valid)
                                : transaction->DeleteDocument(key, valid));
        writes.push_back({kDocuments, key, kind, valid, value});
        continue;
      }
      WriteOptions options;
      options.valid = valid;
      // Sometimes several rows in one statement.
      std::vector<std::pair<int64_t, std::string>> rows = {{id, value}};
      if (random_.OneIn(3)) rows.emplace_back((id + 1) % 6, value + "b");
      const auto batch = MakeRows(rows);
      ARROW_RETURN_NOT_OK(kind == temporal::FactKind::kPut
                              ? transaction->Put(kTable, batch, options)
                              : transaction->Delete(kTable, batch, options));
      for (const auto& [key, text] : rows)
        writes.push_back({kTable, KeyText(key), kind, valid, text});
    }
    if (random_.OneIn(3)) ARROW_RETURN_NOT_OK(CompareOwnWrites(*transaction, writes));
    if (random_.OneIn(10)) {
      log_ += "abort\n";
      transaction->Abort();
      return Status::OK();
    }
    ARROW_ASSIGN_OR_RAISE(const auto result, transaction->Commit());
    model_.Apply(result.commit, result.system_time, writes);
    log_ += fmt::format("commit {}:", result.commit.value);
    for (const auto& w : writes) {
      log_ += fmt::format(" {}{}/{} [{}, {}) {}",
                          w.kind == temporal::FactKind::kPut ? "put " : "delete ", w.table, w.key,
                          w.valid.from.micros, w.valid.to.micros, w.value);
    }
    log_ += "\n";
    return Status::OK();
  }

  Status CompareOwnWrites(Transaction& transaction, const std::vector<ModelWrite>& writes) {
    ReferenceModel with = model_;
    with.Apply({model_.newest_commit().value + 1}, {model_.newest_time().micros + 1}, writes);
    const ValidTime v{static_cast<int64_t>(random_.Uniform(10))};
    ScanOptions options;
    options.valid = ValidPeriod::At(v);
    ARROW_ASSIGN_OR_RAISE(auto reader, transaction.Scan(kTable, options));
    ARROW_ASSIGN_OR_RAISE(const auto rows, KeyValues(*reader));
    return Equal("own writes", with.Scan(kTable, {}, with.newest_time(), v), rows);
  }

  Status Erase() {
    const auto id = static_cast<int64_t>(random_.Uniform(6));
    held_.reset();
    log_ += fmt::format("erase {}\n", id);
    ARROW_RETURN_NOT_OK(db_->EraseKey(kTable, {Lit(id)}));
    // An erase is a commit of its own.
    ARROW_ASSIGN_OR_RAISE(const auto time, db_->TimeOf(db_->newest_commit()));
    model_.Apply(db_->newest_commit(), time,
                 {{kTable, KeyText(id), temporal::FactKind::kErase, {}, ""}});
    return Status::OK();
  }

  Status Trim() {
    ARROW_RETURN_NOT_OK(db_->Flush());
    if (model_.newest_commit().value < 2) return Status::OK();
    const CommitId commit{1 + random_.Uniform(model_.newest_commit().value)};
    ARROW_ASSIGN_OR_RAISE(const auto floor, db_->TimeOf(commit));
    if (floor < model_.HistoryFloor(kTable)) return Status::OK();
    held_.reset();
    log_ += fmt::format("trim below commit {}\n", commit.value);
    ARROW_RETURN_NOT_OK(db_->TrimHistory(kTable, floor));
    model_.SetHistoryFloor(kTable, floor);
    return Status::OK();
  }

  Status Hold() {
    if (held_ != nullptr) return CompareHeld();
    log_ += "hold a snapshot\n";
    held_ = db_->GetSnapshot();
    return ReadHeld(&held_rows_);
  }
  Status ReadHeld(testing::ModelKeyValues* out) {
    ScanOptions options;
    options.valid = ValidPeriod::At({3});
    ARROW_ASSIGN_OR_RAISE(auto reader, db_->Scan(held_, kTable, options));
    return KeyValues(*reader).Value(out);
  }
  Status CompareHeld() {
    if (held_ == nullptr) return Status::OK();
    testing::ModelKeyValues now;
    ARROW_RETURN_NOT_OK(ReadHeld(&now));
    return Equal("held snapshot", held_rows_, now);
  }

  static Result<std::string> RowText(const arrow::RecordBatch& batch, int64_t row) {
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
  static Result<testing::ModelKeyValues> KeyValues(ScanReader& reader) {
    testing::ModelKeyValues out;
    for (;;) {
      std::shared_ptr<arrow::RecordBatch> batch;
      ARROW_RETURN_NOT_OK(reader.ReadNext(&batch));
      if (batch == nullptr) return out;
      for (int64_t i = 0; i < batch->num_rows(); ++i) {
        if (batch->schema()->GetFieldIndex("doc") >= 0) {
          const auto text = [&](const char* name) {
            return static_cast<const arrow::BinaryArray&>(*batch->GetColumnByName(name))
                .GetString(i);
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

  static Status Equal(const std::string& what, const testing::ModelKeyValues& expected,
                      const testing::ModelKeyValues& actual) {
    if (expected == actual) return Status::OK();
    const auto print = [](const testing::ModelKeyValues& rows) {
      std::string out;
      for (const auto& [key, value] : rows) out += fmt::format(" {}={}", key, value);
      return out;
    };
    return Status::Invalid(what, "\nexpected:", print(expected), "\nactual:  ", print(actual));
  }

  Status CompareAll() {
    ARROW_RETURN_NOT_OK(CompareHeld());
    for (const std::string table : {kTable, kDocuments}) {
      for (const auto& point : model_.AllPoints(table)) {
        std::shared_ptr<ScanReader> reader;
        if (table == kDocuments) {
          ARROW_ASSIGN_OR_RAISE(reader, db_->ScanPrefix("doc/", SystemPeriod::AsOf(point.system),
                                                        ValidPeriod::At(point.valid)));
        } else {
          ScanOptions options;
          options.system = SystemPeriod::AsOf(point.system);
          options.valid = ValidPeriod::At(point.valid);
          ARROW_ASSIGN_OR_RAISE(reader, db_->Scan(table, options));
        }
        ARROW_ASSIGN_OR_RAISE(const auto rows, KeyValues(*reader));
        ARROW_RETURN_NOT_OK(Equal(
            fmt::format("{} at system {} valid {}", table, point.system.micros, point.valid.micros),
            model_.Scan(table, {}, point.system, point.valid), rows));
        if (random_.OneIn(8)) ARROW_RETURN_NOT_OK(ComparePoint(table, point));
      }
    }
    return CompareVersions();
  }

  Status ComparePoint(const std::string& table, const testing::ModelPoint& point) {
    const auto id = static_cast<int64_t>(random_.Uniform(6));
    std::optional<std::string> actual;
    std::string key = KeyText(id);
    if (table == kDocuments) {
      key = "doc/" + key;
      ARROW_ASSIGN_OR_RAISE(actual, db_->GetDocument(key, SystemPeriod::AsOf(point.system),
                                                     ValidPeriod::At(point.valid)));
    } else {
      ARROW_ASSIGN_OR_RAISE(const auto row,
                            db_->Get(table, {Lit(id)}, SystemPeriod::AsOf(point.system),
                                     ValidPeriod::At(point.valid)));
      if (row->num_rows() > 1) return Status::Invalid("two rows at one point");
      if (row->num_rows() == 1) {
        ARROW_ASSIGN_OR_RAISE(actual, RowText(*row, 0));
      }
    }
    if (actual == model_.Get(table, key, point.system, point.valid)) return Status::OK();
    return Status::Invalid("get ", table, "/", key, " at system ", point.system.micros, " valid ",
                           point.valid.micros, ": expected ",
                           model_.Get(table, key, point.system, point.valid).value_or("nothing"),
                           ", got ", actual.value_or("nothing"));
  }

  Status CompareVersions() {
    if (model_.HistoryFloor(kTable) != SystemTime::Min()) return Status::OK();
    ScanOptions options;
    options.system = SystemPeriod::All();
    options.valid = ValidPeriod::All();
    options.columns = std::vector<std::string>{
        "id", "note", "tags", "_valid_from", "_valid_to", "_system_from", "_system_to", "_commit"};
    ARROW_ASSIGN_OR_RAISE(auto reader, db_->Scan(kTable, options));
    std::vector<ModelRow> rows;
    for (;;) {
      std::shared_ptr<arrow::RecordBatch> batch;
      ARROW_RETURN_NOT_OK(reader->ReadNext(&batch));
      if (batch == nullptr) break;
      const auto time = [&](const char* name, int64_t i) {
        return static_cast<const arrow::TimestampArray&>(*batch->GetColumnByName(name)).Value(i);
      };
      for (int64_t i = 0; i < batch->num_rows(); ++i) {
        ModelRow row;
        row.key = KeyText(static_cast<const arrow::Int64Array&>(*batch->column(0)).Value(i));
        ARROW_ASSIGN_OR_RAISE(row.value, RowText(*batch, i));
        row.valid = {{time("_valid_from", i)}, {time("_valid_to", i)}};
        row.system = {{time("_system_from", i)}, {time("_system_to", i)}};
        row.commit = {static_cast<uint64_t>(
            static_cast<const arrow::Int64Array&>(*batch->GetColumnByName("_commit")).Value(i))};
        rows.push_back(std::move(row));
      }
    }
    const auto expected = testing::Coalesce(model_.ScanWindow(kTable, {}, {{}, {}}));
    const auto actual = testing::Coalesce(rows);
    if (expected == actual) return Status::OK();
    return Status::Invalid("all versions differ\nexpected:\n", testing::Print(expected),
                           "actual:\n", testing::Print(actual));
  }

  base::Random random_;
  std::shared_ptr<ObjectStore> store_;
  std::unique_ptr<Database> db_;
  ReferenceModel model_;
  SnapshotPtr held_;
  testing::ModelKeyValues held_rows_;
  uint64_t values_ = 0;
  std::string log_;
};

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

TEST(ModelTest, RandomHistoriesAnswerAsTheModelAtEveryPointOfThePlane) {
  const uint64_t only = FromEnvironment("LAMINA_MODEL_SEED", 0);
  const uint64_t histories = only != 0 ? 1 : FromEnvironment("LAMINA_MODEL_HISTORIES", 10'000);
  const uint64_t first = only != 0 ? only : FromEnvironment("LAMINA_MODEL_FIRST", 1);
  std::atomic<uint64_t> next{first};
  std::atomic<bool> failed{false};
  std::mutex mutex;
  const auto work = [&] {
    for (uint64_t seed = next++; seed < first + histories && !failed; seed = next++) {
      History history(seed);
      const auto status = history.Run();
      if (status.ok()) continue;
      std::lock_guard lock(mutex);
      failed = true;
      ADD_FAILURE() << "seed " << seed << " (LAMINA_MODEL_SEED=" << seed
                    << "): " << status.ToString() << "\n"
                    << history.log();
    }
  };
  std::thread other(work);
  work();
  other.join();
  std::printf("%llu histories from seed %llu\n", static_cast<unsigned long long>(histories),
              static_cast<unsigned long long>(first));
}

}  // namespace
}  // namespace lamina
