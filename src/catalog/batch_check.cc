// CheckBatch and CheckSameDefinition: is what the caller brings what the table says?
#include <algorithm>

#include <arrow/array/array_nested.h>
#include <arrow/array/util.h>
#include <arrow/type_traits.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "catalog/schema.h"
#include "catalog/schema_internal.h"

namespace lamina::catalog {
namespace {

using arrow::Type;

Status Invalid(std::string message, std::string hint = {}) {
  return MakeError(ErrorCode::kInvalidArgument, std::move(message), std::move(hint));
}

// Nested fields declared not null that hold a null: Parquet could not be written. The column's own
// nulls were counted.
bool HasForbiddenNull(const arrow::Array& array) {
  const arrow::DataType& type = *array.type();
  auto child_bad = [](const arrow::Array& child, const arrow::Field& field,
                      int64_t nulls_of_parent) {
    return (!field.nullable() && child.null_count() > nulls_of_parent) || HasForbiddenNull(child);
  };
  auto list_bad = [&](auto&& flattened) {
    return flattened.ok() && child_bad(**flattened, *type.field(0), 0);
  };
  switch (type.id()) {
    case Type::STRUCT: {
      // Flatten makes a child null where its parent is, which is not the child's fault.
      const auto children = static_cast<const arrow::StructArray&>(array).Flatten();
      if (!children.ok()) return false;
      for (int i = 0; i < type.num_fields(); ++i) {
        if (child_bad(*(*children)[static_cast<size_t>(i)], *type.field(i), array.null_count())) {
          return true;
        }
      }
      return false;
    }
    case Type::LIST:
    case Type::MAP:
      return list_bad(static_cast<const arrow::ListArray&>(array).Flatten());
    case Type::LARGE_LIST:
      return list_bad(static_cast<const arrow::LargeListArray&>(array).Flatten());
    case Type::LIST_VIEW:
      return list_bad(static_cast<const arrow::ListViewArray&>(array).Flatten());
    case Type::LARGE_LIST_VIEW:
      return list_bad(static_cast<const arrow::LargeListViewArray&>(array).Flatten());
    case Type::FIXED_SIZE_LIST:
      return list_bad(static_cast<const arrow::FixedSizeListArray&>(array).Flatten());
    default:
      return false;
  }
}

// Text that is not UTF-8, decimals of too many digits, times of day behind midnight, offsets and
// counts that do not fit: other tools would stumble over them, or the log could not be replayed,
// which takes valid arrays only.
Status CheckValues(const arrow::Array& array) {
  const Type::type id = array.type_id();
  if ((id == Type::STRING || id == Type::LARGE_STRING) && array.length() > 0) {
    // Most text is ASCII: then it is UTF-8, and only the rest is left to be checked.
    const auto& data = *array.data();
    const bool wide = id == Type::LARGE_STRING;
    const int64_t first = wide ? data.GetValues<int64_t>(1)[0] : data.GetValues<int32_t>(1)[0];
    const int64_t end =
        wide ? data.GetValues<int64_t>(1)[data.length] : data.GetValues<int32_t>(1)[data.length];
    const uint8_t* bytes = data.buffers[2] == nullptr ? nullptr : data.buffers[2]->data();
    unsigned char all = 0;
    for (int64_t i = first; i < end; ++i) all |= bytes[i];
    if (all < 0x80) {
      auto binary = data.Copy();
      binary->type = wide ? arrow::large_binary() : arrow::binary();
      return arrow::MakeArray(binary)->ValidateFull();
    }
  }
  return array.ValidateFull();
}

std::string DescribeField(const arrow::Field& field) {
  return fmt::format("{} {}{}", field.name(), field.type()->ToString(),
                     field.nullable() ? "" : " not null");
}

}  // namespace

Status CheckShape(const arrow::RecordBatch& batch) {
  for (int i = 0; i < batch.num_columns(); ++i) {
    const std::string& name = batch.schema()->field(i)->name();
    const arrow::Array& column = *batch.column(i);
    if (column.length() != batch.num_rows()) {
      return Invalid(
          fmt::format("a column of the batch has another length: column={} expected={} actual={}",
                      name, batch.num_rows(), column.length()));
    }
    if (const Status valid = column.Validate(); !valid.ok()) {
      return Invalid(fmt::format("a column of the batch is not a valid array: column={} reason={}",
                                 name, valid.message()));
    }
  }
  return Status::OK();
}

Status CheckBatch(const TableSchema& table, const arrow::RecordBatch& batch) {
  const auto expected = table.ToArrow();
  const arrow::Schema& actual = *batch.schema();
  const int common = std::min(expected->num_fields(), actual.num_fields());
  for (int i = 0; i < common; ++i) {
    const arrow::Field& want = *expected->field(i);
    const arrow::Field& have = *actual.field(i);
    if (want.name() != have.name()) {
      return Invalid(fmt::format("the batch has another column at this place: table={} position={} "
                                 "expected={} actual={}",
                                 table.name, i, want.name(), have.name()),
                     "give the columns of the table, in its order");
    }
    if (!batch.column(i)->type()->Equals(*want.type())) {
      return Invalid(
          fmt::format(
              "a column of the batch has another type: table={} column={} expected={} actual={}",
              table.name, want.name(), want.type()->ToString(),
              batch.column(i)->type()->ToString()),
          "cast it");
    }
  }
  if (expected->num_fields() > common) {
    return Invalid(fmt::format("the batch lacks a column: table={} column={}", table.name,
                               expected->field(common)->name()));
  }
  if (actual.num_fields() > common) {
    return Invalid(fmt::format("the batch has a column that the table lacks: table={} column={}",
                               table.name, actual.field(common)->name()));
  }
  ARROW_RETURN_NOT_OK(CheckShape(batch));
  for (int i = 0; i < common; ++i) {
    const arrow::Array& column = *batch.column(i);
    if (column.null_count() > 0 && RefusesNull(*expected->field(i))) {
      int64_t row = 0;
      while (!column.IsNull(row)) ++row;
      return Invalid(fmt::format("a column that is not null has a null: table={} column={} row={}",
                                 table.name, expected->field(i)->name(), row));
    }
    if (column.type()->num_fields() > 0 && HasForbiddenNull(column)) {
      int64_t row = 0;
      while (row < column.length() && !HasForbiddenNull(*column.Slice(row, 1))) ++row;
      return Invalid(
          fmt::format("a nested field that is not null has a null: table={} column={} row={}",
                      table.name, expected->field(i)->name(), row));
    }
    if (const Status values = CheckValues(column); !values.ok()) {
      return Invalid(fmt::format(
          "a column holds a value that is not valid for its type: table={} column={} reason={}",
          table.name, expected->field(i)->name(), values.message()));
    }
  }
  return Status::OK();
}

Status CheckSameDefinition(const TableSchema& stored, const arrow::Schema& schema,
                           const KeyDeclaration& key) {
  const auto expected = stored.ToArrow();
  const int common = std::min(expected->num_fields(), schema.num_fields());
  const std::string hint = "open the table without a definition, or change the stored one";
  for (int i = 0; i < common; ++i) {
    const arrow::Field& want = *expected->field(i);
    const arrow::Field& have = *schema.field(i);
    if (!want.Equals(have, /*check_metadata=*/false)) {
      return Invalid(fmt::format("the definition differs from the stored one: table={} position={} "
                                 "stored=[{}] given=[{}]",
                                 stored.name, i, DescribeField(want), DescribeField(have)),
                     hint);
    }
  }
  if (expected->num_fields() != schema.num_fields()) {
    const bool missing = expected->num_fields() > common;
    const arrow::Field& field = missing ? *expected->field(common) : *schema.field(common);
    return Invalid(fmt::format("the definition differs from the stored one: table={} position={} "
                               "stored=[{}] given=[{}]",
                               stored.name, common, missing ? DescribeField(field) : "",
                               missing ? "" : DescribeField(field)),
                   hint);
  }
  ARROW_ASSIGN_OR_RAISE(const std::vector<int> positions, internal::ResolveKey(schema, key));
  std::vector<std::string> given;
  given.reserve(positions.size());
  for (int at : positions) given.push_back(schema.field(at)->name());
  std::vector<std::string> wanted;
  if (stored.has_primary_key) {
    for (int at : stored.KeyPositions())
      wanted.push_back(stored.columns[static_cast<size_t>(at)].name);
  }
  if (given != wanted) {
    return Invalid(
        fmt::format("the key differs from the stored one: table={} stored=[{}] given=[{}]",
                    stored.name, fmt::join(wanted, ","), fmt::join(given, ",")),
        hint);
  }
  return Status::OK();
}

}  // namespace lamina::catalog
