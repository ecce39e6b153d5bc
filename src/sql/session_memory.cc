#include "sql/session_memory.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <duckdb/storage/buffer/block_handle.hpp>
#include <duckdb/storage/buffer/buffer_pool.hpp>
#include <duckdb/storage/buffer_manager.hpp>
#include <fmt/format.h>

namespace lamina::sql {
namespace {

using duckdb::BlockHandle;
using duckdb::BufferHandle;
using duckdb::BufferManager;
using duckdb::idx_t;
using duckdb::MemoryTag;
template <typename T>
using Shared = duckdb::shared_ptr<T>;

BufferManager& OwnerOf(Shared<BlockHandle>& handle) {
  return handle->GetMemory().GetBufferManager();
}

/// Stands where DuckDB looks for a client's buffer manager.
class SwitchingManager final : public BufferManager, public SessionMemory {
 public:
  SwitchingManager(duckdb::unique_ptr<BufferManager> former, duckdb::DatabaseInstance& database)
      : former_(std::move(former)), database_(database), now_(former_.get()) {}

  void SetLimit(std::optional<uint64_t> bytes) override {
    if (!bytes.has_value()) {
      now_ = former_.get();
      return;
    }
    auto& shared = BufferManager::GetBufferManager(database_);
    const idx_t limit = std::min<idx_t>(*bytes, shared.GetMaxMemory());
    const std::string& spill = shared.GetTemporaryDirectory();
    if (limited_.empty() || spill_ != spill) {
      duckdb::DBConfig config;
      config.options.maximum_memory = limit;
      config.options.maximum_threads = 1;
      config.options.load_extensions = false;
      // A folder of its own in the database's: that one is private.
      config.options.temporary_directory =
          spill.empty() ? "" : fmt::format("{}/{}", spill, static_cast<const void*>(this));
      config.options.use_temporary_directory = !spill.empty();
      limited_.push_back(std::make_unique<duckdb::DuckDB>(nullptr, &config));
      limit_ = limit;
      spill_ = spill;
    }
    auto& own = BufferManager::GetBufferManager(*limited_.back()->instance);
    if (limit_ != limit) {
      own.SetMemoryLimit(limit);
      limit_ = limit;
    }
    if (shared.GetMaxSwap().IsValid()) own.SetSwapLimit(shared.GetMaxSwap());
    now_ = &own;
  }

  // Of new memory.
  Shared<BlockHandle> AllocateTemporaryMemory(MemoryTag tag, idx_t size,
                                              bool can_destroy) override {
    return now().AllocateTemporaryMemory(tag, size, can_destroy);
  }
  Shared<BlockHandle> AllocateMemory(MemoryTag tag, duckdb::BlockManager* blocks,
                                     bool can_destroy) override {
    return blocks->buffer_manager.AllocateMemory(tag, blocks, can_destroy);
  }
  BufferHandle Allocate(MemoryTag tag, idx_t size, bool can_destroy) override {
    return now().Allocate(tag, size, can_destroy);
  }
  BufferHandle Allocate(MemoryTag tag, duckdb::BlockManager* blocks, bool can_destroy) override {
    return blocks->buffer_manager.Allocate(tag, blocks, can_destroy);
  }
  Shared<BlockHandle> RegisterTransientMemory(idx_t size, duckdb::BlockManager& blocks) override {
    return blocks.buffer_manager.RegisterTransientMemory(size, blocks);
  }
  Shared<BlockHandle> RegisterSmallMemory(idx_t size) override {
    return now().RegisterSmallMemory(size);
  }
  Shared<BlockHandle> RegisterSmallMemory(MemoryTag tag, idx_t size) override {
    return now().RegisterSmallMemory(tag, size);
  }
  duckdb::Allocator& GetBufferAllocator() override { return now().GetBufferAllocator(); }
  void ReserveMemory(idx_t size) override { now().ReserveMemory(size); }
  void FreeReservedMemory(idx_t size) override { now().FreeReservedMemory(size); }
  duckdb::BlockManager& GetTemporaryBlockManager() override {
    return now().GetTemporaryBlockManager();
  }
  duckdb::unique_ptr<duckdb::FileBuffer> ConstructManagedBuffer(
      idx_t size, idx_t header, duckdb::unique_ptr<duckdb::FileBuffer>&& source,
      duckdb::FileBufferType type) override {
    return now().ConstructManagedBuffer(size, header, std::move(source), type);
  }

  // Of blocks that are there.
  BufferHandle Pin(Shared<BlockHandle>& handle) override { return OwnerOf(handle).Pin(handle); }
  BufferHandle Pin(const duckdb::QueryContext& context, Shared<BlockHandle>& handle) override {
    return OwnerOf(handle).Pin(context, handle);
  }
  void Prefetch(duckdb::vector<Shared<BlockHandle>>& handles) override {
    std::map<BufferManager*, duckdb::vector<Shared<BlockHandle>>> by_owner;
    for (auto& handle : handles) by_owner[&OwnerOf(handle)].push_back(handle);
    for (auto& [owner, of] : by_owner) owner->Prefetch(of);
  }
  void Unpin(Shared<BlockHandle>& handle) override { OwnerOf(handle).Unpin(handle); }
  void PurgeQueue(const BlockHandle& handle) override {
    handle.GetBlockManager().buffer_manager.PurgeQueue(handle);
  }
  void AddToEvictionQueue(Shared<BlockHandle>& handle) override {
    OwnerOf(handle).AddToEvictionQueue(handle);
  }
  duckdb::unique_ptr<duckdb::FileBuffer> ReadTemporaryBuffer(
      duckdb::QueryContext context, MemoryTag tag, BlockHandle& block,
      duckdb::unique_ptr<duckdb::FileBuffer> buffer) override {
    return block.GetMemory().GetBufferManager().ReadTemporaryBuffer(context, tag, block,
                                                                    std::move(buffer));
  }
  void DeleteTemporaryFile(duckdb::BlockMemory& memory) override {
    memory.GetBufferManager().DeleteTemporaryFile(memory);
  }
  void WriteTemporaryBuffer(MemoryTag tag, duckdb::block_id_t block,
                            duckdb::FileBuffer& buffer) override {
    now().WriteTemporaryBuffer(tag, block, buffer);
  }

  // What there is.
  idx_t GetUsedMemory() const override { return now().GetUsedMemory(); }
  idx_t GetMaxMemory() const override { return now().GetMaxMemory(); }
  idx_t GetUsedSwap() const override { return now().GetUsedSwap(); }
  duckdb::optional_idx GetMaxSwap() const override { return now().GetMaxSwap(); }
  idx_t GetBlockAllocSize() const override { return now().GetBlockAllocSize(); }
  idx_t GetBlockSize() const override { return now().GetBlockSize(); }
  idx_t GetQueryMaxMemory() const override { return now().GetQueryMaxMemory(); }
  duckdb::vector<duckdb::MemoryInformation> GetMemoryUsageInfo() const override {
    return now().GetMemoryUsageInfo();
  }
  duckdb::vector<duckdb::TemporaryFileInformation> GetTemporaryFiles() override {
    return now().GetTemporaryFiles();
  }
  bool HasTemporaryDirectory() const override { return now().HasTemporaryDirectory(); }
  bool HasFilesInTemporaryDirectory() const override {
    return now().HasFilesInTemporaryDirectory();
  }
  duckdb::BufferPool& GetBufferPool() const override { return now().GetBufferPool(); }
  duckdb::TemporaryMemoryManager& GetTemporaryMemoryManager() override {
    return now().GetTemporaryMemoryManager();
  }
  const duckdb::DatabaseInstance& GetDatabase() const override { return database_; }
  duckdb::DatabaseInstance& GetDatabase() override { return database_; }

  // Settings of the database.
  const std::string& GetTemporaryDirectory() const override {
    return former_->GetTemporaryDirectory();
  }
  void SetMemoryLimit(idx_t limit) override { former_->SetMemoryLimit(limit); }
  void SetSwapLimit(duckdb::optional_idx limit) override { former_->SetSwapLimit(limit); }
  void SetTemporaryDirectory(const std::string& path) override {
    former_->SetTemporaryDirectory(path);
  }

 private:
  // Acquire: another thread's SetLimit made what it points to.
  BufferManager& now() const { return *now_.load(std::memory_order_acquire); }

  const duckdb::unique_ptr<BufferManager> former_;
  duckdb::DatabaseInstance& database_;
  /// The last is in use; one for each folder to spill to. Kept when the limit is taken away:
  /// results and plans may hold blocks of them.
  std::vector<std::unique_ptr<duckdb::DuckDB>> limited_;
  idx_t limit_ = 0;    // of the last
  std::string spill_;  // the database's folder for it
  std::atomic<BufferManager*> now_;
};

}  // namespace

SessionMemory& SessionMemory::Install(duckdb::ClientContext& context) {
  auto& place = duckdb::ClientData::Get(context).client_buffer_manager;
  auto manager = duckdb::make_uniq<SwitchingManager>(std::move(place), *context.db);
  SessionMemory& out = *manager;
  place = std::move(manager);
  return out;
}

}  // namespace lamina::sql
