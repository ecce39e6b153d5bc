// A fixed moment of the database: reads through it never change while it is held, whatever is
// written, flushed or collected.
#pragma once

#include <memory>

#include "lamina/time.h"

namespace lamina {

/// Cheap to copy by shared_ptr; thread-safe. Holding one keeps its files on disk.
class Snapshot {
 public:
  virtual ~Snapshot() = default;
  virtual CommitId commit() const = 0;         ///< The newest commit it sees; 0 = none.
  virtual SystemTime system_time() const = 0;  ///< That commit's time.
  virtual ValidTime now() const = 0;           ///< What "valid now" means for reads through it.
};
using SnapshotPtr = std::shared_ptr<const Snapshot>;

}  // namespace lamina
