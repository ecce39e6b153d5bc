// An object store as a network shows it: answers get lost, requests arrive late or twice, bodies
// are damaged, and whoever asks may be cut off at any call.
//
// Fault model of SimObjectStore, each kind at its own rate and drawn from one seed:
//   error before      500/503: no effect, kUnavailable
//   error after       timeout with effect: the call is carried out, kUnavailable
//   late              kUnavailable; the call is carried out later, between two others, its
//   condition
//                     judged then
//   own condition     a conditional write happened, and reports that its condition failed (412
//   after
//                     one's own success: the store's client had retried by itself)
//   duplicate         a write or delete succeeded, and arrives once more later
//   truncated         a body that is shorter than asked for, without an error
//   flipped           one bit of a body is another
//   stall             the call takes its time on the clock
//   expired           from this call on for a while every call is refused: kPermissionDenied
// Not injected: stale reads and lists (the stores we are made for have none), a write that took
// half an effect, damage of bytes at rest. Truncated and flipped bodies of the log are not injected
// either: its end cannot be told from a torn write, which is what replay takes it for.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "lamina/object_store.h"
#include "storage/object_store/request_kind.h"

namespace lamina::testing {

enum class NetworkFault : uint8_t {
  kErrorBefore,
  kErrorAfter,
  kLate,
  kOwnCondition,
  kDuplicate,
  kTruncated,
  kFlipped,
  kStall,
  kExpired,
};
inline constexpr size_t kNetworkFaults = static_cast<size_t>(NetworkFault::kExpired) + 1;
/// "error_before", …
std::string_view NetworkFaultName(NetworkFault fault);

/// One in so many calls that can show the fault; 0 = never.
struct NetworkFaultRates {
  std::array<uint32_t, kNetworkFaults> one_in{};
  int64_t stall_micros_max = 2'000'000;
  uint64_t expired_calls_max = 12;

  uint32_t& operator[](NetworkFault fault) { return one_in[static_cast<size_t>(fault)]; }
  uint32_t operator[](NetworkFault fault) const { return one_in[static_cast<size_t>(fault)]; }
};

/// Wraps any store. Thread-safe; with calls in the same order the same seed does the same.
class SimObjectStore final : public ObjectStore {
 public:
  struct Options {
    uint64_t seed = 1;
    NetworkFaultRates rates;
    base::Clock* clock = nullptr;  ///< For stalls; null = no stalls. Borrowed.
    bool append = false;           ///< Whether the store can append, if the wrapped one can.
    /// False: Lock always succeeds, as on a store that has none.
    bool exclusive_lock = false;
  };
  SimObjectStore(std::shared_ptr<ObjectStore> base, Options options);
  ~SimObjectStore() override;

  /// Rates from now on.
  void SetRates(const NetworkFaultRates& rates);
  /// Lets everything arrive that is still under way.
  void DeliverAll();
  /// How often each fault was shown.
  std::array<uint64_t, kNetworkFaults> shown() const;

  Result<ObjectInfo> Head(const std::string& path) override;
  Result<std::shared_ptr<arrow::Buffer>> Get(const std::string& path, ObjectInfo* info) override;
  Result<std::shared_ptr<arrow::Buffer>> GetRange(const std::string& path, int64_t offset,
                                                  int64_t length) override;
  Result<std::shared_ptr<arrow::io::RandomAccessFile>> OpenReader(const std::string& path) override;
  Result<ObjectInfo> Put(const std::string& path, std::string_view bytes,
                         const PutCondition& condition) override;
  Result<std::unique_ptr<ObjectWriter>> Create(const std::string& path) override;
  Result<std::vector<ObjectInfo>> List(const std::string& prefix) override;
  Status Delete(const std::string& path) override;
  bool supports_append() const override;
  Result<std::unique_ptr<AppendFile>> OpenAppend(const std::string& path,
                                                 int64_t truncate_to) override;
  Result<std::unique_ptr<StoreLock>> Lock(const std::string& path) override;
  std::string ToString() const override;

 private:
  class Network;
  class Reader;
  class Writer;

  const std::shared_ptr<Network> network_;  // readers and writers may outlive the store
};

/// A store as one process sees it until that process dies. Thread-safe.
class ProcessStore final : public ObjectStore {
 public:
  /// Called before every call, with its kind: a place to be interrupted at, to stall or to kill.
  using Hook = std::function<void(storage::RequestKind kind, std::string_view path)>;
  explicit ProcessStore(std::shared_ptr<ObjectStore> base, Hook hook = nullptr);

  /// From now on every call fails without effect, those of open readers and writers too. What
  /// returned before has happened; a call under way may still happen: its answer reaches nobody, so
  /// results that come back once dead() is true count as unknown.
  void Kill();
  bool dead() const;

  Result<ObjectInfo> Head(const std::string& path) override;
  Result<std::shared_ptr<arrow::Buffer>> Get(const std::string& path, ObjectInfo* info) override;
  Result<std::shared_ptr<arrow::Buffer>> GetRange(const std::string& path, int64_t offset,
                                                  int64_t length) override;
  Result<std::shared_ptr<arrow::io::RandomAccessFile>> OpenReader(const std::string& path) override;
  Result<ObjectInfo> Put(const std::string& path, std::string_view bytes,
                         const PutCondition& condition) override;
  Result<std::unique_ptr<ObjectWriter>> Create(const std::string& path) override;
  Result<std::vector<ObjectInfo>> List(const std::string& prefix) override;
  Status Delete(const std::string& path) override;
  bool supports_append() const override { return base_->supports_append(); }
  Result<std::unique_ptr<AppendFile>> OpenAppend(const std::string& path,
                                                 int64_t truncate_to) override;
  Result<std::unique_ptr<StoreLock>> Lock(const std::string& path) override;
  std::string ToString() const override { return base_->ToString(); }

 private:
  struct Process;
  class Reader;
  class Writer;
  class Appender;

  const std::shared_ptr<ObjectStore> base_;
  const std::shared_ptr<Process> process_;
};

}  // namespace lamina::testing
