#include "kill_child.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <map>
#include <memory>
#include <unistd.h>

#include <arrow/builder.h>
#include <arrow/record_batch.h>
#include <fmt/format.h>

#include "base/thread.h"
#include "lamina/database.h"

namespace lamina {
namespace {

constexpr char kDirectoryVariable[] = "LAMINA_KILL_CHILD";
constexpr char kSyncVariable[] = "LAMINA_KILL_SYNC";
constexpr char kStrangerVariable[] = "LAMINA_KILL_STRANGER";
constexpr int64_t kParts = 5;

std::shared_ptr<arrow::RecordBatch> NumberRows(int64_t first, int64_t count) {
  arrow::Int64Builder id;
  arrow::StringBuilder text;
  for (int64_t i = first; i < first + count; ++i) {
    if (!id.Append(i).ok() || !text.Append(fmt::format("row {}", i)).ok()) std::abort();
  }
  const auto schema = arrow::schema(
      {arrow::field("id", arrow::int64(), false), arrow::field("text", arrow::utf8())});
  return arrow::RecordBatch::Make(schema, count,
                                  {id.Finish().ValueOrDie(), text.Finish().ValueOrDie()});
}

std::string NewestKey(int64_t writer) { return fmt::format("newest/{}", writer); }

Result<int64_t> NewestOf(Database* db, int64_t writer) {
  ARROW_ASSIGN_OR_RAISE(const auto text, db->GetDocument(NewestKey(writer), SystemPeriod::Latest(),
                                                         ValidPeriod::Now()));
  return text.has_value() ? std::stoll(*text) : int64_t{0};
}

Status WriteAs(Database* db, SyncPolicy sync, int64_t writer) {
  ARROW_ASSIGN_OR_RAISE(int64_t n, NewestOf(db, writer));
  for (;;) {
    ++n;
    const int64_t number = n * kWriters + writer;
    TransactionOptions options;
    options.durable = sync != SyncPolicy::kAlways && n % 4 == 0;
    ARROW_ASSIGN_OR_RAISE(auto transaction, db->Begin(options));
    ARROW_RETURN_NOT_OK(transaction->Put("parts", NumberRows(number * 10, kParts)));
    ARROW_RETURN_NOT_OK(transaction->Put("wholes", NumberRows(number, 1)));
    ARROW_RETURN_NOT_OK(transaction->PutDocument(NewestKey(writer), std::to_string(n)));
    ARROW_ASSIGN_OR_RAISE(const auto result, transaction->Commit());
    const bool durable = result.ack == AckClass::kDurable;
    if (!durable && (sync == SyncPolicy::kAlways || options.durable))
      return Status::Invalid("not durable");
    const std::string line = fmt::format("{} {}\n", writer, n);
    if (durable && ::write(STDOUT_FILENO, line.data(), line.size()) < 0)
      return Status::IOError("nobody listens");
    if (writer == 0 && n % 200 == 0) ARROW_RETURN_NOT_OK(db->CollectGarbage(false, 0).status());
  }
}

DatabaseOptions Options(SyncPolicy sync) {
  DatabaseOptions options;
  options.sync = sync;
  options.sync_interval_micros = 5'000;
  // Small, so that a kill meets flushes, compactions and log rotations too.
  options.memtable_rows = 200;
  options.wal_segment_bytes = 16 << 10;
  options.level0_files = 2;
  options.rows_per_page = 16;
  options.rows_per_row_group = 64;
  options.gc_grace_micros = 0;
  return options;
}

Status Write(const KillChildOptions& child) {
  ARROW_ASSIGN_OR_RAISE(auto db, Database::Open(child.directory, Options(child.sync)));
  const auto schema = NumberRows(0, 1)->schema();
  ARROW_RETURN_NOT_OK(db->EnsureTable("parts", schema, {.names = {"id"}}));
  ARROW_RETURN_NOT_OK(db->EnsureTable("wholes", schema, {.names = {"id"}}));
  if (child.stranger) {
    const int file = ::open((child.directory + "/stranger").c_str(), O_CREAT | O_WRONLY, 0644);
    if (file < 0 || ::pwrite(file, "x", 1, 0) != 1) return Status::IOError("stranger");
    return Status::OK();
  }
  std::vector<base::Thread> threads;
  for (int64_t writer = 0; writer < kWriters; ++writer) {
    threads.emplace_back("writer", [&, writer] {
      const Status status = WriteAs(db.get(), child.sync, writer);
      std::fprintf(stderr, "%s\n", status.ToString().c_str());
      _exit(1);  // a writer that stops early would make the test prove less
    });
  }
  for (base::Thread& thread : threads) thread.Join();
  return Status::OK();
}

/// The ids of a table, each divided by `divisor`, with the number of rows.
Result<std::map<int64_t, int64_t>> ReadIds(Database* db, const std::string& table,
                                           int64_t divisor) {
  std::map<int64_t, int64_t> out;
  ARROW_ASSIGN_OR_RAISE(auto reader, db->Scan(table));
  for (;;) {
    std::shared_ptr<arrow::RecordBatch> batch;
    ARROW_RETURN_NOT_OK(reader->ReadNext(&batch));
    if (batch == nullptr) return out;
    const auto& ids = static_cast<const arrow::Int64Array&>(*batch->column(0));
    const auto& texts = static_cast<const arrow::StringArray&>(*batch->column(1));
    for (int64_t i = 0; i < ids.length(); ++i) {
      if (texts.GetView(i) != fmt::format("row {}", ids.Value(i)))
        return Status::Invalid("row ", ids.Value(i), " is wrong");
      ++out[ids.Value(i) / divisor];
    }
  }
}

}  // namespace

std::vector<std::string> KillChildEnvironment(const KillChildOptions& options) {
  std::vector<std::string> out = {
      fmt::format("{}={}", kDirectoryVariable, options.directory),
      fmt::format("{}={}", kSyncVariable, static_cast<int>(options.sync))};
  if (options.stranger) out.push_back(fmt::format("{}=1", kStrangerVariable));
  return out;
}

bool KillChildOptionsFromEnvironment(KillChildOptions* out) {
  const char* const directory = std::getenv(kDirectoryVariable);
  if (directory == nullptr) return false;
  out->directory = directory;
  if (const char* sync = std::getenv(kSyncVariable))
    out->sync = static_cast<SyncPolicy>(std::atoi(sync));
  out->stranger = std::getenv(kStrangerVariable) != nullptr;
  return true;
}

int WriteUntilKilled(const KillChildOptions& options) {
  const auto status = Write(options);
  std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return 1;
}

void ReadAcknowledgements(std::string_view lines, NewestOfWriters* newest) {
  for (size_t begin = 0;;) {
    const size_t end = lines.find('\n', begin);
    if (end == std::string_view::npos) return;
    const std::string line(lines.substr(begin, end - begin));
    begin = end + 1;
    const auto writer = static_cast<size_t>(std::stoll(line));
    int64_t& known = newest->at(writer);
    known = std::max<int64_t>(known, std::stoll(line.substr(line.find(' ') + 1)));
  }
}

Status JudgeWhatIsLeft(const std::string& directory, const NewestOfWriters& acknowledged,
                       NewestOfWriters* newest) {
  *newest = {};
  ARROW_ASSIGN_OR_RAISE(auto db, Database::Open(directory, DatabaseOptions{}));
  if (db->GetTable("wholes").ok() && db->GetTable("parts").ok()) {
    ARROW_ASSIGN_OR_RAISE(auto wholes, ReadIds(db.get(), "wholes", 1));
    ARROW_ASSIGN_OR_RAISE(auto parts, ReadIds(db.get(), "parts", 10));
    for (int64_t writer = 0; writer < kWriters; ++writer) {
      ARROW_ASSIGN_OR_RAISE(const int64_t last, NewestOf(db.get(), writer));
      newest->at(static_cast<size_t>(writer)) = last;
      for (int64_t n = 1; n <= last; ++n) {
        const int64_t number = n * kWriters + writer;
        if (wholes.erase(number) != 1 || parts[number] != kParts) {
          return Status::Invalid("commit ", n, " of ", last, " of writer ", writer,
                                 " is half there: wholes=", wholes.count(number),
                                 " parts=", parts[number]);
        }
        parts.erase(number);
      }
    }
    if (!wholes.empty() || !parts.empty())
      return Status::Invalid("commits are half there: wholes=", wholes.size(),
                             " parts=", parts.size());
  }
  for (size_t writer = 0; writer < acknowledged.size(); ++writer) {
    if ((*newest)[writer] < acknowledged[writer]) {
      return Status::Invalid("acknowledged commits are lost: writer=", writer,
                             " acknowledged=", acknowledged[writer], " newest=", (*newest)[writer]);
    }
  }
  ARROW_ASSIGN_OR_RAISE(const auto findings, db->Check());
  if (!findings.empty()) return Status::Invalid("check: ", findings[0]);

  ARROW_RETURN_NOT_OK(db->PutDocument("went on", "yes").status());
  ARROW_RETURN_NOT_OK(db->Flush());
  ARROW_ASSIGN_OR_RAISE(const auto text,
                        db->GetDocument("went on", SystemPeriod::Latest(), ValidPeriod::Now()));
  if (text != "yes") return Status::Invalid("it does not go on");
  return db->Close();
}

}  // namespace lamina
