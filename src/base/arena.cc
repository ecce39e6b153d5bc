#include "base/arena.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <sys/mman.h>

#include "base/check.h"

namespace lamina::base {

namespace {

constexpr size_t kHugePage = 2 * 1024 * 1024;
constexpr size_t kAlignMax = 4096;

size_t RoundUp(size_t n, size_t unit) { return (n + unit - 1) / unit * unit; }

}  // namespace

Arena::Arena(const Options& options)
    : options_(options),
      next_chunk_bytes_(
          std::max<size_t>(std::min(options.chunk_bytes_min, options.chunk_bytes_max), 64)) {}

Arena::~Arena() {
  for (const Chunk& chunk : chunks_) {
    if (chunk.mapped) {
      munmap(chunk.data, chunk.size);
    } else {
      ::operator delete(chunk.data, std::align_val_t{64});
    }
  }
}

std::string_view Arena::Copy(std::string_view bytes) {
  char* const p = Allocate(bytes.size(), 1);
  if (!bytes.empty()) std::memcpy(p, bytes.data(), bytes.size());
  return {p, bytes.size()};
}

char* Arena::AllocateSlow(size_t bytes, size_t align) {
  LAMINA_CHECK(align != 0 && (align & (align - 1)) == 0 && align <= kAlignMax);
  LAMINA_CHECK(bytes <= (size_t{1} << 46));
  const auto align_up = [align](char* p) {
    return reinterpret_cast<char*>((reinterpret_cast<uintptr_t>(p) + align - 1) &
                                   ~uintptr_t{align - 1});
  };
  const size_t needed = bytes + align;
  if (spare_ != nullptr && needed <= spare_bytes_) {
    char* const result = align_up(spare_);
    next_ = result + bytes;
    limit_ = spare_ + spare_bytes_;
    spare_ = nullptr;
    spare_bytes_ = 0;
    return result;
  }
  // A piece that would waste much of a chunk's tail gets a chunk of its own; the current chunk goes
  // on.
  if (needed > next_chunk_bytes_ / 4 && !chunks_.empty() && needed > options_.chunk_bytes_max / 4) {
    size_t size = needed;
    return align_up(NewChunk(&size));
  }
  size_t size = std::max(next_chunk_bytes_, needed);
  char* const data = NewChunk(&size);
  next_chunk_bytes_ = std::min(std::max(next_chunk_bytes_ * 2, size_t{64}),
                               std::max<size_t>(options_.chunk_bytes_max, 64));
  char* const result = align_up(data);
  next_ = result + bytes;
  limit_ = data + size;
  return result;
}

void Arena::ReserveSlow(size_t bytes) {
  // A piece that does not fit into the current chunk begins the spare one, which holds them all.
  const size_t needed = bytes + kAlignMax;
  if (needed <= spare_bytes_) return;
  size_t size = std::max(next_chunk_bytes_, needed);
  spare_ = NewChunk(&size);
  spare_bytes_ = size;
  next_chunk_bytes_ = std::min(std::max(next_chunk_bytes_ * 2, size_t{64}),
                               std::max<size_t>(options_.chunk_bytes_max, 64));
}

// Appends a chunk of at least `*bytes` to chunks_; says how many and returns its start.
char* Arena::NewChunk(size_t* bytes) {
  if (chunks_.size() == chunks_.capacity()) chunks_.reserve(chunks_.size() * 2 + 8);
  Chunk chunk{nullptr, *bytes, false};
  if (options_.huge_pages && *bytes >= kHugePage) {
    chunk.size = RoundUp(*bytes, kHugePage);
    // Huge pages must begin at a multiple of their size: map one more and give the ends back.
    const size_t mapped = chunk.size + kHugePage;
    void* const raw =
        mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (raw == MAP_FAILED) throw std::bad_alloc();
    char* const begin = static_cast<char*>(raw);
    char* const data =
        reinterpret_cast<char*>(RoundUp(reinterpret_cast<uintptr_t>(begin), kHugePage));
    const auto head = static_cast<size_t>(data - begin);
    const size_t tail = mapped - head - chunk.size;
    if (head > 0) munmap(begin, head);
    if (tail > 0) munmap(data + chunk.size, tail);
    // Only advice: a kernel without transparent huge pages answers EINVAL and ordinary pages do.
    (void)madvise(data, chunk.size, MADV_HUGEPAGE);
    chunk.data = data;
    chunk.mapped = true;
  } else {
    chunk.data = static_cast<char*>(::operator new(*bytes, std::align_val_t{64}));
  }
  *bytes = chunk.size;
  chunks_.push_back(chunk);
  memory_used_.fetch_add(chunk.size, std::memory_order_relaxed);
  return chunk.data;
}

}  // namespace lamina::base
