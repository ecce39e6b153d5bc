#include "history.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <limits>
#include <thread>

#include <arrow/builder.h>
#include <fmt/format.h>

#include "base/thread.h"
#include "db/session.h"
#include "testing/faulty_store.h"

namespace lamina::model {

using temporal::FactKind;
using testing::ModelKeyValues;
using testing::ModelPoint;
using testing::ModelRow;
using testing::ModelWrite;

namespace {

constexpr int64_t kKeys = 6;

std::string KeyText(int64_t id) { return fmt::format("{:04}", id); }
std::string DocumentKey(int64_t id) { return "doc/" + KeyText(id); }
std::string KeyOf(const std::string& table, int64_t id) {
  return table == kDocuments ? DocumentKey(id) : KeyText(id);
}

int64_t ExtraValue(int64_t extra, int64_t key, const std::string& text) {
  uint64_t hash = 1469598103934665603u + static_cast<uint64_t>(extra * 131 + key);
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211u;
  return static_cast<int64_t>(hash % 1'000'000);  // exact as a float too
}

std::shared_ptr<arrow::DataType> TypeOf(const Extra& extra) {
  if (extra.floating) return extra.wide ? arrow::float64() : arrow::float32();
  return extra.wide ? arrow::int64() : arrow::int32();
}
std::shared_ptr<arrow::Field> FieldOf(const Extra& extra) {
  return arrow::field(extra.name, TypeOf(extra));
}
std::shared_ptr<arrow::Schema> SchemaOf(const Shape& shape) {
  arrow::FieldVector fields = {
      arrow::field("id", arrow::int64(), false),
      arrow::field(shape.text, shape.text_wide ? arrow::large_utf8() : arrow::utf8()),
      arrow::field("tags", arrow::list(arrow::int32()))};
  for (const Extra& extra : shape.extras) fields.push_back(FieldOf(extra));
  return arrow::schema(fields);
}

/// The text's generation: "v12.3" has 3.
size_t GenerationOf(const std::string& text) {
  return static_cast<size_t>(std::stoul(text.substr(text.find('.') + 1)));
}

Status Equal(const std::string& what, const ModelKeyValues& expected,
             const ModelKeyValues& actual) {
  if (expected == actual) return Status::OK();
  const auto print = [](const ModelKeyValues& rows) {
    std::string out;
    for (const auto& [key, value] : rows) out += fmt::format(" {}={}", key, value);
    return out;
  };
  return Status::Invalid(what, "\nexpected:", print(expected), "\nactual:  ", print(actual));
}

Status Equal(const std::string& what, const std::vector<ModelRow>& expected,
             const std::vector<ModelRow>& actual) {
  if (expected == actual) return Status::OK();
  return Status::Invalid(what, "\nexpected:\n", testing::Print(expected), "actual:\n",
                         testing::Print(actual));
}

/// Where rows are cut inside a window's edge is the database's business.
std::vector<ModelRow> Clip(std::vector<ModelRow> rows, const ValidInterval& to) {
  for (ModelRow& row : rows) {
    row.valid = {std::max(row.valid.from, to.from), std::min(row.valid.to, to.to)};
  }
  return testing::Coalesce(std::move(rows));
}

std::string ToText(const std::vector<ModelWrite>& writes) {
  std::string out;
  for (const ModelWrite& w : writes) {
    const char* kind = w.kind == FactKind::kPut ? "put" : "delete";
    out += fmt::format(" {} {}/{} [{}, {}) {}", kind, w.table, w.key, w.valid.from.micros,
                       w.valid.to.micros, w.value);
  }
  return out;
}

/// Sleeps before some calls of the store, so that threads meet in other orders.
std::shared_ptr<ObjectStore> WithJitter(std::shared_ptr<ObjectStore> base, uint64_t seed) {
  auto store = std::make_shared<testing::FaultyStore>(std::move(base));
  testing::StoreFault fault;
  fault.times = ~uint64_t{0};
  fault.status = Status::OK();
  auto state = std::make_shared<std::atomic<uint64_t>>(seed);
  fault.meanwhile = [state] {
    const uint64_t r = base::Random(state->fetch_add(1)).Next64();
    if (r % 4 == 0) std::this_thread::sleep_for(std::chrono::microseconds(r / 4 % 300));
  };
  store->Add(std::move(fault));
  return store;
}

}  // namespace

History::History(uint64_t seed, bool jitter)
    : random_(seed),
      writer_{random_.Fork(), "v"},
      seed_(seed),
      jitter_(random_.OneIn(8) || jitter),
      memory_(std::make_shared<storage::MemoryStore>()) {
  generations_.emplace_back();
  shape_.schema = SchemaOf(shape_);
}

History::~History() = default;

Status History::Run() {
  ARROW_RETURN_NOT_OK(Open());
  ARROW_RETURN_NOT_OK(db_->CreateTable(kTable, shape_.schema, {.names = {"id"}}));
  const uint64_t steps = 4 + random_.Uniform(24);
  for (uint64_t i = 0; i < steps; ++i) {
    ARROW_RETURN_NOT_OK(Step());
    if (random_.OneIn(12)) ARROW_RETURN_NOT_OK(CompareAll(/*scan_every_point=*/false));
  }
  ARROW_RETURN_NOT_OK(CompareAll(/*scan_every_point=*/true));
  ARROW_ASSIGN_OR_RAISE(const auto findings, db_->Check());
  if (!findings.empty()) return Status::Invalid("check: ", findings[0]);
  return CheckBackground();
}

// ---- Steps

Status History::Open() {
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
  options.wal = !random_.OneIn(8);
  options.sync = random_.OneIn(2) ? SyncPolicy::kAlways : SyncPolicy::kOff;
  options.gc_grace_micros = 0;
  options.background_threads = 1 + static_cast<int32_t>(random_.Uniform(3));
  options.upper_codec = static_cast<Codec>(random_.Uniform(2));
  options.last_codec = static_cast<Codec>(random_.Uniform(3));
  options.bloom_bits_per_key = random_.OneIn(4) ? 0 : 10;
  options_ = options;
  store_ = memory_;
  if (jitter_) store_ = WithJitter(memory_, seed_);
  return Database::Open(store_, options).Value(&db_);
}

Status History::Reopen() {
  Log("reopen");
  // Without a log, what was not flushed would rightly be gone.
  if (!options_.wal) {
    ARROW_RETURN_NOT_OK(db_->Flush());
    NoteDurable();
  }
  ARROW_RETURN_NOT_OK(CheckBackground());
  held_.reset();
  ARROW_RETURN_NOT_OK(db_->Close());
  db_.reset();
  ARROW_RETURN_NOT_OK(Open());
  if (db_->newest_commit() != model_.newest_commit()) {
    return Status::Invalid("after reopen: expected commit ", model_.newest_commit().value, ", got ",
                           db_->newest_commit().value);
  }
  return Status::OK();
}

/// The machine stops: of the log only what was synced is left, and a part of what came after.
/// Nothing acknowledged as durable may be lost, and of the rest the newest commits only.
Status History::Crash() {
  ARROW_RETURN_NOT_OK(CheckBackground());
  const std::shared_ptr<storage::MemoryStore> left = memory_->CrashClone(&random_);
  held_.reset();
  db_.reset();
  memory_ = left;
  ARROW_RETURN_NOT_OK(Open());
  const CommitId newest = db_->newest_commit();
  Log(fmt::format("crash, commit {} is the newest then", newest.value));
  if (newest < durable_ || newest > model_.newest_commit()) {
    return Status::Invalid("after a crash: newest commit ", newest.value, ", durable were ",
                           durable_.value, " of ", model_.newest_commit().value);
  }
  const SystemTime floor = model_.HistoryFloor(kTable);
  std::vector<Done> done = std::move(done_);
  done.resize(static_cast<size_t>(newest.value));
  model_ = testing::ReferenceModel();
  done_.clear();
  times_.clear();
  for (Done& d : done) Apply(std::move(d));
  if (floor != SystemTime::Min()) model_.SetHistoryFloor(kTable, floor);
  NoteDurable();
  return Status::OK();
}

Status History::Step() {
  switch (random_.Uniform(24)) {
    case 0:
      Log("flush");
      ARROW_RETURN_NOT_OK(db_->Flush());
      NoteDurable();
      return Status::OK();
    case 1:
      return CompactStep();
    case 2:
      Log("gc");
      return db_->CollectGarbage(false, 0).status();
    case 3:
      return Reopen();
    case 4:
      return random_.OneIn(4) ? EraseStep() : CommitStep();
    case 5:
      return random_.OneIn(4) ? TrimStep() : CommitStep();
    case 6:
      return HoldStep();
    case 7:
    case 8:
      return RaceStep();
    case 9:
      return random_.OneIn(3) ? StormStep() : CommitStep();
    case 10:
      return SchemaStep();
    case 11:
      return random_.OneIn(2) ? CheckpointStep() : random_.OneIn(2) ? LoadStep() : InsertStep();
    case 12:
      return CompareSnapshotAt();
    case 13:
      return CompareWindow();
    case 14:
      return Crash();
    default:
      return CommitStep();
  }
}

Status History::CommitStep() {
  TransactionOptions options;
  options.isolation = random_.OneIn(4) ? Isolation::kSnapshot : Isolation::kSerializable;
  options.durable = random_.OneIn(8);
  ARROW_ASSIGN_OR_RAISE(auto transaction, db_->Begin(options));
  std::vector<ModelWrite> writes;
  const uint64_t n = 1 + random_.Uniform(4);
  std::optional<size_t> savepoint;
  for (uint64_t i = 0; i < n; ++i) {
    ARROW_RETURN_NOT_OK(WriteSomething(&writer_, transaction.get(), &writes));
    if (random_.OneIn(8)) {
      ARROW_RETURN_NOT_OK(transaction->Savepoint("s"));
      savepoint = writes.size();
    }
    if (random_.OneIn(8)) ARROW_RETURN_NOT_OK(CompareOwnWrites(transaction.get(), writes));
  }
  if (savepoint && random_.OneIn(2)) {
    ARROW_RETURN_NOT_OK(transaction->RollbackTo("s"));
    writes.resize(*savepoint);
  }
  if (random_.OneIn(3)) ARROW_RETURN_NOT_OK(CompareOwnWrites(transaction.get(), writes));
  if (random_.OneIn(10)) {
    Log("abort");
    transaction->Abort();
    return Status::OK();
  }
  ARROW_ASSIGN_OR_RAISE(const auto result, transaction->Commit());
  Apply({result, std::move(writes)});
  const bool syncs = options_.wal && (options.durable || options_.sync == SyncPolicy::kAlways);
  if (syncs != (result.ack == AckClass::kDurable))
    return Status::Invalid("acknowledged as ", AckClassName(result.ack));
  return Status::OK();
}

/// As an INSERT of many rows: in files of their own, one or several.
Status History::LoadStep() {
  ARROW_ASSIGN_OR_RAISE(auto session, db::BeginSession(*db_, {}));
  ARROW_ASSIGN_OR_RAISE(const auto load, session->BeginLoad(kTable, {}));
  std::vector<ModelWrite> writes;
  std::set<int64_t> ids;
  bool taken = false;
  Status status;
  const SystemTime now = std::max(model_.newest_time(), model_.HistoryFloor(kTable));
  for (uint64_t runs = 1 + random_.Uniform(3); runs > 0; --runs) {
    Rows rows;
    for (uint64_t n = 1 + random_.Uniform(3); n > 0; --n) {
      const int64_t id = RandomKey(&writer_);
      rows.emplace_back(id, NextValue(&writer_));
      writes.push_back({kTable, KeyText(id), FactKind::kPut, {}, rows.back().second});
      taken = taken || !ids.insert(id).second ||
              !model_
                   .ScanWindow(kTable, {KeyText(id), KeyText(id + 1)},
                               {{now, {now.micros + 1}}, ValidInterval{}})
                   .empty();
    }
    if (!status.ok()) continue;
    ARROW_ASSIGN_OR_RAISE(auto piece, load->Prepare(MakeRows(rows)));
    std::vector<db::TableLoad::Piece> pieces{std::move(piece)};
    ARROW_RETURN_NOT_OK(load->Number(&pieces));
    status = load->Write(pieces);
  }
  if (status.ok()) status = load->Finish();
  const bool refused = !status.ok() && CodeOf(status) == ErrorCode::kAlreadyExists;
  if (refused != taken || (!refused && !status.ok()))
    return Status::Invalid("load: taken=", taken, " status ", status.ToString());
  if (refused) return Status::OK();
  ARROW_ASSIGN_OR_RAISE(const auto result, session->Commit());
  if (result.ack != AckClass::kDurable) return Status::Invalid("a load that is not durable");
  Log("load");
  Apply({result, std::move(writes)});
  NoteDurable();
  return Status::OK();
}

/// As SQL's INSERT: refused where a current row of the key overlaps.
Status History::InsertStep() {
  const int64_t id = RandomKey(&writer_);
  const ValidInterval valid = RandomInterval(&random_);
  const std::string value = NextValue(&writer_);
  WriteOptions options;
  options.valid = valid;
  ARROW_ASSIGN_OR_RAISE(auto transaction, db_->Begin());
  const Status inserted = transaction->Insert(kTable, MakeRows({{id, value}}), options);
  const SystemTime now = std::max(model_.newest_time(), model_.HistoryFloor(kTable));
  const bool taken =
      !model_.ScanWindow(kTable, {KeyText(id), KeyText(id + 1)}, {{now, {now.micros + 1}}, valid})
           .empty();
  const bool refused = !inserted.ok() && CodeOf(inserted) == ErrorCode::kAlreadyExists;
  if (refused != taken || (!refused && !inserted.ok())) {
    return Status::Invalid("insert of key ", id, ": taken=", taken, " status ",
                           inserted.ToString());
  }
  if (refused) return Status::OK();
  ARROW_ASSIGN_OR_RAISE(const auto result, transaction->Commit());
  Apply({result, {{kTable, KeyText(id), FactKind::kPut, valid, value}}});
  return Status::OK();
}

/// Two transactions at once: the second to commit must fail exactly when the first wrote a key that
/// it wrote, or (serializable) read, be it with a range.
Status History::RaceStep() {
  TransactionOptions options;
  options.isolation = random_.OneIn(3) ? Isolation::kSnapshot : Isolation::kSerializable;
  ARROW_ASSIGN_OR_RAISE(auto second, db_->Begin(options));
  std::set<std::pair<std::string, std::string>> touched;
  const auto note_read = [&](const std::string& table, int64_t id) {
    if (options.isolation == Isolation::kSerializable) touched.emplace(table, KeyOf(table, id));
  };
  const ValidTime v{static_cast<int64_t>(random_.Uniform(10))};
  std::string read;
  for (uint64_t reads = random_.Uniform(3); reads > 0; --reads) {
    const auto id = static_cast<int64_t>(random_.Uniform(kKeys));
    const int64_t to = id + static_cast<int64_t>(random_.Uniform(3));
    switch (random_.Uniform(5)) {
      case 0: {
        ARROW_RETURN_NOT_OK(second->GetDocument(DocumentKey(id), {}, ValidPeriod::At(v)).status());
        note_read(kDocuments, id);
        read += fmt::format(" {}", DocumentKey(id));
        break;
      }
      case 1: {
        ARROW_RETURN_NOT_OK(second->Get(kTable, {Lit(id)}, {}, ValidPeriod::At(v)).status());
        note_read(kTable, id);
        read += fmt::format(" {}", KeyText(id));
        break;
      }
      case 2: {
        ScanOptions scan;
        scan.valid = ValidPeriod::At(v);
        scan.keys.from = Key{Lit(id)};
        scan.keys.to = Key{Lit(to)};
        ARROW_ASSIGN_OR_RAISE(auto reader, second->Scan(kTable, scan));
        ARROW_ASSIGN_OR_RAISE(const auto rows, ReadRows(shape_, *reader));
        if (model_.Answers(kTable, model_.newest_time())) {
          ARROW_RETURN_NOT_OK(Equal(
              "read in a transaction",
              model_.Scan(kTable, {KeyText(id), KeyText(to)}, model_.newest_time(), v), rows));
        }
        for (int64_t k = id; k < to; ++k) note_read(kTable, k);
        read += fmt::format(" [{}, {})", KeyText(id), KeyText(to));
        break;
      }
      case 3: {
        ARROW_ASSIGN_OR_RAISE(auto reader, second->ScanPrefix("doc/", {}, ValidPeriod::At(v)));
        ARROW_RETURN_NOT_OK(ReadRows(shape_, *reader).status());
        for (int64_t k = 0; k < kKeys; ++k) note_read(kDocuments, k);
        read += " doc/*";
        break;
      }
      default: {
        // The past does not change: reading it conflicts with nothing.
        if (times_.size() < 2 || model_.HistoryFloor(kTable) != SystemTime::Min()) break;
        const CommitId past{1 + random_.Uniform(times_.size() - 1)};
        ScanOptions scan;
        scan.system = SystemPeriod::AsOf(past);
        scan.valid = ValidPeriod::At(v);
        ARROW_ASSIGN_OR_RAISE(auto reader, second->Scan(kTable, scan));
        ARROW_ASSIGN_OR_RAISE(const auto rows, ReadRows(shape_, *reader));
        ARROW_RETURN_NOT_OK(
            Equal("past read in a transaction",
                  model_.Scan(kTable, {}, times_[static_cast<size_t>(past.value) - 1], v), rows));
        break;
      }
    }
  }
  std::vector<ModelWrite> second_writes, first_writes;
  for (uint64_t n = 1 + random_.Uniform(2); n > 0; --n)
    ARROW_RETURN_NOT_OK(WriteSomething(&writer_, second.get(), &second_writes));
  for (const ModelWrite& w : second_writes) touched.emplace(w.table, w.key);

  ARROW_ASSIGN_OR_RAISE(auto first, db_->Begin());
  for (uint64_t n = 1 + random_.Uniform(2); n > 0; --n)
    ARROW_RETURN_NOT_OK(WriteSomething(&writer_, first.get(), &first_writes));
  bool conflict = false;
  for (const ModelWrite& w : first_writes)
    conflict = conflict || touched.contains({w.table, w.key});
  Log(fmt::format("race, second read{} and wrote{}", read, ToText(second_writes)));
  ARROW_ASSIGN_OR_RAISE(const auto first_result, first->Commit());
  Apply({first_result, std::move(first_writes)});
  // What the check needs must be at hand after a flush too.
  if (random_.OneIn(3)) ARROW_RETURN_NOT_OK(db_->Flush());
  if (random_.OneIn(4)) ARROW_RETURN_NOT_OK(db_->Compact());
  const auto second_result = second->Commit();
  const bool refused =
      !second_result.ok() && CodeOf(second_result.status()) == ErrorCode::kConflict;
  if (refused != conflict || (!refused && !second_result.ok())) {
    return Status::Invalid("second to commit: conflict expected=", conflict, " status ",
                           second_result.status().ToString());
  }
  if (second_result.ok()) Apply({*second_result, std::move(second_writes)});
  return Status::OK();
}

/// Threads with keys of their own write while this one flushes, compacts, collects and reads.
Status History::StormStep() {
  constexpr int kThreads = 3;
  std::array<std::vector<Done>, kThreads> done;
  std::array<Status, kThreads> failed;
  const SnapshotPtr before = db_->GetSnapshot();
  const ValidTime v{static_cast<int64_t>(random_.Uniform(10))};
  const int storm = ++storms_;
  Status status;
  {
    std::vector<base::Thread> threads;
    for (int t = 0; t < kThreads; ++t) {
      Writer writer{random_.Fork(), fmt::format("s{}t{}v", storm, t), t, kThreads,
                    kKeys / kThreads};
      threads.emplace_back("storm", [this, t, writer, &done, &failed]() mutable {
        const auto work = [&]() -> Status {
          for (uint64_t n = 1 + writer.random.Uniform(4); n > 0; --n) {
            ARROW_ASSIGN_OR_RAISE(auto transaction, db_->Begin());
            Done mine;
            for (uint64_t i = 1 + writer.random.Uniform(2); i > 0; --i)
              ARROW_RETURN_NOT_OK(WriteSomething(&writer, transaction.get(), &mine.writes));
            ARROW_ASSIGN_OR_RAISE(mine.result, transaction->Commit());
            done[static_cast<size_t>(t)].push_back(std::move(mine));
          }
          return Status::OK();
        };
        failed[static_cast<size_t>(t)] = work();
      });
    }
    const auto meanwhile = [&]() -> Status {
      for (uint64_t n = 1 + random_.Uniform(3); n > 0; --n) {
        switch (random_.Uniform(3)) {
          case 0:
            ARROW_RETURN_NOT_OK(db_->Flush());
            break;
          case 1:
            ARROW_RETURN_NOT_OK(db_->Compact());
            break;
          default:
            ARROW_RETURN_NOT_OK(db_->CollectGarbage(false, 0).status());
        }
        ScanOptions options;
        options.valid = ValidPeriod::At(v);
        ARROW_ASSIGN_OR_RAISE(auto reader, db_->Scan(before, kTable, options));
        ARROW_ASSIGN_OR_RAISE(const auto rows, ReadRows(shape_, *reader));
        ARROW_RETURN_NOT_OK(
            Equal("snapshot in a storm", model_.Scan(kTable, {}, model_.newest_time(), v), rows));
      }
      return Status::OK();
    };
    status = meanwhile();
  }  // joins
  std::vector<Done> all;
  for (auto& of_thread : done) {
    for (Done& d : of_thread) all.push_back(std::move(d));
  }
  std::sort(all.begin(), all.end(),
            [](const Done& a, const Done& b) { return a.result.commit < b.result.commit; });
  Log("storm:");
  for (Done& d : all) Apply(std::move(d));
  for (const Status& f : failed) ARROW_RETURN_NOT_OK(f);
  return status;
}

Status History::SchemaStep() {
  const auto pick = [&]() -> Extra& {
    return shape_.extras[random_.Uniform(shape_.extras.size())];
  };
  const auto next_generation = [&] {
    shape_.generation = static_cast<int64_t>(generations_.size());
    auto& ids = generations_.emplace_back();
    for (const Extra& extra : shape_.extras) ids.insert(extra.id);
  };
  switch (random_.Uniform(6)) {
    case 0:
    case 1: {
      if (shape_.extras.size() >= 3) return Status::OK();
      Extra extra;
      extra.id = ++extras_made_;
      // Names come back; the values of the column that had it before must not.
      for (const char* name : {"a", "b", "c", "d"}) {
        if (std::none_of(shape_.extras.begin(), shape_.extras.end(),
                         [&](const Extra& e) { return e.name == name; })) {
          extra.name = name;
          break;
        }
      }
      extra.floating = random_.OneIn(2);
      Log("add column " + extra.name);
      ARROW_RETURN_NOT_OK(db_->AddColumn(kTable, FieldOf(extra)));
      shape_.extras.push_back(extra);
      next_generation();
      break;
    }
    case 2: {
      if (shape_.extras.empty()) return Status::OK();
      const size_t at = random_.Uniform(shape_.extras.size());
      Log("drop column " + shape_.extras[at].name);
      ARROW_RETURN_NOT_OK(db_->DropColumn(kTable, shape_.extras[at].name));
      shape_.extras.erase(shape_.extras.begin() + static_cast<std::ptrdiff_t>(at));
      next_generation();
      break;
    }
    case 3: {
      if (shape_.extras.empty()) return Status::OK();
      Extra& extra = pick();
      const std::string to = fmt::format("r{}", generations_.size() + log_.size());
      Log("rename column " + extra.name + " to " + to);
      ARROW_RETURN_NOT_OK(db_->RenameColumn(kTable, extra.name, to));
      extra.name = to;
      break;
    }
    case 4: {
      if (shape_.extras.empty()) return Status::OK();
      Extra& extra = pick();
      if (extra.wide) return Status::OK();
      Extra wide = extra;
      wide.wide = true;
      Log("widen column " + extra.name);
      ARROW_RETURN_NOT_OK(db_->WidenColumn(kTable, extra.name, TypeOf(wide)));
      extra = wide;
      break;
    }
    default: {
      if (!shape_.text_wide && random_.OneIn(2)) {
        Log("widen the text");
        ARROW_RETURN_NOT_OK(db_->WidenColumn(kTable, shape_.text, arrow::large_utf8()));
        shape_.text_wide = true;
        break;
      }
      const std::string to = shape_.text == "note" ? "remark" : "note";
      Log("rename the text to " + to);
      ARROW_RETURN_NOT_OK(db_->RenameColumn(kTable, shape_.text, to));
      shape_.text = to;
    }
  }
  shape_.schema = SchemaOf(shape_);
  return CompareCatalog();
}

/// Compaction's law as anyone can see it: the row versions before are those after, cuts and all.
Status History::CompactStep() {
  Log("compact");
  if (random_.OneIn(2)) return db_->Compact();
  ARROW_RETURN_NOT_OK(db_->Flush());
  ARROW_ASSIGN_OR_RAISE(auto before,
                        ReadVersions(kTable, WholeHistory(kTable), ValidPeriod::All()));
  ARROW_RETURN_NOT_OK(db_->Compact());
  ARROW_ASSIGN_OR_RAISE(auto after, ReadVersions(kTable, WholeHistory(kTable), ValidPeriod::All()));
  return Equal("compaction changed the row versions", before, after);
}

Status History::CheckpointStep() {
  if (!checkpoints_.empty() && random_.OneIn(3)) {
    const std::string name = checkpoints_.begin()->first;
    Log("drop checkpoint " + name);
    checkpoints_.erase(name);
    return db_->DropCheckpoint(name);
  }
  const std::string name = fmt::format("c{}", random_.Uniform(100));
  const auto made = db_->CreateCheckpoint(name);
  if (checkpoints_.contains(name)) {
    if (!made.ok() && CodeOf(made.status()) == ErrorCode::kAlreadyExists) return Status::OK();
    return Status::Invalid("checkpoint made twice: ", made.status().ToString());
  }
  ARROW_RETURN_NOT_OK(made.status());
  Log("checkpoint " + name);
  if (made->commit != model_.newest_commit())
    return Status::Invalid("checkpoint at commit ", made->commit.value);
  checkpoints_[name] = made->commit;
  NoteDurable();
  return Status::OK();
}

Status History::EraseStep() {
  const auto id = static_cast<int64_t>(random_.Uniform(kKeys));
  const std::string table = random_.OneIn(3) ? kDocuments : kTable;
  held_.reset();
  Log(fmt::format("erase {}/{}", table, KeyOf(table, id)));
  ARROW_RETURN_NOT_OK(table == kDocuments ? db_->EraseDocument(DocumentKey(id))
                                          : db_->EraseKey(kTable, {Lit(id)}));
  // An erase is a commit of its own.
  ARROW_ASSIGN_OR_RAISE(const auto time, db_->TimeOf(db_->newest_commit()));
  Apply({{db_->newest_commit(), time, AckClass::kDurable},
         {{table, KeyOf(table, id), FactKind::kErase, {}, ""}}});
  return Status::OK();
}

Status History::TrimStep() {
  ARROW_RETURN_NOT_OK(db_->Flush());
  NoteDurable();
  if (times_.size() < 2) return Status::OK();
  const SystemTime floor = times_[random_.Uniform(times_.size())];
  if (floor < model_.HistoryFloor(kTable)) return Status::OK();
  held_.reset();
  const bool needed = std::any_of(checkpoints_.begin(), checkpoints_.end(), [&](const auto& c) {
    return c.second.value == 0 || times_[static_cast<size_t>(c.second.value) - 1] < floor;
  });
  Log(fmt::format("trim below {}", floor.micros));
  const Status trimmed = db_->TrimHistory(kTable, floor);
  if (needed) {
    if (!trimmed.ok() && CodeOf(trimmed) == ErrorCode::kInvalidArgument) return Status::OK();
    return Status::Invalid("trim below a checkpoint: ", trimmed.ToString());
  }
  ARROW_RETURN_NOT_OK(trimmed);
  model_.SetHistoryFloor(kTable, floor);
  return Status::OK();
}

Status History::HoldStep() {
  if (held_) return CompareHeld();
  if (!model_.Answers(kTable, model_.newest_time())) return Status::OK();
  Log("hold a snapshot");
  held_ = Held{db_->GetSnapshot(), shape_, {static_cast<int64_t>(random_.Uniform(10))}, {}};
  held_->rows = model_.Scan(kTable, {}, model_.newest_time(), held_->valid);
  return CompareHeld();
}

// ---- Writing

ValidInterval History::RandomInterval(base::Random* random) {
  if (random->OneIn(4)) return {};
  const auto a = static_cast<int64_t>(random->Uniform(7));
  const auto b = a + 1 + static_cast<int64_t>(random->Uniform(4));
  return {random->OneIn(5) ? ValidTime::Min() : ValidTime{a},
          random->OneIn(4) ? ValidTime::Max() : ValidTime{b}};
}

int64_t History::RandomKey(Writer* writer) {
  return writer->first_key + writer->step * static_cast<int64_t>(writer->random.Uniform(
                                                static_cast<uint64_t>(writer->keys)));
}

std::string History::NextValue(Writer* writer) const {
  if (writer->random.OneIn(8)) return "";  // a null text; then the extras are null too
  return fmt::format("{}{}.{}", writer->tag, ++writer->values, shape_.generation);
}

Status History::WriteSomething(Writer* writer, Transaction* transaction,
                               std::vector<ModelWrite>* writes) const {
  base::Random& random = writer->random;
  const FactKind kind = random.OneIn(4) ? FactKind::kDelete : FactKind::kPut;
  const ValidInterval valid = RandomInterval(&random);
  const int64_t id = RandomKey(writer);
  const std::string value = NextValue(writer);
  if (random.OneIn(3)) {
    const std::string key = DocumentKey(id);
    ARROW_RETURN_NOT_OK(kind == FactKind::kPut ? transaction->PutDocument(key, value, valid)
                                               : transaction->DeleteDocument(key, valid));
    writes->push_back({kDocuments, key, kind, valid, value});
    return Status::OK();
  }
  WriteOptions options;
  options.valid = valid;
  Rows rows = {{id, value}};
  std::vector<ModelWrite> mine = {{kTable, KeyText(id), kind, valid, value}};
  // Sometimes several rows in one statement …
  while (random.OneIn(3) && rows.size() < 4) {
    rows.emplace_back(RandomKey(writer), NextValue(writer));
    mine.push_back({kTable, KeyText(rows.back().first), kind, valid, rows.back().second});
  }
  // … each with its own validity, or some of them deletes.
  if (kind == FactKind::kPut && random.OneIn(3)) {
    arrow::Int64Builder from, to;
    arrow::BooleanBuilder deletes;
    for (ModelWrite& w : mine) {
      w.valid = RandomInterval(&random);
      const bool open_from = w.valid.from == ValidTime::Min();
      const bool open_to = w.valid.to == ValidTime::Max();
      ARROW_RETURN_NOT_OK(open_from ? from.AppendNull() : from.Append(w.valid.from.micros));
      ARROW_RETURN_NOT_OK(open_to ? to.AppendNull() : to.Append(w.valid.to.micros));
      const bool is_delete = random.OneIn(4);
      ARROW_RETURN_NOT_OK(deletes.Append(is_delete));
      if (is_delete) w.kind = FactKind::kDelete;
    }
    options.valid = {};
    ARROW_ASSIGN_OR_RAISE(options.valid_from, from.Finish());
    ARROW_ASSIGN_OR_RAISE(options.valid_to, to.Finish());
    ARROW_ASSIGN_OR_RAISE(auto mask, deletes.Finish());
    options.deletes = std::static_pointer_cast<arrow::BooleanArray>(mask);
  }
  const auto batch = MakeRows(rows);
  ARROW_RETURN_NOT_OK(kind == FactKind::kPut ? transaction->Put(kTable, batch, options)
                                             : transaction->Delete(kTable, batch, options));
  writes->insert(writes->end(), mine.begin(), mine.end());
  return Status::OK();
}

std::shared_ptr<arrow::RecordBatch> History::MakeRows(const Rows& rows) const {
  const auto& schema = shape_.schema;
  std::vector<std::unique_ptr<arrow::ArrayBuilder>> builders;
  for (const auto& field : schema->fields())
    builders.push_back(arrow::MakeBuilder(field->type()).ValueOrDie());
  for (const auto& [key, value] : rows) {
    Status status = static_cast<arrow::Int64Builder&>(*builders[0]).Append(key);
    if (value.empty()) {
      status &= builders[1]->AppendNull();
    } else if (shape_.text_wide) {
      status &= static_cast<arrow::LargeStringBuilder&>(*builders[1]).Append(value);
    } else {
      status &= static_cast<arrow::StringBuilder&>(*builders[1]).Append(value);
    }
    auto& tags = static_cast<arrow::ListBuilder&>(*builders[2]);
    status &= tags.Append();
    for (size_t i = 0; i < value.size() % 3; ++i)
      status &= static_cast<arrow::Int32Builder&>(*tags.value_builder()).Append(value[i]);
    for (size_t e = 0; e < shape_.extras.size(); ++e) {
      arrow::ArrayBuilder& builder = *builders[3 + e];
      const Extra& extra = shape_.extras[e];
      const int64_t number = ExtraValue(extra.id, key, value);
      if (value.empty()) {
        status &= builder.AppendNull();
      } else {
        status &= builder.AppendScalar(
            *arrow::MakeScalar(static_cast<double>(number))->CastTo(TypeOf(extra)).ValueOrDie());
      }
    }
    if (!status.ok()) status.Abort();
  }
  arrow::ArrayVector columns;
  for (const auto& builder : builders) columns.push_back(builder->Finish().ValueOrDie());
  return arrow::RecordBatch::Make(schema, static_cast<int64_t>(rows.size()), std::move(columns));
}

void History::Apply(Done done) {
  model_.Apply(done.result.commit, done.result.system_time, done.writes);
  times_.push_back(done.result.system_time);
  if (done.result.ack == AckClass::kDurable) NoteDurable();
  Log(fmt::format("commit {}:{}", done.result.commit.value, ToText(done.writes)));
  done_.push_back(std::move(done));
}

// ---- Reading

Result<std::string> History::RowText(const Shape& shape, const arrow::RecordBatch& batch,
                                     int64_t row, int64_t* key) const {
  *key = static_cast<const arrow::Int64Array&>(*batch.column(0)).Value(row);
  const arrow::Array& text = *batch.column(1);
  std::string value;
  if (!text.IsNull(row)) {
    value = shape.text_wide ? static_cast<const arrow::LargeStringArray&>(text).GetString(row)
                            : static_cast<const arrow::StringArray&>(text).GetString(row);
  }
  const auto& tags = static_cast<const arrow::ListArray&>(*batch.column(2));
  const auto& numbers = static_cast<const arrow::Int32Array&>(*tags.values());
  bool same = tags.value_length(row) == static_cast<int32_t>(value.size() % 3);
  for (int32_t i = 0; same && i < tags.value_length(row); ++i)
    same = numbers.Value(tags.value_offset(row) + i) == value[static_cast<size_t>(i)];
  for (size_t e = 0; same && e < shape.extras.size(); ++e) {
    const Extra& extra = shape.extras[e];
    const arrow::Array& column = *batch.column(3 + static_cast<int>(e));
    // A row that is older than the column has no value there.
    const bool expected = !value.empty() && generations_[GenerationOf(value)].contains(extra.id);
    same = column.IsValid(row) == expected;
    if (!same || !expected) continue;
    double actual = 0;
    if (extra.floating) {
      actual = extra.wide ? static_cast<const arrow::DoubleArray&>(column).Value(row)
                          : static_cast<const arrow::FloatArray&>(column).Value(row);
    } else {
      actual = extra.wide
                   ? static_cast<double>(static_cast<const arrow::Int64Array&>(column).Value(row))
                   : static_cast<const arrow::Int32Array&>(column).Value(row);
    }
    same = actual == static_cast<double>(ExtraValue(extra.id, *key, value));
  }
  if (same) return value;
  return Status::Invalid("columns do not belong together: ", batch.Slice(row, 1)->ToString());
}

Result<ModelKeyValues> History::ReadRows(const Shape& shape, ScanReader& reader) const {
  ModelKeyValues out;
  for (;;) {
    std::shared_ptr<arrow::RecordBatch> batch;
    ARROW_RETURN_NOT_OK(reader.ReadNext(&batch));
    if (batch == nullptr) return out;
    const bool documents = batch->schema()->field(1)->name() == "doc";
    if (!documents && !batch->schema()->Equals(*shape.schema))
      return Status::Invalid("schema: ", batch->schema()->ToString());
    for (int64_t i = 0; i < batch->num_rows(); ++i) {
      if (documents) {
        out.emplace_back(static_cast<const arrow::BinaryArray&>(*batch->column(0)).GetString(i),
                         static_cast<const arrow::BinaryArray&>(*batch->column(1)).GetString(i));
        continue;
      }
      int64_t key = 0;
      ARROW_ASSIGN_OR_RAISE(auto value, RowText(shape, *batch, i, &key));
      out.emplace_back(KeyText(key), std::move(value));
    }
  }
}

Result<std::vector<ModelRow>> History::ReadVersions(const std::string& table, SystemPeriod system,
                                                    ValidPeriod valid, const SnapshotPtr& snapshot,
                                                    int64_t from, int64_t to) {
  std::vector<ModelRow> rows;
  const auto add = [&](const arrow::RecordBatch& batch, int64_t i, std::string key,
                       std::string value) {
    const auto time = [&](const char* name) {
      return static_cast<const arrow::TimestampArray&>(*batch.GetColumnByName(name)).Value(i);
    };
    const auto& commits = static_cast<const arrow::Int64Array&>(*batch.GetColumnByName("_commit"));
    rows.push_back({std::move(key),
                    {{time("_valid_from")}, {time("_valid_to")}},
                    {{time("_system_from")}, {time("_system_to")}},
                    {static_cast<uint64_t>(commits.Value(i))},
                    std::move(value)});
  };
  if (table == kDocuments) {
    for (int64_t id = from; id < to; ++id) {
      ARROW_ASSIGN_OR_RAISE(const auto batch,
                            db_->DocumentVersions(DocumentKey(id), system, valid));
      for (int64_t i = 0; i < batch->num_rows(); ++i) {
        add(*batch, i, DocumentKey(id),
            static_cast<const arrow::BinaryArray&>(*batch->column(0)).GetString(i));
      }
    }
    return rows;
  }
  ScanOptions options;
  options.system = system;
  options.valid = valid;
  if (from != 0 || to != kKeys) {
    options.keys.from = Key{Lit(from)};
    options.keys.to = Key{Lit(to)};
  }
  std::vector<std::string> columns = shape_.schema->field_names();
  for (const char* name : {"_valid_from", "_valid_to", "_system_from", "_system_to", "_commit"})
    columns.push_back(name);
  options.columns = std::move(columns);
  std::shared_ptr<ScanReader> reader;
  ARROW_RETURN_NOT_OK(
      (snapshot == nullptr ? db_->Scan(table, options) : db_->Scan(snapshot, table, options))
          .Value(&reader));
  for (;;) {
    std::shared_ptr<arrow::RecordBatch> batch;
    ARROW_RETURN_NOT_OK(reader->ReadNext(&batch));
    if (batch == nullptr) break;
    for (int64_t i = 0; i < batch->num_rows(); ++i) {
      int64_t key = 0;
      ARROW_ASSIGN_OR_RAISE(auto value, RowText(shape_, *batch, i, &key));
      add(*batch, i, KeyText(key), std::move(value));
    }
  }
  const auto order = [](const ModelRow& a, const ModelRow& b) {
    return std::tie(a.key, a.valid.from, a.system.from) <
           std::tie(b.key, b.valid.from, b.system.from);
  };
  if (!std::is_sorted(rows.begin(), rows.end(), order))
    return Status::Invalid("rows are out of order:\n", testing::Print(rows));
  return rows;
}

Result<std::shared_ptr<ScanReader>> History::ScanAt(const std::string& table,
                                                    const ModelPoint& point) const {
  if (table == kDocuments) {
    return db_->ScanPrefix("doc/", SystemPeriod::AsOf(point.system), ValidPeriod::At(point.valid));
  }
  ScanOptions options;
  options.system = SystemPeriod::AsOf(point.system);
  options.valid = ValidPeriod::At(point.valid);
  return db_->Scan(table, options);
}

SystemPeriod History::WholeHistory(const std::string& table) const {
  const SystemTime floor = model_.HistoryFloor(table);
  if (floor == SystemTime::Min()) return SystemPeriod::All();
  return SystemPeriod::FromTo(floor, SystemTime::Max());
}

// ---- Comparing

Status History::CompareAll(bool scan_every_point) {
  ARROW_RETURN_NOT_OK(CompareHeld());
  ARROW_RETURN_NOT_OK(CompareCatalog());
  for (const std::string table : {kTable, kDocuments}) {
    const std::vector<ModelPoint> points = model_.AllPoints(table);
    ARROW_RETURN_NOT_OK(CompareVersions(table, points));
    for (const ModelPoint& point : points) {
      if (!scan_every_point && !random_.OneIn(16)) continue;
      ARROW_ASSIGN_OR_RAISE(const auto reader, ScanAt(table, point));
      ARROW_ASSIGN_OR_RAISE(const auto rows, ReadRows(shape_, *reader));
      ARROW_RETURN_NOT_OK(Equal(
          fmt::format("{} at system {} valid {}", table, point.system.micros, point.valid.micros),
          model_.Scan(table, {}, point.system, point.valid), rows));
      if (random_.OneIn(8)) ARROW_RETURN_NOT_OK(ComparePoint(table, point));
    }
  }
  ARROW_RETURN_NOT_OK(CompareWindow());
  return CompareSnapshotAt();
}

Status History::CompareCatalog() {
  ARROW_ASSIGN_OR_RAISE(const TableInfo info, db_->GetTable(kTable));
  if (!info.schema->Equals(*shape_.schema))
    return Status::Invalid("schema of the table: ", info.schema->ToString());
  std::map<std::string, CommitId> checkpoints;
  for (const CheckpointInfo& c : db_->ListCheckpoints()) checkpoints[c.name] = c.commit;
  if (checkpoints != checkpoints_) return Status::Invalid("checkpoints differ");
  return Status::OK();
}

Status History::CompareHeld() {
  if (!held_) return Status::OK();
  ScanOptions options;
  options.valid = ValidPeriod::At(held_->valid);
  ARROW_ASSIGN_OR_RAISE(auto reader, db_->Scan(held_->snapshot, kTable, options));
  ARROW_ASSIGN_OR_RAISE(const auto now, ReadRows(held_->shape, *reader));
  return Equal("held snapshot", held_->rows, now);
}

Status History::ComparePoint(const std::string& table, const ModelPoint& point) {
  const auto id = static_cast<int64_t>(random_.Uniform(kKeys));
  const std::string key = KeyOf(table, id);
  const auto system = SystemPeriod::AsOf(point.system);
  const auto valid = ValidPeriod::At(point.valid);
  std::optional<std::string> actual;
  if (table == kDocuments) {
    ARROW_ASSIGN_OR_RAISE(actual, db_->GetDocument(key, system, valid));
  } else {
    ARROW_ASSIGN_OR_RAISE(const auto row, db_->Get(table, {Lit(id)}, system, valid));
    if (row->num_rows() > 1) return Status::Invalid("two rows at one point");
    if (row->num_rows() == 1) {
      int64_t found = 0;
      ARROW_ASSIGN_OR_RAISE(actual, RowText(shape_, *row, 0, &found));
      if (found != id) return Status::Invalid("get of key ", id, " gave ", found);
    }
  }
  const auto expected = model_.Get(table, key, point.system, point.valid);
  if (actual == expected) return Status::OK();
  return Status::Invalid("get ", table, "/", key, " at system ", point.system.micros, " valid ",
                         point.valid.micros, ": expected ", expected.value_or("nothing"), ", got ",
                         actual.value_or("nothing"));
}

/// Every row version there is: as exact rectangles, and read off at every point of the plane.
Status History::CompareVersions(const std::string& table, const std::vector<ModelPoint>& points) {
  ARROW_ASSIGN_OR_RAISE(const std::vector<ModelRow> rows,
                        ReadVersions(table, WholeHistory(table), ValidPeriod::All()));
  const SystemTime floor = model_.HistoryFloor(table);
  ARROW_RETURN_NOT_OK(
      Equal(table + ": all versions",
            testing::Coalesce(model_.ScanWindow(table, {}, {{floor, SystemTime::Max()}, {}})),
            testing::Coalesce(rows)));
  for (const ModelPoint& point : points) {
    ModelKeyValues at;
    for (const ModelRow& row : rows) {
      if (row.valid.Contains(point.valid) && row.system.Contains(point.system))
        at.emplace_back(row.key, row.value);
    }
    ARROW_RETURN_NOT_OK(Equal(fmt::format("{}: versions at system {} valid {}", table,
                                          point.system.micros, point.valid.micros),
                              model_.Scan(table, {}, point.system, point.valid), at));
  }
  return Status::OK();
}

/// A range on both axes, as FROM/TO or BETWEEN, over some keys.
Status History::CompareWindow() {
  if (times_.empty()) return Status::OK();
  const std::string table = random_.OneIn(3) ? kDocuments : kTable;
  SystemTime s[2];
  for (SystemTime& t : s) {
    t = times_[random_.Uniform(times_.size())];
    t.micros += static_cast<int64_t>(random_.Uniform(2)) - 1;
    t = std::max(t, model_.HistoryFloor(table));
  }
  ValidTime v[2];
  for (ValidTime& t : v) t = {static_cast<int64_t>(random_.Uniform(12)) - 1};
  if (s[1] < s[0]) std::swap(s[0], s[1]);
  if (v[1] < v[0]) std::swap(v[0], v[1]);
  if (random_.OneIn(6)) v[0] = ValidTime::Min();
  if (random_.OneIn(6)) v[1] = ValidTime::Max();
  temporal::Window window{{s[0], s[1]}, {v[0], v[1]}};
  SystemPeriod system = SystemPeriod::FromTo(s[0], s[1]);
  if (random_.OneIn(2)) {
    system = SystemPeriod::Between(s[0], s[1]);
    ++window.system.to.micros;
  }
  ValidPeriod valid = ValidPeriod::FromTo(v[0], v[1]);
  if (random_.OneIn(2)) {
    valid = ValidPeriod::Between(v[0], v[1]);
    if (v[1] != ValidTime::Max()) ++window.valid.to.micros;
  }
  // What lies after the newest commit is not known yet.
  window.system.to = std::min(window.system.to, SystemTime{model_.newest_time().micros + 1});
  const auto from = static_cast<int64_t>(random_.Uniform(3));
  const int64_t to = kKeys - static_cast<int64_t>(random_.Uniform(3));
  ARROW_ASSIGN_OR_RAISE(const auto rows, ReadVersions(table, system, valid, nullptr, from, to));
  for (const ModelRow& row : rows) {
    if (!window.Meets(row.valid, row.system))
      return Status::Invalid("row outside of the window: ", testing::Print({row}));
  }
  const testing::ModelKeyRange keys{KeyOf(table, from), KeyOf(table, to)};
  return Equal(fmt::format("{}: system [{}, {}) valid [{}, {}) keys [{}, {})", table,
                           window.system.from.micros, window.system.to.micros,
                           window.valid.from.micros, window.valid.to.micros, from, to),
               Clip(model_.ScanWindow(table, keys, window), window.valid),
               Clip(rows, window.valid));
}

/// A snapshot taken afterwards shows what one taken then would show.
Status History::CompareSnapshotAt() {
  if (times_.empty()) return Status::OK();
  const CommitId commit{1 + random_.Uniform(times_.size())};
  const SystemTime then = times_[static_cast<size_t>(commit.value) - 1];
  if (!model_.Answers(kTable, then)) return Status::OK();
  const SystemPeriod moment =
      random_.OneIn(2) ? SystemPeriod::AsOf(commit) : SystemPeriod::AsOf(then);
  ARROW_ASSIGN_OR_RAISE(const SnapshotPtr snapshot, db_->SnapshotAt(moment));
  if (snapshot->commit() != commit || snapshot->system_time() != then)
    return Status::Invalid("snapshot at commit ", commit.value, " is of another commit");
  const ValidTime v{static_cast<int64_t>(random_.Uniform(10))};
  ScanOptions options;
  options.valid = ValidPeriod::At(v);
  ARROW_ASSIGN_OR_RAISE(auto reader, db_->Scan(snapshot, kTable, options));
  ARROW_ASSIGN_OR_RAISE(const auto now, ReadRows(shape_, *reader));
  ARROW_RETURN_NOT_OK(Equal(fmt::format("snapshot at commit {}", commit.value),
                            model_.Scan(kTable, {}, then, v), now));
  ARROW_ASSIGN_OR_RAISE(const auto rows,
                        ReadVersions(kTable, WholeHistory(kTable), ValidPeriod::All(), snapshot));
  return Equal(fmt::format("all versions of the snapshot at commit {}", commit.value),
               testing::Coalesce(model_.ScanWindow(
                   kTable, {}, {{model_.HistoryFloor(kTable), {then.micros + 1}}, {}}, then)),
               testing::Coalesce(rows));
}

Status History::CompareOwnWrites(Transaction* transaction, const std::vector<ModelWrite>& writes) {
  testing::ReferenceModel with = model_;
  with.Apply({model_.newest_commit().value + 1}, {model_.newest_time().micros + 1}, writes);
  if (!with.Answers(kTable, with.newest_time())) return Status::OK();
  const ValidTime v{static_cast<int64_t>(random_.Uniform(10))};
  ScanOptions options;
  options.valid = ValidPeriod::At(v);
  ARROW_ASSIGN_OR_RAISE(auto reader, transaction->Scan(kTable, options));
  ARROW_ASSIGN_OR_RAISE(const auto rows, ReadRows(shape_, *reader));
  ARROW_RETURN_NOT_OK(Equal("own writes", with.Scan(kTable, {}, with.newest_time(), v), rows));
  const auto id = static_cast<int64_t>(random_.Uniform(kKeys));
  ARROW_ASSIGN_OR_RAISE(const auto document,
                        transaction->GetDocument(DocumentKey(id), {}, ValidPeriod::At(v)));
  if (document != with.Get(kDocuments, DocumentKey(id), with.newest_time(), v))
    return Status::Invalid("own document ", DocumentKey(id), ": ", document.value_or("nothing"));
  return Status::OK();
}

Status History::CheckBackground() {
  const DatabaseMetrics metrics = db_->metrics();
  if (metrics.compaction.failures != 0 || metrics.flush.failures != 0) {
    return Status::Invalid("background work failed: compactions=", metrics.compaction.failures,
                           " flushes=", metrics.flush.failures);
  }
  return Status::OK();
}

}  // namespace lamina::model
