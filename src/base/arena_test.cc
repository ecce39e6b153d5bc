#include "base/arena.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include <gtest/gtest.h>

#include "base/random.h"

namespace lamina::base {
namespace {

TEST(ArenaTest, PiecesAreAlignedDisjointAndStay) {
  for (const bool huge : {false, true}) {
    Arena arena({.chunk_bytes_min = 256,
                 .chunk_bytes_max = huge ? size_t{4} << 20 : size_t{4096},
                 .huge_pages = huge});
    Random random(9);
    struct Piece {
      char* data;
      size_t size;
      char fill;
    };
    std::vector<Piece> pieces;
    size_t total = 0;
    for (int i = 0; i < 3000; ++i) {
      const size_t size = random.OneIn(100) ? random.Uniform(20'000) : random.Uniform(200);
      const size_t align = size_t{1} << random.Uniform(9);
      char* const p = arena.Allocate(size, align);
      ASSERT_EQ(0u, reinterpret_cast<uintptr_t>(p) % align);
      const char fill = static_cast<char>(i);
      std::memset(p, fill, size);
      pieces.push_back({p, size, fill});
      total += size;
    }
    for (const Piece& piece : pieces) {
      for (size_t i = 0; i < piece.size; ++i) ASSERT_EQ(piece.fill, piece.data[i]);
    }
    EXPECT_GE(arena.memory_used(), total);
  }
}

TEST(ArenaTest, StartsEmptyAndTakesChunksAsNeeded) {
  Arena arena;
  EXPECT_EQ(0u, arena.memory_used());
  EXPECT_NE(nullptr, arena.Allocate(0));
  const size_t first = arena.memory_used();
  EXPECT_LE(first, 16u * 1024);
  arena.Allocate(10);
  EXPECT_EQ(first, arena.memory_used());
  EXPECT_EQ("copied", arena.Copy("copied"));
  arena.Allocate(64 * 1024 * 1024);
  EXPECT_GE(arena.memory_used(), 64u * 1024 * 1024);
}

TEST(ArenaTest, WhatWasReservedTakesNoMoreMemoryAndWastesNone) {
  Arena arena({.chunk_bytes_min = 256, .chunk_bytes_max = 4096});
  Random random(11);
  for (int round = 0; round < 300; ++round) {
    std::vector<size_t> sizes(1 + random.Uniform(20));
    size_t total = 0;
    for (size_t& size : sizes) {
      size = random.OneIn(10) ? random.Uniform(6000) : random.Uniform(200);
      total += size + 8;
    }
    const size_t before = arena.memory_used();
    arena.Reserve(total);
    const size_t reserved = arena.memory_used();
    // One chunk at most, and none where the one before has room.
    EXPECT_LE(reserved, before + std::max<size_t>(total + 4096, 4096));
    for (const size_t size : sizes) std::memset(arena.Allocate(size), round, size);
    EXPECT_EQ(reserved, arena.memory_used());
  }
}

}  // namespace
}  // namespace lamina::base
