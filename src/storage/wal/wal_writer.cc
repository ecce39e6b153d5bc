// Appends frames to segments and rotates them.
//
//  1. Append encodes into one buffer that is kept between calls, and hands it to the store in one
//     call.
//  2. When the next frame would pass the segment's size, what was encoded so far is appended, the
//     segment synced and closed, and the next one begun with the running checksum of the finished
//     one. So only the last segment can be torn.
//  3. The first error stops the writer (W2): part of the bytes may be on disk, and a second sync
//     after a failed one may lie. std::bad_alloc is such an error.

#include <atomic>
#include <utility>

#include <fmt/format.h>

#include "base/check.h"
#include "base/mutant.h"
#include "base/mutex.h"
#include "base/out_of_memory.h"
#include "storage/wal/wal_internal.h"

namespace lamina::storage::wal {

namespace {

// A buffer that one huge frame made large is given back.
constexpr size_t kKeptBufferBytes = 4 << 20;

class WriterImpl final : public Writer {
 public:
  WriterImpl(std::shared_ptr<ObjectStore> store, WriterOptions options)
      : store_(std::move(store)),
        options_(std::move(options)),
        clock_(options_.clock != nullptr ? options_.clock : base::SystemClock()) {}

  // A writer dropped without Close leaves what was not synced to chance, as a crash would.
  ~WriterImpl() override = default;

  Status Begin(SegmentId previous, uint32_t chain) LAMINA_EXCLUDES(sync_mu_) {
    base::MutexLock lock(&sync_mu_);
    return BeginSegment({options_.epoch, 1}, previous, chain);
  }

  void Reserve(size_t frames, size_t payload_bytes) override {
    buffer_.reserve(buffer_.size() + frames * kFrameHeaderBytes + payload_bytes);
  }

  Status Append(std::span<const Frame> frames) override LAMINA_EXCLUDES(sync_mu_) try {
    ARROW_RETURN_NOT_OK(CheckUsable());
    CommitId last = last_commit_;
    for (const Frame& frame : frames) {
      if (frame.type != FrameType::kCommit) {
        return MakeError(ErrorCode::kInvalidArgument,
                         fmt::format("only commit frames can be appended: type={}",
                                     static_cast<int>(frame.type)));
      }
      if (frame.payload.size() > kPayloadBytesMax) {
        return MakeError(ErrorCode::kInvalidArgument,
                         fmt::format("log frame is too large: commit={} bytes={} bytes_max={}",
                                     frame.commit.value, frame.payload.size(), kPayloadBytesMax),
                         "split the transaction");
      }
      if (frame.commit <= last) {
        return MakeError(ErrorCode::kInvalidArgument,
                         fmt::format("commit numbers must rise: commit={} last={}",
                                     frame.commit.value, last.value));
      }
      last = frame.commit;
    }
    for (const Frame& frame : frames) {
      const int64_t frame_bytes = static_cast<int64_t>(kFrameHeaderBytes + frame.payload.size());
      const int64_t filled = segment_filled_ + static_cast<int64_t>(buffer_.size());
      if (filled > kSegmentHeaderBytes && filled + frame_bytes > options_.segment_bytes) {
        ARROW_RETURN_NOT_OK(FlushBuffer());
        ARROW_RETURN_NOT_OK(NextSegment());
      }
      Frame with_synced = frame;
      with_synced.synced = segment_synced_.load(std::memory_order_acquire);
      chain_ = ExtendChain(chain_, AppendFrame(&buffer_, salt_, with_synced));
      last_commit_ = frame.commit;
      last_system_ = frame.system;
    }
    Bump(&frames_, frames.size(), std::memory_order_relaxed);
    return FlushBuffer();
  } catch (const std::bad_alloc&) {
    return StopWithoutMemory();
  }

  Status Sync() override LAMINA_EXCLUDES(sync_mu_) try {
    base::MutexLock lock(&sync_mu_);
    ARROW_RETURN_NOT_OK(CheckUsable());
    return SyncLocked();
  } catch (const std::bad_alloc&) {
    return StopWithoutMemory();
  }

  Result<SegmentId> Rotate() override LAMINA_EXCLUDES(sync_mu_) try {
    ARROW_RETURN_NOT_OK(CheckUsable());
    ARROW_RETURN_NOT_OK(NextSegment());
    return current();
  } catch (const std::bad_alloc&) {
    return StopWithoutMemory();
  }

  SegmentId current() const override {
    return {options_.epoch, segment_.load(std::memory_order_acquire)};
  }

  WriterStats stats() const override {
    WriterStats out;
    out.frames = frames_.load(std::memory_order_relaxed);
    out.bytes = appended_.load(std::memory_order_relaxed);
    out.appends = appends_.load(std::memory_order_relaxed);
    out.syncs = syncs_.load(std::memory_order_relaxed);
    out.sync_nanos = sync_nanos_.load(std::memory_order_relaxed);
    out.segments = segments_.load(std::memory_order_relaxed);
    return out;
  }

  Status Close() override LAMINA_EXCLUDES(sync_mu_) {
    base::MutexLock lock(&sync_mu_);
    if (closed_) return Status::OK();
    Status status;
    try {
      status = CheckUsable();
      if (status.ok()) status = SyncLocked();
      // All commits are safe now, so a crash from here on costs nothing but the seal.
      if (status.ok()) status = SealLocked();
    } catch (const std::bad_alloc&) {
      status = StopWithoutMemory();
    }
    closed_ = true;
    Stop(base::ErrorOr(
        [&] { return MakeError(ErrorCode::kStopped, "the log writer is closed: file=" + path_); },
        base::StoppedOutOfMemory()));
    if (file_ != nullptr) {
      // A descriptor that does not close after its bytes were synced loses nothing.
      Status closing = base::ErrorOr([&] { return file_->Close(); }, base::OutOfMemory());
      if (status.ok() && !closing.ok()) status = std::move(closing);
      file_.reset();
    }
    return status;
  }

 private:
  Status CheckUsable() const LAMINA_EXCLUDES(stop_mu_) {
    // acquire: pairs with Stop's release, so that the cause is seen with the flag.
    if (!stopped_.load(std::memory_order_acquire)) return Status::OK();
    base::MutexLock lock(&stop_mu_);
    return stop_cause_;
  }

  void Stop(Status later) LAMINA_EXCLUDES(stop_mu_) {
    base::MutexLock lock(&stop_mu_);
    if (stopped_.load(std::memory_order_relaxed)) return;
    stop_cause_ = std::move(later);
    stopped_.store(true, std::memory_order_release);
  }

  /// W2: the first error goes to the caller as it is, later calls get kStopped with the cause.
  Status StopAfter(Status error) {
    LAMINA_REACHED("wal.writer.stopped");
    Stop(base::ErrorOr(
        [&] {
          return MakeError(
              ErrorCode::kStopped,
              "the log writer stopped after an error: file=" + path_ + " cause=" + MessageOf(error),
              "reopen the database to recover");
        },
        base::StoppedOutOfMemory()));
    return error;
  }

  /// W2, when it is not known how far a call had come when memory ran out.
  Status StopWithoutMemory() {
    LAMINA_REACHED("wal.writer.out_of_memory");
    Stop(base::StoppedOutOfMemory());
    return base::OutOfMemory();
  }

  /// Only the appending thread writes these counters, so no locked add is needed.
  static void Bump(std::atomic<uint64_t>* counter, uint64_t n, std::memory_order order) {
    counter->store(counter->load(std::memory_order_relaxed) + n, order);
  }

  Status AppendToFile(std::string_view bytes) {
    LAMINA_FAULT_POINT("wal.append");
    return file_->Append(bytes);
  }

  Status SyncFile() {
    LAMINA_FAULT_POINT("wal.sync");
    if (LAMINA_MUTANT("wal.sync_skipped")) return Status::OK();
    return file_->Sync();
  }

  Status FlushBuffer() {
    if (buffer_.empty()) return Status::OK();
    Status status = AppendToFile(buffer_);
    if (!status.ok()) return StopAfter(std::move(status));
    segment_filled_ += static_cast<int64_t>(buffer_.size());
    Bump(&appends_, 1, std::memory_order_relaxed);
    // release: a Sync that reads this total syncs a file that holds the bytes.
    Bump(&appended_, buffer_.size(), std::memory_order_release);
    if (buffer_.capacity() > kKeptBufferBytes) {
      std::string().swap(buffer_);
    } else {
      buffer_.clear();
    }
    return Status::OK();
  }

  Status SyncLocked() LAMINA_REQUIRES(sync_mu_) {
    const uint64_t target = appended_.load(std::memory_order_acquire);
    if (target == synced_) return Status::OK();
    const int64_t started = clock_->MonotonicNanos();
    Status status = SyncFile();
    if (!status.ok()) return StopAfter(std::move(status));
    synced_ = target;
    segment_synced_.store(target - segment_begin_, std::memory_order_release);
    syncs_.fetch_add(1, std::memory_order_relaxed);
    sync_nanos_.fetch_add(static_cast<uint64_t>(clock_->MonotonicNanos() - started),
                          std::memory_order_relaxed);
    return Status::OK();
  }

  Status SealLocked() LAMINA_REQUIRES(sync_mu_) {
    std::string bytes;
    AppendFrame(&bytes, salt_,
                {FrameType::kSeal,
                 last_commit_,
                 last_system_,
                 {},
                 segment_synced_.load(std::memory_order_relaxed)});
    Status status = AppendToFile(bytes);
    if (!status.ok()) return StopAfter(std::move(status));
    Bump(&appended_, bytes.size(), std::memory_order_release);
    return SyncLocked();
  }

  /// Waits for a Sync under way: the file it works on is about to be closed.
  Status NextSegment() LAMINA_EXCLUDES(sync_mu_) {
    base::MutexLock lock(&sync_mu_);
    ARROW_RETURN_NOT_OK(CheckUsable());  // a Sync beside us may have failed meanwhile
    if (!LAMINA_MUTANT("wal.rotation_unsynced")) ARROW_RETURN_NOT_OK(SyncLocked());
    const SegmentId previous = current();
    Status status = file_->Close();
    file_.reset();
    if (status.ok())
      status = BeginSegment({options_.epoch, previous.segment + 1}, previous, chain_);
    if (!status.ok()) return StopAfter(std::move(status));
    return Status::OK();
  }

  Status BeginSegment(SegmentId id, SegmentId previous, uint32_t chain) LAMINA_REQUIRES(sync_mu_) {
    LAMINA_FAULT_POINT("wal.begin_segment");
    path_ = SegmentPath(options_.branch, id);
    // Opening for append would open an existing file as well; a segment is begun once.
    const Result<ObjectInfo> existing = store_->Head(path_);
    if (existing.ok())
      return MakeError(ErrorCode::kAlreadyExists, "log segment is already there: file=" + path_);
    if (CodeOf(existing.status()) != ErrorCode::kNotFound) return existing.status();
    ARROW_ASSIGN_OR_RAISE(file_, store_->OpenAppend(path_));
    segment_begin_ = appended_.load(std::memory_order_relaxed);
    if (!LAMINA_MUTANT("wal.synced_of_the_segment_before"))
      segment_synced_.store(0, std::memory_order_relaxed);
    const SegmentHeader header{options_.database_id, id, previous, chain};
    const std::string bytes = EncodeSegmentHeader(header);
    ARROW_RETURN_NOT_OK(AppendToFile(bytes));
    Bump(&appends_, 1, std::memory_order_relaxed);
    Bump(&appended_, bytes.size(), std::memory_order_release);
    Bump(&segments_, 1, std::memory_order_relaxed);
    segment_filled_ = static_cast<int64_t>(bytes.size());
    salt_ = FrameSalt(options_.database_id, id);
    SegmentHeader decoded;
    uint32_t version = 0;
    std::string why;
    LAMINA_CHECK(DecodeSegmentHeader(bytes, &decoded, &chain_, &version, &why) ==
                 HeaderState::kIntact);
    segment_.store(id.segment, std::memory_order_release);
    return Status::OK();
  }

  // Constant.
  const std::shared_ptr<ObjectStore> store_;
  const WriterOptions options_;
  base::Clock* const clock_;

  // Of the appending thread.
  std::string buffer_;
  int64_t segment_filled_ = 0;
  uint32_t salt_ = 0;
  uint32_t chain_ = 0;
  CommitId last_commit_;
  SystemTime last_system_;

  // Sync holds sync_mu_ while it works, so a rotation waits for it. The appending thread reads
  // file_ without the lock: only itself changes it, and then under the lock.
  base::Mutex sync_mu_;
  std::unique_ptr<AppendFile> file_;
  std::string path_;
  uint64_t synced_ LAMINA_GUARDED_BY(sync_mu_) = 0;
  uint64_t segment_begin_ LAMINA_GUARDED_BY(sync_mu_) = 0;  ///< Of appended_.
  bool closed_ LAMINA_GUARDED_BY(sync_mu_) = false;

  mutable base::Mutex stop_mu_;
  Status stop_cause_ LAMINA_GUARDED_BY(stop_mu_);

  std::atomic<bool> stopped_{false};
  std::atomic<uint64_t> segment_{1};
  std::atomic<uint64_t> segment_synced_{0};  ///< Bytes of the current segment.
  std::atomic<uint64_t> appended_{0};
  std::atomic<uint64_t> frames_{0};
  std::atomic<uint64_t> appends_{0};
  std::atomic<uint64_t> syncs_{0};
  std::atomic<uint64_t> sync_nanos_{0};
  std::atomic<uint64_t> segments_{0};
};

/// The checksum of the seal that ends `segment`.
Result<uint32_t> SealOf(const std::shared_ptr<ObjectStore>& store, const WriterOptions& options,
                        const SegmentInfo& segment) {
  const std::string path = SegmentPath(options.branch, segment.id);
  const uint32_t salt = FrameSalt(options.database_id, segment.id);
  if (segment.bytes >= int64_t{kSegmentHeaderBytes} + kFrameHeaderBytes) {
    ARROW_ASSIGN_OR_RAISE(
        auto tail, store->GetRange(path, segment.bytes - kFrameHeaderBytes, kFrameHeaderBytes));
    DecodedFrame frame;
    const std::string_view bytes(reinterpret_cast<const char*>(tail->data()),
                                 static_cast<size_t>(tail->size()));
    if (DecodeFrame(bytes, salt, &frame) == nullptr && frame.frame.type == FrameType::kSeal)
      return frame.checksum;
  }
  return MakeError(
      ErrorCode::kInternal,
      fmt::format("the log's epoch before has no seal at its end: file={} bytes={} epoch={}", path,
                  segment.bytes, options.epoch),
      "replay the log before writing a new epoch");
}

}  // namespace

Result<std::unique_ptr<Writer>> Writer::Open(std::shared_ptr<ObjectStore> store,
                                             WriterOptions options) {
  if (!store->supports_append()) {
    return MakeError(ErrorCode::kUnsupported,
                     "a write-ahead log needs a store that can append: store=" + store->ToString());
  }
  if (options.epoch == 0 || options.segment_bytes <= 0) {
    return MakeError(ErrorCode::kInvalidArgument,
                     fmt::format("bad log writer options: epoch={} segment_bytes={}", options.epoch,
                                 options.segment_bytes));
  }
  ARROW_ASSIGN_OR_RAISE(const std::vector<SegmentInfo> segments,
                        ListSegments(store, options.branch));
  SegmentId previous;
  uint32_t chain = 0;
  if (!segments.empty()) {
    const SegmentInfo& last = segments.back();
    if (last.id.epoch == options.epoch) {
      return MakeError(ErrorCode::kAlreadyExists,
                       fmt::format("the log's epoch is already there: epoch={} file={}",
                                   options.epoch, SegmentPath(options.branch, last.id)));
    }
    if (last.id.epoch > options.epoch) {
      return MakeError(ErrorCode::kInvalidArgument,
                       fmt::format("the log has a newer epoch: epoch={} file={}", options.epoch,
                                   SegmentPath(options.branch, last.id)));
    }
    previous = last.id;
    ARROW_ASSIGN_OR_RAISE(chain, SealOf(store, options, last));
  }
  auto writer = std::make_unique<WriterImpl>(std::move(store), std::move(options));
  ARROW_RETURN_NOT_OK(writer->Begin(previous, chain));
  return std::unique_ptr<Writer>(std::move(writer));
}

}  // namespace lamina::storage::wal
