#include "sql/foreign_keys.h"

#include <algorithm>

#include <arrow/api.h>
#include <arrow/compute/api_vector.h>
#include <fmt/format.h>

#include "catalog/key_codec.h"
#include "catalog/schema.h"
#include "sql/error_translation.h"
#include "sql/index_writer.h"

namespace lamina::sql {
namespace {

constexpr int64_t kOpenFrom = ValidTime::Min().micros;
constexpr int64_t kOpenTo = ValidTime::Max().micros;

/// The columns by name, called as `as` says.
std::shared_ptr<arrow::RecordBatch> Pick(const arrow::RecordBatch& rows,
                                         const std::vector<std::string>& columns) {
  arrow::FieldVector fields;
  arrow::ArrayVector arrays;
  for (const std::string& name : columns) {
    arrays.push_back(rows.GetColumnByName(name));
    fields.push_back(arrow::field(name, arrays.back()->type()));
  }
  return arrow::RecordBatch::Make(arrow::schema(std::move(fields)), rows.num_rows(),
                                  std::move(arrays));
}

int64_t MicrosAt(const std::shared_ptr<arrow::Array>& array, int64_t row, int64_t open_end) {
  if (array == nullptr || array->IsNull(row)) return open_end;
  return array->data()->GetValues<int64_t>(1)[row];
}

/// [from, to) of each row of an answer with the valid times in its first two columns.
std::vector<std::pair<int64_t, int64_t>> Intervals(const arrow::RecordBatch& batch) {
  std::vector<std::pair<int64_t, int64_t>> out;
  for (int64_t row = 0; row < batch.num_rows(); ++row)
    out.emplace_back(MicrosAt(batch.column(0), row, kOpenFrom),
                     MicrosAt(batch.column(1), row, kOpenTo));
  return out;
}

const std::vector<std::string>& TimeColumns() {
  static const std::vector<std::string> columns = {catalog::kValidFromColumn,
                                                   catalog::kValidToColumn};
  return columns;
}

}  // namespace

ForeignKeyChecks::Reference::Reference(LaminaTransaction& transaction, const ForeignKey& of)
    : key(of) {
  CatalogSnapshot& definitions = transaction.definitions();
  from = definitions.FindTable(key.table);
  to = definitions.FindTable(key.references);
  if (from == nullptr || to == nullptr) {
    Throw(MakeSqlError(
        "T5010", fmt::format("a foreign key names a table that is not there: key={}", key.object)));
  }
  to_schema = transaction.data().FindTable(to->table().name);
  std::vector<std::shared_ptr<arrow::DataType>> types;
  for (const std::string& column : key.referenced)
    types.push_back(to_schema->FindColumn(column)->type);
  codec = std::make_unique<catalog::IndexCodec>(std::move(types));
  by_key = key.referenced == to->table().key;
  if (by_key) target = to->table().name;
  for (const IndexDefinition& index : to->dependents().indexes) {
    if (!by_key && index.unique && index.columns == key.referenced) target = index.storage;
  }
  for (const IndexDefinition& index : from->dependents().indexes) {
    if (index.role == IndexDefinition::Role::kForeignKey && index.columns == key.columns)
      referring = index.storage;
  }
  if (target.empty() || referring.empty()) {
    Throw(MakeSqlError("T5010", fmt::format("a foreign key lacks an index: table={} references={}",
                                            from->name, to->name)));
  }
}

std::vector<std::string> ForeignKeyChecks::Reference::Targets(
    const arrow::RecordBatch& values) const {
  if (!by_key) return ValueOrThrow(codec->Components(values.columns()));
  const auto named = ValueOrThrow(values.RenameColumns(key.referenced));
  const auto keys = ValueOrThrow(catalog::KeyCodec(*to_schema).Encode(*named));
  std::vector<std::string> out;
  for (int64_t row = 0; row < keys->length(); ++row) out.emplace_back(keys->GetView(row));
  return out;
}

ForeignKeyChecks::ForeignKeyChecks(LaminaTransaction& transaction, const LaminaTableEntry& table)
    : transaction_(transaction), session_(transaction.data()) {
  for (const ForeignKey& key : table.dependents().foreign_keys)
    references_.push_back({Reference(transaction, key), {}});
  for (const ForeignKey& key : table.dependents().referenced_by)
    referenced_.push_back({Reference(transaction, key), {}});
}

void ForeignKeyChecks::Written(const arrow::RecordBatch& rows, const WriteOptions& valid,
                               const arrow::RecordBatch* old) {
  for (Pending& pending : references_)
    Collect(pending, pending.reference.key.columns, rows, valid, old);
}

void ForeignKeyChecks::Gone(const arrow::RecordBatch& old, const WriteOptions& valid,
                            const arrow::RecordBatch* rows) {
  for (Pending& pending : referenced_)
    Collect(pending, pending.reference.key.referenced, old, valid, rows);
}

void ForeignKeyChecks::Collect(Pending& pending, const std::vector<std::string>& columns,
                               const arrow::RecordBatch& rows, const WriteOptions& valid,
                               const arrow::RecordBatch* unless_in) {
  const auto values = Pick(rows, columns);
  const auto components = ValueOrThrow(pending.reference.codec->Components(values->columns()));
  std::vector<std::string> others;
  if (unless_in != nullptr)
    others =
        ValueOrThrow(pending.reference.codec->Components(Pick(*unless_in, columns)->columns()));
  arrow::Int64Builder chosen;
  std::vector<int64_t> numbers;
  for (int64_t row = 0; row < rows.num_rows(); ++row) {
    const auto at = static_cast<size_t>(row);
    const auto& all = values->columns();
    if (std::any_of(all.begin(), all.end(), [&](const auto& of) { return of->IsNull(row); }))
      continue;  // a NULL refers to nothing
    if (unless_in != nullptr && others[at] == components[at]) continue;
    numbers.push_back(row);
    ThrowIfError(chosen.Append(row));
  }
  if (numbers.empty()) return;
  const auto indices = ValueOrThrow(chosen.Finish());
  arrow::ArrayVector taken;
  for (const auto& column : values->columns())
    taken.push_back(
        ValueOrThrow<std::shared_ptr<arrow::Array>>(arrow::compute::Take(*column, *indices)));
  const auto kept = arrow::RecordBatch::Make(values->schema(), static_cast<int64_t>(numbers.size()),
                                             std::move(taken));
  const std::vector<std::string> targets = pending.reference.Targets(*kept);
  for (size_t i = 0; i < targets.size(); ++i) {
    const int64_t row = numbers[i];
    const int64_t from = valid.valid_from == nullptr ? valid.valid.from.micros
                                                     : MicrosAt(valid.valid_from, row, kOpenFrom);
    const int64_t to =
        valid.valid_to == nullptr ? valid.valid.to.micros : MicrosAt(valid.valid_to, row, kOpenTo);
    pending.lookups.try_emplace({targets[i], from, to}, Source{components[static_cast<size_t>(row)],
                                                               kept, static_cast<int64_t>(i)});
  }
}

bool ForeignKeyChecks::IsCovered(const Reference& reference, const std::string& target,
                                 int64_t from, int64_t to) const {
  ThrowIfError(session_.NoteConstraint(reference.target, catalog::KeyRange::Point(target)));
  const auto found = ValueOrThrow(session_.GetEncoded(
      reference.target, target, {}, ValidPeriod::FromTo({from}, {to}), TimeColumns()));
  auto intervals = Intervals(*found);
  std::sort(intervals.begin(), intervals.end());
  int64_t covered = from;
  for (const auto& [begin, end] : intervals) {
    if (begin > covered) return false;
    covered = std::max(covered, end);
    if (covered >= to) return true;
  }
  return false;
}

void ForeignKeyChecks::Check() {
  for (Pending& pending : references_) {
    const Reference& reference = pending.reference;
    for (const auto& [lookup, source] : pending.lookups) {
      const auto& [target, from, to] = lookup;
      if (IsCovered(reference, target, from, to)) continue;
      const auto [columns, values] = Describe(*source.values, source.row);
      Throw(MakeSqlError("T3005",
                         fmt::format("a row refers to one that is not there: table={} columns=({}) "
                                     "values=({}) references={}",
                                     reference.from->name, columns, values, reference.to->name)));
    }
    pending.lookups.clear();
  }
  for (Pending& pending : referenced_) {
    const Reference& reference = pending.reference;
    for (const auto& [lookup, source] : pending.lookups) {
      const auto& [target, from, to] = lookup;
      const catalog::KeyRange range = catalog::IndexCodec::Equal(source.prefix);
      ThrowIfError(session_.NoteConstraint(reference.referring, range));
      ScanOptions options;
      options.columns = TimeColumns();
      options.keys.from = {std::make_shared<arrow::BinaryScalar>(range.from)};
      if (!range.unbounded_to) options.keys.to = {std::make_shared<arrow::BinaryScalar>(range.to)};
      options.valid = ValidPeriod::FromTo({from}, {to});
      options.order_by_key = false;
      const auto reader = ValueOrThrow(session_.Scan(reference.referring, options));
      for (;;) {
        const auto batch = ValueOrThrow(reader->Next());
        if (batch == nullptr) break;
        for (const auto& [begin, end] : Intervals(*batch)) {
          if (IsCovered(reference, target, std::max(begin, from), std::min(end, to))) continue;
          const auto [columns, values] = Describe(*source.values, source.row);
          Throw(MakeSqlError("T3005",
                             fmt::format("a row is referred to: table={} columns=({}) "
                                         "values=({}) referenced by={}",
                                         reference.to->name, columns, values, reference.from->name),
                             "DELETE or UPDATE the rows that refer to it first"));
        }
      }
    }
    pending.lookups.clear();
  }
}

}  // namespace lamina::sql
