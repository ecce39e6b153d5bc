// Decoded columns of pages, and any other values that are kept within a budget of bytes.
#pragma once

#include <algorithm>
#include <cstdint>
#include <list>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

#include <arrow/array.h>

#include "base/mutex.h"
#include "base/ulid.h"

namespace lamina::storage::sst {

/// Least recently used first out, in shards of their own lock and share of the budget. Values are
/// shared pointers: an evicted one lives on with its users. Thread-safe.
template <typename Key, typename Hash, typename Value>
class LruCache {
 public:
  struct Stats {
    uint64_t hits = 0, misses = 0, bytes = 0, evictions = 0;
  };

  /// A shard's share is at least `shard_bytes_min` (or all): many times what a value takes, or
  /// values that fall into one shard drive each other out while others are empty.
  explicit LruCache(size_t budget_bytes, size_t shard_bytes_min = 1 << 20)
      : shards_(std::clamp<size_t>(budget_bytes / shard_bytes_min, 1, kShards)),
        budget_(budget_bytes / shards_.size()) {}

  std::shared_ptr<Value> Find(const Key& key) {
    Shard& shard = ShardOf(key);
    const base::MutexLock lock(&shard.mu);
    const auto found = shard.entries.find(key);
    if (found == shard.entries.end()) {
      ++shard.misses;
      return nullptr;
    }
    ++shard.hits;
    shard.recent.splice(shard.recent.begin(), shard.recent, found->second);
    return found->second->value;
  }

  /// Replaces what is there. A value larger than the shard's budget is not kept.
  void Insert(const Key& key, std::shared_ptr<Value> value, size_t bytes) {
    bytes += kEntryBytes;
    Shard& shard = ShardOf(key);
    std::vector<std::shared_ptr<Value>> dropped;  // Destroyed after the lock is gone.
    const base::MutexLock lock(&shard.mu);
    if (const auto found = shard.entries.find(key); found != shard.entries.end()) {
      shard.Drop(found->second, &dropped);
    }
    if (bytes > budget_) {
      return;
    }
    while (shard.bytes + bytes > budget_) {
      ++shard.evictions;
      shard.Drop(std::prev(shard.recent.end()), &dropped);
    }
    // In the list and in the map, or in neither.
    std::list<Entry> entry;
    entry.push_front({key, std::move(value), bytes});
    shard.entries.emplace(key, entry.begin());
    shard.recent.splice(shard.recent.begin(), entry);
    shard.bytes += bytes;
  }

  template <typename Condition>
  void EraseIf(Condition&& condition) {
    for (Shard& shard : shards_) {
      std::vector<std::shared_ptr<Value>> dropped;
      const base::MutexLock lock(&shard.mu);
      for (auto it = shard.recent.begin(); it != shard.recent.end();) {
        const auto next = std::next(it);
        if (condition(it->key)) {
          shard.Drop(it, &dropped);
        }
        it = next;
      }
    }
  }

  Stats stats() const {
    Stats out;
    for (Shard& shard : shards_) {
      const base::MutexLock lock(&shard.mu);
      out.hits += shard.hits;
      out.misses += shard.misses;
      out.bytes += shard.bytes;
      out.evictions += shard.evictions;
    }
    return out;
  }

 private:
  static constexpr size_t kShards = 16;
  static constexpr size_t kEntryBytes = 128;  ///< List and map nodes, about.

  struct Entry {
    Key key;
    std::shared_ptr<Value> value;
    size_t bytes = 0;
  };
  struct Shard {
    base::Mutex mu;
    std::list<Entry> recent LAMINA_GUARDED_BY(mu);  ///< Most recent first.
    std::unordered_map<Key, typename std::list<Entry>::iterator, Hash> entries
        LAMINA_GUARDED_BY(mu);
    size_t bytes LAMINA_GUARDED_BY(mu) = 0;
    uint64_t hits LAMINA_GUARDED_BY(mu) = 0;
    uint64_t misses LAMINA_GUARDED_BY(mu) = 0;
    uint64_t evictions LAMINA_GUARDED_BY(mu) = 0;

    void Drop(typename std::list<Entry>::iterator entry,
              std::vector<std::shared_ptr<Value>>* dropped) LAMINA_REQUIRES(mu) {
      dropped->push_back(std::move(entry->value));  // before anything is changed: it may throw
      bytes -= entry->bytes;
      entries.erase(entry->key);
      recent.erase(entry);
    }
  };

  Shard& ShardOf(const Key& key) const { return shards_[(Hash()(key) >> 32) % shards_.size()]; }

  mutable std::vector<Shard> shards_;
  const size_t budget_;  ///< Of one shard.
};

/// One column of one page, in one type; or the page's encoded keys.
struct PageKey {
  static constexpr uint32_t kKeys = UINT32_MAX;

  base::Ulid file;
  uint32_t page = 0;
  uint32_t column = 0;     ///< Position in the file, or kKeys.
  uint64_t type_hash = 0;  ///< 0: the type the file was written with.
  friend bool operator==(const PageKey&, const PageKey&) = default;
};

struct PageKeyHash {
  size_t operator()(const PageKey& key) const noexcept {
    uint64_t hash = std::hash<base::Ulid>()(key.file) ^ key.type_hash;
    hash = (hash ^ ((uint64_t{key.page} << 32) | key.column)) * 0x9E3779B97F4A7C15ull;
    hash ^= hash >> 29;
    hash *= 0xBF58476D1CE4E5B9ull;
    return hash ^ (hash >> 32);
  }
};

using PageCache = LruCache<PageKey, PageKeyHash, arrow::Array>;

}  // namespace lamina::storage::sst
