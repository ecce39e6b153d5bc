// docs/format/data-file.md and docs/format/deletion-vector.md against the bytes that the code
// writes. Run from the repository's root, as ctest does.
#include <fstream>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <arrow/io/memory.h>
#include <arrow/util/key_value_metadata.h>
#include <gtest/gtest.h>
#include <parquet/file_reader.h>

#include "base/codec.h"
#include "base/crc32c.h"
#include "storage/sst/deletion_vector.h"
#include "storage/sst/file_format_internal.h"
#include "storage/sst/test_tables_internal.h"

namespace lamina::storage::sst {
namespace {

using testing_tables::Must;

/// The lines of a document from its heading on ("" = from the start) to the next of that depth.
std::vector<std::string> Section(const std::string& path, const std::string& heading) {
  std::ifstream file(path);
  EXPECT_TRUE(file.is_open()) << path << ": run from the repository's root";
  std::vector<std::string> lines;
  bool inside = heading.empty();
  for (std::string line; std::getline(file, line);) {
    if (line == "## " + heading) {
      inside = true;
    } else if (line.starts_with("## ")) {
      inside = false;
    } else if (inside) {
      lines.push_back(line);
    }
  }
  EXPECT_FALSE(lines.empty()) << path << " has no section " << heading;
  return lines;
}

/// The cells of a section's table, without its header.
std::vector<std::vector<std::string>> Table(const std::vector<std::string>& lines) {
  std::vector<std::vector<std::string>> rows;
  for (const std::string& line : lines) {
    if (!line.starts_with("| ")) continue;
    std::vector<std::string> cells;
    for (size_t at = 1; at < line.size();) {
      const size_t bar = line.find('|', at);
      if (bar == std::string::npos) break;
      std::string cell = line.substr(at, bar - at);
      cell.erase(0, std::min(cell.find_first_not_of(' '), cell.size()));
      cell.erase(cell.find_last_not_of(' ') + 1);
      cells.push_back(cell);
      at = bar + 1;
    }
    rows.push_back(cells);
  }
  EXPECT_GT(rows.size(), 1u);
  if (!rows.empty()) rows.erase(rows.begin());
  return rows;
}

std::string Hex(std::string_view bytes) {
  std::string out;
  for (const char c : bytes) {
    char text[3];
    std::snprintf(text, sizeof(text), "%02x", static_cast<uint8_t>(c));
    out += text;
  }
  return out;
}

/// A documented field of fixed place: its bytes, as a number. What the field is called is compared
/// with `name`, as the beginning of the cell.
class Fields {
 public:
  Fields(std::string_view bytes, std::vector<std::vector<std::string>> rows)
      : bytes_(bytes), rows_(std::move(rows)) {}

  uint64_t Next(const std::string& name) {
    while (next_ < rows_.size() &&
           rows_[next_][1].find_first_not_of("0123456789") != std::string::npos)
      ++next_;
    if (next_ == rows_.size()) {
      ADD_FAILURE() << "the document lacks " << name;
      return 0;
    }
    const auto& row = rows_[next_++];
    EXPECT_EQ(row[2].substr(0, name.size()), name) << "in the place of " << row[2];
    const size_t size = std::stoul(row[1]);
    // The last one's place may follow from what is before it.
    const size_t offset = row[0].empty() ? bytes_.size() - size : std::stoul(row[0]);
    if (!row[0].empty()) {
      EXPECT_EQ(offset, end_) << "a gap before " << name;
      end_ = offset + size;
    }
    EXPECT_LE(offset + size, bytes_.size()) << name;
    if (offset + size > bytes_.size()) return 0;
    uint64_t value = 0;
    for (size_t i = size; i-- > 0;) value = value << 8 | static_cast<uint8_t>(bytes_[offset + i]);
    return value;
  }
  /// The four letters that the document gives as magic.
  void ExpectMagic() {
    const std::string cell = rows_[0][2];
    const size_t tick = cell.find('`');
    ASSERT_NE(tick, std::string::npos);
    EXPECT_EQ(bytes_.substr(0, 4), cell.substr(tick + 1, 4));
    Next("magic");
  }
  /// The number that the document gives behind the next field's name.
  void ExpectVersion() {
    const std::string cell = rows_[next_][2];
    const uint64_t documented = std::stoull(cell.substr(cell.find(", ") + 2));
    EXPECT_EQ(Next("version"), documented);
  }

 private:
  const std::string_view bytes_;
  const std::vector<std::vector<std::string>> rows_;
  size_t next_ = 0;
  size_t end_ = 0;
};

TEST(FormatDocTest, DeletionVectorsFieldsAndExampleAreWhatTheCodeWrites) {
  const std::string path = "docs/format/deletion-vector.md";
  const auto vector = Must(DeletionVector::Make(
      {{1, SystemTime{10}}, {2, SystemTime{10}}, {5, kRewritten}}, /*row_count=*/8));
  const std::string bytes = vector->Encode();
  const auto lines = Section(path, "");
  Fields fields(bytes, Table(lines));
  fields.ExpectMagic();
  fields.ExpectVersion();
  EXPECT_EQ(fields.Next("0"), 0u);
  EXPECT_EQ(fields.Next("rows of the data file"), 8u);
  EXPECT_EQ(fields.Next("N, entries"), 3u);
  const uint64_t bitmap = fields.Next("B, bytes of the bitmap");
  const uint64_t ends = fields.Next("E, bytes of the ends");
  EXPECT_EQ(32 + bitmap + ends + 4, bytes.size());
  EXPECT_EQ(fields.Next("CRC-32C of everything before"),
            base::Crc32c(std::string_view(bytes).substr(0, bytes.size() - 4)));

  std::string documented;
  bool inside = false;
  for (const std::string& line : lines) {
    if (line.starts_with("```")) {
      inside = !inside;
    } else if (inside) {
      // Hex in groups, then words: the first group that is not hex ends the line.
      for (size_t at = 0; at < line.size();) {
        const size_t end = std::min(line.find(' ', at), line.size());
        const std::string group = line.substr(at, end - at);
        if (group.empty() || group.size() % 2 != 0 ||
            group.find_first_not_of("0123456789abcdef") != std::string::npos)
          break;
        documented += group;
        at = end + 1;
      }
    }
  }
  EXPECT_EQ(documented, Hex(std::string_view(bytes).substr(0, bytes.size() - 4)));
}

TEST(FormatDocTest, DataFilesMetadataKeyIndexAndTailAreAsDocumented) {
  const std::string path = "docs/format/data-file.md";
  const auto store = MakeMemoryStore();
  std::mt19937_64 random(3);
  const auto table = Must(catalog::MakeTable(
      catalog::TableId{16}, "t",
      arrow::schema({arrow::field("k", arrow::int64(), false), arrow::field("v", arrow::utf8())}),
      catalog::KeyDeclaration{.names = {"k"}}, {}));
  const auto batch =
      testing_tables::MakeRows(*table,
                               {testing_tables::RandomArray(arrow::int64(), 40, false, random),
                                testing_tables::RandomArray(arrow::utf8(), 40, true, random)},
                               FileKind::kCurrent, false, random);
  const DataFile file = testing_tables::WriteFile(
      store, table, batch, WriterOptions{.rows_per_page = 16, .rows_per_row_group = 32});
  const std::string bytes = Must(store->Get(file.Path()))->ToString();

  // Every key of the metadata, no more and no fewer, and the values that the document gives.
  std::map<std::string, std::string> documented;
  for (const auto& cells : Table(Section(path, "Key-value metadata"))) {
    std::string value = cells[1];
    for (size_t at = cells[0].find('`'); at != std::string::npos;) {
      const size_t end = cells[0].find('`', at + 1);
      documented[cells[0].substr(at + 1, end - at - 1)] = value;
      at = cells[0].find('`', end + 1);
    }
  }
  const auto parquet = parquet::ParquetFileReader::Open(
      std::make_shared<arrow::io::BufferReader>(arrow::Buffer::FromString(bytes)));
  const auto metadata = parquet->metadata()->key_value_metadata();
  ASSERT_NE(metadata, nullptr);
  std::set<std::string> documented_keys;
  std::set<std::string> keys;
  for (const auto& [key, value] : documented) documented_keys.insert(key);
  for (int64_t i = 0; i < metadata->size(); ++i) keys.insert(metadata->key(i));
  EXPECT_EQ(keys, documented_keys);
  EXPECT_EQ("`" + Must(metadata->Get(kFormatKey)) + "`", documented[kFormatKey]);
  EXPECT_EQ(documented[kKindKey], "`current` or `history`");
  EXPECT_EQ(Must(metadata->Get(kKindKey)), "current");

  // The tail block stands right before the footer and vouches for both its sides.
  const size_t footer = bytes.size() - file.footer_length;
  const std::string_view tail(bytes.data() + footer - TailBlock::kBytes, TailBlock::kBytes);
  Fields of_tail(tail, Table(Section(path, "Tail block")));
  of_tail.ExpectMagic();
  of_tail.ExpectVersion();
  const uint64_t key_index = of_tail.Next("key_index_offset");
  const uint64_t checksums = of_tail.Next("checksums_offset");
  const std::string_view all(bytes);
  EXPECT_EQ(of_tail.Next("CRC of [key_index_offset, this block)"),
            base::Crc32c(all.substr(key_index, footer - TailBlock::kBytes - key_index)));
  EXPECT_EQ(of_tail.Next("CRC of everything after this block"), base::Crc32c(all.substr(footer)));
  EXPECT_EQ(of_tail.Next("CRC of the 32 bytes before"), base::Crc32c(tail.substr(0, 32)));

  // Page checksums: a dictionary's and each page's, of every chunk.
  size_t chunks = 0;
  size_t pages = 0;
  for (int g = 0; g < parquet->metadata()->num_row_groups(); ++g) {
    const auto group = parquet->metadata()->RowGroup(g);
    chunks += static_cast<size_t>(group->num_columns());
    pages += static_cast<size_t>(group->num_columns()) *
             static_cast<size_t>((group->num_rows() + 15) / 16);
  }
  EXPECT_EQ(footer - TailBlock::kBytes - checksums, (chunks + pages) * 4);

  const uint64_t index_length = std::stoull(Must(metadata->Get(kKeyIndexLengthKey)));
  EXPECT_EQ(std::stoull(Must(metadata->Get(kKeyIndexOffsetKey))), key_index);
  Fields of_index(all.substr(key_index, index_length), Table(Section(path, "Key index")));
  of_index.ExpectMagic();
  of_index.ExpectVersion();
  EXPECT_EQ(of_index.Next("0"), 0u);
  EXPECT_EQ(of_index.Next("rows per page"), 16u);
  EXPECT_EQ(of_index.Next("P, number of pages"), 3u);
  EXPECT_EQ(of_index.Next("B, bytes of keys"), 3u * 8);
  const uint64_t filter = of_index.Next("F, bytes of the filter");
  EXPECT_EQ(filter % 32, 0u);
  EXPECT_EQ(index_length, 32 + 4 * 4 + 3 * 8 + filter + 4);
  EXPECT_EQ(of_index.Next("checksum of everything before"),
            base::Crc32c(all.substr(key_index, index_length - 4)));
}

}  // namespace
}  // namespace lamina::storage::sst
