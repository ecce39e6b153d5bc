#include "sql/foreign_keys.h"

#include <algorithm>

#include <arrow/api.h>
#include <arrow/compute/api_vector.h>
#include <duckdb/planner/expression_binder/constant_binder.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "catalog/key_codec.h"
#include "catalog/schema.h"
#include "sql/error_translation.h"
#include "sql/index_writer.h"
#include "sql/vectors.h"

namespace lamina::sql {
namespace {

using ScalarPtr = std::shared_ptr<arrow::Scalar>;

constexpr int64_t kOpenFrom = ValidTime::Min().micros;
constexpr int64_t kOpenTo = ValidTime::Max().micros;
// A lookup costs about as much as it takes to pass by so many rows in a scan of keys.
constexpr uint64_t kRowsPerLookup = 16;

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

/// [from, to) of a row of an answer that has the valid times.
std::pair<int64_t, int64_t> IntervalOf(const arrow::RecordBatch& batch, int64_t row) {
  return {MicrosAt(batch.GetColumnByName(catalog::kValidFromColumn), row, kOpenFrom),
          MicrosAt(batch.GetColumnByName(catalog::kValidToColumn), row, kOpenTo)};
}

/// Values for every row; an open end is null, as writes take it.
std::shared_ptr<arrow::Array> Times(const std::vector<int64_t>& micros, int64_t open_end) {
  arrow::Int64Builder builder;
  for (const int64_t of : micros)
    ThrowIfError(of == open_end ? builder.AppendNull() : builder.Append(of));
  return ValueOrThrow(builder.Finish());
}

/// As the column's type at rest.
ScalarPtr DefaultOf(duckdb::ClientContext& context, const LaminaTableEntry& table,
                    const arrow::Field& field) {
  const auto& column = table.GetColumns().GetColumn(field.name());
  if (!column.HasDefaultValue()) return arrow::MakeNullScalar(field.type());
  const auto binder = duckdb::Binder::CreateBinder(context);
  duckdb::ConstantBinder constants(*binder, context, "DEFAULT value");
  constants.target_type = column.Type();
  auto expression = column.DefaultValue().Copy();
  const duckdb::Value value = duckdb::ExpressionExecutor::EvaluateScalar(
      context, *constants.Bind(expression), /*allow_unfoldable=*/true);
  duckdb::Vector vector(value);
  return ValueOrThrow<ScalarPtr>(ValueOrThrow(ToArray(vector, 1, field.type()))->GetScalar(0));
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
    references_.push_back({Reference(transaction, key), {}, {}});
  for (const ForeignKey& key : table.dependents().referenced_by)
    referenced_.push_back({Reference(transaction, key), {}, {}});
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
    Source source{components[static_cast<size_t>(row)], kept, static_cast<int64_t>(i), nullptr,
                  row};
    if (unless_in != nullptr) source.fresh = Pick(*unless_in, columns);
    pending.lookups.try_emplace({targets[i], from, to}, std::move(source));
  }
}

std::vector<ForeignKeyChecks::Target> ForeignKeyChecks::SortedOnce(std::vector<Target> targets) {
  if (targets.empty()) return targets;
  // Places are sorted instead of texts, mostly by 8 bytes behind what all texts begin with.
  std::string_view common = targets[0].key;
  for (const Target& target : targets) {
    const auto differ =
        std::mismatch(common.begin(), common.end(), target.key.begin(), target.key.end()).first;
    common = common.substr(0, static_cast<size_t>(differ - common.begin()));
  }
  const size_t skip = common.size();
  std::vector<std::pair<uint64_t, size_t>> places;
  places.reserve(targets.size());
  for (size_t i = 0; i < targets.size(); ++i)
    places.emplace_back(catalog::KeyPrefix(std::string_view(targets[i].key).substr(skip)), i);
  std::sort(places.begin(), places.end(), [&](const auto& a, const auto& b) {
    return a.first != b.first ? a.first < b.first : targets[a.second].key < targets[b.second].key;
  });
  std::vector<Target> out;
  for (const auto& [prefix, i] : places)
    if (out.empty() || out.back().key != targets[i].key) out.push_back(std::move(targets[i]));
  return out;
}

std::vector<ForeignKeyChecks::Target> ForeignKeyChecks::TargetsOf(
    const Reference& reference,
    const std::vector<std::shared_ptr<arrow::RecordBatch>>& rows) const {
  std::vector<Target> out;
  for (size_t b = 0; b < rows.size(); ++b) {
    auto values = Pick(*rows[b], reference.key.columns);
    std::vector<int64_t> numbers;
    const auto& columns = values->columns();
    if (std::any_of(columns.begin(), columns.end(),
                    [](const auto& column) { return column->null_count() > 0; })) {
      arrow::Int64Builder chosen;
      for (int64_t row = 0; row < values->num_rows(); ++row) {
        if (std::any_of(columns.begin(), columns.end(),
                        [&](const auto& column) { return column->IsNull(row); }))
          continue;
        numbers.push_back(row);
        ThrowIfError(chosen.Append(row));
      }
      values =
          ValueOrThrow(arrow::compute::Take(values, ValueOrThrow(chosen.Finish()))).record_batch();
    }
    if (values->num_rows() == 0) continue;
    std::vector<std::string> keys = reference.Targets(*values);
    for (size_t i = 0; i < keys.size(); ++i) {
      const auto at = static_cast<int64_t>(i);
      // Rows that come in order of another table's refer to one of it many times in a row.
      if (!out.empty() && out.back().key == keys[i]) continue;
      out.push_back({std::move(keys[i]), b, numbers.empty() ? at : numbers[i]});
    }
  }
  return SortedOnce(std::move(out));
}

void ForeignKeyChecks::KeepMissing(const Reference& reference, std::vector<Target>* targets) const {
  const auto schema = session_.FindTable(reference.target);
  uint64_t rows = ValueOrThrow(session_.FactsInMemory(schema->id));
  for (const auto& file : session_.FilesOf(schema->id)) rows += file->rows;
  if (rows > kRowsPerLookup * targets->size()) {
    std::erase_if(*targets, [&](const Target& target) {
      return Uncovered(reference, target.key, kOpenFrom, kOpenTo).empty();
    });
    return;
  }
  // One pass over the keys in between instead of so many lookups.
  const std::string& first = targets->front().key;
  const std::string& last = targets->back().key;
  ThrowIfError(session_.NoteConstraint(reference.target, {first, last + '\0', false}));
  const catalog::KeyCodec codec(*schema);
  ScanOptions options;
  options.columns.emplace();
  for (const auto& column : codec.columns()) options.columns->push_back(column.name);
  options.columns->push_back(catalog::kValidFromColumn);
  options.columns->push_back(catalog::kValidToColumn);
  Key from;
  for (const auto& column : ValueOrThrow(codec.Decode(std::vector<std::string_view>{first})))
    from.push_back(ValueOrThrow<ScalarPtr>(column->GetScalar(0)));
  options.keys.from = std::move(from);
  options.valid = ValidPeriod::All();
  options.batch_rows = 64 * 1024;
  const auto reader = ValueOrThrow(session_.Scan(reference.target, options));
  std::vector<Target> missing;
  auto next = targets->begin();
  // Versions of one key come one after another, by valid time: how far those of `next` reach.
  int64_t covered = kOpenFrom;
  bool done = false;
  const auto leave = [&] {
    if (!done) missing.push_back(std::move(*next));
    ++next;
    covered = kOpenFrom;
    done = false;
  };
  for (bool more = true; more && next != targets->end();) {
    const auto batch = ValueOrThrow(reader->Next());
    if (batch == nullptr) break;
    const auto keys = ValueOrThrow(codec.Encode(*batch));
    for (int64_t row = 0; row < batch->num_rows() && next != targets->end(); ++row) {
      const std::string_view key = keys->GetView(row);
      if (key > last) {
        more = false;
        break;
      }
      while (next != targets->end() && next->key < key) leave();
      if (next == targets->end() || next->key != key || done) continue;
      const auto [begin, end] = IntervalOf(*batch, row);
      if (begin <= covered) covered = std::max(covered, end);
      done = covered == kOpenTo;
    }
  }
  while (next != targets->end()) leave();
  *targets = std::move(missing);
}

void ForeignKeyChecks::ThrowNotThere(const Reference& reference, const std::string& values) {
  Throw(MakeSqlError(
      "T3005", fmt::format("a row refers to one that is not there: table={} columns=({}) "
                           "values=({}) references={}",
                           reference.from->name, fmt::join(reference.key.columns, ", "), values,
                           reference.to->name)));
}

void ForeignKeyChecks::Loading(const std::vector<std::shared_ptr<arrow::RecordBatch>>& rows) {
  for (Pending& pending : references_) {
    const Reference& reference = pending.reference;
    std::vector<Target> targets = TargetsOf(reference, rows);
    if (targets.empty()) continue;
    KeepMissing(reference, &targets);
    for (const Target& target : targets) {
      const std::string values =
          Describe(*Pick(*rows[target.batch], reference.key.columns), target.row).second;
      if (reference.from != reference.to) ThrowNotThere(reference, values);
      pending.not_there_yet.try_emplace(target.key, values);
    }
  }
}

void ForeignKeyChecks::Loaded(
    const std::function<bool(const std::string& table, std::string_view key)>& contains) {
  for (Pending& pending : references_) {
    for (const auto& [key, values] : pending.not_there_yet) {
      if (!contains(pending.reference.target, key)) ThrowNotThere(pending.reference, values);
    }
    pending.not_there_yet.clear();
  }
}

ForeignKeyChecks::Intervals ForeignKeyChecks::Uncovered(const Reference& reference,
                                                        const std::string& target, int64_t from,
                                                        int64_t to) const {
  ThrowIfError(session_.NoteConstraint(reference.target, catalog::KeyRange::Point(target)));
  const std::vector<std::string> columns = {catalog::kValidFromColumn, catalog::kValidToColumn};
  const auto found = ValueOrThrow(session_.GetEncoded(reference.target, target, {},
                                                      ValidPeriod::FromTo({from}, {to}), columns));
  Intervals there, out;
  for (int64_t row = 0; row < found->num_rows(); ++row) there.push_back(IntervalOf(*found, row));
  std::sort(there.begin(), there.end());
  int64_t covered = from;
  for (const auto& [begin, end] : there) {
    if (begin > covered) out.emplace_back(covered, std::min(begin, to));
    covered = std::max(covered, end);
  }
  if (covered < to) out.emplace_back(covered, to);
  return out;
}

std::vector<std::tuple<std::string, int64_t, int64_t>> ForeignKeyChecks::Orphans(
    const Reference& reference, const Lookup& lookup, const Source& source) const {
  const auto& [target, from, to] = lookup;
  const catalog::KeyRange range = catalog::IndexCodec::Equal(source.prefix);
  ThrowIfError(session_.NoteConstraint(reference.referring, range));
  ScanOptions options;
  options.columns = {kRowColumn, catalog::kValidFromColumn, catalog::kValidToColumn};
  options.keys.from = {std::make_shared<arrow::BinaryScalar>(range.from)};
  if (!range.unbounded_to) options.keys.to = {std::make_shared<arrow::BinaryScalar>(range.to)};
  options.valid = ValidPeriod::FromTo({from}, {to});
  options.order_by_key = false;
  std::vector<std::tuple<std::string, int64_t, int64_t>> out;
  const auto reader = ValueOrThrow(session_.Scan(reference.referring, options));
  for (;;) {
    const auto batch = ValueOrThrow(reader->Next());
    if (batch == nullptr) return out;
    const auto& rows = static_cast<const arrow::BinaryArray&>(*batch->column(0));
    for (int64_t row = 0; row < batch->num_rows(); ++row) {
      const auto [begin, end] = IntervalOf(*batch, row);
      for (const auto& [lost_from, lost_to] :
           Uncovered(reference, target, std::max(begin, from), std::min(end, to)))
        out.emplace_back(rows.GetString(row), lost_from, lost_to);
    }
  }
}

std::vector<ReferenceChange> ForeignKeyChecks::Act(duckdb::ClientContext& context) {
  std::vector<ReferenceChange> out;
  for (const Pending& pending : referenced_) {
    const Reference& reference = pending.reference;
    for (const bool updates : {false, true}) {
      const ReferenceAction action = updates ? reference.key.on_update : reference.key.on_delete;
      if (action == ReferenceAction::kNoAction) continue;
      std::vector<std::tuple<std::string, int64_t, int64_t>> orphans;
      std::vector<const Source*> sources;
      for (const auto& [lookup, source] : pending.lookups) {
        CheckInterrupted(context);
        if ((source.fresh != nullptr) != updates) continue;
        for (auto& orphan : Orphans(reference, lookup, source)) {
          orphans.push_back(std::move(orphan));
          sources.push_back(&source);
        }
      }
      if (orphans.empty()) continue;
      out.push_back(MakeChange(context, reference, action, orphans, sources));
    }
  }
  return out;
}

ReferenceChange ForeignKeyChecks::MakeChange(
    duckdb::ClientContext& context, const Reference& reference, ReferenceAction action,
    const std::vector<std::tuple<std::string, int64_t, int64_t>>& orphans,
    const std::vector<const Source*>& sources) const {
  LaminaTableEntry& table = *reference.from;
  const auto& schema = table.table().schema;
  ReferenceChange out;
  out.table = &table;
  out.columns = reference.key.columns;

  // The rows as they are, in pieces of their valid times.
  std::vector<std::string> columns = schema->field_names();
  if (table.table().key.empty()) columns.push_back(catalog::kRowIdColumn);
  columns.push_back(catalog::kValidFromColumn);
  columns.push_back(catalog::kValidToColumn);
  std::vector<std::shared_ptr<arrow::RecordBatch>> pieces;
  std::vector<int64_t> valid_from, valid_to;
  std::vector<const Source*> source_of;
  for (size_t i = 0; i < orphans.size(); ++i) {
    CheckInterrupted(context);
    const auto& [key, from, to] = orphans[i];
    const auto rows = ValueOrThrow(session_.GetEncoded(table.table().name, key, {},
                                                       ValidPeriod::FromTo({from}, {to}), columns));
    for (int64_t row = 0; row < rows->num_rows(); ++row) {
      const auto [begin, end] = IntervalOf(*rows, row);
      valid_from.push_back(std::max(begin, from));
      valid_to.push_back(std::min(end, to));
      source_of.push_back(sources[i]);
    }
    pieces.push_back(rows);
  }
  const auto rows =
      ValueOrThrow<std::shared_ptr<arrow::RecordBatch>>(arrow::ConcatenateRecordBatches(pieces));
  out.change.old.keys =
      Pick(*rows, table.table().key.empty() ? std::vector<std::string>{catalog::kRowIdColumn}
                                            : table.table().key);
  out.change.old.valid_from = Times(valid_from, kOpenFrom);
  out.change.old.valid_to = Times(valid_to, kOpenTo);
  out.change.old.tracked = Pick(*rows, table.tracked_columns());
  const bool deletes = action == ReferenceAction::kCascade && sources[0]->fresh == nullptr;
  if (deletes) return out;

  arrow::ArrayVector arrays;
  for (const auto& field : schema->fields()) {
    const auto& names = reference.key.columns;
    const auto at = std::find(names.begin(), names.end(), field->name()) - names.begin();
    if (static_cast<size_t>(at) == names.size()) {
      arrays.push_back(rows->GetColumnByName(field->name()));
    } else if (action == ReferenceAction::kCascade) {
      std::vector<std::shared_ptr<arrow::Array>> values;
      for (const Source* source : source_of)
        values.push_back(source->fresh->column(static_cast<int>(at))->Slice(source->fresh_row, 1));
      arrays.push_back(ValueOrThrow<std::shared_ptr<arrow::Array>>(arrow::Concatenate(values)));
    } else {
      const auto value = action == ReferenceAction::kSetNull ? arrow::MakeNullScalar(field->type())
                                                             : DefaultOf(context, table, *field);
      arrays.push_back(ValueOrThrow<std::shared_ptr<arrow::Array>>(
          arrow::MakeArrayFromScalar(*value, rows->num_rows())));
    }
  }
  out.change.rows = arrow::RecordBatch::Make(schema, rows->num_rows(), std::move(arrays));
  return out;
}

void ForeignKeyChecks::Check(duckdb::ClientContext& context) {
  for (Pending& pending : references_) {
    const Reference& reference = pending.reference;
    for (const auto& [lookup, source] : pending.lookups) {
      CheckInterrupted(context);
      const auto& [target, from, to] = lookup;
      if (Uncovered(reference, target, from, to).empty()) continue;
      ThrowNotThere(reference, Describe(*source.values, source.row).second);
    }
    pending.lookups.clear();
  }
  for (Pending& pending : referenced_) {
    const Reference& reference = pending.reference;
    for (const auto& [lookup, source] : pending.lookups) {
      CheckInterrupted(context);
      if (Orphans(reference, lookup, source).empty()) continue;
      const auto [columns, values] = Describe(*source.values, source.row);
      Throw(MakeSqlError("T3005",
                         fmt::format("a row is referred to: table={} columns=({}) values=({}) "
                                     "referenced by={}",
                                     reference.to->name, columns, values, reference.from->name),
                         "DELETE or UPDATE the rows that refer to it first"));
    }
    pending.lookups.clear();
  }
}

}  // namespace lamina::sql
