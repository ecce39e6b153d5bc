// From Parquet's statistics to bounds in the order of keys (catalog::EncodeValue).
#pragma once

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <arrow/type.h>
#include <parquet/metadata.h>
#include <parquet/schema.h>

#include "catalog/predicate.h"
#include "catalog/schema.h"
#include "storage/data_file.h"

namespace lamina::storage::sst {

/// A column of the file as statistics see it: one flat leaf.
struct StatisticsColumn {
  catalog::ColumnId id = 0;
  int leaf = 0;
  std::shared_ptr<arrow::DataType> type;  ///< The table's type when the file was written.
  bool nan_free = true;  ///< False: a NaN may be among the values, above every maximum.
};

/// `plain` (a value as in Parquet's statistics) in EncodeValue form, after a cast from `from` to
/// `to`. Nothing if it has none.
std::optional<std::string> EncodeBound(parquet::Type::type physical, std::string_view plain,
                                       const std::shared_ptr<arrow::DataType>& from,
                                       const std::shared_ptr<arrow::DataType>& to);

/// What a row group's statistics say, in the order of `to`.
catalog::ColumnRange RangeOfChunk(const parquet::ColumnChunkMetaData& chunk, int64_t rows,
                                  const StatisticsColumn& column,
                                  const std::shared_ptr<arrow::DataType>& to);

/// Bounds over the file for the manifest. May throw Parquet's exceptions.
std::vector<ColumnStats> FileStatistics(const parquet::FileMetaData& metadata,
                                        const std::vector<StatisticsColumn>& columns);

/// Longest bound kept in the manifest.
inline constexpr size_t kStatsBytesMax = 32;

bool IsFloat(const arrow::DataType& type);

}  // namespace lamina::storage::sst
