#include <fmt/format.h>

#include "base/check.h"
#include "storage/object_store/write_once.h"
#include "storage/sst/file_reader_internal.h"
#include "storage/sst/page_cache_internal.h"

namespace lamina::storage::sst {

namespace {

struct UlidHash {
  size_t operator()(const base::Ulid& ulid) const noexcept {
    const uint64_t hash = std::hash<base::Ulid>()(ulid) * 0xBF58476D1CE4E5B9ull;
    return hash ^ (hash >> 32);
  }
};

// A file's deletion vector changes in time: the place of its bytes is part of its name.
struct DeletionKey {
  base::Ulid file;
  base::Ulid object;
  uint64_t offset = 0;
  friend bool operator==(const DeletionKey&, const DeletionKey&) = default;
};

struct DeletionKeyHash {
  size_t operator()(const DeletionKey& key) const noexcept {
    const uint64_t hash =
        UlidHash()(key.file) ^ (UlidHash()(key.object) + key.offset * 0x9E3779B97F4A7C15ull);
    return hash ^ (hash << 32);
  }
};

// What is kept of a file of wide rows is a few MB.
constexpr size_t kFooterShardBytesMin = 32 << 20;

class FileCacheImpl final : public FileCache {
 public:
  FileCacheImpl(std::shared_ptr<ObjectStore> store, CacheOptions options)
      : store_(std::move(store)),
        pages_(options.page_cache_bytes == 0
                   ? nullptr
                   : std::make_shared<PageCache>(options.page_cache_bytes)),
        files_(options.footer_cache_bytes, kFooterShardBytesMin),
        deletions_(options.deletion_cache_bytes) {}

  Result<FileReaderPtr> Open(const DataFilePtr& file, ReadCounters* counters) override {
    // Two versions of a file's entry differ in its deletion vector only, which readers do not look
    // at.
    if (std::shared_ptr<const FileReader> open = files_.Find(file->id)) {
      return open;
    }
    // Two threads may open the same file at once; the second result replaces an equal first.
    size_t bytes = 0;
    Result<FileReaderPtr> reader = OpenDataFile(store_.get(), file, pages_, counters, &bytes);
    if (!reader.ok()) {
      if (CodeOf(reader.status()) != ErrorCode::kNotFound) return reader.status();
      return MakeError(
          ErrorCode::kCorruption,
          fmt::format("a data file that the manifest names is missing: file={}", file->Path()));
    }
    files_.Insert(file->id, *reader, bytes);
    return *reader;
  }

  Result<DeletionVectorPtr> Deletions(const DataFilePtr& file, ReadCounters* counters) override {
    if (!file->deletions.has_value()) {
      return DeletionVectorPtr();
    }
    const DeletionVectorRef& ref = *file->deletions;
    const DeletionKey key{.file = file->id, .object = ref.object, .offset = ref.offset};
    if (DeletionVectorPtr known = deletions_.Find(key)) {
      return known;
    }
    const std::string path = DeletionVectorPath(file->table, ref.object);
    const auto damaged = [&](std::string_view cause) {
      return MakeError(ErrorCode::kCorruption,
                       fmt::format("{} file={} offset={} length={} data_file={}", cause, path,
                                   ref.offset, ref.length, file->Path()));
    };
    Result<std::shared_ptr<arrow::Buffer>> bytes =
        store_->GetRange(path, static_cast<int64_t>(ref.offset), static_cast<int64_t>(ref.length));
    if (!bytes.ok()) {
      // The range comes from the manifest: an object too short for it lost its end.
      return CodeOf(bytes.status()) == ErrorCode::kInvalidArgument
                 ? damaged(MessageOf(bytes.status()))
                 : bytes.status();
    }
    if (counters != nullptr) {
      counters->requests += 1;
      counters->bytes_read += ref.length;
    }
    Result<DeletionVectorPtr> vector =
        DeletionVector::Decode(std::string_view(**bytes), file->rows);
    if (!vector.ok()) {
      return damaged(MessageOf(vector.status()));
    }
    if ((*vector)->rows().size() != ref.ended_rows || (*vector)->max_ended() != ref.max_ended) {
      return damaged("deletion vector is not the one the manifest means:");
    }
    deletions_.Insert(key, *vector, (*vector)->memory_bytes());
    return vector;
  }

  void Forget(const base::Ulid& file) override {
    files_.EraseIf([&](const base::Ulid& id) { return id == file; });
    deletions_.EraseIf([&](const DeletionKey& key) { return key.file == file; });
    if (pages_ != nullptr) {
      pages_->EraseIf([&](const PageKey& key) { return key.file == file; });
    }
  }

  CacheStats stats() const override {
    CacheStats out;
    if (pages_ != nullptr) {
      const auto pages = pages_->stats();
      out.page_hits = pages.hits;
      out.page_misses = pages.misses;
      out.page_bytes = pages.bytes;
      out.page_evictions = pages.evictions;
    }
    const auto files = files_.stats();
    out.footer_hits = files.hits;
    out.footer_misses = files.misses;
    out.footer_bytes = files.bytes;
    const auto deletions = deletions_.stats();
    out.deletion_hits = deletions.hits;
    out.deletion_misses = deletions.misses;
    out.deletion_bytes = deletions.bytes;
    return out;
  }

 private:
  const std::shared_ptr<ObjectStore> store_;
  const std::shared_ptr<PageCache> pages_;  ///< Shared: open readers use it and may outlive this.
  LruCache<base::Ulid, UlidHash, const FileReader> files_;
  LruCache<DeletionKey, DeletionKeyHash, const DeletionVector> deletions_;
};

}  // namespace

std::unique_ptr<FileCache> FileCache::Make(std::shared_ptr<ObjectStore> store,
                                           CacheOptions options) {
  return std::make_unique<FileCacheImpl>(std::move(store), options);
}

void DeletionVectorPack::Add(const base::Ulid& file, DeletionVectorPtr vector) {
  vectors_.emplace_back(file, std::move(vector));
}

Result<std::vector<std::pair<base::Ulid, DeletionVectorRef>>> DeletionVectorPack::Write(
    ObjectStore* store, catalog::TableId table, const base::Ulid& object) const {
  std::string bytes;
  std::vector<std::pair<base::Ulid, DeletionVectorRef>> refs;
  for (const auto& [file, vector] : vectors_) {
    const std::string encoded = vector->Encode();
    refs.emplace_back(file, DeletionVectorRef{.object = object,
                                              .offset = bytes.size(),
                                              .length = encoded.size(),
                                              .ended_rows = vector->rows().size(),
                                              .max_ended = vector->max_ended()});
    bytes += encoded;
  }
  LAMINA_FAULT_POINT("sst.write_deletions");
  ARROW_RETURN_NOT_OK(PutOnce(store, DeletionVectorPath(table, object), bytes));
  return refs;
}

}  // namespace lamina::storage::sst
