// Memory that is handed out piece by piece and freed all at once: the memtable lives here.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace lamina::base {

/// Bump allocator. One thread allocates; others may read what that thread published to them (with
/// its own release/acquire) and may call memory_used(). Nothing is freed before the destructor.
class Arena {
 public:
  struct Options {
    size_t chunk_bytes_min = 16 * 1024;  ///< The first chunk; each further one doubles …
    size_t chunk_bytes_max =
        2 * 1024 * 1024;      ///< … up to this (rounded up to 2 MiB for huge pages).
    bool huge_pages = false;  ///< Advise chunks of 2 MiB and more as transparent huge pages.
  };

  Arena() : Arena(Options()) {}
  explicit Arena(const Options& options);
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  /// `align` is a power of two, at most 4096. Zero bytes give a valid pointer too. Never null:
  /// throws std::bad_alloc where there is no memory.
  char* Allocate(size_t bytes, size_t align = 8) {
    const uintptr_t aligned =
        (reinterpret_cast<uintptr_t>(next_) + (align - 1)) & ~uintptr_t{align - 1};
    const uintptr_t end = reinterpret_cast<uintptr_t>(limit_);
    if (aligned <= end && bytes <= end - aligned && next_ != nullptr) {
      next_ = reinterpret_cast<char*>(aligned + bytes);
      return reinterpret_cast<char*>(aligned);
    }
    return AllocateSlow(bytes, align);
  }
  /// Makes sure that the next pieces of together `bytes` (with what their alignment costs) do not
  /// throw. Wastes nothing: until a piece does not fit, the current chunk goes on.
  void Reserve(size_t bytes) {
    if (bytes > static_cast<size_t>(limit_ - next_)) ReserveSlow(bytes);
  }
  /// A copy of `bytes` in the arena.
  std::string_view Copy(std::string_view bytes);

  /// Bytes taken from the operating system, unused tails included.
  size_t memory_used() const {
    return memory_used_.load(std::memory_order_relaxed);
  }  // relaxed: a statistic

 private:
  struct Chunk {
    char* data;
    size_t size;
    bool mapped;  // by mmap; else by aligned operator new
  };

  char* AllocateSlow(size_t bytes, size_t align);
  void ReserveSlow(size_t bytes);
  char* NewChunk(size_t* bytes);

  const Options options_;
  char* next_ = nullptr;
  char* limit_ = nullptr;
  size_t next_chunk_bytes_;
  char* spare_ = nullptr;  // a chunk of chunks_ that Reserve made and nobody used yet
  size_t spare_bytes_ = 0;
  std::vector<Chunk> chunks_;
  std::atomic<size_t> memory_used_{0};
};

}  // namespace lamina::base
