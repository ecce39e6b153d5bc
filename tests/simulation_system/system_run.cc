// How a run goes:
//
//   1. A store, tables, first rows. No faults yet.
//   2. A process opens the database; actors work on it: transfers, ring, lists, facts, shapes,
//      readers, maintenance. It ends because all have done their work, because an error stopped the
//      engine, or because it is killed at a drawn call: of the file system, where the scene has a
//      disk. When the machine stops with it, the next process finds what SimFileSystem's damage
//      leaves of what was not synced; else all of it.
//   3. The next process opens what is left. First the past is settled: every commit up to the
//   newest
//      one belongs to exactly one transaction; what was acknowledged is there as far as it was
//      promised, what was refused is not; what was unknown says itself, by its marker, which it is.
//      Then the model, built of the settled commits, must answer as the database does, and as the
//      database did, to every answer written down before.
//   4. After the last one: everything again without faults, Check, and further writes.
//
// A result that comes back to a dead process reaches nobody: it counts as unknown.
#include "system_run.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <unistd.h>
#include <vector>

#include <arrow/builder.h>
#include <fmt/format.h>

#include "base/random.h"
#include "db/open.h"
#include "db/session.h"
#include "lamina/database.h"
#include "storage/object_store/local_store.h"
#include "storage/object_store/memory_store.h"
#include "testing/faulty_store.h"
#include "testing/history_checker.h"
#include "testing/reference_model.h"
#include "testing/sim_file_system.h"
#include "testing/sim_object_store.h"
#include "testing/sim_scheduler.h"
#include "testing/sim_store.h"

namespace lamina::simulation {

namespace {

using storage::RequestKind;
using temporal::FactKind;
using testing::ListOperation;
using testing::ListTransaction;
using testing::ModelKeyValues;
using testing::ModelRow;
using testing::ModelWrite;
using testing::NetworkFault;
using testing::SimAction;
using testing::SimCall;
using testing::SimDamage;
using testing::SimFileSystem;

constexpr char kDocuments[] = "documents";
constexpr char kFacts[] = "facts";
constexpr char kMortal[] = "mortal";  // its keys are erased, its history is trimmed
constexpr char kRing[] = "ring";
constexpr char kShape[] = "shape";
constexpr ValidTime kNow{5};  // at which all-time rows are read
constexpr int64_t kAccounts = 5;
constexpr int64_t kBalance = 100;
constexpr int64_t kRingSize = 6;
constexpr int64_t kLists = 3;
constexpr int64_t kFactIds = 6;
constexpr int64_t kMortalIds = 4;
constexpr int64_t kShapeIds = 4;
constexpr int64_t kYearMicros = int64_t{365} * 24 * 3600 * 1'000'000;
constexpr int kOpenTriesMax = 60;
constexpr char kDirectory[] = "/db";
// Of the scenes with a disk one seed in so many runs over a store in memory, whose calls can fail
// as wholes, after their effect too; the others over the real store and a simulated file system.
constexpr uint64_t kStoreSeeds = 5;

std::string IdKey(int64_t id) { return fmt::format("{:04}", id); }
std::string BankKey(int64_t id) { return fmt::format("bank/{}", id); }
std::string ListKey(int64_t id) { return fmt::format("list/{}", id); }
std::string MarkerKey(int64_t id) { return fmt::format("tx/{:06}", id); }

std::vector<int64_t> ParseList(const std::string& text) {
  std::vector<int64_t> list;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find(',', at), text.size());
    list.push_back(std::stoll(text.substr(at, end - at)));
    at = end + 1;
  }
  return list;
}

Status Violation(const std::string& what) { return Status::Invalid("violation: ", what); }

std::string PrintRows(const ModelKeyValues& rows) {
  std::string out;
  for (const auto& [key, value] : rows) out += fmt::format(" {}={}", key, value);
  return out;
}

/// (id, text) rows; further columns of the schema are numbers that follow from the text.
std::shared_ptr<arrow::RecordBatch> MakeRow(const std::shared_ptr<arrow::Schema>& schema,
                                            int64_t id, const std::string& text) {
  std::vector<std::shared_ptr<arrow::Array>> columns;
  for (int i = 0; i < schema->num_fields(); ++i) {
    Status status;
    if (schema->field(i)->type()->id() == arrow::Type::STRING) {
      arrow::StringBuilder builder;
      status = builder.Append(text);
      columns.push_back(builder.Finish().ValueOrDie());
    } else if (schema->field(i)->type()->id() == arrow::Type::INT32) {
      arrow::Int32Builder builder;
      status = builder.Append(static_cast<int32_t>(text.size()));
      columns.push_back(builder.Finish().ValueOrDie());
    } else {
      arrow::Int64Builder builder;
      status = builder.Append(i == 0 ? id : static_cast<int64_t>(text.size()));
      columns.push_back(builder.Finish().ValueOrDie());
    }
    if (!status.ok()) std::abort();  // no memory
  }
  return arrow::RecordBatch::Make(schema, 1, columns);
}

std::shared_ptr<arrow::Schema> TextSchema() {
  static const auto schema = arrow::schema(
      {arrow::field("id", arrow::int64(), false), arrow::field("text", arrow::utf8())});
  return schema;
}

enum class Outcome : uint8_t { kOpen, kCommitted, kAborted, kUnknown, kLost };

struct Tx {
  int64_t id = 0;
  std::vector<ModelWrite> writes;
  Outcome outcome = Outcome::kOpen;
  CommitId commit;
  SystemTime system;
  std::string idempotency_key;
  std::string error;
  // Of an erase, which leaves no marker: its commit is above this one, and below that of the next
  // erase. Known only once the past is settled.
  bool erase = false;
  uint64_t begun_after = 0;
};

/// A call of a file system that goes wrong.
struct FileFault {
  SimCall kind = SimCall::kWrite;
  uint64_t skip = 0;   // as many of the kind go well before
  uint64_t times = 0;  // then as many go wrong
  SimAction action;
};

/// An answer, to be compared with the model once the past is settled.
struct Answer {
  std::string table;
  testing::ModelKeyRange range;
  SystemTime system;
  ValidTime valid;
  CommitId snapshot;
  ModelKeyValues rows;
};

/// A database that somebody has open.
struct Process {
  int number = 0;
  std::shared_ptr<testing::ProcessStore> store;  // null over files
  bool killed = false;                           // over files
  std::unique_ptr<Database> db;
  bool wal = true;
  SyncPolicy sync = SyncPolicy::kAlways;

  int64_t sync_micros_max = 0;  // over files
  uint64_t calls = 0;
  uint64_t kill_at_call = 0;  // 0: never
  bool kill_at_sync = false;  // not at that call, but at the next sync: what waits for it is lost
  bool stopped = false;       // the engine says so
  bool fenced = false;
  bool usurped = false;  // a newer owner has opened
  uint64_t written = 0;  // highest acknowledged commit
  uint64_t durable = 0;  // highest one that was promised to outlive the machine
  SystemTime floor_acknowledged = SystemTime::Min();  // of kMortal's history
  std::map<uint64_t, Tx*> committed;
  std::vector<Tx*> all;
  std::vector<Answer> answers;
  std::vector<ListTransaction> lists;
  std::map<int64_t, std::vector<int64_t>> lists_before;  // when it opened
  uint64_t late_commit = 0;  // first one it began after a newer owner had opened

  bool dead() const { return store != nullptr ? store->dead() : killed; }
  bool over() const { return dead() || stopped; }
};

class World {
 public:
  explicit World(const RunOptions& options)
      : options_(options),
        random_(options.seed * 0x9e3779b97f4a7c15 + static_cast<uint64_t>(options.scene)),
        sim_(random_.Next64(), SchedulerOptions(options)),
        on_files_(!networked() && options.seed % kStoreSeeds != 0) {}

  RunReport Run() {
    Status status = RunAll();
    if (!violation_.ok()) status = violation_;
    if (!status.ok()) {
      status = Status::Invalid(SceneName(options_.scene), " seed ", options_.seed, ": ",
                               status.ToString());
    }
    report_.status = status;
    report_.trace_hash = sim_.trace_hash();
    if (options_.keep_trace) report_.trace = sim_.trace();
    report_.steps = sim_.steps();
    return report_;
  }

 private:
  static testing::SimOptions SchedulerOptions(const RunOptions& options) {
    testing::SimOptions out;
    out.keep_trace = options.keep_trace;
    return out;
  }
  bool networked() const {
    return options_.scene == Scene::kNetwork || options_.scene == Scene::kTwoOwners;
  }
  bool Flip(uint64_t one_in) { return random_.OneIn(one_in); }

  /// The first violation counts; actors go on, so that the run ends.
  void Report(const Status& status) {
    if (!status.ok() && violation_.ok()) violation_ = status;
  }

  // ---- Stores and processes
  // ----------------------------------------------------------------------------------------------

  engine::EngineOptions DrawOptions() {
    engine::EngineOptions o;
    const auto pick = [&](auto... values) {
      const int64_t list[] = {static_cast<int64_t>(values)...};
      return list[random_.Uniform(sizeof...(values))];
    };
    o.clock = sim_.clock();
    o.random_seed = 1 + random_.Uniform(1u << 30);
    o.wal = !networked();
    o.sync = static_cast<SyncPolicy>(pick(0, 0, 1, 2));
    o.sync_interval_micros = pick(1'000, 50'000);
    o.wal_segment_bytes = pick(512, 4 << 10, 64 << 20);
    o.memtable_rows = pick(0, 3, 10, 40);
    o.memtable_batches = pick(0, 0, 4);
    o.memtable_age_micros = pick(0, 0, 20'000);
    o.auto_flush = !Flip(5);
    o.auto_compact = !Flip(5);
    o.max_sealed_memtables = o.auto_flush ? static_cast<int32_t>(pick(1, 2, 4)) : 1000;
    o.rows_per_page = static_cast<int32_t>(pick(2, 4, 64));
    o.rows_per_row_group = o.rows_per_page * static_cast<int32_t>(pick(1, 3));
    o.bloom_bits_per_key = static_cast<double>(pick(0, 10));
    o.file_bytes_target = pick(2 << 10, 64 << 20);
    // ZSTD sets up a large context for each tiny chunk.
    o.last_codec = Flip(8) ? Codec::kZstd : Codec::kLz4;
    o.level0_files = static_cast<int32_t>(pick(1, 2, 4));
    o.level0_slowdown_files = o.level0_files + static_cast<int32_t>(pick(0, 2));
    o.level0_stop_files = o.level0_slowdown_files + static_cast<int32_t>(pick(0, 4));
    o.level1_bytes = pick(4 << 10, 1 << 20);
    o.level_ratio = 2;
    o.history_files = 2;
    o.deleted_fraction = Flip(2) ? 0.2 : 0.9;
    o.gc_grace_micros =
        options_.scene == Scene::kTwoOwners ? 24 * 3600LL * 1'000'000 : pick(0, 1'000, 900'000'000);
    o.auto_gc = !Flip(4);
    o.retained_conflict_bytes = pick(0, 1 << 20);
    o.page_cache_bytes = pick(0, 4 << 10, 1 << 20);
    o.footer_cache_bytes = pick(0, 1 << 20);
    o.deletion_cache_bytes = pick(0, 1 << 20);
    o.background_threads = static_cast<int32_t>(pick(1, 2));
    return o;
  }

  testing::NetworkFaultRates DrawRates() {
    testing::NetworkFaultRates rates;
    for (size_t i = 0; i < testing::kNetworkFaults; ++i)
      rates.one_in[i] = Flip(3) ? static_cast<uint32_t>(30 + random_.Uniform(300)) : 0;
    // A refusal lasts for several calls, and stalls take simulated time only.
    if (rates[NetworkFault::kExpired] != 0) rates[NetworkFault::kExpired] += 200;
    if (options_.scene == Scene::kTwoOwners) {
      rates[NetworkFault::kStall] = 20 + static_cast<uint32_t>(random_.Uniform(100));
      rates.stall_micros_max = 5'000'000;  // the grace is a day
    }
    return rates;
  }

  void DrawFileFaults() {
    file_faults_.clear();
    if (options_.scene != Scene::kDisk || !Flip(2)) return;
    struct Choice {
      SimCall kind;
      int error;
    };
    static constexpr Choice kChoices[] = {
        {SimCall::kWrite, ENOSPC},  {SimCall::kWrite, EIO},
        {SimCall::kSync, EIO},      {SimCall::kSyncDirectory, EIO},
        {SimCall::kSync, EIO},      {SimCall::kCreate, ENOSPC},
        {SimCall::kCreate, EMFILE}, {SimCall::kOpen, EMFILE},
        {SimCall::kOpen, EIO},      {SimCall::kMakeDirectory, ENOSPC},
        {SimCall::kStat, EIO},      {SimCall::kSetModified, EIO},
        {SimCall::kRead, EIO},      {SimCall::kMap, ENOMEM},
        {SimCall::kTruncate, EIO},  {SimCall::kReserve, ENOSPC},
        {SimCall::kLock, EIO},      {SimCall::kRename, EIO},
        {SimCall::kRename, ENOSPC}, {SimCall::kUnlink, EIO},
        {SimCall::kList, EIO},      {SimCall::kClose, EIO}};
    for (uint64_t i = 1 + random_.Uniform(3); i > 0; --i) {
      const Choice& choice = kChoices[random_.Uniform(std::size(kChoices))];
      FileFault fault;
      fault.kind = choice.kind;
      fault.skip = random_.Uniform(100);
      fault.times = 1 + random_.Uniform(2);
      fault.action = {SimAction::Kind::kFailBefore, choice.error};
      // What is said to have had no room has not happened.
      if (choice.error == EIO && Flip(3)) fault.action.kind = SimAction::Kind::kFailAfter;
      if (choice.kind == SimCall::kWrite && Flip(3))
        fault.action.kind = SimAction::Kind::kShortWrite;
      file_faults_.push_back(fault);
    }
  }

  /// Before every call of a file system, by whatever thread of the process makes it.
  SimAction BeforeFileCall(Process* p, const testing::SimCallInfo& call) {
    testing::SimYield(testing::SimCallName(call.kind));
    const bool syncs = call.kind == SimCall::kSync || call.kind == SimCall::kSyncDirectory;
    if (syncs && p->sync_micros_max > 0)
      sim_.clock()->SleepMicros(sim_.random().UniformRange(0, p->sync_micros_max));
    ++report_.calls;
    DieIfDrawn(p, call.kind == SimCall::kSync);
    if (p->dead()) return {SimAction::Kind::kRefuse, EIO};
    for (FileFault& fault : file_faults_) {
      if (fault.kind != call.kind || fault.times == 0) continue;
      if (fault.skip > 0) {
        --fault.skip;
        continue;
      }
      --fault.times;
      ++report_.faults;
      sim_.Trace(fmt::format("{} {} fails: {}", testing::SimCallName(call.kind), call.path,
                             fault.action.error));
      return fault.action;
    }
    return {};
  }

  void DrawDiskFaults() {
    if (on_files_) return DrawFileFaults();
    faulty_->Clear();
    if (options_.scene != Scene::kDisk || !Flip(2)) return;
    static constexpr RequestKind kKinds[] = {
        RequestKind::kAppend,     RequestKind::kSync,   RequestKind::kPut,  RequestKind::kFinish,
        RequestKind::kWrite,      RequestKind::kCreate, RequestKind::kList, RequestKind::kDelete,
        RequestKind::kOpenAppend, RequestKind::kRange,  RequestKind::kGet,  RequestKind::kHead,
        RequestKind::kOpenReader};
    for (uint64_t i = 1 + random_.Uniform(3); i > 0; --i) {
      testing::StoreFault fault;
      fault.kind = kKinds[random_.Uniform(std::size(kKinds))];
      fault.skip = random_.Uniform(40);
      fault.times = 1 + random_.Uniform(2);
      fault.after_effect = Flip(2);
      if (Flip(3)) {
        // A full disk says for certain that nothing happened.
        fault.status = MakeError(ErrorCode::kResourceExhausted, "injected: disk full");
        fault.after_effect = false;
      }
      faulty_->Add(fault);
    }
  }

  /// The chain of stores for a new process, from the outside in: scheduling, mortality, faults.
  std::unique_ptr<Process> NewProcess() {
    auto process = std::make_unique<Process>();
    process->number = static_cast<int>(report_.processes++);
    Process* p = process.get();
    machine_stopped_ = false;
    if (on_files_) {
      p->sync_micros_max = Flip(2) ? 300 : 0;
      files_->SetHook(
          [this, p](const testing::SimCallInfo& call) { return BeforeFileCall(p, call); });
      return process;
    }
    std::shared_ptr<ObjectStore> under = networked()
                                             ? std::static_pointer_cast<ObjectStore>(network_)
                                             : std::static_pointer_cast<ObjectStore>(faulty_);
    p->store = std::make_shared<testing::ProcessStore>(
        std::move(under), [this, p](RequestKind kind, std::string_view) {
          DieIfDrawn(p, kind == RequestKind::kSync);
        });
    return process;
  }

  /// Before every call of the process to its world.
  void DieIfDrawn(Process* p, bool syncs) {
    ++p->calls;
    if (p->dead() || p->kill_at_call == 0 || p->calls < p->kill_at_call) return;
    if (p->kill_at_sync) {
      if (!syncs) return;
      // The disk stalls first: time for others to see, and to build on, what is lost then.
      sim_.clock()->SleepMicros(5'000);
    }
    Kill(p);
  }

  void Kill(Process* p) {
    if (p->dead()) return;
    p->killed = true;
    if (p->store != nullptr) p->store->Kill();
    ++report_.deaths;
    sim_.Trace(fmt::format("process {} dies at call {}", p->number, p->calls));
    if (networked()) return;
    // The process alone, or the machine with it.
    if (Flip(2) || p->kill_at_sync) StopMachine();
  }

  /// What the disk holds of what happened up to now is what the next process finds.
  void StopMachine() {
    machine_stopped_ = true;
    base::Random torn = random_.Fork();
    if (!on_files_) {
      next_disk_ = disk_->CrashClone(Flip(2) ? &torn : nullptr);
      return;
    }
    const SimDamage damage = testing::kSimDamages[random_.Uniform(testing::kSimDamages.size())];
    next_files_ = files_->CrashClone(damage, torn.Next64());
    sim_.Trace(fmt::format("the machine stops: {}", testing::SimDamageName(damage)));
  }

  Status Open(Process* p) {
    engine::EngineOptions options = DrawOptions();
    p->wal = options.wal;
    p->sync = options.sync;
    Status status;
    for (int i = 0; i < kOpenTriesMax; ++i) {
      if (on_files_) {
        status =
            storage::LocalStore::Open(kDirectory, /*create=*/true, files_).Value(&options.store);
      } else {
        options.store = std::make_shared<testing::SimStore>(p->store, Flip(3) ? 200 : 0);
        status = Status::OK();
      }
      if (status.ok()) status = db::OpenWith(options).Value(&p->db);
      if (status.ok() || p->dead()) return status;
      const ErrorCode code = CodeOf(status);
      const bool may =
          code == ErrorCode::kUnavailable || code == ErrorCode::kResourceExhausted ||
          code == ErrorCode::kCommitUnknown || code == ErrorCode::kFenced ||
          (on_files_ && code == ErrorCode::kStopped) ||
          (networked() && (code == ErrorCode::kPermissionDenied || code == ErrorCode::kCorruption));
      if (!may) return Violation("open: " + status.ToString());
    }
    return Violation(
        fmt::format("does not open after {} tries: {}", kOpenTriesMax, status.ToString()));
  }

  /// After the last actor of the process has ended. What it leaves is the next one's disk.
  Status End(Process* p) {
    if (p->db != nullptr) {
      const auto commits = p->db->metrics().commit;
      report_.grouped += commits.commits - std::min(commits.groups, commits.commits);
      if (!p->dead() && Flip(2)) {
        const Status closed = p->db->Close();
        if (closed.ok() && p->wal) p->durable = std::max(p->durable, p->written);
        if (!closed.ok() && !p->stopped && !MayFail(closed))
          return Violation("close: " + closed.ToString());
      }
      p->db.reset();
    }
    if (networked()) {
      lossy_ = true;
      return Status::OK();
    }
    if (!p->dead()) {
      // An end without a crash; sometimes the machine stops right after it.
      if (Flip(3)) StopMachine();
    }
    if (machine_stopped_) {
      disk_ = next_disk_;
      files_ = next_files_;
      lossy_ = true;
    }
    if (!on_files_) faulty_ = std::make_shared<testing::FaultyStore>(disk_);
    return Status::OK();
  }

  bool MayFail(const Status& status) const {
    switch (CodeOf(status)) {
      case ErrorCode::kConflict:
      case ErrorCode::kCommitUnknown:
      case ErrorCode::kStopped:
      case ErrorCode::kUnavailable:
        return true;
      case ErrorCode::kResourceExhausted:
        return options_.scene == Scene::kDisk;
      case ErrorCode::kFenced:
        return options_.scene == Scene::kTwoOwners;
      case ErrorCode::kPermissionDenied:
      case ErrorCode::kCorruption:
        return networked();
      default:
        return false;
    }
  }

  // ---- Transactions, and what is written down of them
  // ----------------------------------------------------------------------------------------------

  Tx* NewTx(Process* p) {
    txs_.push_back(std::make_unique<Tx>());
    Tx* tx = txs_.back().get();
    tx->id = static_cast<int64_t>(txs_.size());
    p->all.push_back(tx);
    ++report_.transactions;
    return tx;
  }

  static Status PutDocument(Transaction& t, Tx* tx, const std::string& key,
                            const std::string& value) {
    ARROW_RETURN_NOT_OK(t.PutDocument(key, value));
    tx->writes.push_back({kDocuments, key, FactKind::kPut, {}, value});
    return Status::OK();
  }
  static Status PutRow(Transaction& t, Tx* tx, const std::string& table,
                       const std::shared_ptr<arrow::Schema>& schema, int64_t id,
                       const std::string& text, ValidInterval valid = {}, bool put = true) {
    WriteOptions options;
    options.valid = valid;
    const auto row = MakeRow(schema, id, text);
    ARROW_RETURN_NOT_OK(put ? t.Put(table, row, options) : t.Delete(table, row, options));
    tx->writes.push_back({table, IdKey(id), put ? FactKind::kPut : FactKind::kDelete, valid, text});
    return Status::OK();
  }

  /// Commits `t` and writes down what came back. OK also when it was refused; `tx->outcome` tells.
  void Commit(Process* p, Transaction& t, Tx* tx) {
    const bool was_fenced = p->fenced;
    const bool late = p->usurped;
    Status marked = PutDocument(t, tx, MarkerKey(tx->id), std::to_string(tx->id));
    if (!marked.ok()) return Refused(p, tx, marked);
    Settle(p, tx, t.Commit());
    if (was_fenced && tx->outcome == Outcome::kCommitted)
      Report(Violation(fmt::format("T{} committed after its owner was fenced", tx->id)));
    if (late && tx->outcome == Outcome::kCommitted && p->late_commit == 0)
      p->late_commit = tx->commit.value;
  }

  void Settle(Process* p, Tx* tx, const Result<CommitResult>& result) {
    if (p->dead()) {
      tx->outcome = Outcome::kUnknown;
      ++report_.unknown;
      return;
    }
    if (!result.ok()) return Refused(p, tx, result.status());
    if (result->commit.value == 0) {
      Report(Violation(fmt::format("T{} wrote and got no commit", tx->id)));
      return;
    }
    if (result->replayed) {
      Report(Violation(fmt::format("T{} was taken for a repetition", tx->id)));
      return;
    }
    tx->outcome = Outcome::kCommitted;
    tx->commit = result->commit;
    tx->system = result->system_time;
    ++report_.committed;
    if (!p->committed.emplace(result->commit.value, tx).second) {
      Report(Violation(fmt::format("commit {} was given to T{} and T{}", result->commit.value,
                                   p->committed[result->commit.value]->id, tx->id)));
    }
    p->written = std::max(p->written, result->commit.value);
    const bool durable = result->ack == AckClass::kDurable;
    if (durable) p->durable = std::max(p->durable, result->commit.value);
    if (p->wal && p->sync == SyncPolicy::kAlways && !durable)
      Report(Violation(fmt::format("T{} should have been durable", tx->id)));
    sim_.Trace(fmt::format("T{} = commit {} at {}", tx->id, tx->commit.value, tx->system.micros));
  }

  void Refused(Process* p, Tx* tx, const Status& status) {
    tx->error = status.ToString();
    if (p->dead() || CodeOf(status) == ErrorCode::kCommitUnknown) {
      tx->outcome = Outcome::kUnknown;
      ++report_.unknown;
    } else {
      tx->outcome = Outcome::kAborted;
      ++(CodeOf(status) == ErrorCode::kConflict ? report_.conflicts : report_.refused);
    }
    sim_.Trace(fmt::format("T{} {}", tx->id, tx->error));
    Failed(p, fmt::format("T{}", tx->id), status);
  }

  /// Whether the error is one that may come, and what it says about the process.
  void Failed(Process* p, const std::string& who, const Status& status) {
    if (p->dead()) return;
    const ErrorCode code = CodeOf(status);
    if (!MayFail(status)) Report(Violation(who + ": " + status.ToString()));
    if (code == ErrorCode::kStopped || code == ErrorCode::kCommitUnknown) p->stopped = true;
    if (code == ErrorCode::kFenced) {
      if (!p->fenced) ++report_.fenced;
      p->fenced = true;
    }
  }

  // ---- Workloads. Each runs as one actor until the process is over or its work is done.
  // ----------------------------------------------------------------------------------------------

  using Body = std::function<Status(Process*, base::Random&)>;

  void Spawn(Process* p, const std::string& name, uint64_t rounds, Body body) {
    const uint64_t seed = random_.Next64();
    sim_.Spawn(fmt::format("{}-{}", name, p->number), [this, p, name, rounds, body, seed] {
      base::Random random(seed);
      for (uint64_t i = 0; i < rounds && !p->over(); ++i) {
        if (random.OneIn(3)) sim_.clock()->SleepMicros(random.UniformRange(1, 3'000));
        const Status status = body(p, random);
        if (status.ok() || p->dead()) continue;
        if (status.IsInvalid() && status.message().starts_with("violation")) {
          Report(status);
          return;
        }
        Failed(p, name, status);
      }
    });
  }

  void Remember(Process* p, const Transaction& t, std::string table, testing::ModelKeyRange range,
                SystemTime system, ValidTime valid, ModelKeyValues rows) {
    if (p->dead()) return;
    p->answers.push_back({std::move(table), std::move(range), system, valid, t.snapshot()->commit(),
                          std::move(rows)});
  }

  static testing::ModelKeyRange OneKey(const std::string& key) {
    return {key, key + std::string(1, '\0')};
  }
  static testing::ModelKeyRange Prefix(std::string prefix) {
    std::string to = prefix;
    ++to.back();
    return {std::move(prefix), std::move(to)};
  }

  Result<std::optional<std::string>> ReadDocument(Process* p, Transaction& t,
                                                  const std::string& key) {
    ARROW_ASSIGN_OR_RAISE(const auto doc, t.GetDocument(key, {}, ValidPeriod::At(kNow)));
    ModelKeyValues rows;
    if (doc.has_value()) rows.emplace_back(key, *doc);
    Remember(p, t, kDocuments, OneKey(key), t.snapshot()->system_time(), kNow, std::move(rows));
    return doc;
  }

  static Result<ModelKeyValues> Documents(ScanReader& reader) {
    ModelKeyValues rows;
    for (;;) {
      std::shared_ptr<arrow::RecordBatch> batch;
      ARROW_RETURN_NOT_OK(reader.ReadNext(&batch));
      if (batch == nullptr) return rows;
      const auto& key = static_cast<const arrow::BinaryArray&>(*batch->GetColumnByName("key"));
      const auto& doc = static_cast<const arrow::BinaryArray&>(*batch->GetColumnByName("doc"));
      for (int64_t i = 0; i < batch->num_rows(); ++i)
        rows.emplace_back(key.GetString(i), doc.GetString(i));
    }
  }
  static Result<ModelKeyValues> TextRows(ScanReader& reader) {
    ModelKeyValues rows;
    for (;;) {
      std::shared_ptr<arrow::RecordBatch> batch;
      ARROW_RETURN_NOT_OK(reader.ReadNext(&batch));
      if (batch == nullptr) return rows;
      const auto& id = static_cast<const arrow::Int64Array&>(*batch->GetColumnByName("id"));
      const auto& text = static_cast<const arrow::StringArray&>(*batch->GetColumnByName("text"));
      for (int64_t i = 0; i < batch->num_rows(); ++i)
        rows.emplace_back(IdKey(id.Value(i)), text.GetString(i));
    }
  }
  static ScanOptions TextScan(SystemPeriod system, ValidTime valid) {
    ScanOptions options;
    options.columns = std::vector<std::string>{"id", "text"};
    options.system = system;
    options.valid = ValidPeriod::At(valid);
    return options;
  }

  Status Transfer(Process* p, base::Random& random) {
    TransactionOptions options = DrawTransaction(random);
    if (random.OneIn(3)) options.idempotency_key = fmt::format("transfer-{}", ++keys_);
    ARROW_ASSIGN_OR_RAISE(auto t, p->db->Begin(options));
    const int64_t a = random.UniformRange(0, kAccounts - 1);
    const int64_t b = (a + random.UniformRange(1, kAccounts - 1)) % kAccounts;
    ARROW_ASSIGN_OR_RAISE(const auto from, ReadDocument(p, *t, BankKey(a)));
    ARROW_ASSIGN_OR_RAISE(const auto to, ReadDocument(p, *t, BankKey(b)));
    if (!from || !to) return Violation("an account is gone");
    const int64_t amount = random.UniformRange(1, 10);
    Tx* tx = NewTx(p);
    tx->idempotency_key = options.idempotency_key;
    ARROW_RETURN_NOT_OK(
        PutDocument(*t, tx, BankKey(a), std::to_string(std::stoll(*from) - amount)));
    testing::SimYield("workload");
    ARROW_RETURN_NOT_OK(PutDocument(*t, tx, BankKey(b), std::to_string(std::stoll(*to) + amount)));
    Commit(p, *t, tx);
    return Status::OK();
  }

  /// Asks again for what a former process left unknown: it happens once, whatever happened then.
  Status Repeat(Process* p, base::Random&) {
    if (to_repeat_.empty()) return Status::OK();
    Tx* then = to_repeat_.back();
    to_repeat_.pop_back();
    TransactionOptions options;
    options.idempotency_key = then->idempotency_key;
    ARROW_ASSIGN_OR_RAISE(auto t, p->db->Begin(options));
    Tx* tx = NewTx(p);
    const bool happened = then->outcome == Outcome::kCommitted;
    ARROW_RETURN_NOT_OK(PutDocument(*t, tx, MarkerKey(tx->id), std::to_string(tx->id)));
    const auto result = t->Commit();
    if (!result.ok() || p->dead() || !happened) {
      Settle(p, tx, result);
      return Status::OK();
    }
    tx->outcome = Outcome::kAborted;
    ++report_.repeated;
    if (result->replayed && result->commit == then->commit) return Status::OK();
    return Violation(fmt::format("T{} was commit {}; asked again it became commit {}", then->id,
                                 then->commit.value, result->commit.value));
  }

  Status CheckBank(const ModelKeyValues& rows, const std::string& when) {
    int64_t sum = 0;
    for (const auto& [key, value] : rows) sum += std::stoll(value);
    if (static_cast<int64_t>(rows.size()) == kAccounts && sum == kAccounts * kBalance)
      return Status::OK();
    return Violation(
        fmt::format("bank {}: {} accounts hold {}:{}", when, rows.size(), sum, PrintRows(rows)));
  }

  Status AuditBank(Process* p, base::Random& random) {
    ARROW_ASSIGN_OR_RAISE(auto t, p->db->Begin());
    SystemPeriod period;
    SystemTime system = t->snapshot()->system_time();
    if (random.OneIn(2)) {
      const CommitId then{static_cast<uint64_t>(
          random.UniformRange(static_cast<int64_t>(first_commit_.value),
                              static_cast<int64_t>(t->snapshot()->commit().value)))};
      ARROW_ASSIGN_OR_RAISE(system, p->db->TimeOf(then));
      period = random.OneIn(2) ? SystemPeriod::AsOf(then) : SystemPeriod::AsOf(system);
    }
    ARROW_ASSIGN_OR_RAISE(auto reader, t->ScanPrefix("bank/", period, ValidPeriod::At(kNow)));
    ARROW_ASSIGN_OR_RAISE(auto rows, Documents(*reader));
    if (p->dead()) return Status::OK();
    ARROW_RETURN_NOT_OK(CheckBank(rows, fmt::format("at {}", system.micros)));
    Remember(p, *t, kDocuments, Prefix("bank/"), system, kNow, std::move(rows));
    return Status::OK();
  }

  /// Takes one link out and puts it in one place further on.
  Status Rotate(Process* p, base::Random& random) {
    ARROW_ASSIGN_OR_RAISE(auto t, p->db->Begin(DrawTransaction(random)));
    const auto next = [&](int64_t id) -> Result<int64_t> {
      ARROW_ASSIGN_OR_RAISE(const auto row, t->Get(kRing, {Lit(id)}, {}, ValidPeriod::At(kNow),
                                                   std::vector<std::string>{"text"}));
      if (row->num_rows() != 1)
        return Violation(fmt::format("ring: {} rows for id {}", row->num_rows(), id));
      const std::string text = static_cast<const arrow::StringArray&>(*row->column(0)).GetString(0);
      Remember(p, *t, kRing, OneKey(IdKey(id)), t->snapshot()->system_time(), kNow,
               {{IdKey(id), text}});
      return std::stoll(text);
    };
    const int64_t a = random.UniformRange(0, kRingSize - 1);
    ARROW_ASSIGN_OR_RAISE(const int64_t b, next(a));
    ARROW_ASSIGN_OR_RAISE(const int64_t c, next(b));
    ARROW_ASSIGN_OR_RAISE(const int64_t d, next(c));
    Tx* tx = NewTx(p);
    for (const auto& [id, to] : {std::pair{a, c}, std::pair{c, b}, std::pair{b, d}})
      ARROW_RETURN_NOT_OK(PutRow(*t, tx, kRing, TextSchema(), id, std::to_string(to)));
    Commit(p, *t, tx);
    return Status::OK();
  }

  Status CheckRing(const ModelKeyValues& rows) {
    std::map<std::string, std::string> next(rows.begin(), rows.end());
    std::set<std::string> seen;
    std::string at = IdKey(0);
    while (next.contains(at) && seen.insert(at).second) at = IdKey(std::stoll(next[at]));
    if (static_cast<int64_t>(seen.size()) == kRingSize && at == IdKey(0)) return Status::OK();
    return Violation("ring is broken:" + PrintRows(rows));
  }

  Status AuditRing(Process* p, base::Random&) {
    ARROW_ASSIGN_OR_RAISE(auto t, p->db->Begin());
    ARROW_ASSIGN_OR_RAISE(auto reader, t->Scan(kRing, TextScan({}, kNow)));
    ARROW_ASSIGN_OR_RAISE(auto rows, TextRows(*reader));
    if (p->dead()) return Status::OK();
    ARROW_RETURN_NOT_OK(CheckRing(rows));
    Remember(p, *t, kRing, {}, t->snapshot()->system_time(), kNow, std::move(rows));
    return Status::OK();
  }

  Status AppendToLists(Process* p, base::Random& random) {
    ListTransaction seen;
    seen.begin = ++stamp_;
    TransactionOptions options = DrawTransaction(random);
    options.isolation = list_isolation_;
    ARROW_ASSIGN_OR_RAISE(auto t, p->db->Begin(options));
    std::map<int64_t, std::vector<int64_t>> lists;
    Tx* tx = nullptr;
    for (uint64_t i = 1 + random.Uniform(4); i > 0; --i) {
      const int64_t key = random.UniformRange(0, kLists - 1);
      std::vector<int64_t>& list = lists[key];
      ARROW_ASSIGN_OR_RAISE(const auto doc,
                            t->GetDocument(ListKey(key), {}, ValidPeriod::At(kNow)));
      list = ParseList(doc.value_or(""));
      seen.operations.push_back(ListOperation::Read(key, list));
      if (random.OneIn(3)) continue;
      if (tx == nullptr) tx = NewTx(p);
      list.push_back(++elements_);
      seen.operations.push_back(ListOperation::Append(key, list.back()));
      ARROW_RETURN_NOT_OK(
          PutDocument(*t, tx, ListKey(key), fmt::format("{}", fmt::join(list, ","))));
      testing::SimYield("workload");
    }
    if (p->dead() && tx == nullptr) return Status::OK();
    if (tx == nullptr) {
      seen.id = -seen.begin;
    } else {
      seen.id = tx->id;
      Commit(p, *t, tx);
      seen.outcome = tx->outcome == Outcome::kCommitted ? ListTransaction::Outcome::kCommitted
                     : tx->outcome == Outcome::kAborted ? ListTransaction::Outcome::kAborted
                                                        : ListTransaction::Outcome::kUnknown;
    }
    seen.end = ++stamp_;
    p->lists.push_back(std::move(seen));
    return Status::OK();
  }

  /// Puts and deletes over parts of valid time, with and without conflict checks.
  Status WriteFacts(Process* p, base::Random& random) {
    const auto interval = [&]() -> ValidInterval {
      if (random.OneIn(4)) return {};
      const int64_t a = random.UniformRange(0, 7);
      return {random.OneIn(5) ? ValidTime::Min() : ValidTime{a},
              random.OneIn(4) ? ValidTime::Max() : ValidTime{a + random.UniformRange(1, 4)}};
    };
    if (random.OneIn(3)) {
      // Autocommit: no marker, so it only counts where its outcome is told.
      return BlindPut(p, random.UniformRange(0, kFactIds - 1), interval());
    }
    ARROW_ASSIGN_OR_RAISE(auto t, p->db->Begin(DrawTransaction(random)));
    Tx* tx = NewTx(p);
    for (uint64_t i = 1 + random.Uniform(3); i > 0; --i) {
      ARROW_RETURN_NOT_OK(PutRow(*t, tx, kFacts, TextSchema(), random.UniformRange(0, kFactIds - 1),
                                 fmt::format("f{}-{}", tx->id, i), interval(), !random.OneIn(4)));
    }
    if (random.OneIn(12)) {
      t->Abort();
      tx->outcome = Outcome::kAborted;
      return Status::OK();
    }
    Commit(p, *t, tx);
    return Status::OK();
  }

  /// Rows in files of their own, which come with the commit. Half of the ids nobody else writes.
  Status LoadFacts(Process* p, base::Random& random) {
    ARROW_ASSIGN_OR_RAISE(auto session, db::BeginSession(*p->db, DrawTransaction(random)));
    ARROW_ASSIGN_OR_RAISE(const auto load, session->BeginLoad(kFacts, {}));
    Tx* tx = NewTx(p);
    Status status;
    std::set<int64_t> ids;
    for (uint64_t runs = 1 + random.Uniform(3); runs > 0 && status.ok(); --runs) {
      std::vector<db::TableLoad::Piece> pieces;
      for (uint64_t n = 1 + random.Uniform(3); n > 0 && status.ok(); --n) {
        const int64_t id = random.UniformRange(0, 2 * kFactIds - 1);
        if (!ids.insert(id).second) continue;
        const std::string text = fmt::format("load{}-{}", tx->id, id);
        auto piece = load->Prepare(MakeRow(TextSchema(), id, text));
        status = piece.status();
        if (!status.ok()) break;
        pieces.push_back(*std::move(piece));
        tx->writes.push_back({kFacts, IdKey(id), FactKind::kPut, {}, text});
      }
      if (status.ok() && !pieces.empty()) status = load->Write(pieces);
      testing::SimYield("workload");
    }
    if (status.ok()) status = load->Finish();
    if (CodeOf(status) == ErrorCode::kAlreadyExists && !p->dead()) {
      // Of a key that is there; the model histories check that it is.
      tx->outcome = Outcome::kAborted;
      ++report_.refused;
      return Status::OK();
    }
    if (!status.ok()) {
      Refused(p, tx, status);
      return Status::OK();
    }
    testing::SimYield("workload");
    Commit(p, *session, tx);
    return Status::OK();
  }

  /// The row is its own marker: its text names the transaction.
  Status BlindPut(Process* p, int64_t id, ValidInterval valid) {
    Tx* tx = NewTx(p);
    const std::string text = fmt::format("blind-{}", tx->id);
    tx->writes.push_back({kFacts, IdKey(id), FactKind::kPut, valid, text});
    blind_.emplace(tx, id);
    WriteOptions options;
    options.valid = valid;
    Settle(p, tx, p->db->Put(kFacts, MakeRow(TextSchema(), id, text), options));
    return Status::OK();
  }

  Status ReadFacts(Process* p, base::Random& random) {
    ARROW_ASSIGN_OR_RAISE(auto t, p->db->Begin());
    const ValidTime valid{random.UniformRange(-1, 12)};
    SystemPeriod period;
    SystemTime system = t->snapshot()->system_time();
    if (random.OneIn(2)) {
      const CommitId then{random.Uniform(t->snapshot()->commit().value + 1)};
      period = SystemPeriod::AsOf(then);
      if (then.value == 0) {
        system = SystemTime::Min();
      } else {
        ARROW_ASSIGN_OR_RAISE(system, p->db->TimeOf(then));
      }
    }
    const std::string table = random.OneIn(4) ? kShape : kFacts;
    ARROW_ASSIGN_OR_RAISE(auto reader, t->Scan(table, TextScan(period, valid)));
    ARROW_ASSIGN_OR_RAISE(auto rows, TextRows(*reader));
    Remember(p, *t, table, {}, system, valid, std::move(rows));
    return Status::OK();
  }

  /// Many small commits at once, so that groups form.
  Status Crowd(Process* p, base::Random& random) {
    return BlindPut(p, random.UniformRange(0, kFactIds - 1), {});
  }

  Status WriteMortal(Process* p, base::Random& random) {
    ARROW_ASSIGN_OR_RAISE(auto t, p->db->Begin(DrawTransaction(random)));
    Tx* tx = NewTx(p);
    for (uint64_t i = 1 + random.Uniform(3); i > 0; --i) {
      const int64_t from = random.UniformRange(0, 7);
      const ValidInterval valid =
          random.OneIn(3) ? ValidInterval{} : ValidInterval{{from}, {from + 3}};
      ARROW_RETURN_NOT_OK(PutRow(*t, tx, kMortal, TextSchema(),
                                 random.UniformRange(0, kMortalIds - 1),
                                 fmt::format("m{}-{}", tx->id, i), valid, !random.OneIn(5)));
    }
    Commit(p, *t, tx);
    return Status::OK();
  }

  Status EraseMortal(Process* p, base::Random& random) {
    Tx* tx = NewTx(p);
    tx->erase = true;
    tx->begun_after = p->db->newest_commit().value;
    const int64_t id = random.UniformRange(0, kMortalIds - 1);
    tx->writes.push_back({kMortal, IdKey(id), FactKind::kErase, {}, ""});
    Status status = p->db->EraseKey(kMortal, {Lit(id)});
    sim_.Trace(fmt::format("T{} erases {}: {}", tx->id, id, status.ToString()));
    if (p->dead() || !status.ok()) {
      // Its commit may be there although what follows it failed.
      tx->outcome = Outcome::kUnknown;
      ++report_.unknown;
      return status;
    }
    tx->outcome = Outcome::kCommitted;
    ++report_.committed;
    // It is flushed; which number it has nobody tells.
    p->written = std::max(p->written, tx->begun_after + 1);
    p->durable = std::max(p->durable, tx->begun_after + 1);
    return Status::OK();
  }

  Status TrimMortal(Process* p, base::Random& random) {
    const uint64_t newest = p->db->newest_commit().value;
    ARROW_ASSIGN_OR_RAISE(const SystemTime floor, p->db->TimeOf({1 + random.Uniform(newest)}));
    floors_asked_.insert(floor);
    Status status = p->db->TrimHistory(kMortal, floor);
    sim_.Trace(fmt::format("trim below {}: {}", floor.micros, status.ToString()));
    if (p->dead()) return Status::OK();
    if (status.ok()) {
      p->floor_acknowledged = std::max(p->floor_acknowledged, floor);
      ++report_.trims;
    }
    // Below the floor, or above one that a checkpoint needs.
    return CodeOf(status) == ErrorCode::kInvalidArgument ? Status::OK() : status;
  }

  Status ReadMortal(Process* p, base::Random& random) {
    const SystemTime floor = p->floor_acknowledged;
    ARROW_ASSIGN_OR_RAISE(auto t, p->db->Begin());
    const ValidTime valid{random.UniformRange(-1, 12)};
    SystemPeriod period;
    SystemTime system = t->snapshot()->system_time();
    if (random.OneIn(2)) {
      const CommitId then{1 + random.Uniform(t->snapshot()->commit().value)};
      ARROW_ASSIGN_OR_RAISE(system, p->db->TimeOf(then));
      period = random.OneIn(2) ? SystemPeriod::AsOf(then) : SystemPeriod::AsOf(system);
    }
    auto rows = [&]() -> Result<ModelKeyValues> {
      ARROW_ASSIGN_OR_RAISE(auto reader, t->Scan(kMortal, TextScan(period, valid)));
      return TextRows(*reader);
    }();
    if (p->dead()) return Status::OK();
    if (!rows.ok() && CodeOf(rows.status()) == ErrorCode::kHistoryTrimmed &&
        !floors_asked_.empty() && system < *floors_asked_.rbegin()) {
      ++report_.below_floor;
      return Status::OK();
    }
    ARROW_RETURN_NOT_OK(rows.status());
    if (system < floor) {
      return Violation(fmt::format("history of {} was trimmed below {} and answers at {}", kMortal,
                                   floor.micros, system.micros));
    }
    Remember(p, *t, kMortal, {}, system, valid, std::move(*rows));
    return Status::OK();
  }

  /// Holds one snapshot over whatever happens and asks it the same again and again.
  Status HoldSnapshot(Process* p, base::Random& random) {
    const SnapshotPtr snapshot = p->db->GetSnapshot();
    std::optional<ModelKeyValues> first;
    std::optional<std::string> all_first;
    for (uint64_t i = 2 + random.Uniform(5); i > 0 && !p->over(); --i) {
      const auto reader = p->db->Scan(snapshot, kFacts, TextScan({}, kNow));
      const Result<ModelKeyValues> rows =
          reader.ok() ? TextRows(**reader) : Result<ModelKeyValues>(reader.status());
      if (p->dead()) return Status::OK();
      if (!rows.ok()) {
        Failed(p, "held snapshot", rows.status());
      } else if (!first.has_value()) {
        first = *rows;
        p->answers.push_back(
            {kFacts, {}, snapshot->system_time(), kNow, snapshot->commit(), *first});
      } else if (*first != *rows) {
        return Violation(fmt::format("a held snapshot changed: commit {}\nfirst:{}\nnow:  {}",
                                     snapshot->commit().value, PrintRows(*first),
                                     PrintRows(*rows)));
      }
      // Nor does what it says of the times change: later commits end rows that it shows as open.
      const Result<std::vector<ModelRow>> all = Versions(
          [&](const ScanOptions& options) { return p->db->Scan(snapshot, kFacts, options); });
      if (p->dead()) return Status::OK();
      if (!all.ok()) {
        Failed(p, "held snapshot", all.status());
      } else if (const std::string text = testing::Print(testing::Coalesce(*all));
                 !all_first.has_value()) {
        all_first = text;
      } else if (*all_first != text) {
        return Violation(
            fmt::format("all versions of a held snapshot changed: commit {}\nfirst:\n"
                        "{}now:\n{}",
                        snapshot->commit().value, *all_first, text));
      }
      sim_.clock()->SleepMicros(random.UniformRange(1, 20'000));
    }
    return Status::OK();
  }

  /// `on` is a Database or a Transaction.
  template <typename On>
  Status ChangeShapeOf(On& on, base::Random& random) {
    ARROW_ASSIGN_OR_RAISE(const auto info, on.GetTable(kShape));
    const auto& schema = info.schema;
    Status status;
    switch (random.Uniform(4)) {
      case 0:
        if (schema->num_fields() > 2) {
          status = on.DropColumn(kShape, schema->field(schema->num_fields() - 1)->name());
          break;
        }
        [[fallthrough]];
      case 1:
        status =
            on.AddColumn(kShape, arrow::field(fmt::format("x{}", ++columns_),
                                              random.OneIn(2) ? arrow::int32() : arrow::int64()));
        break;
      case 2:
        if (schema->num_fields() > 2) {
          status =
              on.RenameColumn(kShape, schema->field(2)->name(), fmt::format("y{}", ++columns_));
        }
        break;
      default:
        for (const auto& field : schema->fields()) {
          if (field->type()->id() != arrow::Type::INT32) continue;
          status = on.WidenColumn(kShape, field->name(), arrow::int64());
          break;
        }
    }
    return status;
  }
  Status ChangeShape(Process* p, base::Random& random) {
    // Changes are durable with what was flushed for them.
    return ShapeStatus(ChangeShapeOf(*p->db, random));
  }
  /// Writes before and behind a change of the table, all in one commit.
  Status ChangeAndWriteShape(Process* p, base::Random& random) {
    ARROW_ASSIGN_OR_RAISE(auto t, p->db->Begin());
    Tx* tx = NewTx(p);
    const auto put = [&](const char* value) -> Status {
      ARROW_ASSIGN_OR_RAISE(const auto info, t->GetTable(kShape));
      return PutRow(*t, tx, kShape, info.schema, random.UniformRange(0, kShapeIds - 1),
                    fmt::format("{}{}", value, tx->id), {}, !random.OneIn(5));
    };
    Status staged;
    if (random.OneIn(2)) staged = put("b");
    for (uint64_t n = 1 + random.Uniform(2); n > 0 && staged.ok(); --n)
      staged = ChangeShapeOf(*t, random);
    if (staged.ok()) staged = put("a");
    if (!staged.ok()) {
      tx->outcome = Outcome::kAborted;
      return ShapeStatus(staged);
    }
    Commit(p, *t, tx);
    return Status::OK();
  }
  /// Two that change one table may find it otherwise than they saw it.
  static Status ShapeStatus(const Status& status) {
    if (status.ok()) return status;
    const ErrorCode code = CodeOf(status);
    return code == ErrorCode::kInvalidArgument || code == ErrorCode::kNotFound ||
                   code == ErrorCode::kAlreadyExists
               ? Status::OK()
               : status;
  }
  Status WriteShape(Process* p, base::Random& random) {
    ARROW_ASSIGN_OR_RAISE(auto t, p->db->Begin());
    ARROW_ASSIGN_OR_RAISE(const auto info, p->db->GetTable(kShape));
    Tx* tx = NewTx(p);
    const Status put = PutRow(*t, tx, kShape, info.schema, random.UniformRange(0, kShapeIds - 1),
                              fmt::format("s{}", tx->id), {}, !random.OneIn(5));
    if (!put.ok()) {
      tx->outcome = Outcome::kAborted;
      return ShapeStatus(put);
    }
    Commit(p, *t, tx);
    return Status::OK();
  }

  Status Maintain(Process* p, base::Random& random) {
    const uint64_t published = p->db->newest_commit().value;
    const uint64_t late = p->late_commit;
    const auto durable = [&](const Status& status) {
      if (!status.ok() || p->dead()) return status;
      p->durable = std::max(p->durable, published);
      if (late != 0) {
        return Violation(
            fmt::format("process {} made commit {} durable, begun after a newer owner had opened",
                        p->number, late));
      }
      return status;
    };
    switch (random.Uniform(8)) {
      case 0:
      case 1:
      case 2:
        return durable(p->db->Flush());
      case 3:
        return p->db->Compact();
      case 4:
        return p->db
            ->CollectGarbage(false, options_.scene == Scene::kTwoOwners
                                        ? std::nullopt
                                        : std::optional<int64_t>(random.OneIn(2) ? 0 : 1'000'000))
            .status();
      case 5: {
        const Status synced = p->db->Sync();
        return p->wal ? durable(synced) : synced;
      }
      case 6: {
        const std::string name = fmt::format("point-{}", ++checkpoints_);
        ARROW_RETURN_NOT_OK(p->db->CreateCheckpoint(name).status());
        return p->db->DropCheckpoint(name);
      }
      default:
        return p->db->WaitForBackground();
    }
  }

  Status Jump(Process*, base::Random& random) {
    sim_.clock()->SleepMicros(random.UniformRange(1, 10'000));
    const int64_t most = options_.scene == Scene::kClock ? 10 * kYearMicros : 3600LL * 1'000'000;
    const int64_t by = random.OneIn(3)   ? random.UniformRange(-most, most)
                       : random.OneIn(2) ? random.UniformRange(-2'000'000, 2'000'000)
                                         : (random.OneIn(2) ? most : -most);
    sim_.JumpWallClock(by);
    return Status::OK();
  }

  static TransactionOptions DrawTransaction(base::Random& random) {
    TransactionOptions options;
    options.durable = random.OneIn(6);
    return options;
  }

  void SpawnWorkloads(Process* p, base::Random& random) {
    const bool clock = options_.scene == Scene::kClock;
    const auto rounds = [&](uint64_t most) { return (clock ? 2 : 4) + random.Uniform(most); };
    const uint64_t most = clock ? 6 : 14;
    const auto add = [&](const char* name, uint64_t one_in,
                         Status (World::*body)(Process*, base::Random&)) {
      if (random.OneIn(one_in))
        Spawn(p, name, rounds(most),
              [this, body](Process* q, base::Random& r) { return (this->*body)(q, r); });
    };
    add("bank", 1, &World::Transfer);
    if (!clock) add("bank2", 2, &World::Transfer);
    add("lists", 1, &World::AppendToLists);
    if (!clock) add("lists2", 1, &World::AppendToLists);
    add("facts", 1, &World::WriteFacts);
    add("loader", 2, &World::LoadFacts);
    add("ring", 2, &World::Rotate);
    if (!clock) add("ring2", 3, &World::Rotate);
    add("shapes", 3, &World::WriteShape);
    add("shaper", 4, &World::ChangeShape);
    add("reshaper", 4, &World::ChangeAndWriteShape);
    add("audit", 1, &World::AuditBank);
    add("tour", 2, &World::AuditRing);
    add("reader", 1, &World::ReadFacts);
    add("holder", 2, &World::HoldSnapshot);
    add("keeper", 1, &World::Maintain);
    if (options_.scene != Scene::kTwoOwners && random.OneIn(clock ? 4 : 2)) {
      add("mortal", 1, &World::WriteMortal);
      add("eraser", 2, &World::EraseMortal);
      add("trimmer", 2, &World::TrimMortal);
      add("mourner", 1, &World::ReadMortal);
    }
    if (p->sync == SyncPolicy::kAlways && random.OneIn(clock ? 6 : 3)) {
      for (const char* name : {"crowd1", "crowd2", "crowd3", "crowd4"}) add(name, 1, &World::Crowd);
    }
    if (options_.scene != Scene::kTwoOwners && !to_repeat_.empty())
      Spawn(p, "repeater", to_repeat_.size(),
            [this](Process* q, base::Random& r) { return Repeat(q, r); });
    if (clock || (options_.scene == Scene::kDisk && random.OneIn(4)))
      Spawn(p, "jumper", rounds(most), [this](Process* q, base::Random& r) { return Jump(q, r); });
  }

  // ---- The past, settled
  // ----------------------------------------------------------------------------------------------

  Result<std::shared_ptr<arrow::RecordBatch>> MarkerVersions(Database& db, Tx* tx) {
    const auto blind = blind_.find(tx);
    if (blind == blind_.end()) return db.DocumentVersions(MarkerKey(tx->id));
    ScanOptions options;
    options.columns = std::vector<std::string>{"text", "_system_from", "_commit"};
    options.filter = Eq("text", Lit(tx->writes[0].value));
    options.system = SystemPeriod::All();
    options.valid = ValidPeriod::All();
    ARROW_ASSIGN_OR_RAISE(auto reader, db.Scan(kFacts, options));
    std::shared_ptr<arrow::RecordBatch> batch, next;
    ARROW_RETURN_NOT_OK(reader->ReadNext(&batch));
    if (batch != nullptr) return batch;
    return arrow::RecordBatch::MakeEmpty(arrow::schema(
        {arrow::field("_system_from", arrow::int64()), arrow::field("_commit", arrow::int64())}));
  }

  /// Fills commit and system from what is there; false when nothing is.
  Result<bool> Look(Database& db, Tx* tx) {
    ARROW_ASSIGN_OR_RAISE(const auto rows, MarkerVersions(db, tx));
    if (rows->num_rows() == 0) return false;
    const auto number = [&](const char* name) {
      return rows->GetColumnByName(name)->data()->GetValues<int64_t>(1)[0];
    };
    tx->commit.value = static_cast<uint64_t>(number("_commit"));
    tx->system.micros = number("_system_from");
    return true;
  }

  /// `past` are all processes since the last time; `db` is what came after them. `lossy`: only what
  /// was durable had to outlive them.
  Status SettlePast(Database& db, const std::vector<std::unique_ptr<Process>>& past, bool lossy) {
    const uint64_t newest = db.newest_commit().value;
    std::map<uint64_t, Tx*> history;
    const auto claim = [&](Tx* tx) {
      const auto [it, fresh] = history.emplace(tx->commit.value, tx);
      return fresh || it->second == tx
                 ? Status::OK()
                 : Violation(fmt::format("commit {} holds T{} and T{}", tx->commit.value,
                                         it->second->id, tx->id));
    };
    for (const auto& p : past) {
      const uint64_t promised = lossy || p->fenced || past.size() > 1 ? p->durable : p->written;
      if (newest < promised) {
        return Violation(fmt::format("process {}: commit {} was promised, the newest is {}",
                                     p->number, promised, newest));
      }
      for (Tx* tx : p->all) {
        if (tx->erase) continue;
        const bool certain = tx->outcome == Outcome::kCommitted;
        if (certain && past.size() == 1 && tx->commit.value <= newest) {
          ARROW_RETURN_NOT_OK(claim(tx));
          continue;
        }
        if (certain && past.size() == 1 && tx->commit.value > newest) {
          tx->outcome = Outcome::kLost;
          ++report_.lost;
        }
        const CommitId told = tx->commit;
        ARROW_ASSIGN_OR_RAISE(const bool there, Look(db, tx));
        if (!there) {
          if (certain && past.size() > 1) {
            if (told.value <= p->durable) {
              return Violation(fmt::format("T{} was durable as commit {} in process {} and is gone",
                                           tx->id, told.value, p->number));
            }
            tx->outcome = Outcome::kLost;
            ++report_.lost;
          }
          if (tx->outcome == Outcome::kUnknown) {
            tx->outcome = Outcome::kAborted;
            if (!tx->idempotency_key.empty()) to_repeat_.push_back(tx);
          }
          continue;
        }
        if (tx->outcome == Outcome::kAborted || tx->outcome == Outcome::kOpen) {
          return Violation(fmt::format("T{} was refused and is there as commit {}: {}", tx->id,
                                       tx->commit.value, tx->error));
        }
        if (tx->outcome == Outcome::kLost)
          return Violation(fmt::format("T{} was lost and is there", tx->id));
        if (certain && told != tx->commit) {
          return Violation(fmt::format("T{} was acknowledged as commit {} and is {}", tx->id,
                                       told.value, tx->commit.value));
        }
        if (tx->outcome == Outcome::kUnknown) {
          ++report_.survived;
          if (!tx->idempotency_key.empty()) to_repeat_.push_back(tx);
        }
        tx->outcome = Outcome::kCommitted;
        ARROW_RETURN_NOT_OK(claim(tx));
      }
    }
    ARROW_RETURN_NOT_OK(SettleErases(db, past, newest, &history));
    for (uint64_t c = model_.newest_commit().value + 1; c <= newest; ++c) {
      const auto tx = history.find(c);
      if (tx == history.end())
        return Violation(fmt::format("commit {} of {} belongs to nobody", c, newest));
      if (tx->second->system <= model_.newest_time()) {
        return Violation(fmt::format("time goes back at commit {}: {} after {}", c,
                                     tx->second->system.micros, model_.newest_time().micros));
      }
      model_.Apply({c}, tx->second->system, tx->second->writes);
      history.erase(tx);
    }
    for (const auto& [c, tx] : history) {
      if (c > newest)
        return Violation(fmt::format("T{} is commit {} of only {}", tx->id, c, newest));
      return Violation(fmt::format("T{} came in as commit {}, which was settled", tx->id, c));
    }
    ARROW_RETURN_NOT_OK(SettleFloor(db, past));
    for (const auto& p : past) {
      ARROW_RETURN_NOT_OK(CheckAnswers(*p, past.size() > 1 ? p->durable : newest));
      ARROW_RETURN_NOT_OK(CheckLists(db, *p, past.size() == 1 && newest >= p->written));
    }
    return Status::OK();
  }

  /// Commits that nobody else has belong to the last erase that was begun before them, one to each.
  Status SettleErases(Database& db, const std::vector<std::unique_ptr<Process>>& past,
                      uint64_t newest, std::map<uint64_t, Tx*>* history) {
    std::vector<Tx*> erases;
    for (const auto& p : past) {
      for (Tx* tx : p->all) {
        if (tx->erase) erases.push_back(tx);
      }
    }
    for (uint64_t c = newest; c > model_.newest_commit().value && !erases.empty(); --c) {
      if (history->contains(c)) continue;
      while (!erases.empty() && erases.back()->begun_after >= c) {
        ARROW_RETURN_NOT_OK(EraseIsNotThere(erases.back()));
        erases.pop_back();
      }
      if (erases.empty()) break;
      Tx* tx = erases.back();
      erases.pop_back();
      if (tx->outcome == Outcome::kUnknown) ++report_.survived;
      tx->outcome = Outcome::kCommitted;
      tx->commit = {c};
      ARROW_ASSIGN_OR_RAISE(tx->system, db.TimeOf({c}));
      history->emplace(c, tx);
      CommitId& erased = erased_[tx->writes[0].key];
      erased = std::max(erased, tx->commit);
      ++report_.erases;
    }
    for (Tx* tx : erases) ARROW_RETURN_NOT_OK(EraseIsNotThere(tx));
    return Status::OK();
  }
  static Status EraseIsNotThere(Tx* tx) {
    if (tx->outcome == Outcome::kCommitted)
      return Violation(fmt::format("T{} erased and is not there", tx->id));
    tx->outcome = Outcome::kAborted;
    return Status::OK();
  }

  Status SettleFloor(Database& db, const std::vector<std::unique_ptr<Process>>& past) {
    ARROW_ASSIGN_OR_RAISE(const auto info, db.GetTable(kMortal));
    const SystemTime floor = info.history_floor;
    SystemTime least = model_.HistoryFloor(kMortal);
    for (const auto& p : past) least = std::max(least, p->floor_acknowledged);
    if (floor < least || (floor != least && !floors_asked_.contains(floor))) {
      return Violation(
          fmt::format("history floor is {}, it was {} at least", floor.micros, least.micros));
    }
    if (floor != SystemTime::Min()) model_.SetHistoryFloor(kMortal, floor);
    return Status::OK();
  }

  /// Without the keys that were erased after the snapshot: it may still show them, or not.
  ModelKeyValues NotErasedSince(CommitId snapshot, const ModelKeyValues& rows) const {
    ModelKeyValues out;
    for (const auto& row : rows) {
      const auto erased = erased_.find(row.first);
      if (erased == erased_.end() || erased->second <= snapshot) out.push_back(row);
    }
    return out;
  }

  Status CheckAnswers(const Process& p, uint64_t settled) {
    for (const Answer& answer : p.answers) {
      if (answer.snapshot.value > settled) {
        if (p.wal && p.sync == SyncPolicy::kAlways) {
          return Violation(fmt::format(
              "process {} read {} at commit {}, which was not durable: the newest is {}", p.number,
              answer.table, answer.snapshot.value, settled));
        }
        continue;  // of commits that are gone, and might be
      }
      // Given before the floor rose: the model cannot be asked any more.
      if (!model_.Answers(answer.table, answer.system)) continue;
      ++report_.reads_checked;
      const auto expected = model_.Scan(answer.table, answer.range, answer.system, answer.valid);
      if (expected == answer.rows) continue;
      if (answer.table == kMortal &&
          NotErasedSince(answer.snapshot, expected) == NotErasedSince(answer.snapshot, answer.rows))
        continue;
      return Violation(
          fmt::format("process {} read {} [{}, {}) at system {} valid {} of snapshot "
                      "{}\nexpected:{}\ngot:     {}",
                      p.number, answer.table, answer.range.from, answer.range.to.value_or(""),
                      answer.system.micros, answer.valid.micros, answer.snapshot.value,
                      PrintRows(expected), PrintRows(answer.rows)));
    }
    return Status::OK();
  }

  /// With `whole` the lists as they are now end the history.
  Status CheckLists(Database& db, const Process& p, bool whole) {
    std::vector<ListTransaction> history = p.lists;
    ListTransaction before;  // what earlier processes left
    before.id = 0;
    before.begin = -2;
    before.end = -1;
    std::set<std::pair<int64_t, int64_t>> appended;
    for (const auto& t : history) {
      for (const auto& op : t.operations) {
        if (op.kind == ListOperation::Kind::kAppend) appended.insert({op.key, op.element});
      }
    }
    if (whole) {
      ListTransaction after;
      after.id = 1'000'000;
      after.begin = stamp_ + 1;
      after.end = stamp_ + 2;
      for (int64_t key = 0; key < kLists; ++key) {
        ARROW_ASSIGN_OR_RAISE(const auto doc,
                              db.GetDocument(ListKey(key), {}, ValidPeriod::At(kNow)));
        after.operations.push_back(ListOperation::Read(key, ParseList(doc.value_or(""))));
      }
      history.push_back(std::move(after));
    }
    for (const auto& [key, list] : p.lists_before) {
      for (const int64_t element : list)
        before.operations.push_back(ListOperation::Append(key, element));
    }
    history.insert(history.begin(), std::move(before));
    const auto found =
        testing::CheckListHistory(history, list_isolation_ == Isolation::kSerializable
                                               ? testing::Consistency::kStrictSerializable
                                               : testing::Consistency::kSnapshot);
    if (found.empty()) return Status::OK();
    return Violation(fmt::format("process {}: {}", p.number, testing::Print(found)));
  }

  Status NoteLists(Process* p) {
    for (int64_t key = 0; key < kLists; ++key) {
      ARROW_ASSIGN_OR_RAISE(const auto doc,
                            p->db->GetDocument(ListKey(key), {}, ValidPeriod::At(kNow)));
      p->lists_before[key] = ParseList(doc.value_or(""));
    }
    return Status::OK();
  }

  /// The database against the model: at `points` points of each table, and all versions.
  Status Compare(Database& db, int points) {
    for (const std::string table : {kFacts, kRing, kShape, kMortal, kDocuments}) {
      const auto all = model_.AllPoints(table);
      for (int i = 0; i < points && !all.empty(); ++i) {
        const auto& point = all[random_.Uniform(all.size())];
        ModelKeyValues rows;
        if (table == kDocuments) {
          for (const char* prefix : {"bank/", "list/", "tx/"}) {
            ARROW_ASSIGN_OR_RAISE(auto reader,
                                  db.ScanPrefix(prefix, SystemPeriod::AsOf(point.system),
                                                ValidPeriod::At(point.valid)));
            ARROW_ASSIGN_OR_RAISE(const auto part, Documents(*reader));
            rows.insert(rows.end(), part.begin(), part.end());
          }
        } else {
          ARROW_ASSIGN_OR_RAISE(
              auto reader, db.Scan(table, TextScan(SystemPeriod::AsOf(point.system), point.valid)));
          ARROW_ASSIGN_OR_RAISE(rows, TextRows(*reader));
        }
        const auto expected = model_.Scan(table, {}, point.system, point.valid);
        if (expected == rows) continue;
        return Violation(fmt::format("{} at system {} valid {}\nexpected:{}\ngot:     {}", table,
                                     point.system.micros, point.valid.micros, PrintRows(expected),
                                     PrintRows(rows)));
      }
      if (table != kDocuments) ARROW_RETURN_NOT_OK(CompareVersions(db, table));
    }
    return Status::OK();
  }

  /// All row versions of a table of texts that `scan` is asked for.
  static Result<std::vector<ModelRow>> Versions(
      const std::function<Result<std::shared_ptr<ScanReader>>(const ScanOptions&)>& scan,
      SystemPeriod system = SystemPeriod::All()) {
    ScanOptions options;
    options.system = system;
    options.valid = ValidPeriod::All();
    options.columns = std::vector<std::string>{
        "id", "text", "_valid_from", "_valid_to", "_system_from", "_system_to", "_commit"};
    ARROW_ASSIGN_OR_RAISE(auto reader, scan(options));
    std::vector<ModelRow> rows;
    for (;;) {
      std::shared_ptr<arrow::RecordBatch> batch;
      ARROW_RETURN_NOT_OK(reader->ReadNext(&batch));
      if (batch == nullptr) return rows;
      const auto number = [&](int column, int64_t i) {
        return batch->column(column)->data()->GetValues<int64_t>(1)[i];
      };
      for (int64_t i = 0; i < batch->num_rows(); ++i) {
        ModelRow row;
        row.key = IdKey(number(0, i));
        row.value = static_cast<const arrow::StringArray&>(*batch->column(1)).GetString(i);
        row.valid = {{number(2, i)}, {number(3, i)}};
        row.system = {{number(4, i)}, {number(5, i)}};
        row.commit.value = static_cast<uint64_t>(number(6, i));
        rows.push_back(std::move(row));
      }
    }
  }

  Status CompareVersions(Database& db, const std::string& table) {
    const SystemTime floor = model_.HistoryFloor(table);
    const bool trimmed = floor != SystemTime::Min();
    ARROW_ASSIGN_OR_RAISE(
        auto rows,
        Versions([&](const ScanOptions& options) { return db.Scan(table, options); },
                 trimmed ? SystemPeriod::FromTo(floor, SystemTime::Max()) : SystemPeriod::All()));
    const std::string expected = testing::Print(testing::Coalesce(model_.ScanWindow(
        table, {},
        trimmed ? temporal::Window{{floor, SystemTime::Max()}, {}} : temporal::Window{})));
    const std::string actual = testing::Print(testing::Coalesce(rows));
    if (expected == actual) return Status::OK();
    return Violation(
        fmt::format("all versions of {}\nexpected:\n{}got:\n{}", table, expected, actual));
  }

  // ---- The run
  // ----------------------------------------------------------------------------------------------

  void Quiet() {
    file_faults_.clear();
    if (faulty_ != nullptr) faulty_->Clear();
    if (network_ != nullptr) network_->SetRates({});
  }
  void Loud() {
    if (!networked()) DrawDiskFaults();
    if (network_ != nullptr) network_->SetRates(DrawRates());
  }

  Status SetUp(Process* p) {
    ARROW_RETURN_NOT_OK(Open(p));
    for (const char* table : {kFacts, kRing, kShape, kMortal})
      ARROW_RETURN_NOT_OK(p->db->CreateTable(table, TextSchema(), {.names = {"id"}}));
    ARROW_ASSIGN_OR_RAISE(auto t, p->db->Begin());
    Tx* tx = NewTx(p);
    for (int64_t i = 0; i < kAccounts; ++i)
      ARROW_RETURN_NOT_OK(PutDocument(*t, tx, BankKey(i), std::to_string(kBalance)));
    for (int64_t i = 0; i < kRingSize; ++i)
      ARROW_RETURN_NOT_OK(
          PutRow(*t, tx, kRing, TextSchema(), i, std::to_string((i + 1) % kRingSize)));
    Commit(p, *t, tx);
    first_commit_ = tx->commit;
    ARROW_RETURN_NOT_OK(p->db->Flush());
    p->durable = p->written;
    return NoteLists(p);
  }

  /// Opens for good, and settles what was before.
  Result<std::unique_ptr<Process>> Next(const std::vector<std::unique_ptr<Process>>& past) {
    Quiet();
    if (network_ != nullptr && Flip(2)) network_->DeliverAll();
    // Sometimes a process dies while it opens, and the next one must cope with that too.
    for (uint64_t deaths = Flip(3) ? 1 + random_.Uniform(2) : 0; deaths > 0; --deaths) {
      auto victim = NewProcess();
      victim->kill_at_call = 1 + random_.Uniform(on_files_ ? 200 : 40);
      if (Flip(2)) Loud();
      const Status opened = Open(victim.get());
      if (!opened.ok() && !victim->dead()) return opened;
      ARROW_RETURN_NOT_OK(End(victim.get()));
      Quiet();
    }
    auto process = NewProcess();
    if (Flip(3)) Loud();
    ARROW_RETURN_NOT_OK(Open(process.get()));
    Quiet();
    ARROW_RETURN_NOT_OK(SettlePast(*process->db, past, lossy_));
    ARROW_RETURN_NOT_OK(Compare(*process->db, options_.scene == Scene::kClock ? 6 : 8));
    process->written = process->durable = process->db->newest_commit().value;
    if (!process->wal) process->durable = process->written;
    ARROW_RETURN_NOT_OK(NoteLists(process.get()));
    return process;
  }

  Status RunAll() {
    if (on_files_) {
      files_ = std::make_shared<SimFileSystem>(sim_.clock(), random_.Next64());
    } else {
      disk_ = std::make_shared<storage::MemoryStore>(sim_.clock());
    }
    if (networked()) {
      testing::SimObjectStore::Options network;
      network.seed = random_.Next64();
      network.clock = sim_.clock();
      network_ = std::make_shared<testing::SimObjectStore>(disk_, network);
    } else if (!on_files_) {
      faulty_ = std::make_shared<testing::FaultyStore>(disk_);
    }
    list_isolation_ = Flip(4) ? Isolation::kSnapshot : Isolation::kSerializable;

    std::vector<std::unique_ptr<Process>> now;
    now.push_back(NewProcess());
    ARROW_RETURN_NOT_OK(SetUp(now[0].get()));
    const uint64_t rounds = options_.scene == Scene::kClock ? 2 : 2 + random_.Uniform(2);
    for (uint64_t round = 0; round < rounds; ++round) {
      if (round > 0) {
        auto next = Next(now);
        ARROW_RETURN_NOT_OK(next.status());
        now.clear();
        now.push_back(std::move(*next));
      }
      Process* p = now[0].get();
      if (Flip(2))
        p->kill_at_call =
            p->calls + 1 +
            random_.Uniform((options_.scene == Scene::kClock ? 150 : 400) * (on_files_ ? 4 : 1));
      p->kill_at_sync = p->wal && p->kill_at_call % 2 == 0;
      base::Random actors = random_.Fork();
      SpawnWorkloads(p, actors);
      if (options_.scene == Scene::kTwoOwners) {
        now.push_back(NewProcess());
        SpawnUsurper(p, now[1].get());
      }
      Loud();
      ARROW_RETURN_NOT_OK(sim_.Run());
      ARROW_RETURN_NOT_OK(violation_);
      Quiet();
      lossy_ = false;
      for (const auto& process : now) ARROW_RETURN_NOT_OK(End(process.get()));
    }
    auto last = Next(now);
    ARROW_RETURN_NOT_OK(last.status());
    return Finish(last->get());
  }

  void SpawnUsurper(Process* first, Process* second) {
    const uint64_t seed = random_.Next64();
    sim_.Spawn("usurper", [this, first, second, seed] {
      base::Random random(seed);
      sim_.clock()->SleepMicros(random.UniformRange(1, int64_t{1} << random.Uniform(23)));
      const Status opened = Open(second);
      if (!opened.ok()) return Report(opened);
      sim_.Trace("a newer owner has opened");
      first->usurped = true;
      second->written = second->durable = second->db->newest_commit().value;
      if (!NoteLists(second).ok()) return;  // without its beginning its history cannot be judged
      SpawnWorkloads(second, random);
    });
  }

  Status Finish(Process* p) {
    for (int i = 0; i < 2; ++i) {
      ARROW_ASSIGN_OR_RAISE(const auto findings, p->db->Check());
      if (!findings.empty()) return Violation("check: " + findings[0]);
      if (i == 1) break;
      ARROW_ASSIGN_OR_RAISE(auto t, p->db->Begin());
      ARROW_ASSIGN_OR_RAISE(auto bank, t->ScanPrefix("bank/", {}, ValidPeriod::At(kNow)));
      ARROW_ASSIGN_OR_RAISE(const auto accounts, Documents(*bank));
      ARROW_RETURN_NOT_OK(CheckBank(accounts, "at the end"));
      ARROW_ASSIGN_OR_RAISE(auto ring, t->Scan(kRing, TextScan({}, kNow)));
      ARROW_ASSIGN_OR_RAISE(const auto links, TextRows(*ring));
      ARROW_RETURN_NOT_OK(CheckRing(links));
      t.reset();
      base::Random random = random_.Fork();
      ARROW_RETURN_NOT_OK(Transfer(p, random));
      if (p->all.back()->outcome != Outcome::kCommitted)
        return Violation("no further writes: " + p->all.back()->error);
      model_.Apply(p->all.back()->commit, p->all.back()->system, p->all.back()->writes);
      ARROW_RETURN_NOT_OK(p->db->Flush());
      ARROW_RETURN_NOT_OK(p->db->Compact());
      ARROW_RETURN_NOT_OK(p->db->CollectGarbage(false, 0).status());
      ARROW_RETURN_NOT_OK(Compare(*p->db, 4));
    }
    p->db.reset();
    return violation_;
  }

  const RunOptions options_;
  base::Random random_;  // of the thread that runs the world; actors have their own
  testing::SimScheduler sim_;

  /// The real store over a simulated file system, instead of a store in memory.
  const bool on_files_;
  std::shared_ptr<SimFileSystem> files_;
  std::shared_ptr<SimFileSystem> next_files_;  // what the machine that stopped left
  std::vector<FileFault> file_faults_;
  std::shared_ptr<storage::MemoryStore> disk_;
  std::shared_ptr<storage::MemoryStore> next_disk_;  // what the machine that stopped left
  std::shared_ptr<testing::FaultyStore> faulty_;
  std::shared_ptr<testing::SimObjectStore> network_;
  bool machine_stopped_ = false;
  bool lossy_ = false;

  testing::ReferenceModel model_;
  std::vector<std::unique_ptr<Tx>> txs_;
  std::map<Tx*, int64_t> blind_;
  std::vector<Tx*> to_repeat_;
  std::map<std::string, CommitId> erased_;  // keys of kMortal, by their newest erase
  std::set<SystemTime> floors_asked_;
  Isolation list_isolation_ = Isolation::kSerializable;
  CommitId first_commit_;
  int64_t stamp_ = 0;
  int64_t elements_ = 0;
  int64_t keys_ = 0;
  int columns_ = 0;
  int checkpoints_ = 0;
  Status violation_;
  RunReport report_;
};

/// Runs under way, for a process that a check ends: a world cannot tell its seed any more then.
class Running {
 public:
  explicit Running(const RunOptions& options) {
    static const auto kInstalled = std::signal(SIGABRT, &Running::OnAbort);
    (void)kInstalled;
    const uint64_t entry = (options.seed << 8) | (static_cast<uint64_t>(options.scene) + 1);
    for (slot_ = 0;; slot_ = (slot_ + 1) % slots_.size()) {
      uint64_t free = 0;
      if (slots_[slot_].compare_exchange_strong(free, entry)) break;
    }
  }
  ~Running() { slots_[slot_].store(0); }

 private:
  static void OnAbort(int) {
    for (const auto& slot : slots_) {
      const uint64_t entry = slot.load();
      if (entry == 0) continue;
      char line[128];
      const int size = std::snprintf(line, sizeof(line), "under way: scene %s seed %llu\n",
                                     SceneName(static_cast<Scene>((entry & 0xff) - 1)),
                                     static_cast<unsigned long long>(entry >> 8));
      if (write(STDERR_FILENO, line, static_cast<size_t>(size)) < 0) break;
    }
  }

  static inline std::array<std::atomic<uint64_t>, 64> slots_{};
  size_t slot_ = 0;
};

}  // namespace

const char* SceneName(Scene scene) {
  switch (scene) {
    case Scene::kDisk:
      return "disk";
    case Scene::kClock:
      return "clock";
    case Scene::kNetwork:
      return "network";
    case Scene::kTwoOwners:
      return "two_owners";
  }
  return "unknown";
}

void RunReport::Add(const RunReport& other) {
  transactions += other.transactions;
  committed += other.committed;
  conflicts += other.conflicts;
  refused += other.refused;
  unknown += other.unknown;
  survived += other.survived;
  lost += other.lost;
  reads_checked += other.reads_checked;
  processes += other.processes;
  deaths += other.deaths;
  fenced += other.fenced;
  repeated += other.repeated;
  erases += other.erases;
  trims += other.trims;
  below_floor += other.below_floor;
  grouped += other.grouped;
  faults += other.faults;
  calls += other.calls;
  steps += other.steps;
}

std::string RunReport::Counts() const {
  return fmt::format(
      "transactions={} committed={} conflicts={} refused={} unknown={} survived={} lost={} "
      "reads_checked={} processes={} deaths={} fenced={} "
      "repeated={} erases={} trims={} below_floor={} grouped={} faults={} calls={} steps={}",
      transactions, committed, conflicts, refused, unknown, survived, lost, reads_checked,
      processes, deaths, fenced, repeated, erases, trims, below_floor, grouped, faults, calls,
      steps);
}

RunReport RunSystem(const RunOptions& options) {
  const Running running(options);
  World world(options);
  return world.Run();
}

}  // namespace lamina::simulation
