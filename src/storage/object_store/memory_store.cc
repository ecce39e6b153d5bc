#include "storage/object_store/memory_store.h"

#include <algorithm>
#include <set>
#include <unistd.h>
#include <utility>

#include <arrow/io/memory.h>

#include "storage/object_store/store_path.h"

namespace lamina::storage {

namespace {

/// The bytes of an append file. Guarded by State::mu.
struct Log {
  std::string bytes;
  size_t synced = 0;
};

struct Entry {
  std::shared_ptr<arrow::Buffer> content;  // an immutable object, or …
  std::shared_ptr<Log> log;                // … an append file
  uint64_t generation = 0;
  int64_t modified_micros = 0;
};

Status NotFound(const std::string& path) {
  return MakeError(ErrorCode::kNotFound, "object does not exist: path=" + path);
}

}  // namespace

struct MemoryStore::State {
  explicit State(base::Clock* c) : clock(c) {}

  ObjectInfo InfoOf(const std::string& path, const Entry& entry) const LAMINA_REQUIRES(mu) {
    ObjectInfo info;
    info.path = path;
    info.size = entry.log != nullptr ? static_cast<int64_t>(entry.log->bytes.size())
                                     : entry.content->size();
    // The size is in the tag as in the local store's: a log that grows gets other tags.
    info.tag = std::to_string(entry.generation) + "-" + std::to_string(info.size);
    info.modified_micros = entry.modified_micros;
    return info;
  }
  /// The bytes as they are now, never changing after.
  std::shared_ptr<arrow::Buffer> ContentOf(const Entry& entry) const LAMINA_REQUIRES(mu) {
    if (entry.log == nullptr) return entry.content;
    return arrow::Buffer::FromString(entry.log->bytes);
  }
  ObjectInfo Insert(const std::string& path, std::shared_ptr<arrow::Buffer> content)
      LAMINA_REQUIRES(mu) {
    Entry& entry = entries[path];
    entry = Entry{std::move(content), nullptr, next_generation++, clock->NowMicros()};
    return InfoOf(path, entry);
  }

  base::Clock* const clock;
  mutable base::Mutex mu;
  std::map<std::string, Entry> entries LAMINA_GUARDED_BY(mu);
  std::set<std::string> locks LAMINA_GUARDED_BY(mu);
  // never used twice, so a tag never comes back
  uint64_t next_generation LAMINA_GUARDED_BY(mu) = 1;
};

class MemoryStore::Writer final : public ObjectWriter {
 public:
  Writer(std::shared_ptr<State> state, std::string path)
      : state_(std::move(state)), path_(std::move(path)) {}

  Status Write(std::string_view bytes) override {
    if (finished_)
      return MakeError(ErrorCode::kInvalidArgument, "object writer is finished: path=" + path_);
    bytes_.append(bytes);
    bytes_written_ += static_cast<int64_t>(bytes.size());
    return Status::OK();
  }
  int64_t bytes_written() const override { return bytes_written_; }
  Result<ObjectInfo> Finish() override {
    if (finished_)
      return MakeError(ErrorCode::kInvalidArgument, "object writer is finished: path=" + path_);
    finished_ = true;
    base::MutexLock lock(&state_->mu);
    if (state_->entries.contains(path_))
      return MakeError(ErrorCode::kAlreadyExists, "object exists: path=" + path_);
    return state_->Insert(path_, arrow::Buffer::FromString(std::move(bytes_)));
  }

 private:
  const std::shared_ptr<State> state_;
  const std::string path_;
  std::string bytes_;
  int64_t bytes_written_ = 0;
  bool finished_ = false;
};

class MemoryStore::Appender final : public AppendFile {
 public:
  Appender(std::shared_ptr<State> state, std::shared_ptr<Log> log)
      : state_(std::move(state)), log_(std::move(log)) {}

  Status Append(std::string_view bytes) override {
    base::MutexLock lock(&state_->mu);
    if (closed_) return Closed();
    log_->bytes.append(bytes);
    return Status::OK();
  }
  Status Sync() override {
    base::MutexLock lock(&state_->mu);
    if (closed_) return Closed();
    log_->synced = log_->bytes.size();
    return Status::OK();
  }
  int64_t size() const override {
    base::MutexLock lock(&state_->mu);
    return static_cast<int64_t>(log_->bytes.size());
  }
  Status Close() override {
    base::MutexLock lock(&state_->mu);
    closed_ = true;
    return Status::OK();
  }

 private:
  static Status Closed() { return MakeError(ErrorCode::kInvalidArgument, "append file is closed"); }

  const std::shared_ptr<State> state_;
  const std::shared_ptr<Log> log_;
  bool closed_ = false;  // guarded by state_->mu
};

class MemoryStore::HeldLock final : public StoreLock {
 public:
  HeldLock(std::shared_ptr<State> state, std::string path)
      : state_(std::move(state)), path_(std::move(path)) {}
  ~HeldLock() override {
    base::MutexLock lock(&state_->mu);
    state_->locks.erase(path_);
  }

 private:
  const std::shared_ptr<State> state_;
  const std::string path_;
};

MemoryStore::MemoryStore(base::Clock* clock) : state_(std::make_shared<State>(clock)) {}
MemoryStore::~MemoryStore() = default;

std::shared_ptr<MemoryStore> MemoryStore::CrashClone(base::Random* torn) const {
  auto clone = std::make_shared<MemoryStore>(state_->clock);
  base::MutexLock lock(&state_->mu);
  State& to = *clone->state_;
  base::MutexLock clone_lock(&to.mu);
  to.next_generation = state_->next_generation;
  for (const auto& [path, entry] : state_->entries) {
    Entry copy = entry;
    if (entry.log != nullptr) {
      size_t kept = entry.log->synced;
      if (torn != nullptr) kept += torn->Uniform(entry.log->bytes.size() - kept + 1);
      copy.log = std::make_shared<Log>(Log{entry.log->bytes.substr(0, kept), kept});
    }
    to.entries.emplace(path, std::move(copy));
  }
  return clone;
}

Result<ObjectInfo> MemoryStore::Head(const std::string& path) {
  ARROW_RETURN_NOT_OK(ValidatePath(path));
  base::MutexLock lock(&state_->mu);
  const auto it = state_->entries.find(path);
  if (it == state_->entries.end()) return NotFound(path);
  return state_->InfoOf(path, it->second);
}

Result<std::shared_ptr<arrow::Buffer>> MemoryStore::Get(const std::string& path, ObjectInfo* info) {
  ARROW_RETURN_NOT_OK(ValidatePath(path));
  base::MutexLock lock(&state_->mu);
  const auto it = state_->entries.find(path);
  if (it == state_->entries.end()) return NotFound(path);
  if (info != nullptr) *info = state_->InfoOf(path, it->second);
  return state_->ContentOf(it->second);
}

Result<std::shared_ptr<arrow::Buffer>> MemoryStore::GetRange(const std::string& path,
                                                             int64_t offset, int64_t length) {
  ARROW_ASSIGN_OR_RAISE(auto content, Get(path, nullptr));
  ARROW_RETURN_NOT_OK(CheckRange(path, content->size(), offset, length));
  return arrow::SliceBuffer(std::move(content), offset, length);
}

Result<std::shared_ptr<arrow::io::RandomAccessFile>> MemoryStore::OpenReader(
    const std::string& path) {
  ARROW_ASSIGN_OR_RAISE(auto content, Get(path, nullptr));
  return std::make_shared<arrow::io::BufferReader>(std::move(content));
}

Result<ObjectInfo> MemoryStore::Put(const std::string& path, std::string_view bytes,
                                    const PutCondition& condition) {
  ARROW_RETURN_NOT_OK(ValidatePath(path));
  auto content = arrow::Buffer::FromString(std::string(bytes));
  base::MutexLock lock(&state_->mu);
  const auto it = state_->entries.find(path);
  const bool exists = it != state_->entries.end();
  if (condition.kind == PutCondition::Kind::kIfAbsent && exists) {
    return MakeError(ErrorCode::kAlreadyExists, "object exists: path=" + path);
  }
  if (condition.kind == PutCondition::Kind::kIfTagMatches) {
    const std::string current = exists ? state_->InfoOf(path, it->second).tag : "none";
    if (!exists || current != condition.tag) {
      return MakeError(ErrorCode::kConflict, "object changed: path=" + path + " expected_tag=" +
                                                 condition.tag + " actual_tag=" + current);
    }
  }
  return state_->Insert(path, std::move(content));
}

Result<std::unique_ptr<ObjectWriter>> MemoryStore::Create(const std::string& path) {
  ARROW_RETURN_NOT_OK(ValidatePath(path));
  return std::make_unique<Writer>(state_, path);
}

Result<std::vector<ObjectInfo>> MemoryStore::List(const std::string& prefix) {
  ARROW_RETURN_NOT_OK(ValidatePrefix(prefix));
  std::vector<ObjectInfo> out;
  base::MutexLock lock(&state_->mu);
  for (auto it = state_->entries.lower_bound(prefix);
       it != state_->entries.end() && it->first.starts_with(prefix); ++it) {
    out.push_back(state_->InfoOf(it->first, it->second));
  }
  return out;
}

Status MemoryStore::Delete(const std::string& path) {
  ARROW_RETURN_NOT_OK(ValidatePath(path));
  base::MutexLock lock(&state_->mu);
  state_->entries.erase(path);
  return Status::OK();
}

Result<std::unique_ptr<AppendFile>> MemoryStore::OpenAppend(const std::string& path,
                                                            int64_t truncate_to) {
  ARROW_RETURN_NOT_OK(ValidatePath(path));
  base::MutexLock lock(&state_->mu);
  const auto it = state_->entries.find(path);
  const int64_t size = it == state_->entries.end() ? 0 : state_->InfoOf(path, it->second).size;
  if (truncate_to > size) {
    return MakeError(ErrorCode::kInvalidArgument,
                     "cannot cut a file to more than it holds: path=" + path + " size=" +
                         std::to_string(size) + " truncate_to=" + std::to_string(truncate_to));
  }
  Entry& entry = state_->entries[path];
  if (entry.generation == 0) {
    entry.generation = state_->next_generation++;
    entry.modified_micros = state_->clock->NowMicros();
  }
  if (entry.log == nullptr) {
    entry.log = std::make_shared<Log>();
    if (entry.content != nullptr) entry.log->bytes = entry.content->ToString();
    entry.log->synced = entry.log->bytes.size();
    entry.content = nullptr;
  }
  if (truncate_to >= 0) {
    // The local store syncs after cutting.
    entry.log->bytes.resize(static_cast<size_t>(truncate_to));
    entry.log->synced = entry.log->bytes.size();
    entry.generation = state_->next_generation++;
  }
  return std::make_unique<Appender>(state_, entry.log);
}

Result<std::unique_ptr<StoreLock>> MemoryStore::Lock(const std::string& path) {
  ARROW_RETURN_NOT_OK(ValidatePath(path));
  base::MutexLock lock(&state_->mu);
  if (!state_->locks.insert(path).second) {
    return MakeError(ErrorCode::kUnavailable,
                     "locked by another handle: path=memory:" + path +
                         " holder: pid=" + std::to_string(getpid()),
                     "close the database in that process first, or open it read-only");
  }
  return std::make_unique<HeldLock>(state_, path);
}

}  // namespace lamina::storage

namespace lamina {

std::shared_ptr<ObjectStore> MakeMemoryStore() { return std::make_shared<storage::MemoryStore>(); }

}  // namespace lamina
