// A list that one thread grows and any thread reads without locks: elements never move.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "base/check.h"

namespace lamina::engine {

/// Chunks of 16, 16, 32, 64, … elements behind a fixed spine: index -> (chunk, offset) is two
/// instructions. One writer. A reader may use index i once it has seen size() > i, or once
/// something published after Append(i) told it of i.
template <typename T>
class AppendList {
 public:
  AppendList() = default;
  ~AppendList() {
    for (auto& chunk : spine_)
      delete[] chunk.load(std::memory_order_relaxed);  // relaxed: nobody else is left
  }
  AppendList(const AppendList&) = delete;
  AppendList& operator=(const AppendList&) = delete;

  /// The next `more` calls of Append need no memory.
  void Reserve(uint64_t more) {
    if (more == 0) return;
    const uint64_t size =
        size_.load(std::memory_order_relaxed);  // relaxed: only this thread writes it
    const size_t last = PlaceOf(size + more - 1).chunk;
    for (size_t chunk = PlaceOf(size).chunk; chunk <= last; ++chunk) ChunkAt(chunk);
  }

  void Append(T value) {
    const uint64_t index =
        size_.load(std::memory_order_relaxed);  // relaxed: only this thread writes it
    const Place place = PlaceOf(index);
    ChunkAt(place.chunk)[place.offset] = std::move(value);
    // release: whoever reads the new size sees the element and its chunk.
    size_.store(index + 1, std::memory_order_release);
  }

  uint64_t size() const { return size_.load(std::memory_order_acquire); }
  const T& operator[](uint64_t index) const {
    const Place place = PlaceOf(index);
    return spine_[place.chunk].load(std::memory_order_acquire)[place.offset];
  }

 private:
  static constexpr int kFirstBits = 4;
  struct Place {
    size_t chunk;
    size_t offset;
  };
  static Place PlaceOf(uint64_t index) {
    const int width = std::bit_width(index >> kFirstBits);  // 0 for the first chunk
    if (width == 0) return {0, index};
    return {static_cast<size_t>(width), index - (uint64_t{1} << (kFirstBits + width - 1))};
  }
  /// Writer only.
  T* ChunkAt(size_t index) {
    T* chunk = spine_[index].load(std::memory_order_relaxed);  // relaxed: this thread stored it
    if (chunk == nullptr) {
      chunk = new T[ChunkSize(index)]();
      spine_[index].store(chunk, std::memory_order_release);
    }
    return chunk;
  }
  static size_t ChunkSize(size_t chunk) {
    return chunk == 0 ? size_t{1} << kFirstBits : size_t{1} << (kFirstBits + chunk - 1);
  }

  std::array<std::atomic<T*>, 48> spine_{};
  std::atomic<uint64_t> size_{0};
};

}  // namespace lamina::engine
