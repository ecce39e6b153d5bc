#include "storage/wal/wal.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "base/random.h"
#include "base/thread.h"
#include "storage/object_store/memory_store.h"
#include "storage/wal/wal_internal.h"

namespace lamina::storage::wal {
namespace {

base::Ulid DatabaseId(uint8_t n = 7) {
  base::Ulid id;
  id.bytes.fill(n);
  return id;
}

/// What a test appended or read back.
struct Entry {
  uint64_t commit = 0;
  int64_t system = 0;
  std::string payload;
  friend bool operator==(const Entry&, const Entry&) = default;
};
using Log = std::vector<Entry>;

Entry MakeEntry(uint64_t commit, size_t size = 5) {
  std::string payload;
  for (size_t i = 0; i < size; ++i)
    payload.push_back(static_cast<char>('a' + (commit * 7 + i) % 26));
  return {commit, 1'000'000 + static_cast<int64_t>(commit), std::move(payload)};
}

Frame AsFrame(const Entry& e) { return {FrameType::kCommit, {e.commit}, {e.system}, e.payload}; }

class WalTest : public testing::Test {
 protected:
  void TearDown() override { base::DisarmFaults(); }

  std::unique_ptr<Writer> Open(uint64_t epoch, int64_t segment_bytes = 64 << 20) {
    WriterOptions options;
    options.database_id = DatabaseId();
    options.epoch = epoch;
    options.segment_bytes = segment_bytes;
    auto writer = Writer::Open(store_, options);
    EXPECT_TRUE(writer.ok()) << writer.status().ToString();
    return writer.ok() ? std::move(*writer) : nullptr;
  }

  void Append(Writer& writer, const Entry& entry) {
    const Frame frame = AsFrame(entry);
    ASSERT_TRUE(writer.Append({&frame, 1}).ok());
  }

  /// One epoch with these commits, each synced, and then the process is gone: not sealed.
  Log WriteEpoch(uint64_t epoch, uint64_t first, uint64_t count, int64_t segment_bytes = 64 << 20,
                 size_t size = 5) {
    Log log;
    auto writer = Open(epoch, segment_bytes);
    for (uint64_t c = first; c < first + count; ++c) {
      log.push_back(MakeEntry(c, size));
      Append(*writer, log.back());
      EXPECT_TRUE(writer->Sync().ok());
    }
    return log;
  }

  ReplayOptions Options() const {
    ReplayOptions options;
    options.database_id = DatabaseId();
    return options;
  }

  Result<Log> Read(const ReplayOptions& options, ReplayReport* report = nullptr) {
    Log log;
    ARROW_ASSIGN_OR_RAISE(
        const ReplayReport r, Replay(store_, options, [&](const Frame& f) {
          log.push_back({f.commit.value, f.system.micros, std::string(f.payload)});
          return Status::OK();
        }));
    if (report != nullptr) *report = r;
    return log;
  }
  Result<Log> Read() { return Read(Options()); }

  std::string Bytes(const std::string& path) {
    auto buffer = store_->Get(path);
    EXPECT_TRUE(buffer.ok()) << path;
    return buffer.ok() ? (*buffer)->ToString() : "";
  }
  void Overwrite(const std::string& path, std::string_view bytes) {
    ASSERT_TRUE(store_->Put(path, bytes, PutCondition::None()).ok());
  }
  /// A fresh store holding copies of all objects.
  std::map<std::string, std::string> Copy() {
    std::map<std::string, std::string> out;
    for (const ObjectInfo& object : *store_->List("")) out[object.path] = Bytes(object.path);
    return out;
  }
  void Restore(const std::map<std::string, std::string>& objects) {
    store_ = MakeMemoryStore();
    for (const auto& [path, bytes] : objects) Overwrite(path, bytes);
  }
  /// Names and sizes, for "nothing changed".
  std::vector<std::pair<SegmentId, int64_t>> Segments() {
    std::vector<std::pair<SegmentId, int64_t>> out;
    for (const SegmentInfo& s : *ListSegments(store_, "main")) out.emplace_back(s.id, s.bytes);
    return out;
  }

  std::shared_ptr<ObjectStore> store_ = MakeMemoryStore();
};

TEST_F(WalTest, FramesComeBackInOrder) {
  Log log;
  auto writer = Open(1);
  std::vector<Frame> group;
  for (uint64_t c = 1; c <= 20; ++c) log.push_back(MakeEntry(c, c * 13 % 50));
  for (const Entry& e : log) group.push_back(AsFrame(e));
  ASSERT_TRUE(writer->Append({group.data(), 7}).ok());
  ASSERT_TRUE(writer->Append({group.data() + 7, 13}).ok());
  ASSERT_TRUE(writer->Sync().ok());
  EXPECT_EQ(writer->stats().frames, 20u);
  EXPECT_EQ(writer->stats().appends, 3u);  // the header and two groups
  ASSERT_TRUE(writer->Close().ok());
  ReplayReport report;
  EXPECT_EQ(*Read(Options(), &report), log);
  EXPECT_EQ(report.frames, 20u);
  EXPECT_EQ(report.segments, 1u);
  EXPECT_EQ(report.last_epoch, 1u);
  EXPECT_EQ(report.torn_bytes, 0u);
}

TEST_F(WalTest, EmptyLogHasNothing) {
  ReplayReport report;
  EXPECT_EQ(*Read(Options(), &report), Log{});
  EXPECT_EQ(report.last_epoch, 0u);
  EXPECT_TRUE(Segments().empty());
  EXPECT_TRUE(ListFrames(store_, Options())->empty());
}

TEST_F(WalTest, SealThatADeadOpenLeftIsBuiltOnByTheNext) {
  auto memory = std::make_shared<MemoryStore>();
  store_ = memory;
  const Log log = WriteEpoch(1, 1, 3);
  base::ArmFault("wal.seal.after_put", MakeError(ErrorCode::kUnavailable, "killed"));
  EXPECT_FALSE(Read().ok());
  base::DisarmFaults();
  // The next process finds the seal and goes on; then the machine stops.
  EXPECT_EQ(*Read(), log);
  auto writer = Open(2);
  Append(*writer, MakeEntry(4));
  ASSERT_TRUE(writer->Sync().ok());
  store_ = memory->CrashClone();
  auto all = log;
  all.push_back(MakeEntry(4));
  const auto read = Read();
  ASSERT_TRUE(read.ok()) << read.status().ToString();
  EXPECT_EQ(*read, all);
}

// A process wrote the end anew, was killed before it synced the directory, and the next one took
// what it read for certain and began its epoch; then the machine stopped, and the old end is back.
// Found by clock seed 554 of the whole systems.
TEST_F(WalTest, AnEndWrittenAnewThatIsLostAgainIsNoDamage) {
  for (const int64_t torn_to : {int64_t{-1}, int64_t{0}, int64_t{10}, int64_t{70}}) {
    SCOPED_TRACE(torn_to);
    store_ = MakeMemoryStore();
    Log log = {MakeEntry(1), MakeEntry(2), MakeEntry(3)};
    const std::string end = SegmentPath("main", {1, 2});
    {
      auto writer = Open(1);
      for (const Entry& entry : log) Append(*writer, entry);
      ASSERT_TRUE(writer->Rotate().ok());
      Append(*writer, MakeEntry(4, 100));
    }
    std::string torn = Bytes(end);
    torn.resize(torn_to < 0 ? torn.size() - 1 : static_cast<size_t>(torn_to));
    Overwrite(end, torn);
    EXPECT_EQ(*Read(), log);  // writes the end anew
    {
      auto writer = Open(2);
      Append(*writer, MakeEntry(5));
      ASSERT_TRUE(writer->Sync().ok());
    }
    Overwrite(end, torn);
    log.push_back(MakeEntry(5));
    const auto read = Read();
    ASSERT_TRUE(read.ok()) << read.status().ToString();
    EXPECT_EQ(*read, log);
  }
}

// The other way round: commits lay behind the header, and the next epoch knows of them.
TEST_F(WalTest, ADamagedHeaderBeforeSyncedCommitsIsDamageAlsoInAnOlderEpoch) {
  WriteEpoch(1, 1, 3);
  ASSERT_TRUE(Read().ok());
  WriteEpoch(2, 4, 1);
  const std::string path = SegmentPath("main", {1, 1});
  std::string bytes = Bytes(path);
  bytes[3] ^= 0x10;
  Overwrite(path, bytes);
  const auto read = Read();
  ASSERT_FALSE(read.ok());
  EXPECT_EQ(CodeOf(read.status()), ErrorCode::kCorruption);
  EXPECT_NE(read.status().message().find(path + "@0"), std::string::npos) << read.status();
}

TEST_F(WalTest, ReplayTwiceIsTheSameAndSealsOnce) {
  const Log log = WriteEpoch(1, 1, 5);
  EXPECT_EQ(*Read(), log);
  const auto sealed = Segments();
  ReplayReport report;
  EXPECT_EQ(*Read(Options(), &report), log);
  EXPECT_EQ(Segments(), sealed);
  EXPECT_EQ(report.torn_bytes, 0u);
  const auto frames = *ListFrames(store_, Options());
  ASSERT_EQ(frames.size(), 6u);
  EXPECT_EQ(frames.back().type, FrameType::kSeal);
  EXPECT_EQ(frames.back().commit.value, 5u);
}

TEST_F(WalTest, ReadOnlyReplayChangesNothing) {
  const Log log = WriteEpoch(1, 1, 5);
  const auto before = Segments();
  ReplayOptions options = Options();
  options.read_only = true;
  EXPECT_EQ(*Read(options), log);
  EXPECT_EQ(Segments(), before);
}

TEST_F(WalTest, RotatesBySizeIntoManySegments) {
  const Log log = WriteEpoch(1, 1, 100, 300, 40);
  EXPECT_GT(Segments().size(), 20u);
  for (const auto& [id, bytes] : Segments()) EXPECT_LE(bytes, 300);
  EXPECT_EQ(*Read(), log);
  // A frame that is larger than a segment has one for itself.
  auto writer = Open(2, 300);
  Append(*writer, MakeEntry(101, 5000));
  Append(*writer, MakeEntry(102));
  EXPECT_EQ(writer->current(), (SegmentId{2, 2}));
}

TEST_F(WalTest, RotateGivesTheFloorOfWhatComesAfter) {
  auto writer = Open(1);
  Append(*writer, MakeEntry(1));
  const SegmentId floor = *writer->Rotate();
  EXPECT_EQ(floor, (SegmentId{1, 2}));
  EXPECT_EQ(writer->current(), floor);
  Append(*writer, MakeEntry(2));
  ASSERT_TRUE(writer->Close().ok());
  ReplayOptions options = Options();
  options.floor = floor;
  EXPECT_EQ(*Read(options), Log{MakeEntry(2)});
  EXPECT_EQ(*Read(), (Log{MakeEntry(1), MakeEntry(2)}));
}

TEST_F(WalTest, TenThousandFramesOverManyEpochs) {
  Log log;
  for (uint64_t epoch = 1; epoch <= 5; ++epoch) {
    const Log part = WriteEpoch(epoch * 3, log.size() + 1, 2000, 8000, 20);  // epochs may have gaps
    log.insert(log.end(), part.begin(), part.end());
    EXPECT_EQ(Read()->size(), log.size());
  }
  EXPECT_EQ(*Read(), log);
}

TEST_F(WalTest, TailCutAtEveryByteKeepsAPrefix) {
  Log log = WriteEpoch(1, 1, 2);
  ASSERT_TRUE(Read().ok());
  const Log more = WriteEpoch(2, 3, 3, 130, 11);
  log.insert(log.end(), more.begin(), more.end());
  ASSERT_GT(Segments().size(), 2u);
  const auto whole = Copy();
  const std::string last = SegmentPath("main", Segments().back().first);
  const std::string& bytes = whole.at(last);
  for (size_t cut = 0; cut <= bytes.size(); ++cut) {
    SCOPED_TRACE(cut);
    Restore(whole);
    Overwrite(last, bytes.substr(0, cut));
    ReplayReport report;
    const auto first = Read(Options(), &report);
    ASSERT_TRUE(first.ok()) << first.status().ToString();
    ASSERT_LE(first->size(), log.size());
    EXPECT_TRUE(std::equal(first->begin(), first->end(), log.begin()));
    const bool at_a_boundary =
        cut >= kSegmentHeaderBytes && (cut - kSegmentHeaderBytes) % (kFrameHeaderBytes + 11) == 0;
    EXPECT_EQ(report.torn_at.empty(), at_a_boundary);
    if (!at_a_boundary) {
      EXPECT_TRUE(report.torn_at.starts_with(last)) << report.torn_at;
    }
    // The log goes on behind the cut.
    Log expected = *first;
    auto writer = Open(3);
    ASSERT_NE(writer, nullptr);
    expected.push_back(MakeEntry(expected.size() + 1, 9));
    Append(*writer, expected.back());
    ASSERT_TRUE(writer->Close().ok());
    EXPECT_EQ(*Read(), expected);
    EXPECT_EQ(*Read(), expected);
  }
}

TEST_F(WalTest, FlippedByteAnywhereIsNamedOrATornTail) {
  Log log = WriteEpoch(1, 1, 2);
  ASSERT_TRUE(Read().ok());
  const Log more = WriteEpoch(2, 3, 6, 180, 11);
  log.insert(log.end(), more.begin(), more.end());
  const auto whole = Copy();
  const std::string last = SegmentPath("main", Segments().back().first);
  const size_t last_frame_at = whole.at(last).size() - kFrameHeaderBytes - 11;
  ASSERT_GT(last_frame_at, size_t{kSegmentHeaderBytes});  // so the last segment has two frames
  const std::string sealed = SegmentPath("main", {1, 1});
  const size_t seal_at = whole.at(sealed).size() - kFrameHeaderBytes;
  for (const auto& [path, bytes] : whole) {
    for (size_t at = 0; at < bytes.size(); ++at) {
      for (const char flip : {'\x01', '\x80'}) {
        SCOPED_TRACE(fmt::format("{}@{}", path, at));
        Restore(whole);
        std::string damaged = bytes;
        damaged[at] = static_cast<char>(damaged[at] ^ flip);
        Overwrite(path, damaged);
        ReplayReport report;
        const auto read = Read(Options(), &report);
        if (path == last && at >= last_frame_at) {
          ASSERT_TRUE(read.ok()) << read.status().ToString();
          EXPECT_EQ(*read, Log(log.begin(), log.end() - 1));
          EXPECT_EQ(report.torn_at, fmt::format("{}@{}", last, last_frame_at));
          EXPECT_EQ(report.torn_bytes, bytes.size() - last_frame_at);
        } else if (path == sealed && at >= seal_at) {
          // The header behind it says what the seal was.
          ASSERT_TRUE(read.ok()) << read.status().ToString();
          EXPECT_EQ(*read, log);
        } else {
          ASSERT_FALSE(read.ok());
          EXPECT_EQ(CodeOf(read.status()), ErrorCode::kCorruption);
          EXPECT_NE(MessageOf(read.status()).find(path + "@"), std::string::npos)
              << read.status().ToString();
        }
      }
    }
  }
}

TEST_F(WalTest, ZeroFilledTailIsTheEnd) {
  const Log log = WriteEpoch(1, 1, 3);
  const std::string path = SegmentPath("main", {1, 1});
  Overwrite(path, Bytes(path) + std::string(4096, '\0'));
  ReplayReport report;
  EXPECT_EQ(*Read(Options(), &report), log);
  EXPECT_EQ(report.torn_bytes, 0u);
  // The space was given back before the seal.
  EXPECT_LT(Segments().back().second, 4096);
  WriteEpoch(2, 4, 1);
  EXPECT_EQ(Read()->size(), 4u);
}

TEST_F(WalTest, IntactFrameBehindDamageIsNotATornTail) {
  WriteEpoch(1, 1, 4);
  const std::string path = SegmentPath("main", {1, 1});
  std::string bytes = Bytes(path);
  // The second frame's length now reaches far beyond the file, or nowhere.
  for (const uint32_t length : {0xffffffffu, 0x3fffffffu, 40u, 0u}) {
    std::string damaged = bytes;
    std::memcpy(damaged.data() + kSegmentHeaderBytes + kFrameHeaderBytes + 5 + 4, &length, 4);
    Overwrite(path, damaged);
    const auto read = Read();
    ASSERT_FALSE(read.ok());
    EXPECT_EQ(CodeOf(read.status()), ErrorCode::kCorruption);
    EXPECT_NE(MessageOf(read.status()).find(path + "@113"), std::string::npos)
        << read.status().ToString();
  }
}

TEST_F(WalTest, AValueThatHoldsALogIsNotMistakenForFrames) {
  // A log stored as a value, in a torn frame: the frames inside carry higher commits, but another
  // segment's salt.
  WriteEpoch(1, 500, 3);
  const std::string inner = Bytes(SegmentPath("main", {1, 1}));
  store_ = MakeMemoryStore();
  {
    auto writer = Open(2);
    Append(*writer, MakeEntry(1));
    Append(*writer, {2, 5'000'000, inner + "tail"});
    ASSERT_TRUE(writer->Sync().ok());
  }
  const std::string path = SegmentPath("main", {2, 1});
  std::string bytes = Bytes(path);
  bytes.pop_back();
  Overwrite(path, bytes);
  EXPECT_EQ(*Read(), Log{MakeEntry(1)});
}

TEST_F(WalTest, MissingSegmentIsNoticed) {
  WriteEpoch(1, 1, 6, 120, 11);
  ASSERT_TRUE(Read().ok());
  WriteEpoch(2, 7, 6, 120, 11);
  ASSERT_TRUE(Read().ok());
  WriteEpoch(4, 13, 2);
  const auto whole = Copy();
  const auto segments = Segments();
  ASSERT_EQ(segments.size(), 13u);
  for (size_t i = 0; i + 1 < segments.size(); ++i) {
    Restore(whole);
    const std::string path = SegmentPath("main", segments[i].first);
    ASSERT_TRUE(store_->Delete(path).ok());
    const auto read = Read();
    ASSERT_FALSE(read.ok()) << path;
    EXPECT_EQ(CodeOf(read.status()), ErrorCode::kCorruption);
  }
  // A whole epoch in the middle.
  Restore(whole);
  for (const auto& [id, bytes] : segments) {
    if (id.epoch != 2) continue;
    ASSERT_TRUE(store_->Delete(SegmentPath("main", id)).ok());
  }
  EXPECT_EQ(CodeOf(Read().status()), ErrorCode::kCorruption);
  // The first epoch.
  Restore(whole);
  for (const auto& [id, bytes] : segments) {
    if (id.epoch != 1) continue;
    ASSERT_TRUE(store_->Delete(SegmentPath("main", id)).ok());
  }
  EXPECT_EQ(CodeOf(Read().status()), ErrorCode::kCorruption);
  // The floor's own segment, with everything behind it.
  store_ = MakeMemoryStore();
  ReplayOptions options = Options();
  options.floor = {2, 3};
  EXPECT_EQ(CodeOf(Read(options).status()), ErrorCode::kCorruption);
}

TEST_F(WalTest, SegmentShortenedAtAFrameIsNoticed) {
  WriteEpoch(1, 1, 6, 160, 11);
  const std::string path = SegmentPath("main", {1, 1});
  const std::string bytes = Bytes(path);
  Overwrite(path, bytes.substr(0, bytes.size() - kFrameHeaderBytes - 11));
  const auto read = Read();
  ASSERT_FALSE(read.ok());
  EXPECT_NE(MessageOf(read.status()).find("chain mismatch"), std::string::npos)
      << read.status().ToString();
}

TEST_F(WalTest, SegmentOfAnotherDatabaseIsRefused) {
  WriteEpoch(1, 1, 3);
  ReplayOptions options = Options();
  options.database_id = DatabaseId(9);
  const auto read = Read(options);
  ASSERT_FALSE(read.ok());
  EXPECT_EQ(CodeOf(read.status()), ErrorCode::kCorruption);
  EXPECT_NE(MessageOf(read.status()).find("another database"), std::string::npos);
  EXPECT_NE(MessageOf(read.status()).find(SegmentPath("main", {1, 1}) + "@0"), std::string::npos);
}

TEST_F(WalTest, SegmentUnderAnotherNameIsRefused) {
  WriteEpoch(1, 1, 6, 120, 11);
  const std::string first = Bytes(SegmentPath("main", {1, 1}));
  Overwrite(SegmentPath("main", {1, 2}), first);
  EXPECT_EQ(CodeOf(Read().status()), ErrorCode::kCorruption);
}

TEST_F(WalTest, EpochWithoutSealInTheMiddleIsRefused) {
  WriteEpoch(1, 1, 3);
  ASSERT_TRUE(Read().ok());
  WriteEpoch(2, 4, 3);
  const std::string path = SegmentPath("main", {1, 1});
  const std::string bytes = Bytes(path);
  // Without the last frame too: a seal alone would be known by the header behind it.
  Overwrite(path, bytes.substr(0, bytes.size() - 2 * kFrameHeaderBytes - 5));
  const auto read = Read();
  ASSERT_FALSE(read.ok());
  EXPECT_EQ(CodeOf(read.status()), ErrorCode::kCorruption);
  EXPECT_NE(MessageOf(read.status()).find("without a seal"), std::string::npos);
}

TEST_F(WalTest, WriterRefusesAnEpochBehindAnUnsealedOne) {
  WriteEpoch(1, 1, 3);
  WriterOptions options;
  options.database_id = DatabaseId();
  options.epoch = 2;
  EXPECT_EQ(CodeOf(Writer::Open(store_, options).status()), ErrorCode::kInternal);
  options.epoch = 1;
  EXPECT_EQ(CodeOf(Writer::Open(store_, options).status()), ErrorCode::kAlreadyExists);
  ASSERT_TRUE(Read().ok());
  options.epoch = 2;
  EXPECT_TRUE(Writer::Open(store_, options).ok());
  options.epoch = 1;
  EXPECT_EQ(CodeOf(Writer::Open(store_, options).status()), ErrorCode::kInvalidArgument);
}

TEST_F(WalTest, AnotherFormatIsRefusedNamingBothVersions) {
  WriteEpoch(1, 1, 3);
  const std::string path = SegmentPath("main", {1, 1});
  for (const char version : {'\1', '\3'}) {
    std::string header = Bytes(path).substr(0, kSegmentHeaderBytes);
    header[header_field::kVersion.offset] = version;
    const uint32_t checksum = base::Crc32c(header.substr(0, header_field::kChecksum.offset));
    std::memcpy(header.data() + header_field::kChecksum.offset, &checksum, 4);
    Overwrite(path, header);
    const auto read = Read();
    EXPECT_EQ(CodeOf(read.status()), ErrorCode::kUnsupported);
    EXPECT_NE(MessageOf(read.status()).find(fmt::format("format={} supported=2", int{version})),
              std::string::npos)
        << read.status().ToString();
    EXPECT_EQ(Bytes(path), header) << "what cannot be read is not cut";
  }
}

TEST_F(WalTest, AHoleInWhatWasNeverSyncedIsATornTail) {
  // Three frames after the last sync; the disk has the third, and of the second nothing.
  Log log = WriteEpoch(1, 1, 2);
  {
    ASSERT_TRUE(Read().ok());
    auto writer = Open(2);
    for (uint64_t c = 3; c <= 6; ++c) {
      log.push_back(MakeEntry(c));
      Append(*writer, log.back());
      if (c == 3) {
        ASSERT_TRUE(writer->Sync().ok());
      }
    }
  }
  const std::string path = SegmentPath("main", {2, 1});
  const std::string whole = Bytes(path);
  const size_t frame = kFrameHeaderBytes + 5;
  std::string holed = whole;
  std::fill_n(holed.begin() + kSegmentHeaderBytes + static_cast<ptrdiff_t>(2 * frame), frame, '\0');
  Overwrite(path, holed);
  ReplayReport report;
  EXPECT_EQ(*Read(Options(), &report), Log(log.begin(), log.begin() + 4));
  EXPECT_EQ(report.torn_bytes, 2 * frame);
  // What was synced before a later frame was written is no such hole.
  holed = whole;
  std::fill_n(holed.begin() + kSegmentHeaderBytes, frame, '\0');
  Overwrite(path, holed);
  EXPECT_EQ(CodeOf(Read().status()), ErrorCode::kCorruption);
}

TEST_F(WalTest, AHeaderThatWasNeverSyncedIsATornHeader) {
  Log log;
  {
    auto writer = Open(1);
    Append(*writer, MakeEntry(1));
    Append(*writer, MakeEntry(2));
  }
  const std::string path = SegmentPath("main", {1, 1});
  std::string bytes = Bytes(path);
  std::fill_n(bytes.begin(), kSegmentHeaderBytes, '\0');
  Overwrite(path, bytes);
  ReplayReport report;
  EXPECT_EQ(*Read(Options(), &report), Log{});
  EXPECT_EQ(report.torn_at, path + "@0");
  WriteEpoch(2, 1, 1);
  EXPECT_EQ(*Read(), Log{MakeEntry(1)});
}

TEST_F(WalTest, ALogThatWasClosedLosesNothingToADamagedByte) {
  Log log;
  {
    auto writer = Open(1);
    for (uint64_t c = 1; c <= 3; ++c) {
      log.push_back(MakeEntry(c));
      Append(*writer, log.back());
    }
    ASSERT_TRUE(writer->Close().ok());
  }
  const std::string path = SegmentPath("main", {1, 1});
  const std::string bytes = Bytes(path);
  const size_t seal_at = bytes.size() - kFrameHeaderBytes;
  for (size_t at = 0; at < bytes.size(); ++at) {
    SCOPED_TRACE(at);
    std::string damaged = bytes;
    damaged[at] = static_cast<char>(damaged[at] ^ 4);
    Overwrite(path, damaged);
    const auto read = Read();
    if (at < seal_at) {
      EXPECT_EQ(CodeOf(read.status()), ErrorCode::kCorruption);
    } else {
      EXPECT_EQ(*read, log);
    }
  }
}

TEST_F(WalTest, SalvageKeepsWhatLiesBeforeTheDamage) {
  Log log = WriteEpoch(1, 1, 6, 160, 11);
  ASSERT_TRUE(Read().ok());
  const Log more = WriteEpoch(2, 7, 4, 160, 11);
  log.insert(log.end(), more.begin(), more.end());
  const auto whole = Copy();
  const auto segments = Segments();
  for (const auto& [id, size] : segments) {
    const std::string path = SegmentPath("main", id);
    for (size_t at = 0; at < static_cast<size_t>(size); at += 9) {
      SCOPED_TRACE(fmt::format("{}@{}", path, at));
      Restore(whole);
      std::string bytes = whole.at(path);
      bytes[at] = static_cast<char>(bytes[at] ^ 0x10);
      Overwrite(path, bytes);
      ReplayOptions options = Options();
      options.salvage = true;
      options.read_only = true;
      ReplayReport report;
      const auto looked = Read(options, &report);
      ASSERT_TRUE(looked.ok()) << looked.status().ToString();
      EXPECT_TRUE(std::equal(looked->begin(), looked->end(), log.begin()));
      const bool torn = !report.torn_at.empty();
      EXPECT_EQ(Bytes(path), bytes);
      // A seal that the next header vouches for is not missed.
      const bool lost_seal = path == SegmentPath("main", {1, 6}) &&
                             at >= static_cast<size_t>(size) - kFrameHeaderBytes;
      EXPECT_EQ(report.left_out.empty(), torn || lost_seal);
      if (torn) continue;
      if (lost_seal) {
        EXPECT_EQ(*looked, log);
        continue;
      }
      // For good: from now on the log is sound, and goes on.
      options.read_only = false;
      EXPECT_EQ(*Read(options), *looked);
      EXPECT_FALSE(store_->List("wal/main/damaged/")->empty());
      Log expected = *looked;
      ASSERT_TRUE(Read().ok()) << Read().status().ToString();
      EXPECT_EQ(*Read(), expected);
      auto writer = Open(3);
      ASSERT_NE(writer, nullptr);
      expected.push_back(MakeEntry(50));
      Append(*writer, expected.back());
      ASSERT_TRUE(writer->Close().ok());
      EXPECT_EQ(*Read(), expected);
    }
  }
}

TEST_F(WalTest, SalvageOfAMissingFloorLeavesASoundLog) {
  WriteEpoch(1, 1, 6, 120, 11);
  ASSERT_TRUE(store_->Delete(SegmentPath("main", {1, 2})).ok());
  ReplayOptions options = Options();
  options.floor = {1, 2};
  ASSERT_FALSE(Read(options).ok());
  options.salvage = true;
  ReplayReport report;
  EXPECT_EQ(*Read(options, &report), Log{});
  EXPECT_FALSE(report.left_out.empty());
  options.salvage = false;
  EXPECT_EQ(*Read(options), Log{});
  // The segment before the floor is of no interest; a writer finds the empty sealed floor.
  auto writer = Open(2);
  ASSERT_NE(writer, nullptr);
  Append(*writer, MakeEntry(9));
  ASSERT_TRUE(writer->Close().ok());
  EXPECT_EQ(*Read(options), Log{MakeEntry(9)});
}

TEST_F(WalTest, SalvageInterruptedAnywhereCanBeRepeated) {
  const Log log = WriteEpoch(1, 1, 8, 160, 11);
  const std::string path = SegmentPath("main", {1, 2});
  std::string bytes = Bytes(path);
  bytes[90] = static_cast<char>(bytes[90] ^ 1);
  Overwrite(path, bytes);
  const auto damaged = Copy();
  ReplayOptions options = Options();
  options.salvage = true;
  const Log expected = *Read(options);
  for (const char* point :
       {"wal.salvage.before_delete", "wal.seal.before_put", "wal.seal.after_put"}) {
    for (uint64_t hits = 0; hits < 3; ++hits) {
      SCOPED_TRACE(fmt::format("{} {}", point, hits));
      Restore(damaged);
      base::ArmFault(point, MakeError(ErrorCode::kUnavailable, "crash"), hits);
      (void)Read(options);  // the interruption
      base::DisarmFaults();
      EXPECT_EQ(*Read(options), expected);
      EXPECT_EQ(*Read(), expected);
    }
  }
}

TEST_F(WalTest, SealingInterruptedAnywhereCanBeRepeated) {
  const Log log = WriteEpoch(1, 1, 3);
  const std::string path = SegmentPath("main", {1, 1});
  const std::string whole = Bytes(path);
  for (const size_t cut : {size_t{0}, size_t{30}, whole.size() - 3, whole.size()}) {
    for (const char* point : {"wal.seal.before_put", "wal.seal.after_put"}) {
      Overwrite(path, whole.substr(0, cut));
      base::ArmFault(point, MakeError(ErrorCode::kUnavailable, "crash"));
      EXPECT_FALSE(Read().ok());
      base::DisarmFaults();
      const size_t kept = cut == whole.size() ? 3 : cut < kSegmentHeaderBytes ? 0 : 2;
      EXPECT_EQ(*Read(), Log(log.begin(), log.begin() + static_cast<ptrdiff_t>(kept)));
      EXPECT_EQ(ListFrames(store_, Options())->size(), kept + 1);
    }
  }
}

TEST_F(WalTest, ASealThatGotLostIsKnownByTheNextEpochsHeader) {
  for (const bool closed : {false, true}) {
    for (const uint64_t commits : {0, 3}) {
      store_ = MakeMemoryStore();
      const Log log = WriteEpoch(1, 1, commits);
      if (closed) {
        store_ = MakeMemoryStore();
        auto writer = Open(1);
        for (const Entry& entry : log) Append(*writer, entry);
        ASSERT_TRUE(writer->Close().ok());
      }
      ASSERT_TRUE(Read().ok());
      Log expected = log;
      const Log more = WriteEpoch(2, 4, 1);
      expected.insert(expected.end(), more.begin(), more.end());
      const std::string path = SegmentPath("main", {1, 1});
      const std::string whole = Bytes(path);
      const size_t seal_at = whole.size() - kFrameHeaderBytes;
      for (size_t cut = seal_at; cut <= whole.size(); ++cut) {
        SCOPED_TRACE(cut);
        Overwrite(path, whole.substr(0, cut));
        EXPECT_EQ(*Read(), expected);
        Overwrite(path, whole.substr(0, cut) + std::string(whole.size() - cut, '\0'));
        EXPECT_EQ(*Read(), expected);
      }
      // Anything more is damage.
      if (commits == 0) continue;
      for (const size_t cut : {seal_at - 1, seal_at - kFrameHeaderBytes - 5}) {
        Overwrite(path, whole.substr(0, cut));
        EXPECT_EQ(CodeOf(Read().status()), ErrorCode::kCorruption);
      }
    }
  }
}

TEST_F(WalTest, BytesBehindASealAreDamage) {
  WriteEpoch(1, 1, 2);
  ASSERT_TRUE(Read().ok());
  const std::string path = SegmentPath("main", {1, 1});
  Overwrite(path, Bytes(path) + "x");
  EXPECT_EQ(CodeOf(Read().status()), ErrorCode::kCorruption);
  ReplayOptions options = Options();
  options.salvage = true;
  EXPECT_EQ(Read(options)->size(), 2u);
  EXPECT_EQ(Read()->size(), 2u);
}

TEST_F(WalTest, CommitsThatDoNotRiseAreRefusedByWriterAndReader) {
  auto writer = Open(1);
  Append(*writer, MakeEntry(5));
  const Entry same = MakeEntry(5);
  const Frame frame = AsFrame(same);
  EXPECT_EQ(CodeOf(writer->Append({&frame, 1})), ErrorCode::kInvalidArgument);
  const Frame seal{FrameType::kSeal, {9}, {}, {}};
  EXPECT_EQ(CodeOf(writer->Append({&seal, 1})), ErrorCode::kInvalidArgument);
  // The writer stays usable.
  Append(*writer, MakeEntry(6));
  ASSERT_TRUE(writer->Close().ok());
  ASSERT_TRUE(Read().ok());
  WriteEpoch(2, 6, 1);
  const auto read = Read();
  EXPECT_EQ(CodeOf(read.status()), ErrorCode::kCorruption);
  EXPECT_NE(MessageOf(read.status()).find("do not rise"), std::string::npos);
}

TEST_F(WalTest, OversizedFrameIsRefusedAndTheWriterStaysUsable) {
  auto writer = Open(1);
  const std::string small = "x";
  // Only the size is looked at before the refusal, so the bytes need not be there.
  const Frame frame{
      FrameType::kCommit, {1}, {1}, std::string_view(small.data(), kPayloadBytesMax + 1)};
  EXPECT_EQ(CodeOf(writer->Append({&frame, 1})), ErrorCode::kInvalidArgument);
  Append(*writer, MakeEntry(1));
  ASSERT_TRUE(writer->Close().ok());
  EXPECT_EQ(*Read(), Log{MakeEntry(1)});
}

TEST_F(WalTest, FailedAppendStopsTheWriterForGood) {
  auto writer = Open(1);
  Append(*writer, MakeEntry(1));
  ASSERT_TRUE(writer->Sync().ok());
  base::ArmFault("wal.append", MakeError(ErrorCode::kResourceExhausted, "disk full"));
  const Entry two = MakeEntry(2);
  const Frame frame = AsFrame(two);
  EXPECT_EQ(CodeOf(writer->Append({&frame, 1})), ErrorCode::kResourceExhausted);
  base::DisarmFaults();
  const Status later = writer->Append({&frame, 1});
  EXPECT_EQ(CodeOf(later), ErrorCode::kStopped);
  EXPECT_NE(MessageOf(later).find("disk full"), std::string::npos);
  EXPECT_EQ(CodeOf(writer->Sync()), ErrorCode::kStopped);
  EXPECT_EQ(CodeOf(writer->Rotate().status()), ErrorCode::kStopped);
  EXPECT_EQ(CodeOf(writer->Close()), ErrorCode::kStopped);
  EXPECT_EQ(*Read(), Log{MakeEntry(1)});
}

TEST_F(WalTest, FailedSyncStopsTheWriterForGood) {
  auto writer = Open(1);
  Append(*writer, MakeEntry(1));
  base::ArmFault("wal.sync", MakeError(ErrorCode::kUnavailable, "io error"));
  EXPECT_EQ(CodeOf(writer->Sync()), ErrorCode::kUnavailable);
  base::DisarmFaults();
  EXPECT_EQ(CodeOf(writer->Sync()), ErrorCode::kStopped);
  const Entry two = MakeEntry(2);
  const Frame frame = AsFrame(two);
  EXPECT_EQ(CodeOf(writer->Append({&frame, 1})), ErrorCode::kStopped);
}

TEST_F(WalTest, FailedRotationStopsTheWriterForGood) {
  auto writer = Open(1, 120);
  Append(*writer, MakeEntry(1, 11));
  base::ArmFault("wal.begin_segment", MakeError(ErrorCode::kResourceExhausted, "disk full"));
  const Entry two = MakeEntry(2, 11);
  const Frame frame = AsFrame(two);
  EXPECT_EQ(CodeOf(writer->Append({&frame, 1})), ErrorCode::kResourceExhausted);
  base::DisarmFaults();
  EXPECT_EQ(CodeOf(writer->Append({&frame, 1})), ErrorCode::kStopped);
  EXPECT_EQ(CodeOf(writer->Close()), ErrorCode::kStopped);
  EXPECT_EQ(*Read(), Log{MakeEntry(1, 11)});
}

TEST_F(WalTest, WhatWasSyncedSurvivesACrash) {
  base::Random random(11);
  for (int round = 0; round < 50; ++round) {
    auto memory = std::make_shared<MemoryStore>();
    store_ = memory;
    Log log;
    size_t synced = 0;
    auto writer = Open(1, 300);
    for (uint64_t c = 1; c <= 20; ++c) {
      log.push_back(MakeEntry(c, random.Uniform(60)));
      Append(*writer, log.back());
      if (!random.OneIn(4)) continue;
      ASSERT_TRUE(writer->Sync().ok());
      synced = log.size();
    }
    store_ = memory->CrashClone(&random);
    const auto read = Read();
    ASSERT_TRUE(read.ok()) << read.status().ToString();
    EXPECT_GE(read->size(), synced);
    EXPECT_TRUE(std::equal(read->begin(), read->end(), log.begin()));
    EXPECT_EQ(*Read(), *read);
  }
}

TEST_F(WalTest, WorksOnALocalDirectory) {
  const std::string directory =
      testing::TempDir() + fmt::format("lamina_wal_{}", base::SeedFromEntropy());
  store_ = *OpenLocalStore(directory, true);
  Log log = WriteEpoch(1, 1, 20, 300, 11);
  const std::string last = SegmentPath("main", Segments().back().first);
  const std::string bytes = Bytes(last);
  std::ofstream(directory + "/" + last, std::ios::binary | std::ios::trunc)
      << bytes.substr(0, bytes.size() - 1);
  log.pop_back();
  ReplayReport report;
  EXPECT_EQ(*Read(Options(), &report), log);
  EXPECT_FALSE(report.torn_at.empty());
  const Log more = WriteEpoch(2, 20, 5);
  log.insert(log.end(), more.begin(), more.end());
  EXPECT_EQ(*Read(), log);
  ASSERT_TRUE(Prune(store_, "main", {2, 1}, false).ok());
  ReplayOptions options = Options();
  options.floor = {2, 1};
  EXPECT_EQ(*Read(options), more);
  std::filesystem::remove_all(directory);
}

TEST_F(WalTest, SyncWithNothingNewDoesNotReachTheStore) {
  auto writer = Open(1);
  ASSERT_TRUE(writer->Sync().ok());
  const uint64_t syncs = writer->stats().syncs;
  ASSERT_TRUE(writer->Sync().ok());
  EXPECT_EQ(writer->stats().syncs, syncs);
  Append(*writer, MakeEntry(1));
  ASSERT_TRUE(writer->Sync().ok());
  EXPECT_EQ(writer->stats().syncs, syncs + 1);
}

TEST_F(WalTest, SyncRunsBesideAppendAndRotation) {
  auto writer = Open(1, 2000);
  std::atomic<bool> done{false};
  std::atomic<int> failures{0};
  base::Thread syncer("syncer", [&] {
    while (!done.load()) {
      if (!writer->Sync().ok()) ++failures;
      (void)writer->stats();
      (void)writer->current();
    }
  });
  Log log;
  for (uint64_t c = 1; c <= 3000; ++c) {
    log.push_back(MakeEntry(c, 30));
    Append(*writer, log.back());
  }
  done = true;
  syncer.Join();
  EXPECT_EQ(failures.load(), 0);
  ASSERT_TRUE(writer->Close().ok());
  EXPECT_GT(Segments().size(), 50u);
  EXPECT_EQ(*Read(), log);
}

TEST_F(WalTest, PruneDeletesOnlyBelowTheFloor) {
  WriteEpoch(1, 1, 6, 120, 11);
  ASSERT_TRUE(Read().ok());
  const Log log = WriteEpoch(2, 7, 6, 120, 11);
  ASSERT_TRUE(store_->Put("wal/main/notes.txt", "x", PutCondition::None()).ok());
  ASSERT_TRUE(store_->Put("wal/mainly/0000000001/000000000001.vw", "x", PutCondition::None()).ok());
  const auto before = Segments();
  const SegmentId floor{2, 3};
  const auto listed = *Prune(store_, "main", floor, true);
  EXPECT_EQ(Segments(), before);
  const auto pruned = *Prune(store_, "main", floor, false);
  ASSERT_EQ(listed.size(), 8u);
  EXPECT_EQ(pruned.size(), 8u);
  EXPECT_EQ(Segments().size(), before.size() - 8);
  EXPECT_TRUE(store_->Head("wal/main/notes.txt").ok());
  EXPECT_TRUE(store_->Head("wal/mainly/0000000001/000000000001.vw").ok());
  ReplayOptions options = Options();
  options.floor = floor;
  EXPECT_EQ(*Read(options), Log(log.begin() + 2, log.end()));
  // Everything pruned: the next epoch begins a log of its own.
  ASSERT_TRUE(Prune(store_, "main", {3, 1}, false).ok());
  EXPECT_TRUE(Segments().empty());
  const Log third = WriteEpoch(3, 13, 2);
  options.floor = {3, 1};
  EXPECT_EQ(*Read(options), third);
}

TEST_F(WalTest, ErrorsOfTheCallbackEndTheReplay) {
  WriteEpoch(1, 1, 3);
  const auto before = Segments();
  const auto replay = Replay(store_, Options(), [](const Frame& f) {
    return f.commit.value < 2 ? Status::OK() : MakeError(ErrorCode::kCancelled, "enough");
  });
  EXPECT_EQ(CodeOf(replay.status()), ErrorCode::kCancelled);
  EXPECT_EQ(Segments(), before);
}

TEST_F(WalTest, ListFramesNamesTheDamage) {
  WriteEpoch(1, 1, 3);
  const std::string path = SegmentPath("main", {1, 1});
  std::string bytes = Bytes(path);
  bytes.resize(bytes.size() - 2);
  Overwrite(path, bytes);
  auto frames = *ListFrames(store_, Options());
  ASSERT_EQ(frames.size(), 3u);
  EXPECT_EQ(frames[0].offset, 72u);
  EXPECT_EQ(frames[0].length, 41u);
  EXPECT_TRUE(frames[2].damage.starts_with("torn tail: ")) << frames[2].damage;
  EXPECT_EQ(frames[2].offset, 154u);
  bytes[75] = static_cast<char>(bytes[75] ^ 1);
  Overwrite(path, bytes);
  frames = *ListFrames(store_, Options());
  ASSERT_EQ(frames.size(), 1u);
  EXPECT_FALSE(frames[0].damage.empty());
  EXPECT_FALSE(frames[0].damage.starts_with("torn"));
}

TEST_F(WalTest, RandomBytesNeverCrashTheReader) {
  base::Random random(42);
  WriteEpoch(1, 1, 4, 64 << 20, 20);
  const std::string path = SegmentPath("main", {1, 1});
  const std::string good = Bytes(path);
  for (int i = 0; i < 2000; ++i) {
    std::string bytes = good;
    const uint64_t changes = 1 + random.Uniform(6);
    for (uint64_t k = 0; k < changes; ++k)
      bytes[random.Uniform(bytes.size())] = static_cast<char>(random.Next64());
    if (random.OneIn(3)) bytes.resize(random.Uniform(bytes.size()));
    Overwrite(path, bytes);
    ASSERT_TRUE(ListFrames(store_, Options()).ok());
    ReplayOptions options = Options();
    options.salvage = true;
    options.read_only = true;
    ASSERT_TRUE(Read(options).ok());
  }
}

/// Rows "| offset | bytes | `name` | …" of the table under `heading`.
std::vector<std::tuple<uint32_t, uint32_t, std::string>> DocumentedFields(
    const std::string& heading) {
  std::ifstream in("docs/format/wal.md");
  std::vector<std::tuple<uint32_t, uint32_t, std::string>> rows;
  bool inside = false;
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("#")) inside = line.find(heading) != std::string::npos;
    if (!inside || !line.starts_with("| ") || line.size() < 3 || line[2] < '0' || line[2] > '9')
      continue;
    std::istringstream cells(line);
    char bar = 0;
    uint32_t offset = 0;
    uint32_t bytes = 0;
    std::string name;
    cells >> bar >> offset >> bar >> bytes >> bar >> name;
    rows.emplace_back(offset, bytes, name);
  }
  return rows;
}

TEST(WalFormatTest, DocumentListsTheFieldsOfTheCode) {
  const auto compare = [](const auto& fields, const std::string& heading) {
    const auto rows = DocumentedFields(heading);
    ASSERT_EQ(rows.size(), std::size(fields)) << heading;
    for (size_t i = 0; i < rows.size(); ++i) {
      EXPECT_EQ(rows[i], std::make_tuple(fields[i].offset, fields[i].bytes,
                                         "`" + std::string(fields[i].name) + "`"));
    }
  };
  compare(header_field::kAll, "Segment header");
  compare(frame_field::kAll, "Frame");
}

TEST(WalFormatTest, WorkedExampleOfTheDocumentIsWhatTheCodeWrites) {
  auto store = MakeMemoryStore();
  WriterOptions options;
  options.database_id = DatabaseId(0x11);
  options.epoch = 3;
  auto writer = *Writer::Open(store, options);
  const Frame frame{FrameType::kCommit, {42}, {1'577'836'800'000'000}, "hello"};
  ASSERT_TRUE(writer->Append({&frame, 1}).ok());
  ASSERT_TRUE(writer->Close().ok());
  const std::string bytes = (*store->Get(SegmentPath("main", {3, 1})))->ToString();
  std::string hex;
  for (const char c : bytes) hex += fmt::format("{:02x}", static_cast<uint8_t>(c));

  std::ifstream in("docs/format/wal.md");
  std::string documented;
  bool reached = false;
  bool inside = false;
  for (std::string line; std::getline(in, line);) {
    // The commit payload before it has an example of its own.
    if (line == "## Worked example") reached = true;
    if (!reached) continue;
    if (line == "```hex") {
      inside = true;
    } else if (line == "```") {
      inside = false;
    } else if (inside) {
      line = line.substr(0, line.find('#'));
      line.erase(std::remove(line.begin(), line.end(), ' '), line.end());
      documented += line;
    }
  }
  EXPECT_EQ(documented, hex);
}

TEST(WalFormatTest, EncodingASmallFrameIsCheap) {
  // A figure for the log of the run, and a bound wide enough for sanitizers and a busy machine.
  std::string buffer;
  const std::string payload(64, 'p');
  const int rounds = 200'000;
  uint32_t chain = 0;
  const auto started = std::chrono::steady_clock::now();
  for (int i = 0; i < rounds; ++i) {
    buffer.clear();
    chain = ExtendChain(
        chain,
        AppendFrame(&buffer, 1, {FrameType::kCommit, {static_cast<uint64_t>(i)}, {i}, payload}));
  }
  const double nanos =
      std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - started).count() /
      rounds;
  RecordProperty("nanos_per_frame", fmt::format("{:.1f}", nanos));
  fmt::print("encode 64-byte frame: {:.1f} ns (chain {})\n", nanos, chain);
  EXPECT_LT(nanos, 20'000);
}

}  // namespace
}  // namespace lamina::storage::wal
