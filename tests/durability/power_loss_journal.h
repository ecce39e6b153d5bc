// The journal that power_loss_preload.cc writes and power_loss_replay.cc reads: every call that
// changes what lies below one folder, in the order in which they took effect.
#pragma once

#include <cstdint>

namespace lamina::power_loss {

// Both in the environment of the process that is watched.
inline constexpr char kJournalVariable[] = "LAMINA_POWER_LOSS_JOURNAL";
inline constexpr char kRootVariable[] = "LAMINA_POWER_LOSS_ROOT";

enum class Call : uint8_t {
  kOpen,             ///< number: flags.
  kClose,            ///<
  kMakeDirectory,    ///<
  kWrite,            ///< data, at the file's offset or its end, as the flags of the open say.
  kTruncate,         ///< number: size.
  kSetModified,      ///< number: nanoseconds.
  kSync,             ///< fsync, or fdatasync with number 1.
  kRename,           ///< path -> other; number 1: RENAME_NOREPLACE.
  kLink,             ///< path -> other.
  kUnlink,           ///<
  kRemoveDirectory,  ///<
  kAcknowledge,      ///< data went to standard output. Has no end.
  kUnknown,          ///< path names a call that the journal cannot express. Has no end.
};

/// A call is two records: one before it, and one after it with its result. Between the two the
/// process may have been killed: then nobody knows whether it happened. But for kSync, no other
/// record stands between the two. `path_size`, `other_size` and `data_size` bytes follow.
struct RecordHead {
  static constexpr uint32_t kMagic = 0x4c4f5353;
  uint32_t magic = kMagic;
  Call call = Call::kOpen;
  uint8_t end = 0;
  uint16_t unused = 0;
  uint32_t id = 0;  ///< The same in both records of a call.
  int32_t handle = -1;
  int64_t number = 0;
  int64_t result = 0;  ///< Of an end: what the call gave back, or a negative errno.
  uint32_t path_size = 0;
  uint32_t other_size = 0;
  uint64_t data_size = 0;
};
static_assert(sizeof(RecordHead) == 48);

}  // namespace lamina::power_loss
