// What key_codec.cc, predicate.cc and table_codec.cc share: widths and escapes of key bytes, casts
// of constants.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <arrow/array.h>
#include <arrow/scalar.h>
#include <arrow/type.h>

#include "catalog/key_codec.h"
#include "lamina/error.h"

namespace lamina::catalog::internal {

/// utf8, large_utf8, binary, large_binary: the types whose encoded length varies.
constexpr bool IsBytesType(arrow::Type::type id) {
  return id == arrow::Type::STRING || id == arrow::Type::LARGE_STRING ||
         id == arrow::Type::BINARY || id == arrow::Type::LARGE_BINARY;
}
constexpr bool IsFloatType(arrow::Type::type id) {
  return id == arrow::Type::HALF_FLOAT || id == arrow::Type::FLOAT || id == arrow::Type::DOUBLE;
}

/// Encoded bytes of a fixed-width orderable type; 0 for bytes types and types without an order.
int FixedKeyWidth(const arrow::DataType& type);

/// Has EncodeValue an answer for the type?
inline bool IsOrdered(const arrow::DataType& type) {
  return IsBytesType(type.id()) || FixedKeyWidth(type) > 0;
}

/// 00 -> 00 FF, without a terminator.
void AppendEscaped(std::string_view raw, std::string* out);

/// Appends the key component of a value whose EncodeValue bytes are `value`.
void AppendComponent(const arrow::DataType& type, std::string_view value, bool last,
                     std::string* out);

/// The encoding of a value as the only component. `value` is valid (not null) and of an ordered
/// type.
void AppendValue(const arrow::Scalar& value, std::string* out);

/// One array per type from keys composed of those types; `names` are for messages.
Result<std::vector<std::shared_ptr<arrow::Array>>> DecodeComponents(
    const std::vector<std::shared_ptr<arrow::DataType>>& types,
    const std::vector<std::string>& names, const arrow::BinaryArray& keys);

/// `value` as a scalar of `type`; a null stays null. Only values that fit: nothing is rounded,
/// except that a floating constant takes the nearest value of a narrower float column. Text is
/// parsed; text without a zone is UTC. kInvalidArgument names column, type and value.
Result<std::shared_ptr<arrow::Scalar>> CastConstant(const std::shared_ptr<arrow::Scalar>& value,
                                                    const std::shared_ptr<arrow::DataType>& type,
                                                    std::string_view column);

}  // namespace lamina::catalog::internal
