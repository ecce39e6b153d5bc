// What stands in a data file beyond plain Parquet. docs/format/data-file.md is the description of
// the bytes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "lamina/error.h"

namespace lamina::storage::sst {

// Keys of the file's key-value metadata.
inline constexpr char kFormatKey[] = "lamina.format";
inline constexpr char kFileIdKey[] = "lamina.file_id";
inline constexpr char kTableIdKey[] = "lamina.table_id";
inline constexpr char kTableNameKey[] = "lamina.table";
inline constexpr char kSchemaVersionKey[] = "lamina.schema_version";
inline constexpr char kKindKey[] = "lamina.kind";  // "current" or "history"
inline constexpr char kLevelKey[] = "lamina.level";
inline constexpr char kRowsPerPageKey[] = "lamina.rows_per_page";
// Column ids in key order, comma between.
inline constexpr char kKeyColumnsKey[] = "lamina.key_columns";
inline constexpr char kNanFreeKey[] = "lamina.nan_free_columns";  // Column ids, comma between.
inline constexpr char kKeyIndexOffsetKey[] = "lamina.key_index_offset";
inline constexpr char kKeyIndexLengthKey[] = "lamina.key_index_length";
// Hex of the encoded key; the bounds are for people and tools.
inline constexpr char kMinKeyKey[] = "lamina.min_key";
inline constexpr char kMaxKeyKey[] = "lamina.max_key";
inline constexpr char kMinSystemFromKey[] = "lamina.min_system_from";
inline constexpr char kMaxSystemFromKey[] = "lamina.max_system_from";
inline constexpr char kMinCommitKey[] = "lamina.min_commit";
inline constexpr char kMaxCommitKey[] = "lamina.max_commit";
inline constexpr char kArrowSchemaKey[] = "ARROW:schema";

inline constexpr char kFormatVersion[] = "1";

/// The last 8 bytes of a Parquet file: length of the footer, then this.
inline constexpr std::string_view kParquetMagic = "PAR1";
inline constexpr int64_t kParquetTailBytes = 8;

/// Stands right before the footer and vouches for everything between the last row group and the end
/// of the file. Parquet itself checks neither its footer nor its page index; a flipped bit there
/// would prune rows that match.
struct TailBlock {
  /// The key index begins here; the page index follows it, then the page checksums.
  uint64_t key_index_offset = 0;
  /// The page checksums begin here and end where this block begins.
  uint64_t checksums_offset = 0;
  uint32_t region_crc = 0;  ///< Of [key_index_offset, this block).
  uint32_t footer_crc = 0;  ///< Of the footer, its length and the magic: from after this block to
                            ///< the end of the file.

  static constexpr int64_t kBytes = 36;
  std::string Encode() const;
  /// `bytes` are kBytes long. kCorruption when they are not such a block.
  static Result<TailBlock> Decode(std::string_view bytes);
};

/// CRC-32C of every page as it lies in the file, header included; 0 stands for "no dictionary
/// page".
struct ChunkChecksums {
  uint32_t dictionary = 0;
  std::vector<uint32_t> pages;
};

/// Chunks in file order: row group by row group, leaf column by leaf column.
std::string EncodeChecksums(const std::vector<ChunkChecksums>& chunks);

std::string HexOf(std::string_view bytes);

}  // namespace lamina::storage::sst
