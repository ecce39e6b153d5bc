#include "refused_memory.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cxxabi.h>
#include <dlfcn.h>
#include <exception>
#include <execinfo.h>
#include <malloc.h>
#include <map>
#include <mutex>
#include <new>
#include <set>
#include <string_view>
#include <sys/wait.h>
#include <typeinfo>
#include <unistd.h>
#include <unwind.h>
#include <utility>

#include <fmt/format.h>

namespace {

// Of this thread. Plain numbers: they are read in every allocation.
struct ThreadCounts {
  int depth = 0;  // in the database
  uint64_t asked = 0;
  uint64_t refused_at = UINT64_MAX;
  bool rest = false;
  bool refusing = false;  // what follows
  bool refused = false;
  uint64_t blocks_asked = 0;
  uint64_t block_refused = UINT64_MAX;
  bool count = false;
};
thread_local constinit ThreadCounts counts;

std::atomic<uint64_t> refused_count{0};

// ---- What a std::bad_alloc thrown from here would meet

// Reads the tables that the compiler leaves for the unwinder (Itanium C++ ABI, "Exception Handling
// Tables"): what the personality routine does, without doing it.
struct Reader {
  const unsigned char* at;

  uint64_t Unsigned() {
    uint64_t out = 0;
    for (int shift = 0;; shift += 7) {
      const unsigned char byte = *at++;
      out |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if ((byte & 0x80) == 0) return out;
    }
  }
  int64_t Signed() {
    int64_t out = 0;
    int shift = 0;
    unsigned char byte = 0;
    do {
      byte = *at++;
      out |= static_cast<int64_t>(byte & 0x7f) << shift;
      shift += 7;
    } while ((byte & 0x80) != 0);
    if (shift < 64 && (byte & 0x40) != 0) out |= -(int64_t{1} << shift);
    return out;
  }
  template <typename T>
  T Fixed() {
    T value;
    __builtin_memcpy(&value, at, sizeof(value));
    at += sizeof(value);
    return value;
  }
  // An encoded pointer (DW_EH_PE_*).
  uintptr_t Pointer(unsigned char encoding) {
    const unsigned char* const start = at;
    uintptr_t value = 0;
    switch (encoding & 0x0f) {
      case 0x00:
      case 0x04:
      case 0x0c:
        value = Fixed<uint64_t>();
        break;
      case 0x01:
        value = Unsigned();
        break;
      case 0x02:
        value = Fixed<uint16_t>();
        break;
      case 0x03:
        value = Fixed<uint32_t>();
        break;
      case 0x09:
        value = static_cast<uintptr_t>(Signed());
        break;
      case 0x0a:
        value = static_cast<uintptr_t>(static_cast<intptr_t>(Fixed<int16_t>()));
        break;
      case 0x0b:
        value = static_cast<uintptr_t>(static_cast<intptr_t>(Fixed<int32_t>()));
        break;
      default:
        std::abort();
    }
    if (value == 0) return 0;
    if ((encoding & 0x70) == 0x10) value += reinterpret_cast<uintptr_t>(start);
    if ((encoding & 0x80) != 0) value = *reinterpret_cast<const uintptr_t*>(value);
    return value;
  }
};

size_t SizeOf(unsigned char encoding) {
  switch (encoding & 0x07) {
    case 0x02:
      return 2;
    case 0x03:
      return 4;
    default:
      return 8;
  }
}

// A handler for everything (`catch (...)`) counts as nothing: the standard library's clean up and
// throw again.
enum class Meets { kNothing, kHandler, kEnd };

// What the exception meets in the function that `context` is in.
Meets InFrame(_Unwind_Context* context) {
  const auto* lsda = static_cast<const unsigned char*>(_Unwind_GetLanguageSpecificData(context));
  if (lsda == nullptr) return Meets::kNothing;
  int before = 0;
  uintptr_t ip = _Unwind_GetIPInfo(context, &before);
  if (before == 0) --ip;
  const uintptr_t start = _Unwind_GetRegionStart(context);
  Reader reader{lsda};
  const unsigned char landing_encoding = *reader.at++;
  if (landing_encoding != 0xff) (void)reader.Pointer(landing_encoding);
  const unsigned char type_encoding = *reader.at++;
  const unsigned char* types = nullptr;
  if (type_encoding != 0xff) {
    const uint64_t offset = reader.Unsigned();
    types = reader.at + offset;
  }
  const unsigned char site_encoding = *reader.at++;
  const uint64_t length = reader.Unsigned();
  const unsigned char* const actions = reader.at + length;
  while (reader.at < actions) {
    const uintptr_t from = reader.Pointer(site_encoding);
    const uintptr_t size = reader.Pointer(site_encoding);
    const uintptr_t pad = reader.Pointer(site_encoding);
    uint64_t action = reader.Unsigned();
    if (ip < start + from) break;  // sorted: there is no entry
    if (ip >= start + from + size) continue;
    if (pad == 0 || action == 0) return Meets::kNothing;  // goes on, after a cleanup perhaps
    const unsigned char* record = actions + action - 1;
    for (;;) {
      Reader chain{record};
      const int64_t filter = chain.Signed();
      const unsigned char* const next_from = chain.at;
      const int64_t next = chain.Signed();
      if (filter > 0) {
        Reader type{types - static_cast<uint64_t>(filter) * SizeOf(type_encoding)};
        const auto* caught = reinterpret_cast<const std::type_info*>(type.Pointer(type_encoding));
        static const std::bad_alloc kThrown;
        void* object = const_cast<std::bad_alloc*>(&kThrown);
        if (caught != nullptr && caught->__do_catch(&typeid(std::bad_alloc), &object, 1))
          return Meets::kHandler;
      } else if (filter < 0) {
        return Meets::kEnd;  // an exception specification
      }
      if (next == 0) return Meets::kNothing;
      record = next_from + next;
    }
  }
  return Meets::kEnd;  // no entry: noexcept
}

constexpr int kFramesMax = 64;
struct Walk {
  Meets meets = Meets::kNothing;
  uintptr_t frames[kFramesMax];
  int count = 0;
};

_Unwind_Reason_Code Step(_Unwind_Context* context, void* argument) {
  auto* walk = static_cast<Walk*>(argument);
  if (walk->count == kFramesMax) return _URC_END_OF_STACK;
  walk->frames[walk->count++] = _Unwind_GetIP(context) - 1;
  walk->meets = InFrame(context);
  return walk->meets == Meets::kNothing ? _URC_NO_REASON : _URC_END_OF_STACK;
}

// ---- Trying it out
//
// The tables do not tell everything: a cleanup may end in std::terminate as well. So the exception
// is thrown in a child first, which ends as soon as somebody has handled it, or nobody could.

constexpr int kHandled = 0;
constexpr int kTerminated = 42;
constexpr unsigned kPatienceSeconds = 20;
int child_says = -1;  // in a child: where to write

// What is thrown. Destroyed when it was handled.
struct RefusedAllocation final : std::bad_alloc {
  ~RefusedAllocation() override {
    if (child_says >= 0) _exit(kHandled);
  }
};

// In a child: says who called the end. That is a cleanup, below std::terminate and what called it;
// or the unwinder, before it began, and then the tables tell.
[[noreturn]] void OnTerminate() {
  if (child_says < 0) std::abort();
  constexpr int kCaller = 3;
  void* frames[kFramesMax];
  const int count = backtrace(frames, kFramesMax);
  uintptr_t place = count > kCaller ? reinterpret_cast<uintptr_t>(frames[kCaller]) - 1 : 0;
  for (int i = 0; i < count; ++i) {
    Dl_info info{};
    if (dladdr(static_cast<const char*>(frames[i]) - 1, &info) != 0 && info.dli_sname != nullptr &&
        std::string_view(info.dli_sname) == "__cxa_throw") {
      place = 0;
    }
  }
  (void)!write(child_says, &place, sizeof(place));
  _exit(kTerminated);
}

struct Place {
  std::string file;    // "libarrow.so.2600"
  std::string symbol;  // "" where the file does not tell
  uintptr_t offset = 0;
};
Place PlaceOf(uintptr_t ip) {
  Place place;
  Dl_info info{};
  if (dladdr(reinterpret_cast<const void*>(ip), &info) == 0) return place;
  const std::string_view file = info.dli_fname == nullptr ? "?" : info.dli_fname;
  place.file = file.substr(file.rfind('/') + 1);
  place.offset = ip - reinterpret_cast<uintptr_t>(info.dli_fbase);
  if (info.dli_sname == nullptr) return place;
  place.symbol = info.dli_sname;
  int status = 0;
  if (char* name = abi::__cxa_demangle(info.dli_sname, nullptr, nullptr, &status);
      name != nullptr) {
    place.symbol = name;
    std::free(name);
  }
  return place;
}

std::mutex places_mutex;
std::map<std::string, uint64_t>& SparedPlaces() {
  static auto* places = new std::map<std::string, uint64_t>;
  return *places;
}
std::set<std::string>& FatalPlaces() {
  static auto* places = new std::set<std::string>;
  return *places;
}

// Whether Arrow is making the fingerprint that it compares schemas by: it prints it to a
// std::stringstream, which takes std::bad_alloc for a bad stream, and keeps what was printed.
bool MakesFingerprint() {
  void* frames[kFramesMax];
  const int count = backtrace(frames, kFramesMax);
  for (int i = 0; i < count; ++i) {
    Dl_info info{};
    if (dladdr(static_cast<const char*>(frames[i]) - 1, &info) != 0 && info.dli_sname != nullptr &&
        std::string_view(info.dli_sname).find("Fingerprint") != std::string_view::npos) {
      return true;
    }
  }
  return false;
}

// True when std::bad_alloc may be thrown here. False where it would end the program.
[[gnu::noinline]] bool MayThrow() {
  if (child_says >= 0) return true;
  if (MakesFingerprint()) {
    std::lock_guard lock(places_mutex);
    ++SparedPlaces()["Arrow's fingerprints, printed to a std::stringstream"];
    return false;
  }
  int ends[2];
  if (pipe(ends) != 0) std::abort();
  const pid_t child = fork();
  if (child == 0) {
    child_says = ends[1];
    std::set_terminate(OnTerminate);
    alarm(kPatienceSeconds);
    return true;
  }
  if (child < 0) std::abort();
  close(ends[1]);
  uintptr_t end = 0;
  const bool told = read(ends[0], &end, sizeof(end)) == sizeof(end) && end != 0;
  close(ends[0]);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == kHandled) return true;
  Walk walk;
  _Unwind_Backtrace(Step, &walk);
  // Who ended it: told by the child, or the function whose tables say so.
  Place place = PlaceOf(end);
  // The unwinder itself, on its way up again after a cleanup.
  const bool unwinder = place.file.starts_with("libstdc++") || place.file.starts_with("libgcc");
  if (!told || unwinder) place = PlaceOf(walk.frames[walk.count - 1]);
  bool copy = false;
  std::string text = WIFEXITED(status) && WEXITSTATUS(status) == kTerminated ? "" : "(crashed) ";
  text += fmt::format("{}+{:#x} {} <-", place.file, place.offset, place.symbol);
  for (int i = 3; i < walk.count; ++i) {
    const Place frame = PlaceOf(walk.frames[i]);
    copy = copy || frame.symbol == "arrow::Status::CopyFrom(arrow::Status const&)";
    text += fmt::format(" {}+{:#x} {};", frame.file, frame.offset, frame.symbol);
  }
  // In this program: inline functions of theirs (it is linked with its symbols exported).
  const bool theirs = place.file.starts_with("libarrow") || place.file.starts_with("libparquet") ||
                      place.symbol.starts_with("arrow::") ||
                      place.symbol.starts_with("parquet::") ||
                      (place.symbol.starts_with("std::shared_ptr<arrow::") &&
                       place.symbol.find("arrow::ArrayData const&") != std::string::npos);
  std::lock_guard lock(places_mutex);
  if (copy) {
    ++SparedPlaces()["arrow::Result's copy of an arrow::Status"];
  } else if (theirs) {
    ++SparedPlaces()[place.symbol.empty() ? fmt::format("{}+{:#x}", place.file, place.offset)
                                          : place.symbol];
  } else {
    FatalPlaces().insert(std::move(text));
  }
  return false;
}

// Whether this allocation is to be refused; `throws` when by an exception.
[[gnu::noinline]] bool Refused(bool throws) {
  if (counts.depth <= 0 || (counts.refused_at == UINT64_MAX && !counts.refusing)) return false;
  const uint64_t number = counts.asked++;
  if (number != counts.refused_at && !counts.refusing) return false;
  if (throws) {
    const int depth = std::exchange(counts.depth, 0);
    const bool may = MayThrow();
    counts.depth = depth;
    if (!may) {
      if (counts.rest) counts.refusing = true;
      return false;
    }
  }
  counts.refusing = counts.rest;
  counts.refused = true;
  refused_count.fetch_add(1, std::memory_order_relaxed);
  return true;
}

// Arrow's hash tables (Parquet's dictionary encoder) drop the error of their first block and then
// write through null: 32 or 1024 entries of 16 or 24 bytes.
bool IsFirstBlockOfAHashTable(size_t size) {
  return size == 32 * 16 || size == 32 * 24 || size == 1024 * 16 || size == 1024 * 24;
}

}  // namespace

// Takes the place of the C library's for all libraries of this program.
extern "C" int posix_memalign(void** out, size_t alignment, size_t size) noexcept {
  const bool refused = counts.blocks_asked++ >= counts.block_refused;
  if (!IsFirstBlockOfAHashTable(size)) {
    if (refused) {
      counts.block_refused = UINT64_MAX;
      return ENOMEM;
    }
    if (Refused(/*throws=*/false)) return ENOMEM;
  }
  *out = memalign(alignment, size);
  return *out == nullptr ? ENOMEM : 0;
}

// Not inlined, or the compiler would see malloc's memory go to delete's free and warn.
[[gnu::noinline]] static void Give(void* p) noexcept { std::free(p); }

// The program's own, for all its libraries. The forms that are not here call these.
[[gnu::noinline]] void* operator new(size_t size) {
  if (counts.depth > 0 && Refused(/*throws=*/true)) throw RefusedAllocation();
  void* const out = std::malloc(size == 0 ? 1 : size);
  if (out == nullptr) throw std::bad_alloc();
  return out;
}
[[gnu::noinline]] void* operator new(size_t size, std::align_val_t alignment) {
  if (counts.depth > 0 && Refused(/*throws=*/true)) throw RefusedAllocation();
  void* const out = memalign(static_cast<size_t>(alignment), size == 0 ? 1 : size);
  if (out == nullptr) throw std::bad_alloc();
  return out;
}
void* operator new(size_t size, const std::nothrow_t&) noexcept {
  if (counts.depth > 0 && Refused(/*throws=*/false)) return nullptr;
  return std::malloc(size == 0 ? 1 : size);
}
void* operator new(size_t size, std::align_val_t alignment, const std::nothrow_t&) noexcept {
  if (counts.depth > 0 && Refused(/*throws=*/false)) return nullptr;
  return memalign(static_cast<size_t>(alignment), size == 0 ? 1 : size);
}
[[gnu::noinline]] void* operator new[](size_t size) {
  if (counts.depth > 0 && Refused(/*throws=*/true)) throw RefusedAllocation();
  void* const out = std::malloc(size == 0 ? 1 : size);
  if (out == nullptr) throw std::bad_alloc();
  return out;
}
[[gnu::noinline]] void* operator new[](size_t size, std::align_val_t alignment) {
  if (counts.depth > 0 && Refused(/*throws=*/true)) throw RefusedAllocation();
  void* const out = memalign(static_cast<size_t>(alignment), size == 0 ? 1 : size);
  if (out == nullptr) throw std::bad_alloc();
  return out;
}
void* operator new[](size_t size, const std::nothrow_t& tag) noexcept {
  return operator new(size, tag);
}
void* operator new[](size_t size, std::align_val_t alignment, const std::nothrow_t& tag) noexcept {
  return operator new(size, alignment, tag);
}
void operator delete(void* p) noexcept { Give(p); }
void operator delete[](void* p) noexcept { Give(p); }
void operator delete(void* p, size_t) noexcept { Give(p); }
void operator delete[](void* p, size_t) noexcept { Give(p); }
void operator delete(void* p, std::align_val_t) noexcept { Give(p); }
void operator delete[](void* p, std::align_val_t) noexcept { Give(p); }
void operator delete(void* p, size_t, std::align_val_t) noexcept { Give(p); }
void operator delete[](void* p, size_t, std::align_val_t) noexcept { Give(p); }
void operator delete(void* p, const std::nothrow_t&) noexcept { Give(p); }
void operator delete[](void* p, const std::nothrow_t&) noexcept { Give(p); }
void operator delete(void* p, std::align_val_t, const std::nothrow_t&) noexcept { Give(p); }
void operator delete[](void* p, std::align_val_t, const std::nothrow_t&) noexcept { Give(p); }

namespace lamina::simulation {

void Refuse(uint64_t n, Refusal refusal) {
  counts.asked = 0;
  counts.refused_at = n;
  counts.rest = refusal == Refusal::kRest;
  counts.refusing = false;
  counts.refused = false;
}

bool RefuseNothing() {
  counts.refused_at = UINT64_MAX;
  counts.refusing = false;
  return counts.refused;
}

uint64_t AllocationsAsked() { return counts.asked; }

void RefuseBlock(uint64_t n) {
  counts.blocks_asked = 0;
  counts.block_refused = n;
}
uint64_t BlocksAsked() { return counts.blocks_asked; }

uint64_t CountRefusals() { return refused_count.load(); }

std::map<std::string, uint64_t> TakeSparedPlaces() {
  std::lock_guard lock(places_mutex);
  return std::exchange(SparedPlaces(), {});
}
std::vector<std::string> TakeFatalPlaces() {
  std::lock_guard lock(places_mutex);
  const std::set<std::string> places = std::exchange(FatalPlaces(), {});
  return {places.begin(), places.end()};
}

InTheDatabase::InTheDatabase() { ++counts.depth; }
InTheDatabase::~InTheDatabase() {
  if (--counts.depth > 0 || !counts.refusing) return;
  // The call returns.
  counts.refusing = false;
  counts.refused_at = UINT64_MAX;
}

OutOfTheDatabase::OutOfTheDatabase() : depth_(std::exchange(counts.depth, 0)) {}
OutOfTheDatabase::~OutOfTheDatabase() { counts.depth = depth_; }

void CountAllocations(bool count) { counts.count = count; }
bool CountsAllocations() { return counts.count; }

// ---- The two borders

namespace {

class OutsideFiles final : public storage::FileSystem {
 public:
  explicit OutsideFiles(std::shared_ptr<storage::FileSystem> files) : files_(std::move(files)) {}

  Handle Open(Handle directory, const std::string& path, int flags) override {
    const OutOfTheDatabase out;
    return files_->Open(directory, path, flags);
  }
  int Close(Handle file) override {
    const OutOfTheDatabase out;
    return files_->Close(file);
  }
  int MakeDirectory(Handle directory, const std::string& path) override {
    const OutOfTheDatabase out;
    return files_->MakeDirectory(directory, path);
  }
  int StatAt(Handle directory, const std::string& path, Stat* stat) override {
    const OutOfTheDatabase out;
    return files_->StatAt(directory, path, stat);
  }
  int StatFile(Handle file, Stat* stat) override {
    const OutOfTheDatabase out;
    return files_->StatFile(file, stat);
  }
  int SetModified(Handle file, int64_t nanos) override {
    const OutOfTheDatabase out;
    return files_->SetModified(file, nanos);
  }
  int64_t Write(Handle file, std::string_view bytes) override {
    const OutOfTheDatabase out;
    return files_->Write(file, bytes);
  }
  int64_t ReadAt(Handle file, void* bytes, size_t size, int64_t offset) override {
    const OutOfTheDatabase out;
    return files_->ReadAt(file, bytes, size, offset);
  }
  int Truncate(Handle file, int64_t size) override {
    const OutOfTheDatabase out;
    return files_->Truncate(file, size);
  }
  int Reserve(Handle file, int64_t offset, int64_t length) override {
    const OutOfTheDatabase out;
    return files_->Reserve(file, offset, length);
  }
  int Sync(Handle file, bool data_only) override {
    const OutOfTheDatabase out;
    return files_->Sync(file, data_only);
  }
  int Lock(Handle file, bool wait) override {
    const OutOfTheDatabase out;
    return files_->Lock(file, wait);
  }
  int Rename(Handle directory, const std::string& from, const std::string& to,
             bool replace) override {
    const OutOfTheDatabase out;
    return files_->Rename(directory, from, to, replace);
  }
  int Link(Handle directory, const std::string& from, const std::string& to) override {
    const OutOfTheDatabase out;
    return files_->Link(directory, from, to);
  }
  int Unlink(Handle directory, const std::string& path) override {
    const OutOfTheDatabase out;
    return files_->Unlink(directory, path);
  }
  int RemoveDirectory(Handle directory, const std::string& path) override {
    const OutOfTheDatabase out;
    return files_->RemoveDirectory(directory, path);
  }
  int List(Handle directory, std::vector<Entry>* entries) override {
    const OutOfTheDatabase out;
    return files_->List(directory, entries);
  }
  int Map(Handle file, int64_t size, std::shared_ptr<arrow::Buffer>* bytes) override {
    const OutOfTheDatabase out;
    return files_->Map(file, size, bytes);
  }
  void WillNeed(const uint8_t* begin, int64_t size) override { files_->WillNeed(begin, size); }
  int64_t NowNanos() override {
    const OutOfTheDatabase out;
    return files_->NowNanos();
  }
  uint64_t UniqueNumber() override {
    const OutOfTheDatabase out;
    return files_->UniqueNumber();
  }
  int64_t ProcessId() override { return files_->ProcessId(); }
  std::string HostName() override { return files_->HostName(); }

 private:
  const std::shared_ptr<storage::FileSystem> files_;
};

template <typename Call>
auto Inside(Call&& call) {
  const InTheDatabase in;
  return call();
}

// Calls without an error to give: std::bad_alloc is what they say, and then they have changed
// nothing.
template <typename Call>
auto InsideOrAgain(Call&& call) {
  try {
    return Inside(call);
  } catch (const std::bad_alloc&) {
    return call();
  }
}

class InsideScan final : public ScanReader {
 public:
  explicit InsideScan(std::shared_ptr<ScanReader> scan) : scan_(std::move(scan)) {}
  ~InsideScan() override {
    Inside([&] {
      scan_.reset();
      return 0;
    });
  }
  std::shared_ptr<arrow::Schema> schema() const override { return scan_->schema(); }
  Status ReadNext(std::shared_ptr<arrow::RecordBatch>* batch) override {
    return Inside([&] { return scan_->ReadNext(batch); });
  }
  const ScanProfile& profile() const override { return scan_->profile(); }

 private:
  std::shared_ptr<ScanReader> scan_;
};

template <typename Call>
Result<std::shared_ptr<ScanReader>> ScanInside(Call&& call) {
  auto scan = Inside(call);
  if (!scan.ok()) return scan.status();
  return std::make_shared<InsideScan>(std::move(*scan));
}

class InsideTransaction final : public Transaction {
 public:
  explicit InsideTransaction(std::unique_ptr<Transaction> transaction)
      : transaction_(std::move(transaction)) {}
  ~InsideTransaction() override {
    Inside([&] {
      transaction_.reset();
      return 0;
    });
  }

  const SnapshotPtr& snapshot() const override { return transaction_->snapshot(); }
  Status Put(const std::string& table, const std::shared_ptr<arrow::RecordBatch>& rows,
             const WriteOptions& options) override {
    return Inside([&] { return transaction_->Put(table, rows, options); });
  }
  Status Insert(const std::string& table, const std::shared_ptr<arrow::RecordBatch>& rows,
                const WriteOptions& options) override {
    return Inside([&] { return transaction_->Insert(table, rows, options); });
  }
  Status Delete(const std::string& table, const std::shared_ptr<arrow::RecordBatch>& keys,
                const WriteOptions& options) override {
    return Inside([&] { return transaction_->Delete(table, keys, options); });
  }
  Status PutDocument(std::string_view key, std::string_view document,
                     ValidInterval valid) override {
    return Inside([&] { return transaction_->PutDocument(key, document, valid); });
  }
  Status DeleteDocument(std::string_view key, ValidInterval valid) override {
    return Inside([&] { return transaction_->DeleteDocument(key, valid); });
  }
  Result<std::optional<std::string>> GetDocument(std::string_view key, SystemPeriod as_of,
                                                 ValidPeriod valid_at) override {
    return Inside([&] { return transaction_->GetDocument(key, as_of, valid_at); });
  }
  Result<std::shared_ptr<arrow::RecordBatch>> Get(
      const std::string& table, const Key& key, SystemPeriod system, ValidPeriod valid,
      const std::optional<std::vector<std::string>>& columns) override {
    return Inside([&] { return transaction_->Get(table, key, system, valid, columns); });
  }
  Result<std::shared_ptr<ScanReader>> Scan(const std::string& table,
                                           const ScanOptions& options) override {
    return ScanInside([&] { return transaction_->Scan(table, options); });
  }
  Result<std::shared_ptr<ScanReader>> ScanPrefix(std::string_view prefix, SystemPeriod as_of,
                                                 ValidPeriod valid_at,
                                                 std::optional<int64_t> limit) override {
    return ScanInside([&] { return transaction_->ScanPrefix(prefix, as_of, valid_at, limit); });
  }
  Status CreateTable(const std::string& name, const std::shared_ptr<arrow::Schema>& schema,
                     const KeyDeclaration& key, const TableOptions& options) override {
    return Inside([&] { return transaction_->CreateTable(name, schema, key, options); });
  }
  Status DropTable(const std::string& name) override {
    return Inside([&] { return transaction_->DropTable(name); });
  }
  Status RenameTable(const std::string& name, const std::string& to) override {
    return Inside([&] { return transaction_->RenameTable(name, to); });
  }
  Status AddColumn(const std::string& table, const std::shared_ptr<arrow::Field>& field,
                   const std::shared_ptr<arrow::Scalar>& initial) override {
    return Inside([&] { return transaction_->AddColumn(table, field, initial); });
  }
  Status DropColumn(const std::string& table, const std::string& column) override {
    return Inside([&] { return transaction_->DropColumn(table, column); });
  }
  Status RenameColumn(const std::string& table, const std::string& column,
                      const std::string& to) override {
    return Inside([&] { return transaction_->RenameColumn(table, column, to); });
  }
  Status WidenColumn(const std::string& table, const std::string& column,
                     const std::shared_ptr<arrow::DataType>& type) override {
    return Inside([&] { return transaction_->WidenColumn(table, column, type); });
  }
  Result<TableInfo> GetTable(const std::string& name) const override {
    return Inside([&] { return transaction_->GetTable(name); });
  }
  std::vector<TableInfo> ListTables() const override {
    return InsideOrAgain([&] { return transaction_->ListTables(); });
  }
  Status Savepoint(const std::string& name) override {
    return Inside([&] { return transaction_->Savepoint(name); });
  }
  Status RollbackTo(const std::string& name) override {
    return Inside([&] { return transaction_->RollbackTo(name); });
  }
  Status Release(const std::string& name) override {
    return Inside([&] { return transaction_->Release(name); });
  }
  uint64_t pending_facts() const override { return transaction_->pending_facts(); }
  Result<CommitResult> Commit() override {
    return Inside([&] { return transaction_->Commit(); });
  }
  void Abort() override {
    Inside([&] {
      transaction_->Abort();
      return 0;
    });
  }

 private:
  std::unique_ptr<Transaction> transaction_;
};

class InsideDatabase final : public Database {
 public:
  explicit InsideDatabase(std::unique_ptr<Database> db) : db_(std::move(db)) {}
  ~InsideDatabase() override {
    Inside([&] {
      db_.reset();
      return 0;
    });
  }

  Status Close() override {
    return Inside([&] { return db_->Close(); });
  }
  Status CreateTable(const std::string& name, const std::shared_ptr<arrow::Schema>& schema,
                     const KeyDeclaration& key, const TableOptions& options) override {
    return Inside([&] { return db_->CreateTable(name, schema, key, options); });
  }
  Status EnsureTable(const std::string& name, const std::shared_ptr<arrow::Schema>& schema,
                     const KeyDeclaration& key, const TableOptions& options) override {
    return Inside([&] { return db_->EnsureTable(name, schema, key, options); });
  }
  Status DropTable(const std::string& name) override {
    return Inside([&] { return db_->DropTable(name); });
  }
  Status RenameTable(const std::string& name, const std::string& to) override {
    return Inside([&] { return db_->RenameTable(name, to); });
  }
  Status AddColumn(const std::string& table, const std::shared_ptr<arrow::Field>& field,
                   const std::shared_ptr<arrow::Scalar>& initial) override {
    return Inside([&] { return db_->AddColumn(table, field, initial); });
  }
  Status DropColumn(const std::string& table, const std::string& column) override {
    return Inside([&] { return db_->DropColumn(table, column); });
  }
  Status RenameColumn(const std::string& table, const std::string& column,
                      const std::string& to) override {
    return Inside([&] { return db_->RenameColumn(table, column, to); });
  }
  Status WidenColumn(const std::string& table, const std::string& column,
                     const std::shared_ptr<arrow::DataType>& type) override {
    return Inside([&] { return db_->WidenColumn(table, column, type); });
  }
  Result<TableInfo> GetTable(const std::string& name) const override {
    return Inside([&] { return db_->GetTable(name); });
  }
  std::vector<TableInfo> ListTables() const override {
    return InsideOrAgain([&] { return db_->ListTables(); });
  }
  Result<std::unique_ptr<Transaction>> Begin(TransactionOptions options) override {
    auto begun = Inside([&] { return db_->Begin(std::move(options)); });
    if (!begun.ok()) return begun.status();
    return std::make_unique<InsideTransaction>(std::move(*begun));
  }
  Result<CommitResult> Run(const std::function<Status(Transaction&)>& body,
                           TransactionOptions options, int attempts) override {
    return Inside([&] { return db_->Run(body, std::move(options), attempts); });
  }
  Result<CommitResult> Put(const std::string& table,
                           const std::shared_ptr<arrow::RecordBatch>& rows,
                           const WriteOptions& options) override {
    return Inside([&] { return db_->Put(table, rows, options); });
  }
  Result<CommitResult> Delete(const std::string& table,
                              const std::shared_ptr<arrow::RecordBatch>& keys,
                              const WriteOptions& options) override {
    return Inside([&] { return db_->Delete(table, keys, options); });
  }
  Result<CommitResult> PutDocument(std::string_view key, std::string_view document,
                                   ValidInterval valid) override {
    return Inside([&] { return db_->PutDocument(key, document, valid); });
  }
  Result<CommitResult> DeleteDocument(std::string_view key, ValidInterval valid) override {
    return Inside([&] { return db_->DeleteDocument(key, valid); });
  }
  Result<std::optional<std::string>> GetDocument(std::string_view key, SystemPeriod as_of,
                                                 ValidPeriod valid_at) const override {
    return Inside([&] { return db_->GetDocument(key, as_of, valid_at); });
  }
  Result<bool> GetDocument(std::string_view key, std::string* document) const override {
    return Inside([&] { return db_->GetDocument(key, document); });
  }
  Result<std::shared_ptr<ScanReader>> ScanPrefix(std::string_view prefix, SystemPeriod as_of,
                                                 ValidPeriod valid_at,
                                                 std::optional<int64_t> limit) const override {
    return ScanInside([&] { return db_->ScanPrefix(prefix, as_of, valid_at, limit); });
  }
  Result<std::shared_ptr<arrow::RecordBatch>> DocumentVersions(std::string_view key,
                                                               SystemPeriod system,
                                                               ValidPeriod valid) const override {
    return Inside([&] { return db_->DocumentVersions(key, system, valid); });
  }
  Result<std::shared_ptr<arrow::RecordBatch>> Get(
      const std::string& table, const Key& key, SystemPeriod system, ValidPeriod valid,
      const std::optional<std::vector<std::string>>& columns) const override {
    return Inside([&] { return db_->Get(table, key, system, valid, columns); });
  }
  Result<std::shared_ptr<ScanReader>> Scan(const std::string& table,
                                           const ScanOptions& options) const override {
    return ScanInside([&] { return db_->Scan(table, options); });
  }
  SnapshotPtr GetSnapshot() const override {
    return InsideOrAgain([&] { return db_->GetSnapshot(); });
  }
  Result<SnapshotPtr> SnapshotAt(SystemPeriod moment) const override {
    return Inside([&] { return db_->SnapshotAt(moment); });
  }
  Result<std::shared_ptr<ScanReader>> Scan(const SnapshotPtr& snapshot, const std::string& table,
                                           const ScanOptions& options) const override {
    return ScanInside([&] { return db_->Scan(snapshot, table, options); });
  }
  Result<std::shared_ptr<arrow::RecordBatch>> Get(
      const SnapshotPtr& snapshot, const std::string& table, const Key& key, SystemPeriod system,
      ValidPeriod valid, const std::optional<std::vector<std::string>>& columns) const override {
    return Inside([&] { return db_->Get(snapshot, table, key, system, valid, columns); });
  }
  Result<std::optional<std::string>> GetDocument(const SnapshotPtr& snapshot, std::string_view key,
                                                 SystemPeriod as_of,
                                                 ValidPeriod valid_at) const override {
    return Inside([&] { return db_->GetDocument(snapshot, key, as_of, valid_at); });
  }
  CommitId newest_commit() const override { return db_->newest_commit(); }
  Result<CommitResult> AdvanceCommit() override {
    return Inside([&] { return db_->AdvanceCommit(); });
  }
  Result<SystemTime> TimeOf(CommitId commit) const override {
    return Inside([&] { return db_->TimeOf(commit); });
  }
  Result<CommitId> CommitAt(SystemTime time) const override {
    return Inside([&] { return db_->CommitAt(time); });
  }
  std::vector<VersionInfo> ListVersions(size_t limit) const override {
    return InsideOrAgain([&] { return db_->ListVersions(limit); });
  }
  Result<CheckpointInfo> CreateCheckpoint(const std::string& name) override {
    return Inside([&] { return db_->CreateCheckpoint(name); });
  }
  Status DropCheckpoint(const std::string& name) override {
    return Inside([&] { return db_->DropCheckpoint(name); });
  }
  Result<CheckpointInfo> GetCheckpoint(const std::string& name) const override {
    return Inside([&] { return db_->GetCheckpoint(name); });
  }
  std::vector<CheckpointInfo> ListCheckpoints() const override {
    return InsideOrAgain([&] { return db_->ListCheckpoints(); });
  }
  Status Flush() override {
    return Inside([&] { return db_->Flush(); });
  }
  Status Sync() override {
    return Inside([&] { return db_->Sync(); });
  }
  Status Compact(const std::optional<std::string>& table) override {
    return Inside([&] { return db_->Compact(table); });
  }
  Status WaitForBackground() override {
    return Inside([&] { return db_->WaitForBackground(); });
  }
  Result<GcResult> CollectGarbage(bool dry_run, std::optional<int64_t> grace_micros) override {
    return Inside([&] { return db_->CollectGarbage(dry_run, grace_micros); });
  }
  Status TrimHistory(const std::string& table, SystemTime floor) override {
    return Inside([&] { return db_->TrimHistory(table, floor); });
  }
  Status EraseKey(const std::string& table, const Key& key) override {
    return Inside([&] { return db_->EraseKey(table, key); });
  }
  Status EraseDocument(std::string_view key) override {
    return Inside([&] { return db_->EraseDocument(key); });
  }
  void SetSealThresholds(int64_t bytes, int64_t rows, int64_t age_micros,
                         int64_t batches) override {
    Inside([&] {
      db_->SetSealThresholds(bytes, rows, age_micros, batches);
      return 0;
    });
  }
  DatabaseMetrics metrics() const override {
    return InsideOrAgain([&] { return db_->metrics(); });
  }
  const RecoveryInfo& recovery() const override { return db_->recovery(); }
  Result<std::vector<std::string>> Check(
      const std::function<void(uint64_t, uint64_t)>& progress) override {
    return Inside([&] { return db_->Check(progress); });
  }

 private:
  std::unique_ptr<Database> db_;
};

}  // namespace

std::shared_ptr<storage::FileSystem> FilesOutside(std::shared_ptr<storage::FileSystem> files) {
  return std::make_shared<OutsideFiles>(std::move(files));
}

std::unique_ptr<Database> CallsInside(std::unique_ptr<Database> db) {
  return std::make_unique<InsideDatabase>(std::move(db));
}

}  // namespace lamina::simulation
