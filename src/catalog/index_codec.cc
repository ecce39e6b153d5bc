#include "catalog/index_codec.h"

#include <utility>

#include <fmt/format.h>

#include "base/check.h"
#include "catalog/encoding_internal.h"

namespace lamina::catalog {
namespace {

constexpr char kNull = '\x00';
constexpr char kValue = '\x01';
constexpr char kBehindValues = '\x02';

Status AppendNullable(const std::shared_ptr<arrow::DataType>& type, const arrow::Scalar& value,
                      std::string* out) {
  if (!value.is_valid) {
    out->push_back(kNull);
    return Status::OK();
  }
  if (!value.type->Equals(*type)) {
    return MakeError(ErrorCode::kInternal,
                     fmt::format("a value of an index has another type: expected={} actual={}",
                                 type->ToString(), value.type->ToString()));
  }
  out->push_back(kValue);
  std::string bytes;
  internal::AppendValue(value, &bytes);
  internal::AppendComponent(*type, bytes, /*last=*/false, out);
  return Status::OK();
}

/// A table of this one column, so that KeyCodec encodes a whole column at once.
TableSchema OneColumn(const std::shared_ptr<arrow::DataType>& type) {
  TableSchema out;
  out.columns = {Column{.id = 1, .name = "value", .type = type}};
  out.key = {1};
  return out;
}

}  // namespace

IndexCodec::IndexCodec(std::vector<std::shared_ptr<arrow::DataType>> types)
    : types_(std::move(types)) {
  for (const auto& type : types_) LAMINA_CHECK(internal::IsOrdered(*type));
}

Result<std::vector<std::string>> IndexCodec::Components(const arrow::ArrayVector& columns) const {
  LAMINA_CHECK(columns.size() == types_.size());
  std::vector<std::string> out(columns.empty() ? 0 : static_cast<size_t>(columns[0]->length()));
  for (size_t c = 0; c < columns.size(); ++c) {
    const auto& column = columns[c];
    if (column->null_count() > 0) {
      for (size_t row = 0; row < out.size(); ++row) {
        ARROW_ASSIGN_OR_RAISE(const auto value, column->GetScalar(static_cast<int64_t>(row)));
        ARROW_RETURN_NOT_OK(AppendNullable(types_[c], *value, &out[row]));
      }
      continue;
    }
    const auto batch = arrow::RecordBatch::Make(
        arrow::schema({arrow::field("value", types_[c], false)}), column->length(), {column});
    ARROW_ASSIGN_OR_RAISE(const auto bytes, KeyCodec(OneColumn(types_[c])).Encode(*batch));
    for (size_t row = 0; row < out.size(); ++row) {
      out[row].push_back(kValue);
      internal::AppendComponent(*types_[c], bytes->GetView(static_cast<int64_t>(row)),
                                /*last=*/false, &out[row]);
    }
  }
  return out;
}

Result<std::string> IndexCodec::Prefix(
    const std::vector<std::shared_ptr<arrow::Scalar>>& values) const {
  LAMINA_CHECK(values.size() <= types_.size());
  std::string out;
  for (size_t c = 0; c < values.size(); ++c)
    ARROW_RETURN_NOT_OK(AppendNullable(types_[c], *values[c], &out));
  return out;
}

Result<KeyRange> IndexCodec::Between(const std::string& prefix, size_t column,
                                     const std::optional<IndexBound>& from,
                                     const std::optional<IndexBound>& to) const {
  LAMINA_CHECK(column < types_.size());
  KeyRange out{prefix + kValue, prefix + kBehindValues, /*unbounded_to=*/false};
  if (from.has_value()) {
    std::string at = prefix;
    ARROW_RETURN_NOT_OK(AppendNullable(types_[column], *from->value, &at));
    // What begins with a whole component has that value: the next greater value is behind all that.
    out.from = from->inclusive ? at : KeyRange::Prefix(at).to;
  }
  if (to.has_value()) {
    std::string at = prefix;
    ARROW_RETURN_NOT_OK(AppendNullable(types_[column], *to->value, &at));
    out.to = to->inclusive ? KeyRange::Prefix(at).to : at;
  }
  return out;
}

Result<std::vector<std::shared_ptr<arrow::Scalar>>> IndexCodec::Values(
    std::string_view entry) const {
  // Each component but for its first byte is that of a key; so is that byte, and so is nothing.
  std::vector<std::shared_ptr<arrow::DataType>> types;
  for (const auto& type : types_) {
    types.push_back(arrow::uint8());
    types.push_back(type);
  }
  types.push_back(arrow::binary());
  arrow::BinaryBuilder builder;
  ARROW_RETURN_NOT_OK(builder.Append(entry));
  std::shared_ptr<arrow::BinaryArray> keys;
  ARROW_RETURN_NOT_OK(builder.Finish(&keys));
  ARROW_ASSIGN_OR_RAISE(
      const auto columns,
      internal::DecodeComponents(types, std::vector<std::string>(types.size(), "entry"), *keys));
  std::vector<std::shared_ptr<arrow::Scalar>> out;
  for (size_t c = 0; c < types_.size(); ++c) {
    ARROW_ASSIGN_OR_RAISE(auto value, columns[2 * c + 1]->GetScalar(0));
    out.push_back(std::move(value));
  }
  return out;
}

}  // namespace lamina::catalog
