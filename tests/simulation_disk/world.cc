#include "world.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <thread>

#include <arrow/builder.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/out_of_memory.h"
#include "refused_memory.h"

namespace lamina::simulation {

using testing::ModelRow;
using testing::ModelWrite;
using testing::ReferenceModel;

namespace {

constexpr char kDirectory[] = "/database";
constexpr char kDocuments[] = "documents";
constexpr char kAfterKey[] = "zz-after";

std::string KeyText(int64_t id) { return fmt::format("{:08}", id); }

// A row's value in the model is "id:text;" for each column that it was written with.
std::string Field(int column, const std::string& text) {
  return fmt::format("{}:{};", column, text);
}

std::string NumberOf(const Column& column, int64_t id, const std::string& note) {
  return std::to_string(MixSeed(static_cast<uint64_t>(id), note.size(),
                                note.empty() ? 0 : static_cast<unsigned char>(note.back()),
                                static_cast<uint64_t>(column.id)) %
                        100'000);
}

// The value as the table's columns show it.
std::string Render(const std::string& value, const TableState& table) {
  std::string out;
  for (const Column& column : table.columns) {
    const std::string tag = fmt::format(";{}:", column.id);
    const std::string padded = ";" + value;
    const size_t at = padded.find(tag);
    const size_t begin = at + tag.size();
    out += at == std::string::npos ? "~" : padded.substr(begin, padded.find(';', begin) - begin);
    out += '|';
  }
  return out;
}

Result<std::string> CellText(const arrow::Array& array, int64_t row) {
  if (array.IsNull(row)) return "~";
  switch (array.type_id()) {
    case arrow::Type::STRING:
      return static_cast<const arrow::StringArray&>(array).GetString(row);
    case arrow::Type::INT32:
      return std::to_string(static_cast<const arrow::Int32Array&>(array).Value(row));
    case arrow::Type::INT64:
      return std::to_string(static_cast<const arrow::Int64Array&>(array).Value(row));
    default:
      return Status::Invalid("unexpected type ", array.type()->ToString());
  }
}

int64_t TimeAt(const arrow::RecordBatch& batch, const char* name, int64_t row) {
  return static_cast<const arrow::TimestampArray&>(*batch.GetColumnByName(name)).Value(row);
}

// What a table's rows look like on both sides.
std::vector<ModelRow> Shown(std::vector<ModelRow> rows, const TableState* table) {
  if (table != nullptr) {
    for (ModelRow& row : rows) row.value = Render(row.value, *table);
  }
  return testing::Coalesce(std::move(rows));
}

Status Differs(const std::string& what, const std::vector<ModelRow>& expected,
               const std::vector<ModelRow>& actual) {
  return Status::Invalid("rows differ: ", what, "\nexpected:\n", testing::Print(expected),
                         "actual:\n", testing::Print(actual));
}

Result<std::vector<ModelRow>> ReadVersions(Database* db, const std::string& name,
                                           const TableState& table) {
  ScanOptions options;
  options.system = table.floor == SystemTime::Min()
                       ? SystemPeriod::All()
                       : SystemPeriod::FromTo(table.floor, SystemTime::Max());
  options.valid = ValidPeriod::All();
  std::vector<std::string> columns = {"id"};
  for (const Column& column : table.columns) columns.push_back(column.name);
  const size_t values = columns.size();
  for (const char* hidden : {"_valid_from", "_valid_to", "_system_from", "_system_to", "_commit"})
    columns.emplace_back(hidden);
  options.columns = columns;
  ARROW_ASSIGN_OR_RAISE(auto reader, db->Scan(name, options));
  std::vector<ModelRow> rows;
  for (;;) {
    std::shared_ptr<arrow::RecordBatch> batch;
    ARROW_RETURN_NOT_OK(reader->ReadNext(&batch));
    if (batch == nullptr) return rows;
    for (int64_t i = 0; i < batch->num_rows(); ++i) {
      ModelRow row;
      row.key = KeyText(static_cast<const arrow::Int64Array&>(*batch->column(0)).Value(i));
      for (size_t c = 1; c < values; ++c) {
        ARROW_ASSIGN_OR_RAISE(const auto text, CellText(*batch->column(static_cast<int>(c)), i));
        row.value += text + "|";
      }
      row.valid = {{TimeAt(*batch, "_valid_from", i)}, {TimeAt(*batch, "_valid_to", i)}};
      row.system = {{TimeAt(*batch, "_system_from", i)}, {TimeAt(*batch, "_system_to", i)}};
      row.commit = {static_cast<uint64_t>(
          static_cast<const arrow::Int64Array&>(*batch->GetColumnByName("_commit")).Value(i))};
      rows.push_back(std::move(row));
    }
  }
}

Result<std::vector<ModelRow>> ReadDocumentVersions(Database* db, const std::string& key) {
  ARROW_ASSIGN_OR_RAISE(const auto batch, db->DocumentVersions(key));
  std::vector<ModelRow> rows;
  for (int64_t i = 0; i < batch->num_rows(); ++i) {
    ModelRow row;
    row.key = key;
    row.value = static_cast<const arrow::BinaryArray&>(*batch->GetColumnByName("doc")).GetString(i);
    row.valid = {{TimeAt(*batch, "_valid_from", i)}, {TimeAt(*batch, "_valid_to", i)}};
    row.system = {{TimeAt(*batch, "_system_from", i)}, {TimeAt(*batch, "_system_to", i)}};
    row.commit = {static_cast<uint64_t>(
        static_cast<const arrow::Int64Array&>(*batch->GetColumnByName("_commit")).Value(i))};
    rows.push_back(std::move(row));
  }
  return rows;
}

// Rows of one point, from the database's own scan at that point.
Result<testing::ModelKeyValues> ReadPoint(Database* db, const std::string& name,
                                          const TableState* table,
                                          const testing::ModelPoint& point) {
  testing::ModelKeyValues out;
  std::shared_ptr<ScanReader> reader;
  if (table == nullptr) {
    ARROW_ASSIGN_OR_RAISE(
        reader, db->ScanPrefix("", SystemPeriod::AsOf(point.system), ValidPeriod::At(point.valid)));
  } else {
    ScanOptions options;
    options.system = SystemPeriod::AsOf(point.system);
    options.valid = ValidPeriod::At(point.valid);
    ARROW_ASSIGN_OR_RAISE(reader, db->Scan(name, options));
  }
  for (;;) {
    std::shared_ptr<arrow::RecordBatch> batch;
    ARROW_RETURN_NOT_OK(reader->ReadNext(&batch));
    if (batch == nullptr) break;
    for (int64_t i = 0; i < batch->num_rows(); ++i) {
      if (table == nullptr) {
        const auto text = [&](const char* column) {
          return static_cast<const arrow::BinaryArray&>(*batch->GetColumnByName(column))
              .GetString(i);
        };
        out.emplace_back(text("key"), text("doc"));
        continue;
      }
      std::string value;
      for (int c = 1; c < batch->num_columns(); ++c) {
        ARROW_ASSIGN_OR_RAISE(const auto text, CellText(*batch->column(c), i));
        value += text + "|";
      }
      out.emplace_back(KeyText(static_cast<const arrow::Int64Array&>(*batch->column(0)).Value(i)),
                       value);
    }
  }
  // Append tables come in the order of their hidden numbers.
  std::sort(out.begin(), out.end());
  return out;
}

std::shared_ptr<arrow::DataType> TypeOf(char type) {
  return type == 's' ? arrow::utf8() : type == 'i' ? arrow::int32() : arrow::int64();
}

// The catalogue of an open database in the words of `like`, whose tables it is compared with; what
// differs from it shows as another name or column.
Result<CatalogState> ReadCatalog(Database* db, const CatalogState& like) {
  CatalogState out;
  for (const TableInfo& info : db->ListTables()) {
    TableState table;
    const auto known = like.tables.find(info.name);
    table.uid = known == like.tables.end() ? "?" : known->second.uid;
    table.keyed = !info.key.empty();
    table.floor = info.history_floor;
    for (int i = 1; i < info.schema->num_fields(); ++i) {
      const auto& field = *info.schema->field(i);
      Column column;
      column.name = field.name();
      column.type = field.type()->id() == arrow::Type::STRING  ? 's'
                    : field.type()->id() == arrow::Type::INT32 ? 'i'
                    : field.type()->id() == arrow::Type::INT64 ? 'l'
                                                               : '?';
      if (known != like.tables.end()) {
        for (const Column& of : known->second.columns) {
          if (of.name == column.name) column.id = of.id;
        }
      }
      table.columns.push_back(column);
    }
    out.tables[info.name] = table;
  }
  for (const CheckpointInfo& checkpoint : db->ListCheckpoints())
    out.checkpoints[checkpoint.name] = checkpoint.commit;
  return out;
}

std::string Print(const CatalogState& catalog) {
  std::string out;
  for (const auto& [name, table] : catalog.tables) {
    out += fmt::format(" {}({}{}", name, table.uid, table.keyed ? "" : " append");
    for (const Column& column : table.columns)
      out += fmt::format(" {}:{}:{}", column.id, column.name, column.type);
    out += fmt::format(" floor={})", table.floor.micros);
  }
  for (const auto& [name, commit] : catalog.checkpoints)
    out += fmt::format(" @{}={}", name, commit.value);
  return out;
}

}  // namespace

uint64_t MixSeed(uint64_t a, uint64_t b, uint64_t c, uint64_t d) {
  uint64_t out = 0x9e3779b97f4a7c15ULL;
  for (const uint64_t part : {a, b, c, d}) {
    out += part + 0x9e3779b97f4a7c15ULL;
    out = (out ^ (out >> 30)) * 0xbf58476d1ce4e5b9ULL;
    out = (out ^ (out >> 27)) * 0x94d049bb133111ebULL;
    out ^= out >> 31;
  }
  return out;
}

DatabaseOptions SmallOptions() {
  DatabaseOptions options;
  options.sync = SyncPolicy::kAlways;
  options.rows_per_page = 4;
  options.rows_per_row_group = 8;
  options.auto_flush = false;
  options.auto_compact = false;
  options.auto_gc = false;
  options.max_sealed_memtables = 1000;
  options.level0_files = 2;
  options.level1_bytes = 16 << 10;
  options.file_bytes_target = 64 << 10;
  options.gc_grace_micros = 0;
  options.page_cache_bytes = 1 << 20;
  options.footer_cache_bytes = 1 << 20;
  options.deletion_cache_bytes = 1 << 20;
  options.background_threads = 1;
  // ZSTD sets up a large context for each of the tiny chunks here: an eighth of all the time. Two
  // of the random scenarios keep it.
  options.last_codec = Codec::kLz4;
  return options;
}

Result<Opened> OpenDatabase(const std::shared_ptr<SimFileSystem>& files, base::Clock* clock,
                            const ScenarioOptions& options, uint64_t seed) {
  engine::EngineOptions engine;
  static_cast<DatabaseOptions&>(engine) = options.database;
  const bool counted = CountsAllocations();
  const std::shared_ptr<storage::FileSystem> system =
      counted ? FilesOutside(files) : std::shared_ptr<storage::FileSystem>(files);
  const auto open_store = [&]() -> Result<std::shared_ptr<ObjectStore>> {
    const InTheDatabase in;
    return storage::LocalStore::Open(kDirectory, true, system);
  };
  ARROW_ASSIGN_OR_RAISE(engine.store, base::Guarded(open_store));
  engine.clock = clock;
  engine.random_seed = seed | 1;
  Opened out;
  if (options.inline_executor) {
    engine.executor = std::make_shared<base::InlineExecutor>();
  } else {
    engine.executor = out.manual = std::make_shared<base::ManualExecutor>(clock);
  }
  const auto open = [&] {
    const InTheDatabase in;
    return db::OpenWith(std::move(engine));
  };
  ARROW_ASSIGN_OR_RAISE(out.db, open());
  if (counted) out.db = CallsInside(std::move(out.db));
  return out;
}

// ---- Oracle

const ReferenceModel& Oracle::After(const Expected& expected, uint64_t commits,
                                    std::optional<SystemTime> newest_time) {
  if (models_.empty()) models_.emplace_back();
  // The last one, when it was under way, has its time from the database and is not kept.
  const uint64_t kept = std::min<uint64_t>(commits, expected.acknowledged);
  for (uint64_t n = 1; n <= kept; ++n) {
    const auto& commit = expected.commits[n - 1];
    // A history that was taken back (a commit that a failure left out) is another history.
    if (n < models_.size() && commits_[n - 1] == commit) continue;
    models_.resize(n);
    commits_.resize(n - 1);
    models_.push_back(models_.back());
    commits_.push_back(commit);
    models_.back().Apply({n}, *commit->system_time, commit->writes);
  }
  if (kept == commits) return models_[kept];
  last_ = models_[kept];
  last_.Apply({kept + 1}, *newest_time, expected.commits[kept]->writes);
  return last_;
}

// ---- Verification

Status VerifyBounds(const Recovered& recovered, const Expected& expected) {
  if (recovered.commits < expected.durable) {
    return Status::Invalid("durable commits are lost: durable=", expected.durable,
                           " recovered=", recovered.commits);
  }
  if (recovered.commits > expected.commits.size()) {
    return Status::Invalid("commits that nobody made: made=", expected.commits.size(),
                           " recovered=", recovered.commits);
  }
  if (recovered.catalog != expected.catalog &&
      !(expected.next.has_value() && recovered.catalog == *expected.next)) {
    return Status::Invalid("tables differ:\nexpected:", Print(expected.catalog),
                           expected.next ? "\nor:" + Print(*expected.next) : "",
                           "\nactual:", Print(recovered.catalog));
  }
  if (expected.next.has_value() && expected.next_with_commit &&
      (recovered.catalog == *expected.next) != (recovered.commits == expected.commits.size())) {
    return Status::Invalid("a commit is there in part: commits=", recovered.commits, " of ",
                           expected.commits.size(), " tables:", Print(recovered.catalog));
  }
  return Status::OK();
}

Result<Recovered> VerifyContents(Database* db, const Expected& expected, Oracle* oracle,
                                 uint64_t seed, bool torn_log) {
  base::Random random(seed);
  Recovered recovered;
  recovered.commits = db->newest_commit().value;
  ARROW_ASSIGN_OR_RAISE(recovered.catalog, ReadCatalog(db, expected.catalog));
  if (recovered.catalog != expected.catalog && expected.next.has_value()) {
    ARROW_ASSIGN_OR_RAISE(recovered.catalog, ReadCatalog(db, *expected.next));
  }
  ARROW_RETURN_NOT_OK(VerifyBounds(recovered, expected));
  const uint64_t n = recovered.commits;
  // Times: all would be slow; the newest, and some others.
  SystemTime before = SystemTime::Min();
  for (uint64_t commit = 1; commit <= n; ++commit) {
    const CommitState& made = *expected.commits[commit - 1];
    const bool under_way = commit > expected.acknowledged;
    if (!under_way && commit != n && !random.OneIn(8)) {
      before = *made.system_time;
      continue;
    }
    ARROW_ASSIGN_OR_RAISE(const SystemTime time, db->TimeOf({commit}));
    if (made.system_time.has_value() && time != *made.system_time) {
      return Status::Invalid("a commit's time changed: commit=", commit,
                             " acknowledged=", made.system_time->micros, " now=", time.micros);
    }
    if (time <= before) return Status::Invalid("commit times do not rise: commit=", commit);
    before = time;
    if (under_way) recovered.newest_time = time;
  }
  if (n > expected.acknowledged + 1)
    return Status::NotImplemented("more than one commit under way is not followed");
  const ReferenceModel& model = oracle->After(expected, n, recovered.newest_time);

  for (const auto& [name, table] : recovered.catalog.tables) {
    const temporal::Window window{{table.floor, SystemTime::Max()}, {}};
    const auto wanted = Shown(model.ScanWindow(table.uid, {}, window), &table);
    ARROW_ASSIGN_OR_RAISE(auto rows, ReadVersions(db, name, table));
    const auto found = testing::Coalesce(std::move(rows));
    if (wanted != found) return Differs("table " + name, wanted, found);
  }
  std::vector<ModelRow> wanted = model.ScanWindow(kDocuments, {}, {});
  std::vector<std::string> keys;
  for (const ModelRow& row : wanted) {
    if (keys.empty() || keys.back() != row.key) keys.push_back(row.key);
  }
  std::vector<ModelRow> found;
  for (const std::string& key : keys) {
    ARROW_ASSIGN_OR_RAISE(auto rows, ReadDocumentVersions(db, key));
    found.insert(found.end(), rows.begin(), rows.end());
  }
  wanted = testing::Coalesce(std::move(wanted));
  found = testing::Coalesce(std::move(found));
  if (wanted != found) return Differs("documents", wanted, found);

  // Single points: the newest moment, and one of the past.
  const auto compare = [&](const std::string& name, const TableState* table) -> Status {
    const std::string uid = table == nullptr ? kDocuments : table->uid;
    const auto systems = model.SystemBoundaries(uid);
    const auto valids = model.ValidBoundaries(uid);
    for (int i = 0; i < 2; ++i) {
      testing::ModelPoint point{model.newest_time(), valids[random.Uniform(valids.size())]};
      if (i == 1) point.system = systems[random.Uniform(systems.size())];
      if (table != nullptr && point.system < table->floor) continue;
      ARROW_ASSIGN_OR_RAISE(const auto rows, ReadPoint(db, name, table, point));
      auto expected_rows = model.Scan(uid, {}, point.system, point.valid);
      if (table != nullptr) {
        for (auto& [key, value] : expected_rows) value = Render(value, *table);
      }
      if (rows != expected_rows) {
        return Status::Invalid("a point differs: table=", name, " system=", point.system.micros,
                               " valid=", point.valid.micros, " rows=", rows.size(),
                               " expected=", expected_rows.size());
      }
    }
    return Status::OK();
  };
  for (const auto& [name, table] : recovered.catalog.tables)
    ARROW_RETURN_NOT_OK(compare(name, &table));
  ARROW_RETURN_NOT_OK(compare(kDocuments, nullptr));

  ARROW_ASSIGN_OR_RAISE(auto findings, db->Check());
  if (torn_log) {
    std::erase_if(findings, [](const std::string& finding) {
      return finding.starts_with("log: ") && finding.find(": torn tail: ") != std::string::npos;
    });
  }
  if (!findings.empty()) return Status::Invalid("check: ", findings[0]);
  return recovered;
}

Status VerifyGoesOn(Opened opened, std::shared_ptr<SimFileSystem> files, base::Clock* clock,
                    const ScenarioOptions& options, const Expected& expected,
                    const Recovered& recovered, Oracle* oracle, uint64_t seed) {
  base::Random random(seed);
  Database* const db = opened.db.get();
  // From here on what was found is what there is.
  Expected now;
  now.created = true;
  now.catalog = recovered.catalog;
  now.commits = expected.commits;
  now.commits.resize(recovered.commits);
  now.acknowledged = std::min(expected.acknowledged, now.commits.size());
  if (now.acknowledged < now.commits.size()) {
    auto settled = std::make_shared<CommitState>(*now.commits.back());
    settled->system_time = recovered.newest_time;
    now.commits.back() = std::move(settled);
    now.acknowledged = now.commits.size();
  }
  // An idempotency key that was committed answers with its commit, and writes nothing.
  for (size_t i = now.commits.size(); i > 0; --i) {
    const CommitState& commit = *now.commits[i - 1];
    if (commit.idempotency_key.empty()) continue;
    TransactionOptions again;
    again.idempotency_key = commit.idempotency_key;
    ARROW_ASSIGN_OR_RAISE(auto transaction, db->Begin(again));
    ARROW_RETURN_NOT_OK(transaction->PutDocument(kAfterKey, "never"));
    ARROW_ASSIGN_OR_RAISE(const auto result, transaction->Commit());
    if (!result.replayed || result.commit.value != i) {
      return Status::Invalid("idempotency key forgotten: commit=", i,
                             " key=", commit.idempotency_key, " replayed=", result.replayed,
                             " answered=", result.commit.value);
    }
    break;
  }
  // One more commit, over a document and every table.
  auto commit = std::make_shared<CommitState>();
  TransactionOptions durable;
  durable.durable = true;
  ARROW_ASSIGN_OR_RAISE(auto transaction, db->Begin(durable));
  ARROW_RETURN_NOT_OK(transaction->PutDocument(kAfterKey, "after"));
  commit->writes.push_back({kDocuments, kAfterKey, temporal::FactKind::kPut, {}, "after"});
  ARROW_ASSIGN_OR_RAISE(const auto result, transaction->Commit());
  const AckClass promised = options.database.wal ? AckClass::kDurable : AckClass::kMemory;
  if (result.ack != promised) return Status::Invalid("the next commit is not durable");
  if (result.commit.value != now.commits.size() + 1)
    return Status::Invalid("the next commit has number ", result.commit.value);
  if (!now.commits.empty() && result.system_time <= *now.commits.back()->system_time)
    return Status::Invalid("the next commit's time does not rise");
  commit->system_time = result.system_time;
  now.commits.push_back(commit);
  now.acknowledged = now.durable = now.commits.size();
  // Then whatever may come.
  if (!options.database.wal || random.OneIn(2)) ARROW_RETURN_NOT_OK(db->Flush());
  if (random.OneIn(4)) ARROW_RETURN_NOT_OK(db->Compact());
  if (random.OneIn(4)) ARROW_RETURN_NOT_OK(db->CollectGarbage(false, 0).status());
  const auto damage = testing::kSimDamages[random.Uniform(testing::kSimDamages.size())];
  transaction.reset();
  if (random.OneIn(2)) {
    ARROW_RETURN_NOT_OK(db->Close());
    opened.db.reset();
  }
  const auto clone = files->CrashClone(damage, random.Next64());
  opened.db.reset();
  auto reopened = OpenDatabase(clone, clock, options, random.Next64());
  if (!reopened.ok()) {
    return Status::Invalid("opening after one more commit and crash (", SimDamageName(damage),
                           "): ", reopened.status().ToString());
  }
  const auto again = VerifyContents(reopened->db.get(), now, oracle, random.Next64());
  if (!again.ok()) {
    return Status::Invalid("after one more commit and crash (", SimDamageName(damage),
                           "): ", again.status().ToString());
  }
  return Status::OK();
}

// ---- World

World::World(ScenarioOptions options, uint64_t seed)
    : options_(std::move(options)),
      random_(seed),
      files_(std::make_shared<SimFileSystem>(&clock_, random_.Next64())),
      expected_(std::make_shared<Expected>()) {}

World::~World() = default;

void World::Update(const std::function<void(Expected*)>& change) {
  auto next = std::make_shared<Expected>(*expected_);
  change(next.get());
  expected_ = std::move(next);
}

// What the database says about itself.
void World::NoteDurable() {
  if (db() == nullptr) return;
  const uint64_t newest = db()->newest_commit().value;
  uint64_t durable = newest - db()->metrics().commit.durable_lag_commits;
  // Without a log only what was flushed is.
  if (!options_.database.wal) durable = expected_->durable;
  durable = std::min<uint64_t>(durable, expected_->acknowledged);
  if (durable > expected_->durable) Update([&](Expected* e) { e->durable = durable; });
}

Status World::OpenAndSettle() {
  ARROW_ASSIGN_OR_RAISE(opened_, OpenDatabase(files_, &clock_, options_, random_.Next64()));
  ARROW_ASSIGN_OR_RAISE(const Recovered found,
                        VerifyContents(db(), *expected_, &oracle_, random_.Next64(), tolerate_));
  Update([&](Expected* e) {
    e->created = true;
    e->catalog = found.catalog;
    e->next.reset();
    e->commits.resize(found.commits);
    if (found.newest_time.has_value()) {
      auto settled = std::make_shared<CommitState>(*e->commits.back());
      settled->system_time = found.newest_time;
      e->commits.back() = std::move(settled);
    }
    e->acknowledged = e->commits.size();
    e->durable = std::min(e->durable, e->acknowledged);
    if (options_.database.wal) e->durable = e->acknowledged;  // replay synced the log's end
  });
  return Status::OK();
}

Status World::Open() {
  Status status = OpenAndSettle();
  if (status.ok() || !tolerate_) return status;
  (void)RefuseNothing();
  // An open that met the failure has changed nothing that a second one minds.
  ++failures_met_;
  opened_ = {};
  return OpenAndSettle();
}

Status World::Close() {
  if (db() == nullptr) return Status::OK();
  const Status status = db()->Close();
  opened_ = {};
  if (status.ok() && options_.database.wal) {
    Update([](Expected* e) { e->durable = e->acknowledged; });  // Close syncs the log
  } else if (!status.ok()) {
    if (!tolerate_) return status;
    ++failures_met_;
  }
  // Without a log, what was not flushed is gone with the memory.
  if (!options_.database.wal) {
    Update([](Expected* e) {
      e->commits.resize(e->durable);
      e->acknowledged = e->durable;
    });
  }
  return Status::OK();
}

Status World::Reopen() {
  ARROW_RETURN_NOT_OK(Close());
  return Open();
}

Status World::CrashAndReopen(SimDamage damage) {
  const auto clone = files_->CrashClone(damage, random_.Next64());
  clone->SetHook(nullptr);
  files_->SetHook(nullptr);
  opened_ = {};
  files_ = clone;
  Update([&](Expected* e) {
    // Acknowledged but not durable: may be gone.
    (void)e;
  });
  if (on_files_) on_files_(files_.get());
  return Open();
}

// Decides what an error of a step means, and gets the database going again.
Status World::Outcome(const char* what, Kind kind, const Status& status) {
  if (!tolerate_) return Status::Invalid(what, ": ", status.ToString());
  (void)RefuseNothing();  // also where the error is of an earlier failure
  ++failures_met_;
  const ErrorCode code = CodeOf(status);
  if (code == ErrorCode::kInternal || code == ErrorCode::kCorruption)
    return Status::Invalid(what, " met a failure and answered: ", status.ToString());
  const bool stopped = code == ErrorCode::kStopped || code == ErrorCode::kCommitUnknown;
  if (!stopped) {
    // Nothing happened, unless the call consists of several commits and changes.
    if (kind == Kind::kCompound || kind == Kind::kPlain) {
      const uint64_t newest = db()->newest_commit().value;
      if (newest > expected_->commits.size())
        return Status::Invalid(what, " failed, and commits appeared");
      ARROW_ASSIGN_OR_RAISE(const Recovered found, VerifyContents(db(), *expected_, &oracle_,
                                                                  random_.Next64(), tolerate_));
      Update([&](Expected* e) {
        e->commits.resize(found.commits);
        if (found.newest_time.has_value()) {
          auto settled = std::make_shared<CommitState>(*e->commits.back());
          settled->system_time = found.newest_time;
          e->commits.back() = std::move(settled);
        }
        e->acknowledged = e->commits.size();
        e->catalog = found.catalog;
        e->next.reset();
      });
      NoteDurable();
      return Status::OK();
    }
    Update([](Expected* e) {
      e->commits.resize(e->acknowledged);
      e->next.reset();
    });
    const auto live = VerifyContents(db(), *expected_, &oracle_, random_.Next64(), tolerate_);
    if (!live.ok()) {
      return Status::Invalid(
          what, " failed with ", status.ToString(),
          ", which means that nothing happened; but: ", live.status().ToString());
    }
    return Status::OK();
  }
  ++stops_met_;
  // Stopped: reads go on with what was there, writes do not, whatever is tried.
  Expected visible = *expected_;
  visible.durable = 0;
  const auto live = VerifyContents(db(), visible, &oracle_, random_.Next64(), true);
  if (!live.ok()) {
    return Status::Invalid(what, " stopped the writer (", status.ToString(),
                           "), and reads are wrong: ", live.status().ToString());
  }
  for (int i = 0; i < 3; ++i) {
    const Status again = i == 0   ? db()->PutDocument("never", "never").status()
                         : i == 1 ? db()->Flush()
                                  : db()->Sync();
    if (again.ok()) {
      return Status::Invalid(what, " stopped the writer (", status.ToString(),
                             "), and a later write says OK: ", i);
    }
    if (CodeOf(again) != ErrorCode::kStopped) {
      return Status::Invalid(what, " stopped the writer, and a later write says ",
                             again.ToString());
    }
  }
  (void)db()->Close();
  opened_ = {};
  if (!options_.database.wal) {
    Update([](Expected* e) {
      e->commits.resize(e->durable);
      e->acknowledged = e->durable;
    });
  }
  const Status reopened = OpenAndSettle();
  if (!reopened.ok()) {
    return Status::Invalid(what, " stopped the writer (", status.ToString(),
                           "), and after reopening: ", reopened.ToString());
  }
  return Status::OK();
}

Status World::Step(const char* what, Kind kind, std::shared_ptr<CommitState> commit,
                   std::optional<CatalogState> next, const std::function<Status()>& call) {
  clock_.Advance(1000);
  if (commit != nullptr || next.has_value()) {
    Update([&](Expected* e) {
      if (commit != nullptr) e->commits.push_back(commit);
      if (next.has_value()) e->next = next;
      e->next_with_commit = commit != nullptr && next.has_value();
    });
  }
  const Status status = call();
  if (files_->crashed()) return Status::Cancelled("crashed");
  if (!status.ok()) return Outcome(what, kind, status);
  Update([&](Expected* e) {
    if (commit != nullptr) {
      auto made = std::make_shared<CommitState>(*commit);
      made->system_time = last_result_.system_time;
      e->commits.back() = std::move(made);
      e->acknowledged = e->commits.size();
      if (last_result_.ack == AckClass::kDurable) e->durable = e->acknowledged;
    }
    if (next.has_value()) {
      e->catalog = *next;
      e->next.reset();
    }
  });
  NoteDurable();
  return Status::OK();
}

Status World::ChangeCatalog(const char* what, const std::function<void(CatalogState*)>& change,
                            const std::function<Status()>& call) {
  CatalogState next = expected_->catalog;
  change(&next);
  return Step(what, Kind::kCatalog, nullptr, std::move(next), call);
}

namespace {
std::shared_ptr<arrow::Schema> NoteSchema() {
  return arrow::schema(
      {arrow::field("id", arrow::int64(), false), arrow::field("note", arrow::utf8())});
}
}  // namespace

Status World::CreateTable(const std::string& name, bool keyed) {
  return ChangeCatalog(
      "create table",
      [&](CatalogState* c) {
        c->tables[name] = {fmt::format("t{}", ++next_uid_), keyed, {{1, "note", 's'}}};
      },
      [&] {
        KeyDeclaration key;
        if (keyed) {
          key.names = {"id"};
        } else {
          key.no_key = true;
        }
        return db()->CreateTable(name, NoteSchema(), key);
      });
}

// A step about a table that a failure kept from being made does nothing.
#define LAMINA_NEEDS(table) \
  if (!expected_->catalog.tables.contains(table)) return Status::OK()

Status World::DropTable(const std::string& name) {
  LAMINA_NEEDS(name);
  return ChangeCatalog(
      "drop table", [&](CatalogState* c) { c->tables.erase(name); },
      [&] { return db()->DropTable(name); });
}

Status World::RenameTable(const std::string& name, const std::string& to) {
  LAMINA_NEEDS(name);
  return ChangeCatalog(
      "rename table",
      [&](CatalogState* c) {
        auto node = c->tables.extract(name);
        node.key() = to;
        c->tables.insert(std::move(node));
      },
      [&] { return db()->RenameTable(name, to); });
}

namespace {
bool HasColumn(const CatalogState& catalog, const std::string& table, const std::string& column) {
  const auto& columns = catalog.tables.at(table).columns;
  return std::any_of(columns.begin(), columns.end(),
                     [&](const Column& c) { return c.name == column; });
}
}  // namespace

Status World::AddColumn(const std::string& table, Column column) {
  LAMINA_NEEDS(table);
  return ChangeCatalog(
      "add column", [&](CatalogState* c) { c->tables[table].columns.push_back(column); },
      [&] { return db()->AddColumn(table, arrow::field(column.name, TypeOf(column.type))); });
}

Status World::DropColumn(const std::string& table, const std::string& column) {
  LAMINA_NEEDS(table);
  if (!HasColumn(expected_->catalog, table, column)) return Status::OK();
  return ChangeCatalog(
      "drop column",
      [&](CatalogState* c) {
        std::erase_if(c->tables[table].columns,
                      [&](const Column& of) { return of.name == column; });
      },
      [&] { return db()->DropColumn(table, column); });
}

Status World::RenameColumn(const std::string& table, const std::string& column,
                           const std::string& to) {
  LAMINA_NEEDS(table);
  if (!HasColumn(expected_->catalog, table, column)) return Status::OK();
  return ChangeCatalog(
      "rename column",
      [&](CatalogState* c) {
        for (Column& of : c->tables[table].columns) {
          if (of.name == column) of.name = to;
        }
      },
      [&] { return db()->RenameColumn(table, column, to); });
}

Status World::WidenColumn(const std::string& table, const std::string& column) {
  LAMINA_NEEDS(table);
  if (!HasColumn(expected_->catalog, table, column)) return Status::OK();
  return ChangeCatalog(
      "widen column",
      [&](CatalogState* c) {
        for (Column& of : c->tables[table].columns) {
          if (of.name == column) of.type = 'l';
        }
      },
      [&] { return db()->WidenColumn(table, column, arrow::int64()); });
}

Result<std::shared_ptr<arrow::RecordBatch>> World::Batch(const TableState& state, const Rows& rows,
                                                         std::vector<std::string>* values) {
  values->assign(rows.size(), "");
  arrow::FieldVector fields = {arrow::field("id", arrow::int64(), false)};
  arrow::ArrayVector arrays;
  arrow::Int64Builder ids;
  for (const Row& row : rows) ARROW_RETURN_NOT_OK(ids.Append(row.id));
  ARROW_ASSIGN_OR_RAISE(arrays.emplace_back(), ids.Finish());
  for (const Column& column : state.columns) {
    fields.push_back(arrow::field(column.name, TypeOf(column.type)));
    std::unique_ptr<arrow::ArrayBuilder> builder;
    ARROW_RETURN_NOT_OK(
        arrow::MakeBuilder(arrow::default_memory_pool(), TypeOf(column.type), &builder));
    for (size_t i = 0; i < rows.size(); ++i) {
      const std::string text =
          column.id == 1 ? rows[i].note : NumberOf(column, rows[i].id, rows[i].note);
      if (column.type == 's') {
        ARROW_RETURN_NOT_OK(static_cast<arrow::StringBuilder&>(*builder).Append(text));
      } else if (column.type == 'i') {
        ARROW_RETURN_NOT_OK(static_cast<arrow::Int32Builder&>(*builder).Append(std::stoi(text)));
      } else {
        ARROW_RETURN_NOT_OK(static_cast<arrow::Int64Builder&>(*builder).Append(std::stoll(text)));
      }
      (*values)[i] += Field(column.id, text);
    }
    ARROW_ASSIGN_OR_RAISE(arrays.emplace_back(), builder->Finish());
  }
  return arrow::RecordBatch::Make(arrow::schema(fields), static_cast<int64_t>(rows.size()), arrays);
}

World::Writes& World::Writes::Put(std::string table, Rows rows, ValidInterval valid) {
  writes_.push_back({false, true, std::move(table), std::move(rows), valid, {}, {}});
  return *this;
}
World::Writes& World::Writes::Delete(std::string table, Rows rows, ValidInterval valid) {
  writes_.push_back({false, false, std::move(table), std::move(rows), valid, {}, {}});
  return *this;
}
World::Writes& World::Writes::PutDocument(std::string key, std::string document,
                                          ValidInterval valid) {
  writes_.push_back({true, true, std::move(key), {{0, std::move(document)}}, valid, {}, {}});
  return *this;
}
World::Writes& World::Writes::DeleteDocument(std::string key, ValidInterval valid) {
  writes_.push_back({true, false, std::move(key), {}, valid, {}, {}});
  return *this;
}

World::Writes& World::Writes::Change(std::string table, std::function<Status(Transaction&)> change,
                                     std::function<bool(CatalogState*, int*)> expect) {
  writes_.push_back({false, false, std::move(table), {}, {}, std::move(change), std::move(expect)});
  return *this;
}
World::Writes& World::Writes::CreateTable(std::string table, bool keyed) {
  return Change(
      table,
      [=](Transaction& t) {
        return t.CreateTable(
            table, NoteSchema(),
            keyed ? KeyDeclaration{.names = {"id"}} : KeyDeclaration{.no_key = true});
      },
      [=](CatalogState* c, int* next_uid) {
        if (c->tables.contains(table)) return false;
        c->tables[table] = {fmt::format("t{}", ++*next_uid), keyed, {{1, "note", 's'}}};
        return true;
      });
}
World::Writes& World::Writes::DropTable(std::string table) {
  return Change(
      table, [=](Transaction& t) { return t.DropTable(table); },
      [=](CatalogState* c, int*) { return c->tables.erase(table) > 0; });
}
World::Writes& World::Writes::RenameTable(std::string table, std::string to) {
  return Change(
      table, [=](Transaction& t) { return t.RenameTable(table, to); },
      [=](CatalogState* c, int*) {
        auto node = c->tables.extract(table);
        if (node.empty() || c->tables.contains(to)) return false;
        node.key() = to;
        c->tables.insert(std::move(node));
        return true;
      });
}
World::Writes& World::Writes::AddColumn(std::string table, Column column) {
  return Change(
      table,
      [=](Transaction& t) {
        return t.AddColumn(table, arrow::field(column.name, TypeOf(column.type)));
      },
      [=](CatalogState* c, int*) {
        if (!c->tables.contains(table) || HasColumn(*c, table, column.name)) return false;
        c->tables[table].columns.push_back(column);
        return true;
      });
}
World::Writes& World::Writes::RenameColumn(std::string table, std::string column, std::string to) {
  return Change(
      table, [=](Transaction& t) { return t.RenameColumn(table, column, to); },
      [=](CatalogState* c, int*) {
        if (!c->tables.contains(table) || !HasColumn(*c, table, column)) return false;
        for (Column& of : c->tables[table].columns) {
          if (of.name == column) of.name = to;
        }
        return true;
      });
}

Status World::Commit(const Writes& writes, TransactionOptions options) {
  // As the transaction sees them, statement by statement.
  CatalogState catalog = expected_->catalog;
  bool changes = false;
  for (const auto& write : writes.writes_) {
    if (write.expect) {
      if (!write.expect(&catalog, &next_uid_)) return Status::OK();
      changes = true;
    } else if (!write.document && !catalog.tables.contains(write.table)) {
      return Status::OK();  // see LAMINA_NEEDS
    }
  }
  catalog = expected_->catalog;
  int uids = next_uid_;  // others than in the walk before, which nobody sees
  auto commit = std::make_shared<CommitState>();
  commit->idempotency_key = options.idempotency_key;
  commit->system_time = options.system_time;
  std::unique_ptr<Transaction> transaction;
  const auto stage = [&]() -> Status {
    ARROW_ASSIGN_OR_RAISE(transaction, db()->Begin(options));
    for (const auto& write : writes.writes_) {
      if (write.change) {
        ARROW_RETURN_NOT_OK(write.change(*transaction));
        write.expect(&catalog, &uids);
        continue;
      }
      const auto kind = write.put ? temporal::FactKind::kPut : temporal::FactKind::kDelete;
      if (write.document) {
        ARROW_RETURN_NOT_OK(
            write.put ? transaction->PutDocument(write.table, write.rows[0].note, write.valid)
                      : transaction->DeleteDocument(write.table, write.valid));
        commit->writes.push_back(
            {kDocuments, write.table, kind, write.valid, write.put ? write.rows[0].note : ""});
        continue;
      }
      std::vector<std::string> values;
      ARROW_ASSIGN_OR_RAISE(const auto batch,
                            Batch(catalog.tables.at(write.table), write.rows, &values));
      WriteOptions with;
      with.valid = write.valid;
      ARROW_RETURN_NOT_OK(write.put ? transaction->Put(write.table, batch, with)
                                    : transaction->Delete(write.table, batch, with));
      const std::string& uid = catalog.tables.at(write.table).uid;
      for (size_t i = 0; i < write.rows.size(); ++i) {
        commit->writes.push_back(
            {uid, KeyText(write.rows[i].id), kind, write.valid, write.put ? values[i] : ""});
      }
    }
    return Status::OK();
  };
  // Staging reads only; a failed read changes nothing.
  if (const Status staged = stage(); !staged.ok()) {
    transaction.reset();
    if (files_->crashed()) return Status::Cancelled("crashed");
    return Outcome("stage", Kind::kPlain, staged);
  }
  next_uid_ = uids;
  auto next = changes ? std::optional(catalog) : std::nullopt;
  return Step("commit", Kind::kCommit, commit, std::move(next), [&]() -> Status {
    auto result = transaction->Commit();
    transaction.reset();
    if (!result.ok()) return result.status();
    last_result_ = *result;
    const bool wants_durable =
        changes || (options_.database.wal &&
                    (options_.database.sync == SyncPolicy::kAlways || options.durable));
    if (wants_durable && result->ack != AckClass::kDurable)
      return Status::Invalid("a commit that asked for it is not acknowledged as durable");
    if (result->commit.value != expected_->commits.size()) {
      return MakeError(ErrorCode::kInternal,
                       fmt::format("commit numbers have a gap: expected={} actual={}",
                                   expected_->commits.size(), result->commit.value));
    }
    return Status::OK();
  });
}

Status World::Put(const std::string& table, const Rows& rows, ValidInterval valid) {
  return Commit(Writes().Put(table, rows, valid));
}
Status World::Delete(const std::string& table, const Rows& rows, ValidInterval valid) {
  return Commit(Writes().Delete(table, rows, valid));
}
Status World::PutDocument(const std::string& key, const std::string& document,
                          ValidInterval valid) {
  return Commit(Writes().PutDocument(key, document, valid));
}
Status World::DeleteDocument(const std::string& key, ValidInterval valid) {
  return Commit(Writes().DeleteDocument(key, valid));
}

Status World::EraseKey(const std::string& table, int64_t id) {
  LAMINA_NEEDS(table);
  auto commit = std::make_shared<CommitState>();
  commit->writes.push_back(
      {expected_->catalog.tables.at(table).uid, KeyText(id), temporal::FactKind::kErase, {}, ""});
  return Step("erase", Kind::kCompound, commit, std::nullopt, [&]() -> Status {
    ARROW_RETURN_NOT_OK(db()->EraseKey(table, {Lit(id)}));
    ARROW_ASSIGN_OR_RAISE(last_result_.system_time, db()->TimeOf(db()->newest_commit()));
    last_result_.ack = AckClass::kDurable;  // it was flushed
    return Status::OK();
  });
}

Status World::EraseDocument(const std::string& key) {
  auto commit = std::make_shared<CommitState>();
  commit->writes.push_back({kDocuments, key, temporal::FactKind::kErase, {}, ""});
  return Step("erase document", Kind::kCompound, commit, std::nullopt, [&]() -> Status {
    ARROW_RETURN_NOT_OK(db()->EraseDocument(key));
    ARROW_ASSIGN_OR_RAISE(last_result_.system_time, db()->TimeOf(db()->newest_commit()));
    last_result_.ack = AckClass::kDurable;
    return Status::OK();
  });
}

Status World::TrimHistory(const std::string& table, uint64_t commit) {
  LAMINA_NEEDS(table);
  if (commit > expected_->acknowledged) return Status::OK();
  const SystemTime floor = *expected_->commits[commit - 1]->system_time;
  if (floor < expected_->catalog.tables.at(table).floor) return Status::OK();
  return ChangeCatalog(
      "trim", [&](CatalogState* c) { c->tables[table].floor = floor; },
      [&] { return db()->TrimHistory(table, floor); });
}

Status World::CreateCheckpoint(const std::string& name) {
  const CommitId newest{expected_->acknowledged};
  return ChangeCatalog(
      "create checkpoint", [&](CatalogState* c) { c->checkpoints[name] = newest; },
      [&] { return db()->CreateCheckpoint(name).status(); });
}

Status World::DropCheckpoint(const std::string& name) {
  if (!expected_->catalog.checkpoints.contains(name)) return Status::OK();
  return ChangeCatalog(
      "drop checkpoint", [&](CatalogState* c) { c->checkpoints.erase(name); },
      [&] { return db()->DropCheckpoint(name); });
}

Status World::Flush() {
  return Step("flush", Kind::kPlain, nullptr, std::nullopt, [&]() -> Status {
    ARROW_RETURN_NOT_OK(db()->Flush());
    Update([](Expected* e) { e->durable = e->acknowledged; });
    return Status::OK();
  });
}

Status World::Compact() {
  return Step("compact", Kind::kPlain, nullptr, std::nullopt, [&] { return db()->Compact(); });
}

Status World::CollectGarbage() {
  return Step("gc", Kind::kPlain, nullptr, std::nullopt,
              [&] { return db()->CollectGarbage(false, 0).status(); });
}

Status World::Sync() {
  return Step("sync", Kind::kPlain, nullptr, std::nullopt, [&]() -> Status {
    ARROW_RETURN_NOT_OK(db()->Sync());
    if (options_.database.wal) Update([](Expected* e) { e->durable = e->acknowledged; });
    return Status::OK();
  });
}

Status World::Background(int64_t micros) {
  return Step("background", Kind::kPlain, nullptr, std::nullopt, [&]() -> Status {
    clock_.Advance(micros);
    if (opened_.manual != nullptr) {
      // Not until nothing is left: a task that failed is due again later.
      const auto run = [&] {
        const InTheDatabase in;
        return opened_.manual->RunOne();
      };
      for (int i = 0; i < 100 && run(); ++i) {
      }
    }
    return Status::OK();
  });
}

Status World::Read() {
  return Step("read", Kind::kPlain, nullptr, std::nullopt, [&] {
    return VerifyContents(db(), *expected_, &oracle_, random_.Next64(), tolerate_).status();
  });
}

// ---- Running

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

bool StopsAtFirstFailure() { return GTEST_FLAG_GET(fail_fast); }

void OnAllProcessors(size_t n, const std::function<void(size_t)>& work) {
  std::atomic<size_t> next{0};
  const auto take = [&] {
    for (size_t i = next++; i < n; i = next++) work(i);
  };
  std::vector<std::thread> others;
  for (unsigned i = 1; i < std::max(1U, std::thread::hardware_concurrency()); ++i)
    others.emplace_back(take);
  take();
  for (auto& thread : others) thread.join();
}

}  // namespace lamina::simulation
