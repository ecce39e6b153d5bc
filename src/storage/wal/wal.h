// The write-ahead log of one branch: append-only segments of checksummed frames. docs/format/wal.md
// describes the bytes.
//
// Layout: wal/<branch>/<epoch, 10 digits>/<segment, 12 digits>.vw. Every open of the database
// claims a new epoch (a counter in the manifest) and writes into that epoch's directory only,
// segments 1, 2, 3 …. A segment has a header {magic, format, database id, epoch, segment, previous
// segment, chain} and frames {crc32c over header and body, length, type, commit, system time};
// `chain` is the running crc of the previous segment, so that a missing or foreign segment is
// noticed.
//
// Invariants
//   W1  Frames of one epoch are read back in the order they were appended; commit numbers strictly
//       rise.
//   W2  After Append or Sync failed once, every later Append and Sync fails (kStopped): a writer
//       never guesses what is on disk. Out of memory is a failure too: but for Reserve a writer
//       does not throw.
//   W3  A damaged frame is a torn tail, and may be cut off, only in the last segment of the last
//       epoch, and only when no intact frame behind it says that this place had been synced;
//       anything else is kCorruption
//       with file and offset.
//   W4  Before an epoch is written, the end of the epoch before it was made certain: its torn tail
//       is cut, and a seal frame appended and synced. So an unsealed epoch is always the last one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/ulid.h"
#include "lamina/object_store.h"
#include "lamina/time.h"

namespace lamina::storage::wal {

enum class FrameType : uint8_t {
  kCommit = 1,  ///< One transaction over all tables; the payload is the engine's
                ///< (docs/format/wal.md, "Commit payload").
  kSeal = 2,    ///< Nothing follows in this epoch. Empty payload.
};

/// A view: the payload lives as long as the caller's bytes (or, in replay, for the callback).
struct Frame {
  FrameType type = FrameType::kCommit;
  CommitId commit;
  SystemTime system;
  std::string_view payload;
  /// Bytes of the frame's segment that were synced when it was encoded. The writer says it; what is
  /// damaged below it is damage, what is damaged above it may be the trace of a crash.
  uint64_t synced = 0;
};

/// Where a log begins or ends. Ordered by (epoch, segment).
struct SegmentId {
  uint64_t epoch = 0;
  uint64_t segment = 0;
  friend constexpr auto operator<=>(SegmentId, SegmentId) = default;
};

std::string SegmentPath(const std::string& branch, SegmentId id);

struct WriterOptions {
  std::string branch = "main";
  base::Ulid database_id;
  uint64_t epoch = 1;
  int64_t segment_bytes = 64 << 20;  ///< A new segment begins when the next frame would pass it.
  base::Clock* clock = nullptr;  ///< For sync_nanos only; null = the system's. Outlives the writer.
};

struct WriterStats {
  uint64_t frames = 0;
  uint64_t bytes = 0;
  uint64_t appends = 0;  ///< Calls that reached the store.
  uint64_t syncs = 0;
  uint64_t sync_nanos = 0;
  uint64_t segments = 0;  ///< Begun by this writer.
};

/// One appending thread; Sync and stats may be called from any thread beside it.
class Writer {
 public:
  /// Begins segment 1 of `options.epoch`. kAlreadyExists if it is there; kInvalidArgument when the
  /// log already has a newer epoch; kInternal when the epoch before has no seal (W4: Replay comes
  /// first); kUnsupported for a store without append.
  static Result<std::unique_ptr<Writer>> Open(std::shared_ptr<ObjectStore> store,
                                              WriterOptions options);
  virtual ~Writer() = default;

  /// Takes the memory that an Append of so many frames with so many bytes of payloads needs, unless
  /// it comes to begin a segment. Throws std::bad_alloc, and then nothing has happened. By the
  /// appending thread.
  virtual void Reserve(size_t frames, size_t payload_bytes) = 0;
  /// Encodes the frames and hands them to the store in one call (one or two when a rotation falls
  /// between). Not durable until Sync. kInvalidArgument for a frame over 1 GiB, a commit number
  /// that does not rise, or a frame that is not a commit (nothing written, writer stays usable).
  virtual Status Append(std::span<const Frame> frames) = 0;
  /// Everything appended before the call is durable on return.
  virtual Status Sync() = 0;
  /// Syncs and closes the current segment and begins the next. Returns the new segment's id: the
  /// floor for what was written so far.
  virtual Result<SegmentId> Rotate() = 0;
  virtual SegmentId current() const = 0;
  virtual WriterStats stats() const = 0;
  /// Syncs, seals, syncs again and closes: after that any damage is recognised as damage.
  virtual Status Close() = 0;
};

struct ReplayOptions {
  std::string branch = "main";
  base::Ulid database_id;
  SegmentId floor;         ///< Segments before it are not read (they may be gone).
  bool read_only = false;  ///< True: do not cut the torn tail and do not seal (inspection).
  /// True: stop at the first damage instead of failing, and report what was left out. Unless
  /// read_only, what was left out is copied to wal/<branch>/damaged/ and taken out of the log, so
  /// that later opens and later epochs are sound.
  bool salvage = false;
};

struct ReplayReport {
  uint64_t segments = 0;
  uint64_t frames = 0;
  uint64_t bytes = 0;
  uint64_t last_epoch = 0;            ///< 0 when there is no log at all.
  uint64_t torn_bytes = 0;            ///< Cut off at the very end.
  std::string torn_at;                ///< "file@offset" or empty.
  std::vector<std::string> left_out;  ///< Salvage only: what was skipped and why.
};

/// Calls `apply` for every commit frame at or after the floor, in order. Then (unless read_only)
/// cuts the torn tail and seals the last epoch. Replaying twice calls `apply` with the same frames.
/// No Writer may be at work on the branch, except with read_only. Errors: kCorruption
/// (file@offset), kUnsupported (newer format, naming both versions), what `apply` returns.
Result<ReplayReport> Replay(const std::shared_ptr<ObjectStore>& store, const ReplayOptions& options,
                            const std::function<Status(const Frame&)>& apply);

/// Every frame with its place, for `lamina inspect` and tests. Stops at the first damage (a torn
/// tail too) and says so in the last entry. Changes nothing.
struct FrameInfo {
  SegmentId segment;
  uint64_t offset = 0;
  uint64_t length = 0;
  FrameType type = FrameType::kCommit;
  CommitId commit;
  SystemTime system;
  std::string damage;  ///< Empty, or what is wrong here.
};
Result<std::vector<FrameInfo>> ListFrames(const std::shared_ptr<ObjectStore>& store,
                                          const ReplayOptions& options);

struct SegmentInfo {
  SegmentId id;
  int64_t bytes = 0;
};
Result<std::vector<SegmentInfo>> ListSegments(const std::shared_ptr<ObjectStore>& store,
                                              const std::string& branch);

/// Deletes the segments before `floor` and returns them; with dry_run only returns them. Nothing
/// before the floor is needed for W4: a first segment whose predecessor was gone when it was begun
/// says so in its header, and replay checks links from the floor on only.
Result<std::vector<SegmentInfo>> Prune(const std::shared_ptr<ObjectStore>& store,
                                       const std::string& branch, SegmentId floor, bool dry_run);

/// Deletes what salvage kept aside: what lies there may hold any key.
Status DropSalvaged(const std::shared_ptr<ObjectStore>& store, const std::string& branch);

}  // namespace lamina::storage::wal
