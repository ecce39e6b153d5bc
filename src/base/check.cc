#include "base/check.h"

#include <cstdio>
#include <cstdlib>
#include <map>

#include "base/mutex.h"

namespace lamina::base {

namespace {

// Both registries are leaked on purpose: probes and fault points are hit by threads that may
// outlive static destructors.
struct ProbeRegistry {
  Mutex mu;
  std::map<std::string_view, internal::Probe*> probes LAMINA_GUARDED_BY(mu);
};

ProbeRegistry& Probes() {
  static auto* registry = new ProbeRegistry;
  return *registry;
}

struct ArmedFault {
  Status status;
  uint64_t passes_left;
};

struct FaultRegistry {
  Mutex mu;
  std::map<std::string, ArmedFault, std::less<>> faults LAMINA_GUARDED_BY(mu);
};

FaultRegistry& Faults() {
  static auto* registry = new FaultRegistry;
  return *registry;
}

}  // namespace

namespace internal {

std::atomic<int> armed_faults{0};

Probe::Probe(const char* name) : name_(name) {
  ProbeRegistry& registry = Probes();
  MutexLock lock(&registry.mu);
  registry.probes.emplace(name, this);
}

}  // namespace internal

void CheckFailed(const char* file, int line, const char* condition, std::string_view message) {
  std::fprintf(stderr, "%s:%d: check failed: %s%s%.*s\n", file, line, condition,
               message.empty() ? "" : ": ", static_cast<int>(message.size()), message.data());
  std::fflush(stderr);
  std::abort();
}

std::vector<std::pair<std::string, uint64_t>> ReachedProbes() {
  ProbeRegistry& registry = Probes();
  MutexLock lock(&registry.mu);
  std::vector<std::pair<std::string, uint64_t>> out;
  out.reserve(registry.probes.size());
  for (const auto& [name, probe] : registry.probes) out.emplace_back(name, probe->hits());
  return out;
}

uint64_t ReachedCount(std::string_view name) {
  ProbeRegistry& registry = Probes();
  MutexLock lock(&registry.mu);
  const auto it = registry.probes.find(name);
  return it == registry.probes.end() ? 0 : it->second->hits();
}

void ResetProbes() {
  ProbeRegistry& registry = Probes();
  MutexLock lock(&registry.mu);
  for (const auto& [name, probe] : registry.probes) probe->Reset();
}

void ArmFault(std::string name, Status status, uint64_t after_n_hits) {
  LAMINA_CHECK(!status.ok());
  FaultRegistry& registry = Faults();
  MutexLock lock(&registry.mu);
  registry.faults.insert_or_assign(std::move(name), ArmedFault{std::move(status), after_n_hits});
  internal::armed_faults.store(static_cast<int>(registry.faults.size()), std::memory_order_relaxed);
}

void DisarmFault(std::string_view name) {
  FaultRegistry& registry = Faults();
  MutexLock lock(&registry.mu);
  if (const auto it = registry.faults.find(name); it != registry.faults.end())
    registry.faults.erase(it);
  internal::armed_faults.store(static_cast<int>(registry.faults.size()), std::memory_order_relaxed);
}

void DisarmFaults() {
  FaultRegistry& registry = Faults();
  MutexLock lock(&registry.mu);
  registry.faults.clear();
  internal::armed_faults.store(0, std::memory_order_relaxed);
}

Status HitFaultPoint(std::string_view name) {
  FaultRegistry& registry = Faults();
  MutexLock lock(&registry.mu);
  const auto it = registry.faults.find(name);
  if (it == registry.faults.end()) return Status::OK();
  if (it->second.passes_left > 0) {
    --it->second.passes_left;
    return Status::OK();
  }
  return it->second.status;
}

}  // namespace lamina::base
