// What the files behind schema.h say to each other.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <arrow/type.h>

#include "catalog/schema.h"

namespace lamina::catalog::internal {

/// kUnsupported with the reason and what to use instead when IsValueType is false.
Status CheckType(const std::string& column, const arrow::DataType& type);

/// The user's metadata without Parquet's field ids, which are ours; null when nothing is left.
std::shared_ptr<const arrow::KeyValueMetadata> UserMetadata(
    const std::shared_ptr<const arrow::KeyValueMetadata>& metadata);
/// The same for a field and everything nested in it.
std::shared_ptr<arrow::Field> UserField(const std::shared_ptr<arrow::Field>& field);

/// May a column of type `from` become `to`? (WidenColumn.)
bool IsWidening(const arrow::DataType& from, const arrow::DataType& to);

/// Positions of the key columns in key order; empty for an append table. Errors as MakeTable.
Result<std::vector<int>> ResolveKey(const arrow::Schema& schema, const KeyDeclaration& key);

/// A hint for an unknown name: "did you mean a or b?" by edit distance, or the first known names.
std::string SuggestNames(const std::string& name, const std::vector<std::string>& known);

}  // namespace lamina::catalog::internal
