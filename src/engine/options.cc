#include "engine/options.h"

#include <limits>

#include <fmt/format.h>

namespace lamina {

const char* AckClassName(AckClass ack) {
  switch (ack) {
    case AckClass::kMemory:
      return "memory";
    case AckClass::kWritten:
      return "written";
    case AckClass::kDurable:
      return "durable";
  }
  return "unknown";
}

namespace engine {
namespace {

// More are a mistake, and the system refuses them at some point.
constexpr int32_t kBackgroundThreadsMax = 1024;

Status OutOfRange(const char* option, double value, const char* range) {
  return MakeError(
      ErrorCode::kInvalidArgument,
      fmt::format("option out of range: option={} value={} range={}", option, value, range));
}

Status AtLeast(const char* option, int64_t value, int64_t min) {
  if (value >= min) return Status::OK();
  return MakeError(
      ErrorCode::kInvalidArgument,
      fmt::format("option out of range: option={} value={} range=[{}, ...)", option, value, min));
}

Status CheckBranch(const std::string& branch) {
  bool ok = !branch.empty() && branch.size() <= 128 && branch != "." && branch != "..";
  for (char c : branch) {
    ok = ok && ((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
                c == '.' || c == '_' || c == '-');
  }
  if (ok) return Status::OK();
  return MakeError(ErrorCode::kInvalidArgument,
                   fmt::format("branch name not allowed: branch='{}'", branch),
                   "use 1 to 128 of the characters A-Z a-z 0-9 . _ -");
}

}  // namespace

Status EngineOptions::Validate() const {
  if (store == nullptr) {
    return MakeError(ErrorCode::kInvalidArgument, "option missing: option=store",
                     "pass an ObjectStore");
  }
  ARROW_RETURN_NOT_OK(CheckBranch(branch));
  if (read_only && salvage) {
    return MakeError(ErrorCode::kInvalidArgument,
                     "options exclude each other: options=read_only,salvage");
  }
  if (sync > SyncPolicy::kOff) return OutOfRange("sync", static_cast<double>(sync), "[0, 2]");
  if (upper_codec > Codec::kZstd)
    return OutOfRange("upper_codec", static_cast<double>(upper_codec), "[0, 2]");
  if (last_codec > Codec::kZstd)
    return OutOfRange("last_codec", static_cast<double>(last_codec), "[0, 2]");
  ARROW_RETURN_NOT_OK(AtLeast("sync_interval_micros", sync_interval_micros, 1));
  ARROW_RETURN_NOT_OK(AtLeast("sync_interval_bytes", sync_interval_bytes, 0));
  ARROW_RETURN_NOT_OK(AtLeast("wal_segment_bytes", wal_segment_bytes, 256));
  ARROW_RETURN_NOT_OK(AtLeast("memtable_bytes", memtable_bytes, 0));
  ARROW_RETURN_NOT_OK(AtLeast("memtable_rows", memtable_rows, 0));
  ARROW_RETURN_NOT_OK(AtLeast("memtable_age_micros", memtable_age_micros, 0));
  ARROW_RETURN_NOT_OK(AtLeast("memtable_batches", memtable_batches, 0));
  ARROW_RETURN_NOT_OK(AtLeast("max_sealed_memtables", max_sealed_memtables, 1));
  ARROW_RETURN_NOT_OK(AtLeast("rows_per_page", rows_per_page, 1));
  ARROW_RETURN_NOT_OK(AtLeast("rows_per_row_group", rows_per_row_group, rows_per_page));
  if (!(bloom_bits_per_key >= 0 && bloom_bits_per_key <= 64)) {
    return OutOfRange("bloom_bits_per_key", bloom_bits_per_key, "[0, 64]");
  }
  ARROW_RETURN_NOT_OK(AtLeast("file_bytes_target", file_bytes_target, 1));
  ARROW_RETURN_NOT_OK(AtLeast("level0_files", level0_files, 1));
  ARROW_RETURN_NOT_OK(AtLeast("level0_slowdown_files", level0_slowdown_files, level0_files));
  ARROW_RETURN_NOT_OK(AtLeast("level0_stop_files", level0_stop_files, level0_slowdown_files));
  ARROW_RETURN_NOT_OK(AtLeast("slowdown_micros", slowdown_micros, 0));
  ARROW_RETURN_NOT_OK(AtLeast("level1_bytes", level1_bytes, 1));
  ARROW_RETURN_NOT_OK(AtLeast("level_ratio", level_ratio, 2));
  ARROW_RETURN_NOT_OK(AtLeast("job_bytes_max", job_bytes_max, 1));
  ARROW_RETURN_NOT_OK(AtLeast("history_files", history_files, 2));
  if (!(deleted_fraction > 0 && deleted_fraction <= 1)) {
    return OutOfRange("deleted_fraction", deleted_fraction, "(0, 1]");
  }
  ARROW_RETURN_NOT_OK(AtLeast("gc_grace_micros", gc_grace_micros, 0));
  ARROW_RETURN_NOT_OK(AtLeast("retained_conflict_bytes", retained_conflict_bytes, 0));
  if (background_threads < 1 || background_threads > kBackgroundThreadsMax) {
    return OutOfRange("background_threads", background_threads, "[1, 1024]");
  }
  ARROW_RETURN_NOT_OK(AtLeast("page_cache_bytes", page_cache_bytes, 0));
  ARROW_RETURN_NOT_OK(AtLeast("footer_cache_bytes", footer_cache_bytes, 0));
  ARROW_RETURN_NOT_OK(AtLeast("deletion_cache_bytes", deletion_cache_bytes, 0));
  if (wal && !read_only && !store->supports_append()) {
    return MakeError(
        ErrorCode::kUnsupported,
        fmt::format("store cannot append, so it cannot hold a log: store={}", store->ToString()),
        "open it with wal = false or read_only = true");
  }
  return Status::OK();
}

}  // namespace engine
}  // namespace lamina
