#include "sql/index_writer.h"

#include <numeric>
#include <unordered_set>

#include <arrow/api.h>
#include <arrow/compute/api_vector.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error_detail.h"
#include "sql/error_translation.h"

namespace lamina::sql {
namespace {

std::vector<std::shared_ptr<arrow::DataType>> TypesOf(const catalog::TableSchema& base,
                                                      const IndexDefinition& index) {
  std::vector<std::shared_ptr<arrow::DataType>> out;
  for (const std::string& name : index.columns) {
    const catalog::Column* column = base.FindColumn(name);
    if (column == nullptr) {
      Throw(MakeSqlError("T5010", fmt::format("an index is over a column that is not there: "
                                              "table={} index={} column={}",
                                              base.name, index.name, name)));
    }
    out.push_back(column->type);
  }
  return out;
}

std::vector<int64_t> AllRows(size_t count) {
  std::vector<int64_t> out(count);
  std::iota(out.begin(), out.end(), int64_t{0});
  return out;
}

Result<std::shared_ptr<arrow::Array>> Binary(const std::vector<std::string>& values,
                                             const std::vector<int64_t>& rows) {
  arrow::BinaryBuilder builder;
  for (const int64_t row : rows)
    ARROW_RETURN_NOT_OK(builder.Append(values[static_cast<size_t>(row)]));
  return builder.Finish();
}

Result<std::shared_ptr<arrow::RecordBatch>> ToBatch(const IndexEntries& entries,
                                                    const std::vector<int64_t>& rows,
                                                    const arrow::Schema& schema) {
  ARROW_ASSIGN_OR_RAISE(auto keys, Binary(entries.entries, rows));
  ARROW_ASSIGN_OR_RAISE(auto of, Binary(entries.rows, rows));
  return arrow::RecordBatch::Make(std::make_shared<arrow::Schema>(schema),
                                  static_cast<int64_t>(rows.size()),
                                  {std::move(keys), std::move(of)});
}

ValidInterval IntervalOf(const WriteOptions& options, int64_t row) {
  if (options.valid_from == nullptr) return options.valid;
  const auto micros = [row](const arrow::Array& array, int64_t open_end) {
    return array.IsNull(row) ? open_end : array.data()->GetValues<int64_t>(1)[row];
  };
  return {{micros(*options.valid_from, ValidTime::Min().micros)},
          {micros(*options.valid_to, ValidTime::Max().micros)}};
}

}  // namespace

Result<std::shared_ptr<arrow::RecordBatch>> ToBatch(const IndexEntries& entries,
                                                    const arrow::Schema& schema) {
  return ToBatch(entries, AllRows(entries.size()), schema);
}

WriteOptions ForRows(const WriteOptions& options, const std::vector<int64_t>& rows) {
  WriteOptions out = options;
  if (options.valid_from == nullptr) return out;
  const arrow::Int64Array indices(static_cast<int64_t>(rows.size()),
                                  arrow::Buffer::Wrap(rows.data(), rows.size()));
  const auto take = [&](const std::shared_ptr<arrow::Array>& array) {
    return ValueOrThrow<std::shared_ptr<arrow::Array>>(
        arrow::compute::Take(*array, indices, arrow::compute::TakeOptions::NoBoundsCheck()));
  };
  out.valid_from = take(options.valid_from);
  out.valid_to = take(options.valid_to);
  return out;
}

std::pair<std::string, std::string> Describe(const arrow::RecordBatch& values, int64_t row) {
  std::vector<std::string> names, texts;
  for (int i = 0; i < values.num_columns(); ++i) {
    names.push_back(values.schema()->field(i)->name());
    const auto value = values.column(i)->GetScalar(row);
    texts.push_back(value.ok() && (*value)->is_valid ? (*value)->ToString() : "NULL");
  }
  return {fmt::format("{}", fmt::join(names, ", ")), fmt::format("{}", fmt::join(texts, ", "))};
}

IndexWriter::IndexWriter(db::Session& session, const catalog::TableSchema& base,
                         const IndexDefinition& index)
    : session_(session), table_(base.name), index_(index), codec_(TypesOf(base, index)) {}

Result<IndexEntries> IndexWriter::Entries(const arrow::RecordBatch& batch,
                                          const arrow::BinaryArray& keys) const {
  IndexEntries out;
  arrow::ArrayVector columns;
  arrow::FieldVector fields;
  for (const std::string& name : index_.columns) {
    columns.push_back(batch.GetColumnByName(name));
    fields.push_back(arrow::field(name, columns.back()->type()));
  }
  ARROW_ASSIGN_OR_RAISE(out.entries, codec_.Components(columns));
  out.rows.reserve(out.entries.size());
  out.alone.resize(out.entries.size(), index_.unique);
  for (size_t row = 0; row < out.entries.size(); ++row) {
    const auto at = static_cast<int64_t>(row);
    out.rows.emplace_back(keys.GetView(at));
    for (const auto& column : columns) out.alone[row] = out.alone[row] && !column->IsNull(at);
    if (!out.alone[row]) out.entries[row] += out.rows[row];
  }
  out.values = arrow::RecordBatch::Make(arrow::schema(std::move(fields)), batch.num_rows(),
                                        std::move(columns));
  return out;
}

Status IndexWriter::Add(const IndexEntries& entries, const WriteOptions& options,
                        const std::vector<int64_t>* rows) const {
  std::vector<int64_t> alone, others;
  for (const int64_t row : rows == nullptr ? AllRows(entries.size()) : *rows)
    (entries.alone[static_cast<size_t>(row)] ? alone : others).push_back(row);
  const auto schema = session_.FindTable(index_.storage)->ToArrow();
  if (!others.empty()) {
    ARROW_ASSIGN_OR_RAISE(const auto batch, ToBatch(entries, others, *schema));
    ARROW_RETURN_NOT_OK(session_.Put(index_.storage, batch, ForRows(options, others)));
  }
  if (alone.empty()) return Status::OK();
  ARROW_ASSIGN_OR_RAISE(const auto batch, ToBatch(entries, alone, *schema));
  Status status = session_.Insert(index_.storage, batch, ForRows(options, alone));
  if (CodeOf(status) != ErrorCode::kAlreadyExists) return status;
  return Violation(entries, options, alone);
}

Status IndexWriter::Remove(const IndexEntries& entries, const WriteOptions& options,
                           const std::vector<int64_t>* rows) const {
  const std::vector<int64_t> chosen = rows == nullptr ? AllRows(entries.size()) : *rows;
  if (chosen.empty()) return Status::OK();
  ARROW_ASSIGN_OR_RAISE(const auto batch,
                        ToBatch(entries, chosen, *session_.FindTable(index_.storage)->ToArrow()));
  return session_.Delete(index_.storage, batch, ForRows(options, chosen));
}

Status IndexWriter::Violation(const IndexEntries& entries, const WriteOptions& options,
                              const std::vector<int64_t>& rows) const {
  std::unordered_set<std::string_view> seen;
  int64_t which = rows.front();
  for (const int64_t row : rows) {
    const std::string& entry = entries.entries[static_cast<size_t>(row)];
    bool taken = !seen.insert(entry).second;
    if (!taken) {
      const ValidInterval valid = IntervalOf(options, row);
      ARROW_ASSIGN_OR_RAISE(
          const auto found,
          session_.GetEncoded(index_.storage, entry, {}, ValidPeriod::FromTo(valid.from, valid.to),
                              std::vector<std::string>{}));
      taken = found->num_rows() > 0;
    }
    if (!taken) continue;
    which = row;
    break;
  }
  return Violation(Describe(*entries.values, which).second);
}

Status IndexWriter::Violation(const std::string& values) const {
  return MakeSqlError("T3002",
                      fmt::format("another row has these values: table={} unique={} columns=({}) "
                                  "values=({})",
                                  table_, index_.name, fmt::join(index_.columns, ", "), values),
                      "INSERT … ON CONFLICT DO UPDATE or DO NOTHING says what to do then");
}

Status IndexWriter::AsViolation(const Status& status) const {
  if (CodeOf(status) != ErrorCode::kAlreadyExists) return status;
  std::vector<std::string> texts;
  ARROW_ASSIGN_OR_RAISE(const auto values, codec_.Values(ErrorKeyOf(status)));
  for (const auto& value : values) texts.push_back(value->ToString());
  return Violation(fmt::format("{}", fmt::join(texts, ", ")));
}

}  // namespace lamina::sql
