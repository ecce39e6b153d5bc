#include "base/codec.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <map>
#include <sstream>

#include <gtest/gtest.h>

#include "base/crc32c.h"
#include "base/random.h"
#include "storage/manifest/format_internal.h"
#include "storage/manifest/testing_versions_internal.h"

namespace lamina::storage::manifest {
namespace {

constexpr char kGoldenPath[] = "src/storage/manifest/testdata/format_v1.txt";

DataFile FullFile() {
  DataFile f = TestingFile(3, {16}, 2, std::string("a\0b", 3), "zz");
  f.schema_version = 5;
  f.min_system_from = {-5};
  f.max_system_from = {1'577'836'800'000'000};
  f.min_commit = {7};
  f.max_commit = {~uint64_t{0}};
  f.min_valid_from = {100};
  f.max_valid_from = {200};
  f.min_valid_to = {150};
  f.max_valid_to = ValidTime::Max();
  f.has_valid_columns = true;
  f.columns = {{1, "lo", "hi", 3}, {2, "", std::nullopt, 0}, {300, std::nullopt, std::nullopt, 12}};
  f.deletions = DeletionVectorRef{TestingUlid(8), 64, 128, 4, SystemTime::Min()};
  return f;
}

/// Every field set. Without tables, so that these bytes do not change with the table definition's
/// encoding.
Version FullVersion() {
  Version v = TestingVersion();
  v.catalog.tables.clear();
  v.catalog.next_table_id = 20;
  v.number = 300;
  v.owner_epoch = 4;
  v.flushed_commit = {17};
  v.flushed_system = {1'577'836'800'000'000};
  v.wal_floor = {4, 9};
  v.files[{16}] = {std::make_shared<DataFile>(FullFile())};
  DataFile history = TestingFile(4, {17}, 0, "", "");
  history.kind = FileKind::kHistory;
  history.min_system_to = {5};
  history.max_system_to = {6};
  v.files[{17}] = {std::make_shared<DataFile>(history)};
  v.next_row_id[{17}] = 123;
  v.history_floor[{16}] = {-1};
  v.checkpoints["before"] = {"before", {12}, {99}, 98};
  v.retired = {{"data/16/x.parquet", 250, -7}};
  v.erases = {{{16}, std::string("\x01\x00", 2), {5}}};
  v.recent = {{300, {17}, {1'577'836'800'000'000}, 77, 2, 2007, 24, "flush"}};
  return v;
}

VersionEdit FullEdit() {
  VersionEdit e;
  e.reason = "flush";
  e.created_micros = 77;
  e.owner_epoch = 0;
  e.drop_tables = {{16}, {300}};
  e.remove_files = {{{16}, TestingUlid(1)}, {{17}, TestingUlid(2)}};
  e.add_files = {FullFile()};
  e.set_deletions = {{{16}, TestingUlid(3), FullFile().deletions},
                     {{16}, TestingUlid(4), std::nullopt}};
  e.flushed = {{0}, {-3}};
  e.wal_floor = {0, 2};
  e.next_row_id = {{{17}, 9}};
  e.history_floor = {{{16}, {8}}};
  e.put_checkpoints = {{"c", {1}, {2}, 3}};
  e.drop_checkpoints = {"d", ""};
  e.add_erases = {{{16}, "k", {5}}};
  e.finish_erases = {{{16}, "j", {4}}};
  e.forget_retired = {"data/16/y.dv"};
  return e;
}

Ref FullRef() {
  Ref ref;
  ref.database_id = TestingUlid(999);
  ref.branch = "main";
  ref.version = 302;
  ref.base = "manifest/" + TestingUlid(5).ToString();
  ref.base_version = 300;
  ref.base_checksum = 0xdeadbeef;
  ref.recent_commit_ids = {TestingUlid(10), TestingUlid(11)};
  VersionEdit gc;
  gc.reason = "gc";
  ref.edits = {EncodeEdit(FullEdit()), EncodeEdit(gc)};
  return ref;
}

std::string Hex(std::string_view bytes) {
  std::string out;
  for (const char c : bytes) out += fmt::format("{:02x}", static_cast<uint8_t>(c));
  return out;
}

TEST(ManifestCodecTest, VersionsAndEditsRoundTrip) {
  const Version v = FullVersion();
  const auto back = DecodeVersion(EncodeVersion(v));
  ASSERT_TRUE(back.ok()) << back.status().ToString();
  EXPECT_EQ(EncodeVersion(**back), EncodeVersion(v));
  const DataFile& file = *(*back)->FilesOf({16})[0];
  EXPECT_EQ(file.min_key, std::string("a\0b", 3));
  EXPECT_EQ(file.max_valid_to, ValidTime::Max());
  EXPECT_EQ(file.columns[1].min, "");
  EXPECT_EQ(file.columns[1].max, std::nullopt);
  EXPECT_EQ(file.deletions->max_ended, SystemTime::Min());
  EXPECT_EQ((*back)->history_floor.at({16}).micros, -1);
  EXPECT_EQ((*back)->wal_floor, (WalFloor{4, 9}));

  const auto edit = DecodeEdit(EncodeEdit(FullEdit()));
  ASSERT_TRUE(edit.ok()) << edit.status().ToString();
  EXPECT_EQ(EncodeEdit(*edit), EncodeEdit(FullEdit()));
  EXPECT_EQ(edit->owner_epoch, 0u);
  EXPECT_EQ(edit->flushed->second.micros, -3);
  EXPECT_EQ(edit->wal_floor, (WalFloor{0, 2}));
  EXPECT_FALSE(std::get<2>(edit->set_deletions[1]));

  // Fresh values: all defaults.
  const auto empty = DecodeVersion("");
  ASSERT_TRUE(empty.ok());
  EXPECT_EQ((*empty)->flushed_system, SystemTime::Min());
  const auto nothing = DecodeEdit(EncodeEdit(VersionEdit{}));
  ASSERT_TRUE(nothing.ok());
  EXPECT_EQ(EncodeEdit(*nothing), "");
  EXPECT_FALSE(nothing->owner_epoch || nothing->flushed || nothing->wal_floor);
}

TEST(ManifestCodecTest, TableDefinitionsRoundTrip) {
  VersionEdit edit;
  edit.put_tables = {TestingTable(16, "a"), TestingTable(17, "b", false)};
  const VersionPtr v = *Apply(TestingVersion(), edit);
  const auto back = DecodeVersion(EncodeVersion(*v));
  ASSERT_TRUE(back.ok()) << back.status().ToString();
  EXPECT_TRUE((*back)->Verify().ok());
  EXPECT_EQ((*back)->catalog.tables.size(), v->catalog.tables.size());
  EXPECT_EQ((*back)->catalog.Find("b")->has_primary_key, false);
  EXPECT_EQ((*back)->catalog.next_table_id, 18u);
  EXPECT_EQ(EncodeVersion(**back), EncodeVersion(*v));
}

TEST(ManifestCodecTest, RefRoundTrips) {
  const std::string bytes = EncodeRef(FullRef());
  const auto back = DecodeRef("refs/main", bytes);
  ASSERT_TRUE(back.ok()) << back.status().ToString();
  EXPECT_EQ(EncodeRef(*back), bytes);
  EXPECT_EQ(back->recent_commit_ids, FullRef().recent_commit_ids);
  EXPECT_EQ(back->edits, FullRef().edits);
}

TEST(ManifestCodecTest, BytesOfFormatOneDoNotChange) {
  const std::map<std::string, std::string> now = {
      {"version", Hex(EncodeVersion(FullVersion()))},
      {"edit", Hex(EncodeEdit(FullEdit()))},
      {"base", Hex(EncodeFramed(kBaseMagic, EncodeVersion(FullVersion())))},
      {"ref", Hex(EncodeRef(FullRef()))},
  };
  if (std::getenv("LAMINA_REWRITE_GOLDEN") != nullptr) {
    std::ofstream out(kGoldenPath);
    for (const auto& [name, hex] : now) out << name << " " << hex << "\n";
  }
  std::ifstream in(kGoldenPath);
  std::map<std::string, std::string> golden;
  for (std::string name, hex; in >> name >> hex;) golden[name] = hex;
  EXPECT_EQ(golden, now)
      << "these bytes are at rest in users' databases: a change needs a new format version";
}

TEST(ManifestCodecTest, EveryTruncationAndFlippedByteIsDetectedAndNamed) {
  const std::string ref = EncodeRef(FullRef());
  const std::string base = EncodeFramed(kBaseMagic, EncodeVersion(FullVersion()));
  const auto decode = [](bool is_ref, const std::string& bytes) -> Status {
    if (is_ref) return DecodeRef("refs/main", bytes).status();
    return DecodeFramed(kBaseMagic, "manifest/X", bytes).status();
  };
  for (const bool is_ref : {true, false}) {
    const std::string& bytes = is_ref ? ref : base;
    const std::string name = is_ref ? "file=refs/main" : "file=manifest/X";
    ASSERT_TRUE(decode(is_ref, bytes).ok());
    for (size_t size = 0; size < bytes.size(); ++size) {
      const Status status = decode(is_ref, bytes.substr(0, size));
      ASSERT_EQ(CodeOf(status), ErrorCode::kCorruption) << size;
      ASSERT_NE(MessageOf(status).find(name), std::string::npos) << status.ToString();
    }
    ASSERT_EQ(CodeOf(decode(is_ref, bytes + '\0')), ErrorCode::kCorruption);
    for (size_t at = 0; at < bytes.size(); ++at) {
      for (const char flip : {'\x01', '\x80', '\xff'}) {
        std::string damaged = bytes;
        damaged[at] = static_cast<char>(damaged[at] ^ flip);
        const Status status = decode(is_ref, damaged);
        ASSERT_EQ(CodeOf(status), ErrorCode::kCorruption) << at;
        ASSERT_NE(MessageOf(status).find(name), std::string::npos) << status.ToString();
      }
    }
  }
  EXPECT_EQ(CodeOf(DecodeRef("refs/main", base).status()), ErrorCode::kCorruption);
}

TEST(ManifestCodecTest, NewerFormatIsRefusedNamingBothVersions) {
  std::string bytes = EncodeRef(FullRef());
  bytes[8] = 2;
  bytes.resize(bytes.size() - 4);
  base::PutFixed32(&bytes, base::Crc32c(bytes));
  const Status status = DecodeRef("refs/main", bytes).status();
  EXPECT_EQ(CodeOf(status), ErrorCode::kUnsupported);
  EXPECT_NE(MessageOf(status).find("format=2 supported_format=1"), std::string::npos)
      << status.ToString();
}

TEST(ManifestCodecTest, UnknownTagsAreSkippedFrom64AndRefusedBelow) {
  for (const uint32_t tag : {30u, 63u, 64u, 1000u}) {
    std::string version = EncodeVersion(FullVersion());
    base::MessageWriter(&version).AddVarint(tag, 1);
    std::string edit = EncodeEdit(FullEdit());
    base::MessageWriter(&edit).AddBytes(tag, "hint");
    if (tag >= kFirstIgnorableField) {
      EXPECT_TRUE(DecodeVersion(version).ok());
      EXPECT_TRUE(DecodeEdit(edit).ok());
    } else {
      EXPECT_EQ(CodeOf(DecodeVersion(version).status()), ErrorCode::kUnsupported);
      const Status status = DecodeEdit(edit).status();
      EXPECT_EQ(CodeOf(status), ErrorCode::kUnsupported);
      EXPECT_NE(MessageOf(status).find("newer LaminaDB"), std::string::npos);
      EXPECT_NE(MessageOf(status).find(fmt::format("field={}", tag)), std::string::npos);
    }
  }
}

TEST(ManifestCodecTest, HalfAPairIsRefused) {
  std::string edit;
  base::MessageWriter(&edit).AddVarint(edit_field::kFlushedCommit.tag, 1);
  EXPECT_EQ(CodeOf(DecodeEdit(edit).status()), ErrorCode::kCorruption);
}

TEST(ManifestCodecTest, RandomBytesNeverCrash) {
  base::Random random(7);
  const std::string version = EncodeVersion(FullVersion());
  const std::string edit = EncodeEdit(FullEdit());
  for (int i = 0; i < 5000; ++i) {
    for (std::string bytes : {version, edit}) {
      for (uint64_t k = 1 + random.Uniform(5); k > 0; --k)
        bytes[random.Uniform(bytes.size())] = static_cast<char>(random.Next64());
      if (random.OneIn(2)) bytes.resize(random.Uniform(bytes.size()));
      const auto v = DecodeVersion(bytes);
      if (v.ok()) (void)(*v)->Verify();
      const auto e = DecodeEdit(bytes);
      if (e.ok()) (void)Apply(TestingVersion(), *e);
      (void)DecodeRef("refs/main", EncodeFramed(kRefMagic, bytes));
    }
  }
}

TEST(ManifestFormatTest, DocumentListsTheFieldsOfTheCode) {
  std::ifstream in("docs/format/manifest.md");
  ASSERT_TRUE(in.good());
  std::map<std::string, std::vector<std::string>> documented;
  std::string heading;
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("#")) heading = line.substr(line.find_first_not_of("# "));
    if (!line.starts_with("| ") || line[2] < '0' || line[2] > '9' ||
        line.find('`') == std::string::npos)
      continue;
    std::istringstream cells(line);
    std::string bar, tag, name, type;
    cells >> bar >> tag >> bar >> name >> bar >> type;
    documented[heading].push_back(tag + " " + name + " " + type);
  }
  std::map<std::string, std::vector<std::string>> coded;
  for (const MessageSpec& message : kMessages) {
    std::vector<std::string>& rows = coded[std::string(message.name)];
    uint32_t before = 0;
    for (const Field& field : message.fields) {
      EXPECT_GT(field.tag, before) << message.name;
      EXPECT_LT(field.tag, kFirstIgnorableField);
      before = field.tag;
      rows.push_back(fmt::format("{} `{}` {}", field.tag, field.name, field.type));
    }
  }
  EXPECT_EQ(documented, coded);
}

}  // namespace
}  // namespace lamina::storage::manifest
