// The same operations under other circumstances give the same answers.
//
// One seed makes a stream of operations: commits (puts, deletes, partial overlaps, documents,
// several tables at once), changes of the schema, erases. It is run
//   * plainly: everything in memory, nothing flushed;
//   * under random options (sizes, codecs, caches, policies), with flushes, compactions, garbage
//     collections, reopens and background work at random points: every answer must be the same;
//   * up to commit k only: its newest state must be AS OF k of the whole run;
// and in each database ALL must be the union of the slices: what a scan of all versions shows to
// cover a point is what the scan at that point returns.
// Each query is also asked another way (filter outside instead of inside, unordered and sorted,
// keys one by one): pushing work down must change nothing.
//
// A failing seed is printed; LAMINA_SIM_SEED runs that one alone.
#include "metamorphic.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <regex>
#include <set>

#include <arrow/builder.h>
#include <arrow/compute/cast.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/clock.h"
#include "base/executor.h"
#include "base/mutex.h"
#include "base/random.h"
#include "base/thread.h"
#include "db/open.h"
#include "lamina/database.h"
#include "testing/reference_model.h"

namespace lamina::simulation {
namespace {

using testing::ModelRow;

constexpr char kTable[] = "t";
constexpr int64_t kStart = 1'577'836'800'000'000;
constexpr int64_t kTick = 1'000'000;
constexpr int64_t kIds = 7;
constexpr int64_t kValidEnd = 12;

struct RowWrite {
  bool document = false;
  bool put = true;
  int64_t id = 0;
  int64_t value = 0;  // the columns follow from it
  ValidInterval valid;
};

struct Operation {
  enum class Kind : uint8_t { kCommit, kAddColumn, kDropColumn, kRenameColumn, kWiden, kErase };
  Kind kind = Kind::kCommit;
  std::vector<RowWrite> writes;
  std::string column;
  std::string to;
  int64_t id = 0;
  std::shared_ptr<arrow::Schema> schema;  // before the operation
};

struct Query {
  SystemPeriod system;
  ValidPeriod valid;
  bool moment = true;
  int64_t filter = -1;  // n < filter, -1: none
  int64_t from = 0;     // ids [from, to)
  int64_t to = kIds;
  bool documents = false;
};

std::string DocumentKey(int64_t id) { return fmt::format("doc/{}", id); }

std::shared_ptr<arrow::RecordBatch> MakeRow(const std::shared_ptr<arrow::Schema>& schema,
                                            const RowWrite& write) {
  std::vector<std::shared_ptr<arrow::Array>> columns;
  for (int i = 0; i < schema->num_fields(); ++i) {
    const auto& field = *schema->field(i);
    std::unique_ptr<arrow::ArrayBuilder> builder;
    EXPECT_TRUE(arrow::MakeBuilder(arrow::default_memory_pool(), field.type(), &builder).ok());
    Status status;
    if (field.name() == "id") {
      status = static_cast<arrow::Int64Builder&>(*builder).Append(write.id);
    } else if ((write.value + i) % 5 == 0) {
      status = builder->AppendNull();
    } else if (field.type()->id() == arrow::Type::STRING) {
      // Now and then long enough for a page of its own.
      const size_t length = write.value % 11 == 0 ? 300 : 1;
      status = static_cast<arrow::StringBuilder&>(*builder).Append(fmt::format("v{}", write.value) +
                                                                   std::string(length, 'x'));
    } else if (field.type()->id() == arrow::Type::INT32) {
      status = static_cast<arrow::Int32Builder&>(*builder).Append(
          static_cast<int32_t>(write.value % 50));
    } else {
      status = static_cast<arrow::Int64Builder&>(*builder).Append(write.value % 50);
    }
    EXPECT_TRUE(status.ok()) << status.ToString();
    columns.push_back(builder->Finish().ValueOrDie());
  }
  return arrow::RecordBatch::Make(schema, 1, columns);
}

class Stream {
 public:
  explicit Stream(uint64_t seed) : random_(seed) {
    schema_ =
        arrow::schema({arrow::field("id", arrow::int64(), false),
                       arrow::field("note", arrow::utf8()), arrow::field("n", arrow::int32())});
    first_ = schema_;
    const uint64_t count = 8 + random_.Uniform(25);
    for (uint64_t i = 0; i < count; ++i) operations_.push_back(Next());
    for (int i = 0; i < 24; ++i) queries_.push_back(NextQuery());
  }

  const std::shared_ptr<arrow::Schema>& first_schema() const { return first_; }
  const std::vector<Operation>& operations() const { return operations_; }
  const std::vector<Query>& queries() const { return queries_; }
  int64_t commits() const { return commits_; }

 private:
  ValidInterval Interval() {
    if (random_.OneIn(4)) return {};
    const int64_t a = random_.UniformRange(0, kValidEnd - 2);
    const int64_t b = random_.UniformRange(a + 1, kValidEnd);
    return {random_.OneIn(6) ? ValidTime::Min() : ValidTime{a},
            random_.OneIn(4) ? ValidTime::Max() : ValidTime{b}};
  }

  Operation Next() {
    Operation op;
    op.schema = schema_;
    const uint64_t draw = random_.Uniform(24);
    if (draw == 0) {
      op.kind = Operation::Kind::kAddColumn;
      op.column = fmt::format("c{}", ++columns_);
      schema_ = schema_->AddField(schema_->num_fields(), arrow::field(op.column, arrow::int64()))
                    .ValueOrDie();
      return op;
    }
    if (draw == 1 && schema_->num_fields() > 3) {
      op.kind = Operation::Kind::kDropColumn;
      op.column = schema_->field(schema_->num_fields() - 1)->name();
      schema_ = schema_->RemoveField(schema_->num_fields() - 1).ValueOrDie();
      return op;
    }
    if (draw == 2) {
      op.kind = Operation::Kind::kRenameColumn;
      op.column = schema_->field(1)->name();
      op.to = fmt::format("note{}", ++columns_);
      schema_ = schema_->SetField(1, schema_->field(1)->WithName(op.to)).ValueOrDie();
      return op;
    }
    if (draw == 3 && schema_->GetFieldByName("n")->type()->id() == arrow::Type::INT32) {
      op.kind = Operation::Kind::kWiden;
      op.column = "n";
      const int at = schema_->GetFieldIndex("n");
      schema_ = schema_->SetField(at, schema_->field(at)->WithType(arrow::int64())).ValueOrDie();
      return op;
    }
    ++commits_;
    if (draw == 4 && random_.OneIn(3)) {
      op.kind = Operation::Kind::kErase;
      op.id = random_.UniformRange(0, kIds - 1);
      return op;
    }
    const uint64_t rows = 1 + random_.Uniform(5);
    for (uint64_t i = 0; i < rows; ++i) {
      RowWrite write;
      write.document = random_.OneIn(4);
      write.put = !random_.OneIn(4);
      write.id = random_.UniformRange(0, kIds - 1);
      write.value = ++values_;
      write.valid = Interval();
      op.writes.push_back(write);
    }
    return op;
  }

  Query NextQuery() {
    Query q;
    const auto commit = [&] { return random_.UniformRange(0, commits_); };
    const auto time = [&] {
      return SystemTime{kStart + commit() * kTick + random_.UniformRange(-1, 1)};
    };
    switch (random_.Uniform(7)) {
      case 0:
      case 1:
        q.system = SystemPeriod::AsOf(CommitId{static_cast<uint64_t>(commit())});
        break;
      case 2:
        q.system = SystemPeriod::AsOf(time());
        break;
      case 3: {
        const SystemTime a = time();
        q.system =
            SystemPeriod::FromTo(a, SystemTime{a.micros + 1 + random_.UniformRange(0, 8 * kTick)});
        q.moment = false;
        break;
      }
      case 4:
        q.system = SystemPeriod::All();
        q.moment = false;
        break;
      default:
        break;
    }
    switch (random_.Uniform(4)) {
      case 0: {
        const int64_t a = random_.UniformRange(-1, kValidEnd);
        q.valid = ValidPeriod::FromTo({a}, {a + random_.UniformRange(1, 6)});
        q.moment = false;
        break;
      }
      case 1:
        q.valid = ValidPeriod::All();
        q.moment = false;
        break;
      default:
        q.valid = ValidPeriod::At({random_.UniformRange(-1, kValidEnd)});
    }
    q.documents = random_.OneIn(5) && q.moment;
    if (random_.OneIn(3)) q.filter = random_.UniformRange(0, 50);
    if (random_.OneIn(3)) {
      q.from = random_.UniformRange(0, kIds - 1);
      q.to = random_.UniformRange(q.from + 1, kIds);
    }
    return q;
  }

  base::Random random_;
  std::shared_ptr<arrow::Schema> schema_, first_;
  std::vector<Operation> operations_;
  std::vector<Query> queries_;
  int64_t commits_ = 0;
  int64_t values_ = 0;
  int columns_ = 0;
};

/// One database that runs a stream.
class Run {
 public:
  /// `variant` 0: plainly. Else the seed of its circumstances.
  Run(const Stream& stream, uint64_t variant)
      : stream_(stream),
        variant_(variant),
        random_(variant),
        clock_(kStart + 1'000'000 * kTick),
        executor_(std::make_shared<base::ManualExecutor>(&clock_, &executor_random_)),
        store_(MakeMemoryStore()) {}

  /// Runs what leads up to commit `last`; of what follows, the changes of the schema only.
  Status Play(int64_t last) {
    ARROW_RETURN_NOT_OK(Open());
    ARROW_RETURN_NOT_OK(db_->CreateTable(kTable, stream_.first_schema(), {.names = {"id"}}));
    int64_t commit = 0;
    for (const Operation& op : stream_.operations()) {
      const bool commits =
          op.kind == Operation::Kind::kCommit || op.kind == Operation::Kind::kErase;
      if (commits && ++commit > last) continue;
      ARROW_RETURN_NOT_OK(Apply(op, commit));
      if (variant_ != 0) ARROW_RETURN_NOT_OK(Disturb());
    }
    return Status::OK();
  }

  Result<std::string> Answer(const Query& query) {
    ARROW_ASSIGN_OR_RAISE(const auto rows, Rows(query));
    std::string text = testing::Print(testing::Coalesce(rows));
    if (random_.OneIn(3)) ARROW_RETURN_NOT_OK(AskOtherwise(query, text));
    return text;
  }

  /// ALL against the slice at a part of all points.
  Status CompareAllWithSlices(base::Random* random) {
    Query all;
    all.system = SystemPeriod::All();
    all.valid = ValidPeriod::All();
    ARROW_ASSIGN_OR_RAISE(const auto rows, Rows(all));
    std::set<int64_t> valid{ValidTime::Min().micros}, system{SystemTime::Min().micros + 1};
    for (const ModelRow& row : rows) {
      valid.insert(row.valid.from.micros);
      if (row.valid.to != ValidTime::Max()) valid.insert(row.valid.to.micros);
      system.insert(row.system.from.micros);
      if (row.system.to != SystemTime::Max()) system.insert(row.system.to.micros);
    }
    const uint64_t one_in = 1 + system.size() * valid.size() / 60;
    for (const int64_t s : system) {
      for (const int64_t v : valid) {
        if (!random->OneIn(one_in)) continue;
        Query slice;
        slice.system = SystemPeriod::AsOf(SystemTime{s});
        slice.valid = ValidPeriod::At({v});
        ARROW_ASSIGN_OR_RAISE(const auto seen, Rows(slice));
        std::vector<ModelRow> expected;
        for (const ModelRow& row : rows) {
          if (row.system.Contains({s}) && row.valid.Contains({v})) expected.push_back(row);
        }
        if (testing::Print(expected) != testing::Print(seen)) {
          return Status::Invalid("slice at system ", s, " valid ", v, "\nof ALL:\n",
                                 testing::Print(expected), "slice:\n", testing::Print(seen));
        }
      }
    }
    return Status::OK();
  }

  Status Check() {
    ARROW_ASSIGN_OR_RAISE(const auto findings, db_->Check());
    return findings.empty() ? Status::OK() : Status::Invalid("check: ", findings[0]);
  }
  const std::string& log() const { return log_; }

 private:
  Status Open() {
    db_.reset();
    engine::EngineOptions o;
    o.store = store_;
    o.clock = &clock_;
    o.executor = executor_;
    o.random_seed = variant_ + 1;
    o.auto_flush = o.auto_compact = o.auto_gc = false;
    o.max_sealed_memtables = 1000;
    if (variant_ != 0) {
      const auto pick = [&](auto... values) {
        const int64_t list[] = {static_cast<int64_t>(values)...};
        return list[random_.Uniform(sizeof...(values))];
      };
      o.auto_flush = random_.OneIn(2);
      o.auto_compact = random_.OneIn(2);
      o.auto_gc = random_.OneIn(2);
      if (o.auto_flush) o.max_sealed_memtables = static_cast<int32_t>(pick(1, 2, 4));
      o.rows_per_page = static_cast<int32_t>(pick(1, 2, 3, 8, 1024));
      o.rows_per_row_group = o.rows_per_page * static_cast<int32_t>(pick(1, 2, 5, 128));
      o.memtable_rows = pick(0, 1, 3, 10);
      o.memtable_batches = pick(0, 0, 2);
      o.memtable_age_micros = pick(0, 0, 1'000);
      o.level0_files = static_cast<int32_t>(pick(1, 2, 4));
      o.level0_slowdown_files = o.level0_files + static_cast<int32_t>(pick(0, 1, 8));
      o.level0_stop_files = o.level0_slowdown_files + static_cast<int32_t>(pick(0, 2, 12));
      o.level1_bytes = pick(1, 16 << 10, 256 << 20);
      o.level_ratio = static_cast<int32_t>(pick(2, 10));
      o.history_files = static_cast<int32_t>(pick(2, 4));
      o.file_bytes_target = pick(1, 4 << 10, 64 << 20);
      o.job_bytes_max = pick(1, 16 << 10, int64_t{2} << 30);
      o.deleted_fraction = random_.OneIn(2) ? 0.2 : 1.0;
      o.page_cache_bytes = pick(0, 1 << 10, 64 << 20);
      o.footer_cache_bytes = pick(0, 1 << 10, 64 << 20);
      o.deletion_cache_bytes = pick(0, 1 << 10, 64 << 20);
      o.bloom_bits_per_key = static_cast<double>(pick(0, 1, 10));
      o.upper_codec = static_cast<Codec>(pick(0, 1, 2));
      o.last_codec = static_cast<Codec>(pick(0, 1, 2));
      o.sync = static_cast<SyncPolicy>(pick(0, 1, 2));
      o.wal_segment_bytes = pick(256, 4 << 10, 64 << 20);
      o.retained_conflict_bytes = pick(0, 256 << 20);
      o.gc_grace_micros = pick(0, 1'000, 900'000'000);
    }
    return db::OpenWith(std::move(o)).Value(&db_);
  }

  Status Apply(const Operation& op, int64_t commit) {
    switch (op.kind) {
      case Operation::Kind::kAddColumn:
        return db_->AddColumn(kTable, arrow::field(op.column, arrow::int64()));
      case Operation::Kind::kDropColumn:
        return db_->DropColumn(kTable, op.column);
      case Operation::Kind::kRenameColumn:
        return db_->RenameColumn(kTable, op.column, op.to);
      case Operation::Kind::kWiden:
        return db_->WidenColumn(kTable, op.column, arrow::int64());
      case Operation::Kind::kErase: {
        // An erase takes its time from the clock.
        const int64_t now = clock_.NowMicros();
        clock_.Set(kStart + commit * kTick);
        const Status erased = db_->EraseKey(kTable, {Lit(op.id)});
        clock_.Set(now);
        return erased;
      }
      case Operation::Kind::kCommit:
        break;
    }
    TransactionOptions options;
    options.system_time = SystemTime{kStart + commit * kTick};
    ARROW_ASSIGN_OR_RAISE(auto transaction, db_->Begin(options));
    for (const RowWrite& write : op.writes) {
      if (write.document) {
        ARROW_RETURN_NOT_OK(
            write.put ? transaction->PutDocument(DocumentKey(write.id),
                                                 fmt::format("{}", write.value), write.valid)
                      : transaction->DeleteDocument(DocumentKey(write.id), write.valid));
        continue;
      }
      WriteOptions write_options;
      write_options.valid = write.valid;
      const auto row = MakeRow(op.schema, write);
      ARROW_RETURN_NOT_OK(write.put ? transaction->Put(kTable, row, write_options)
                                    : transaction->Delete(kTable, row, write_options));
    }
    ARROW_ASSIGN_OR_RAISE(const auto result, transaction->Commit());
    if (result.commit.value != static_cast<uint64_t>(commit))
      return Status::Invalid("commit ", commit, " became ", result.commit.value);
    return Status::OK();
  }

  Status Disturb() {
    for (uint64_t i = random_.Uniform(3); i > 0; --i) executor_->RunOne();
    switch (random_.Uniform(14)) {
      case 0:
        log_ += "flush\n";
        return db_->Flush();
      case 1:
        log_ += "compact\n";
        return db_->Compact();
      case 2:
        log_ += "gc\n";
        return db_->CollectGarbage(false, random_.OneIn(2) ? 0 : 5'000'000).status();
      case 3:
        log_ += "reopen\n";
        return Open();
      case 4:
        log_ += "background\n";
        executor_->RunUntilIdle();
        return Status::OK();
      case 5:
        log_ += "wait\n";
        clock_.Advance(100'000);
        return db_->WaitForBackground();
      default:
        return Status::OK();
    }
  }

  static Status Read(ScanReader& reader, std::vector<ModelRow>* rows) {
    for (;;) {
      std::shared_ptr<arrow::RecordBatch> batch;
      ARROW_RETURN_NOT_OK(reader.ReadNext(&batch));
      if (batch == nullptr) return Status::OK();
      const auto number = [&](const char* name, int64_t i) {
        const auto data = batch->GetColumnByName(name);
        return data == nullptr ? 0 : data->data()->GetValues<int64_t>(1)[i];
      };
      for (int64_t i = 0; i < batch->num_rows(); ++i) {
        ModelRow row;
        for (int c = 0; c < batch->num_columns(); ++c) {
          const std::string& name = batch->schema()->field(c)->name();
          if (name.starts_with("_")) continue;
          ARROW_ASSIGN_OR_RAISE(const auto value, batch->column(c)->GetScalar(i));
          if (c == 0) {
            row.key = value->ToString();
          } else {
            row.value += name + "=" + value->ToString() + " ";
          }
        }
        row.valid = {{number("_valid_from", i)}, {number("_valid_to", i)}};
        row.system = {{number("_system_from", i)}, {number("_system_to", i)}};
        row.commit.value = static_cast<uint64_t>(number("_commit", i));
        rows->push_back(std::move(row));
      }
    }
  }

  Result<std::vector<std::string>> Columns() {
    ARROW_ASSIGN_OR_RAISE(const auto info, db_->GetTable(kTable));
    std::vector<std::string> columns;
    for (const auto& field : info.schema->fields()) columns.push_back(field->name());
    for (const char* hidden : {"_valid_from", "_valid_to", "_system_from", "_system_to", "_commit"})
      columns.emplace_back(hidden);
    return columns;
  }

  Result<std::vector<ModelRow>> Rows(const Query& query, bool inside = true, bool ordered = true) {
    std::vector<ModelRow> rows;
    if (query.documents) {
      ARROW_ASSIGN_OR_RAISE(auto reader, db_->ScanPrefix("doc/", query.system, query.valid));
      ARROW_RETURN_NOT_OK(Read(*reader, &rows));
      return rows;
    }
    ScanOptions options;
    ARROW_ASSIGN_OR_RAISE(options.columns, Columns());
    options.system = query.system;
    options.valid = query.valid;
    options.order_by_key = ordered;
    options.keys.from = Key{Lit(query.from)};
    options.keys.to = Key{Lit(query.to)};
    if (query.from == 0 && query.to == kIds) options.keys = {};
    if (inside && query.filter >= 0) options.filter = Lt("n", Lit(query.filter));
    if (!ordered) options.batch_rows = 2;
    ARROW_ASSIGN_OR_RAISE(auto reader, db_->Scan(kTable, options));
    ARROW_RETURN_NOT_OK(Read(*reader, &rows));
    if (!inside && query.filter >= 0) {
      std::erase_if(rows, [&](const ModelRow& row) {
        const std::string text = row.value.substr(row.value.find("n=") + 2);
        return text.starts_with("null") || std::stoll(text) >= query.filter;
      });
    }
    if (!ordered) {
      std::sort(rows.begin(), rows.end(), [](const ModelRow& a, const ModelRow& b) {
        return std::tie(a.key, a.valid.from, a.system.from) <
               std::tie(b.key, b.valid.from, b.system.from);
      });
    }
    return rows;
  }

  Status AskOtherwise(const Query& query, const std::string& expected) {
    const auto same = [&](const char* how, const std::vector<ModelRow>& rows) {
      const std::string text = testing::Print(testing::Coalesce(rows));
      return text == expected ? Status::OK()
                              : Status::Invalid(how, ": expected\n", expected, "got\n", text);
    };
    if (query.documents) {
      std::vector<ModelRow> rows;
      for (int64_t id = 0; id < kIds; ++id) {
        ARROW_ASSIGN_OR_RAISE(const auto doc,
                              db_->GetDocument(DocumentKey(id), query.system, query.valid));
        if (!doc.has_value()) continue;
        ModelRow row;
        row.key = arrow::BinaryScalar(arrow::Buffer::FromString(DocumentKey(id))).ToString();
        row.value = "doc=" + arrow::BinaryScalar(arrow::Buffer::FromString(*doc)).ToString() + " ";
        row.valid = {{0}, {0}};
        row.system = {{0}, {0}};
        rows.push_back(std::move(row));
      }
      return same("documents one by one", rows);
    }
    ARROW_ASSIGN_OR_RAISE(const auto outside, Rows(query, /*inside=*/false));
    ARROW_RETURN_NOT_OK(same("filter outside", outside));
    ARROW_ASSIGN_OR_RAISE(const auto unordered, Rows(query, /*inside=*/true, /*ordered=*/false));
    ARROW_RETURN_NOT_OK(same("unordered", unordered));
    if (query.filter >= 0) return Status::OK();
    std::vector<ModelRow> rows;
    ARROW_ASSIGN_OR_RAISE(const auto columns, Columns());
    for (int64_t id = query.from; id < query.to; ++id) {
      ARROW_ASSIGN_OR_RAISE(const auto batch,
                            db_->Get(kTable, {Lit(id)}, query.system, query.valid, columns));
      class One final : public ScanReader {
       public:
        explicit One(std::shared_ptr<arrow::RecordBatch> batch) : batch_(std::move(batch)) {}
        std::shared_ptr<arrow::Schema> schema() const override { return nullptr; }
        Status ReadNext(std::shared_ptr<arrow::RecordBatch>* out) override {
          *out = std::move(batch_);
          batch_ = nullptr;
          return Status::OK();
        }
        const ScanProfile& profile() const override { return profile_; }

       private:
        std::shared_ptr<arrow::RecordBatch> batch_;
        ScanProfile profile_;
      } one(batch);
      ARROW_RETURN_NOT_OK(Read(one, &rows));
    }
    return same("keys one by one", rows);
  }

  const Stream& stream_;
  const uint64_t variant_;
  base::Random random_;
  base::Random executor_random_{7};
  base::ManualClock clock_;
  const std::shared_ptr<base::ManualExecutor> executor_;
  const std::shared_ptr<ObjectStore> store_;
  std::unique_ptr<Database> db_;
  std::string log_;
};

}  // namespace

Status RunMetamorphic(uint64_t seed) {
  const Stream stream(seed);
  base::Random random(seed ^ 0x6d657461);
  Run plain(stream, 0);
  ARROW_RETURN_NOT_OK(plain.Play(stream.commits()));
  std::vector<std::string> answers;
  for (size_t q = 0; q < stream.queries().size(); ++q) {
    auto answer = plain.Answer(stream.queries()[q]);
    if (!answer.ok()) return Status::Invalid("plain, query ", q, ": ", answer.status().ToString());
    answers.push_back(*answer);
  }
  ARROW_RETURN_NOT_OK(plain.CompareAllWithSlices(&random));

  for (int i = 0; i < 4; ++i) {
    const uint64_t variant = 1 + random.Uniform(1'000'000);
    Run run(stream, variant);
    const auto failed = [&](const std::string& what) {
      return Status::Invalid("variant ", variant, ": ", what, "\n", run.log());
    };
    if (Status played = run.Play(stream.commits()); !played.ok()) return failed(played.ToString());
    for (size_t q = 0; q < answers.size(); ++q) {
      const auto answer = run.Answer(stream.queries()[q]);
      if (!answer.ok()) return failed(fmt::format("query {}: {}", q, answer.status().ToString()));
      if (*answer != answers[q]) {
        return failed(fmt::format("query {}: plainly\n{}now\n{}", q, answers[q], *answer));
      }
    }
    if (i == 0) {
      if (Status all = run.CompareAllWithSlices(&random); !all.ok()) return failed(all.ToString());
    }
    if (Status checked = run.Check(); !checked.ok()) return failed(checked.ToString());
  }

  // AS OF k is a replay up to k. An erase reaches into the past, so only what precedes it is not
  // comparable.
  const bool erases =
      std::any_of(stream.operations().begin(), stream.operations().end(),
                  [](const Operation& op) { return op.kind == Operation::Kind::kErase; });
  if (erases) return Status::OK();
  for (int i = 0; i < 2; ++i) {
    const int64_t k = random.UniformRange(0, stream.commits());
    Run replay(stream, i == 0 ? 0 : 1 + random.Uniform(1'000'000));
    ARROW_RETURN_NOT_OK(replay.Play(k));
    for (int j = 0; j < 6; ++j) {
      Query then;
      then.valid = ValidPeriod::At({random.UniformRange(-1, kValidEnd)});
      then.documents = random.OneIn(4);
      Query as_of = then;
      as_of.system = SystemPeriod::AsOf(CommitId{static_cast<uint64_t>(k)});
      ARROW_ASSIGN_OR_RAISE(std::string replayed, replay.Answer(then));
      ARROW_ASSIGN_OR_RAISE(std::string recalled, plain.Answer(as_of));
      // Where a row ends, in either time, later commits may have moved.
      const auto strip = [](const std::string& text) {
        static const std::regex kEnds(R"(^(\S+) \[[^)]*\) (\[[^,]*),[^)]*\))",
                                      std::regex::multiline);
        return std::regex_replace(text, kEnds, "$1 $2");
      };
      if (strip(replayed) != strip(recalled)) {
        return Status::Invalid("AS OF ", k, ":\n", recalled, "replay up to it:\n", replayed);
      }
    }
  }
  return Status::OK();
}

namespace {

TEST(MetamorphicTest, SameOperationsSameAnswers) {
  if (const char* seed = std::getenv("LAMINA_SIM_SEED")) {
    const Status status = RunMetamorphic(std::strtoull(seed, nullptr, 10));
    ASSERT_TRUE(status.ok()) << status.ToString();
    return;
  }
  const char* runs = std::getenv("LAMINA_SIM_RUNS");
  const uint64_t count = runs != nullptr ? std::strtoull(runs, nullptr, 10) : 100;
  std::atomic<uint64_t> next{1};
  std::atomic<bool> enough{false};
  base::Mutex mu;
  std::vector<base::Thread> threads;
  for (int i = 0; i < base::HardwareThreads(); ++i) {
    threads.emplace_back("seeds", [&] {
      for (uint64_t seed = next++; seed <= count && !enough; seed = next++) {
        const Status status = RunMetamorphic(seed);
        base::MutexLock lock(&mu);
        EXPECT_TRUE(status.ok()) << "LAMINA_SIM_SEED=" << seed << "\n" << status.ToString();
        enough = enough || (!status.ok() && GTEST_FLAG_GET(fail_fast));
      }
    });
  }
}

}  // namespace
}  // namespace lamina::simulation
