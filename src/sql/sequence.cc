#include "sql/sequence.h"

#include <algorithm>
#include <utility>

#include <arrow/api.h>
#include <duckdb/common/types/uuid.hpp>
#include <duckdb/parser/expression/cast_expression.hpp>
#include <duckdb/parser/expression/constant_expression.hpp>
#include <duckdb/parser/expression/function_expression.hpp>
#include <duckdb/parser/parsed_data/alter_table_info.hpp>
#include <duckdb/parser/parsed_expression_iterator.hpp>
#include <duckdb/parser/qualified_name.hpp>
#include <duckdb/parser/statement/create_statement.hpp>
#include <fmt/format.h>

#include "sql/error_translation.h"
#include "sql/lamina_catalog.h"
#include "sql/schema_entry.h"
#include "sql/table_entry.h"
#include "sql/transaction.h"

namespace lamina::sql {
namespace {

std::shared_ptr<arrow::Schema> PositionSchema() {
  static const auto schema = arrow::schema(
      {arrow::field("id", arrow::utf8(), false), arrow::field("next", arrow::int64()),
       arrow::field("last", arrow::int64()), arrow::field("blocks", arrow::int64(), false)});
  return schema;
}

Result<std::shared_ptr<arrow::RecordBatch>> PositionRow(const std::string& id,
                                                        const SequencePosition& position) {
  arrow::StringBuilder ids;
  ARROW_RETURN_NOT_OK(ids.Append(id));
  arrow::ArrayVector columns(4);
  ARROW_ASSIGN_OR_RAISE(columns[0], ids.Finish());
  const std::optional<int64_t> values[] = {position.next, position.last, position.blocks};
  for (size_t i = 0; i < 3; ++i) {
    arrow::Int64Builder builder;
    ARROW_RETURN_NOT_OK(values[i].has_value() ? builder.Append(*values[i]) : builder.AppendNull());
    ARROW_ASSIGN_OR_RAISE(columns[i + 1], builder.Finish());
  }
  return arrow::RecordBatch::Make(PositionSchema(), 1, std::move(columns));
}

/// kNotFound when there is none: the sequence is gone.
Result<SequencePosition> ReadPosition(const SequenceHandle& sequence,
                                      Result<std::shared_ptr<arrow::RecordBatch>> row) {
  if ((!row.ok() && CodeOf(row.status()) == ErrorCode::kNotFound) ||
      (row.ok() && (*row)->num_rows() == 0))
    return MakeSqlError("T2010", "sequence does not exist any more: " + sequence.name);
  ARROW_RETURN_NOT_OK(row);
  const auto value = [&](int column) -> std::optional<int64_t> {
    const auto& array = static_cast<const arrow::Int64Array&>(*(*row)->column(column));
    return array.IsNull(0) ? std::optional<int64_t>() : array.Value(0);
  };
  return SequencePosition{value(1), value(2), value(3).value_or(0)};
}

Key KeyOf(const std::string& id) { return {std::make_shared<arrow::StringScalar>(id)}; }

Status Ended(const SequenceHandle& sequence) {
  const bool up = sequence.rule.increment > 0;
  return MakeSqlError(
      "T4008",
      fmt::format("the sequence has reached its {} value: sequence={} value={}",
                  up ? "last" : "least", sequence.name, up ? sequence.rule.max : sequence.rule.min),
      "CREATE SEQUENCE … CYCLE begins again");
}

/// Hands out of `left` what there is of `count`; returns how many.
int64_t Hand(const SequenceRule& rule, int64_t count, SequenceRun* left, int64_t* out) {
  const int64_t given = std::min(count, left->count);
  for (int64_t i = 0; i < given; ++i) out[i] = left->first + i * rule.increment;
  left->count -= given;
  // Where nothing is left, one step further may not be a number any more.
  if (left->count > 0) left->first += given * rule.increment;
  return given;
}

}  // namespace

std::optional<SequenceRun> TakeRun(const SequenceRule& rule, int64_t wanted,
                                   SequencePosition* position) {
  if (!position->next.has_value()) return std::nullopt;
  const int64_t first = *position->next;
  const bool up = rule.increment > 0;
  const auto distance =
      up ? static_cast<__int128>(rule.max) - first : static_cast<__int128>(first) - rule.min;
  const auto step =
      up ? static_cast<__int128>(rule.increment) : -static_cast<__int128>(rule.increment);
  const auto there = distance / step + 1;
  const int64_t count = there < wanted ? static_cast<int64_t>(there) : wanted;
  const auto last =
      static_cast<__int128>(first) + static_cast<__int128>(rule.increment) * (count - 1);
  position->last = static_cast<int64_t>(last);
  const __int128 next = last + rule.increment;
  if (next >= rule.min && next <= rule.max) {
    position->next = static_cast<int64_t>(next);
  } else if (rule.cycle) {
    position->next = up ? rule.min : rule.max;
  } else {
    position->next.reset();
  }
  ++position->blocks;
  return SequenceRun{first, count};
}

SequenceCounters::~SequenceCounters() {
  base::MutexLock lock(&mu_);
  for (auto& [id, block] : blocks_) {
    base::MutexLock block_lock(&block->mu);
    if (block->left.count == 0 || !block->last.has_value()) continue;
    const auto put_back = [&, &id = id, &block = *block](lamina::Transaction& transaction) {
      ARROW_ASSIGN_OR_RAISE(const auto row, transaction.Get(kSequenceTable, KeyOf(id)));
      ARROW_ASSIGN_OR_RAISE(auto now, ReadPosition({id, id, block.rule}, row));
      if (now.blocks != block.after.blocks) return Status::OK();  // another took the next block
      now.next = block.left.first;
      now.last = block.last;
      ARROW_ASSIGN_OR_RAISE(const auto changed, PositionRow(id, now));
      return transaction.Put(kSequenceTable, changed);
    };
    // A gap is no loss, and here is nobody to tell.
    (void)database_->Run(put_back);
  }
}

Status SequenceCounters::Take(const SequenceHandle& sequence, int64_t wanted, Block* block) {
  SequencePosition position;
  std::optional<SequenceRun> run;
  TransactionOptions options;
  options.durable = true;
  const auto take = [&](lamina::Transaction& transaction) -> Status {
    ARROW_ASSIGN_OR_RAISE(
        position, ReadPosition(sequence, transaction.Get(kSequenceTable, KeyOf(sequence.id))));
    run = TakeRun(sequence.rule, std::max(wanted, kSequenceBlock), &position);
    if (!run.has_value()) return Ended(sequence);
    ARROW_ASSIGN_OR_RAISE(const auto row, PositionRow(sequence.id, position));
    return transaction.Put(kSequenceTable, row);
  };
  ARROW_RETURN_NOT_OK(database_->Run(take, options));
  block->left = *run;
  block->rule = sequence.rule;
  block->after = position;
  return Status::OK();
}

Status SequenceCounters::Next(const SequenceHandle& sequence, SequencePosition* created_here,
                              int64_t count, int64_t* out) {
  if (created_here != nullptr) {
    while (count > 0) {
      auto run = TakeRun(sequence.rule, count, created_here);
      if (!run.has_value()) return Ended(sequence);
      const int64_t given = Hand(sequence.rule, count, &*run, out);
      out += given;
      count -= given;
    }
    return Status::OK();
  }
  std::shared_ptr<Block> block;
  {
    base::MutexLock lock(&mu_);
    auto& slot = blocks_[sequence.id];
    if (slot == nullptr) slot = std::make_shared<Block>();
    block = slot;
  }
  // Held over the commit: others that wait want a value of this very block.
  base::MutexLock lock(&block->mu);
  while (count > 0) {
    if (block->left.count == 0) ARROW_RETURN_NOT_OK(Take(sequence, count, block.get()));
    const int64_t given = Hand(sequence.rule, count, &block->left, out);
    out += given;
    count -= given;
    block->last = *(out - 1);
  }
  return Status::OK();
}

Result<SequencePosition> SequenceCounters::Position(const SequenceHandle& sequence) {
  std::shared_ptr<Block> block;
  {
    base::MutexLock lock(&mu_);
    const auto it = blocks_.find(sequence.id);
    if (it != blocks_.end()) block = it->second;
  }
  if (block != nullptr) {
    base::MutexLock lock(&block->mu);
    if (block->left.count > 0 && block->last.has_value())
      return SequencePosition{block->left.first, block->last, block->after.blocks};
  }
  return ReadPosition(sequence, database_->Get(kSequenceTable, KeyOf(sequence.id)));
}

LaminaSequenceEntry::LaminaSequenceEntry(duckdb::Catalog& catalog,
                                         duckdb::SchemaCatalogEntry& schema,
                                         duckdb::CreateSequenceInfo& info, std::string id,
                                         SequenceOwner owner)
    : SequenceCatalogEntry(catalog, schema, info),
      handle_{std::move(id),
              info.name,
              {info.start_value, info.increment, info.min_value, info.max_value, info.cycle}},
      owner_(std::move(owner)) {
  if (!owner_.table.empty()) tags["owner"] = owner_.table;
  if (owner_.always) tags["identity"] = "always";
}

duckdb::CreateSequenceInfo LaminaSequenceEntry::Definition() const {
  duckdb::CreateSequenceInfo out;
  out.catalog = catalog.GetName();
  out.schema = schema.name;
  out.name = name;
  out.start_value = handle_.rule.start;
  out.increment = handle_.rule.increment;
  out.min_value = handle_.rule.min;
  out.max_value = handle_.rule.max;
  out.cycle = handle_.rule.cycle;
  out.comment = comment;
  out.tags = tags;
  return out;
}

duckdb::unique_ptr<duckdb::CreateInfo> LaminaSequenceEntry::GetInfo() const {
  auto out = duckdb::make_uniq<duckdb::CreateSequenceInfo>(Definition());
  // One that the caller's own transaction made has no position yet that others could see.
  const auto position = catalog.Cast<LaminaCatalog>().sequences().Position(handle_);
  if (position.ok()) {
    out->start_value = position->next.value_or(position->last.value_or(handle_.rule.start));
    out->usage_count = position->last.has_value() ? 1 : 0;
  }
  return out;
}

std::string LaminaSequenceEntry::ToSQL() const {
  const auto info = GetInfo();
  info->catalog.clear();
  if (info->schema == kMainSchema) info->schema.clear();
  std::string out = info->ToString();
  const auto position = catalog.Cast<LaminaCatalog>().sequences().Position(handle_);
  if (position.ok() && !position->next.has_value()) {
    const std::string path =
        (info->schema.empty() ? "" : duckdb::KeywordHelper::WriteQuoted(info->schema, '"') + ".") +
        duckdb::KeywordHelper::WriteQuoted(name, '"');
    out += fmt::format(" SELECT nextval({});", duckdb::KeywordHelper::WriteQuoted(path, '\''));
  }
  return out;
}

bool UsesSequence(const duckdb::ParsedExpression& expression, const std::string& schema,
                  const LaminaSequenceEntry& sequence) {
  bool found = false;
  if (expression.GetExpressionType() == duckdb::ExpressionType::FUNCTION) {
    const auto& call = expression.Cast<duckdb::FunctionExpression>();
    const bool counts = duckdb::StringUtil::CIEquals(call.function_name, "nextval") ||
                        duckdb::StringUtil::CIEquals(call.function_name, "currval");
    if (counts && call.children.size() == 1) {
      const duckdb::ParsedExpression* argument = call.children[0].get();
      // nextval('s'::VARCHAR), as DuckDB writes it in some definitions.
      if (argument->GetExpressionType() == duckdb::ExpressionType::OPERATOR_CAST)
        argument = argument->Cast<duckdb::CastExpression>().child.get();
      if (argument->GetExpressionType() == duckdb::ExpressionType::VALUE_CONSTANT) {
        const auto& value = argument->Cast<duckdb::ConstantExpression>().value;
        if (!value.IsNull()) {
          const auto path = duckdb::QualifiedName::Parse(value.ToString());
          const std::string& in = sequence.schema.name;
          found = duckdb::StringUtil::CIEquals(path.name, sequence.name) &&
                  (path.schema.empty() ? in == schema || in == kMainSchema
                                       : duckdb::StringUtil::CIEquals(path.schema, in));
        }
      }
    }
  }
  duckdb::ParsedExpressionIterator::EnumerateChildren(
      expression, [&](const duckdb::ParsedExpression& child) {
        found = found || UsesSequence(child, schema, sequence);
      });
  return found;
}

void PutPosition(LaminaTransaction& transaction, const std::string& id,
                 const SequencePosition& position) {
  db::Session& data = transaction.data();
  if (data.FindTable(kSequenceTable) == nullptr)
    ThrowIfError(data.CreateTable(kSequenceTable, PositionSchema(), {.names = {"id"}}));
  ThrowIfError(data.Put(kSequenceTable, ValueOrThrow(PositionRow(id, position))));
}

void DeletePosition(LaminaTransaction& transaction, const std::string& id) {
  db::Session& data = transaction.data();
  if (data.FindTable(kSequenceTable) == nullptr) return;
  ThrowIfError(data.Delete(kSequenceTable, ValueOrThrow(PositionRow(id, {}))));
}

// ---- In a schema

duckdb::optional_ptr<duckdb::CatalogEntry> LaminaSchemaEntry::CreateSequence(
    duckdb::CatalogTransaction transaction, duckdb::CreateSequenceInfo& info) {
  auto& context = transaction.GetContext();
  constexpr auto kType = duckdb::CatalogType::SEQUENCE_ENTRY;
  if (!MayCreate(context, kType, info.name, info.on_conflict)) return nullptr;
  const std::string id = duckdb::UUID::ToString(duckdb::UUID::GenerateRandomUUID());
  auto& ours = LaminaTransaction::Get(context, catalog);
  const SequencePosition begin{info.start_value, std::nullopt, 0};
  PutPosition(ours, id, begin);
  {
    const LaminaTransaction::Lock lock(ours);
    ours.created_sequences()[id] = begin;
  }
  PutSequence(context, info, id, {});
  return Created(context, kType, info.name);
}

void LaminaSchemaEntry::CreateColumnSequence(duckdb::ClientContext& context,
                                             const std::string& table,
                                             duckdb::ColumnDefinition& column,
                                             const ColumnClause& clause) {
  int64_t least = INT64_MIN;
  int64_t most = INT64_MAX;
  switch (column.Type().id()) {
    case duckdb::LogicalTypeId::SMALLINT:
      least = INT16_MIN;
      most = INT16_MAX;
      break;
    case duckdb::LogicalTypeId::INTEGER:
      least = INT32_MIN;
      most = INT32_MAX;
      break;
    case duckdb::LogicalTypeId::BIGINT:
      break;
    default:
      Throw(MakeSqlError(
          "T2015", fmt::format("an identity column is a SMALLINT, INTEGER or BIGINT: table={} "
                               "column={} type={}",
                               table, column.Name(), column.Type().ToString())));
  }
  if (column.Generated() || column.HasDefaultValue()) {
    Throw(MakeSqlError("T2015", fmt::format("a column that counts by itself has no other default: "
                                            "table={} column={}",
                                            table, column.Name())));
  }
  std::string base = fmt::format("{}_{}_seq", table, column.Name());
  std::string free = base;
  for (int i = 1; Current(context).relations_.count(free) != 0; ++i)
    free = base + std::to_string(i);
  const auto quoted = [](const std::string& text) {
    return duckdb::KeywordHelper::WriteOptionallyQuoted(text);
  };
  duckdb::Parser parser;
  parser.ParseQuery(fmt::format("CREATE SEQUENCE {} {}", quoted(free), *clause.sequence));
  auto& info = parser.statements.at(0)
                   ->Cast<duckdb::CreateStatement>()
                   .info->Cast<duckdb::CreateSequenceInfo>();
  info.schema = name;
  // As far as the column can count, unless the options say less.
  info.max_value = std::min(info.max_value, most);
  info.min_value = std::max(info.min_value, least);
  if (info.start_value < info.min_value || info.start_value > info.max_value) {
    Throw(MakeSqlError("T4008", fmt::format("the column cannot hold the first value: table={} "
                                            "column={} value={}",
                                            table, column.Name(), info.start_value)));
  }
  (void)CreateSequence(catalog.GetCatalogTransaction(context), info);
  const auto& made =
      Created(context, duckdb::CatalogType::SEQUENCE_ENTRY, free)->Cast<LaminaSequenceEntry>();
  PutSequence(context, made.Definition(), made.handle().id,
              {TableName(name, table), clause.always.value_or(false)});
  const std::string path =
      name == kMainSchema ? quoted(free) : fmt::format("{}.{}", quoted(name), quoted(free));
  duckdb::vector<duckdb::unique_ptr<duckdb::ParsedExpression>> arguments;
  arguments.push_back(duckdb::make_uniq<duckdb::ConstantExpression>(duckdb::Value(path)));
  column.SetDefaultValue(
      duckdb::make_uniq<duckdb::FunctionExpression>("nextval", std::move(arguments)));
}

void LaminaSchemaEntry::PutSequence(duckdb::ClientContext& context,
                                    const duckdb::CreateSequenceInfo& info, const std::string& id,
                                    const SequenceOwner& owner) {
  auto copy = info.Copy();
  copy->catalog.clear();
  copy->schema.clear();
  copy->temporary = false;
  copy->on_conflict = duckdb::OnCreateConflict::ERROR_ON_CONFLICT;
  nlohmann::json definition = {{"sql", copy->ToString()}, {"id", id}};
  if (!owner.table.empty()) definition["owner"] = owner.table;
  if (owner.always) definition["always"] = true;
  if (!info.comment.IsNull()) definition["comment"] = info.comment.ToString();
  lamina().PutObject(context, LaminaCatalog::ObjectKey("sequence", name, info.name), definition);
}

void LaminaSchemaEntry::AlterSequence(duckdb::ClientContext& context, LaminaSequenceEntry& entry,
                                      duckdb::AlterInfo& info) {
  duckdb::CreateSequenceInfo said = entry.Definition();
  SequenceOwner owner = entry.ties();
  switch (info.type) {
    case duckdb::AlterType::SET_COMMENT:
      said.comment = info.Cast<duckdb::SetCommentInfo>().comment_value;
      break;
    case duckdb::AlterType::CHANGE_OWNERSHIP: {
      const auto& change = info.Cast<duckdb::ChangeOwnershipInfo>();
      LaminaSchemaEntry* of =
          LaminaTransaction::Get(context, catalog).definitions().FindSchema(change.owner_schema);
      const auto it = of == nullptr ? relations_.end() : of->relations_.find(change.owner_name);
      if (of == nullptr || it == of->relations_.end() ||
          it->second->type != duckdb::CatalogType::TABLE_ENTRY) {
        Throw(MakeSqlError("T2001", "a sequence is owned by a table: " + change.owner_name));
      }
      owner.table = it->second->Cast<LaminaTableEntry>().table().name;
      break;
    }
    default:
      Throw(MakeSqlError("T4009", "this change of a sequence is not there: " + info.ToString(),
                         "CREATE OR REPLACE SEQUENCE makes it anew"));
  }
  PutSequence(context, said, entry.handle().id, owner);
}

void LaminaSchemaEntry::DropSequence(duckdb::ClientContext& context, LaminaSequenceEntry& entry,
                                     bool cascade) {
  auto& ours = LaminaTransaction::Get(context, catalog);
  struct Use {
    std::string schema, table, column;
  };
  std::vector<Use> uses;
  for (auto& [schema_name, schema] : ours.definitions().schemas()) {
    for (auto& [key, relation] : schema->relations_) {
      if (relation->type != duckdb::CatalogType::TABLE_ENTRY) continue;
      for (const auto& column : relation->Cast<LaminaTableEntry>().GetColumns().Logical()) {
        if (!column.Generated() && column.HasDefaultValue() &&
            UsesSequence(column.DefaultValue(), schema->name, entry))
          uses.push_back({schema->name, relation->name, column.Name()});
      }
    }
  }
  if (!uses.empty() && !cascade) {
    Throw(MakeSqlError(
        "T2013",
        fmt::format("a default needs the sequence: sequence={} table={} column={}", entry.name,
                    uses[0].table, uses[0].column),
        fmt::format(
            "ALTER TABLE {} ALTER COLUMN {} DROP DEFAULT, or DROP SEQUENCE … CASCADE, which "
            "does it",
            uses[0].table, uses[0].column)));
  }
  const std::string id = entry.handle().id;
  const std::string entry_name = entry.name;
  // As in PostgreSQL the defaults go, and tables stay.
  for (const Use& use : uses) {
    duckdb::SetDefaultInfo change(
        {catalog.GetName(), use.schema, use.table, duckdb::OnEntryNotFound::THROW_EXCEPTION},
        use.column, nullptr);
    ours.definitions().FindSchema(use.schema)->AlterTable(context, change);
  }
  DeletePosition(ours, id);
  {
    const LaminaTransaction::Lock lock(ours);
    ours.created_sequences().erase(id);
  }
  lamina().DeleteObject(context, LaminaCatalog::ObjectKey("sequence", name, entry_name));
}

void LaminaSchemaEntry::ForOwnedSequences(
    duckdb::ClientContext& context, const std::string& table,
    const std::function<void(LaminaSchemaEntry&, LaminaSequenceEntry&)>& visit) {
  std::vector<std::pair<std::string, std::string>> owned;
  auto& ours = LaminaTransaction::Get(context, catalog);
  for (auto& [schema_name, schema] : ours.definitions().schemas()) {
    for (auto& [key, relation] : schema->relations_) {
      if (relation->type == duckdb::CatalogType::SEQUENCE_ENTRY &&
          relation->Cast<LaminaSequenceEntry>().owner() == table)
        owned.emplace_back(schema->name, relation->name);
    }
  }
  // By name: each change brings new entries.
  for (const auto& [in, of] : owned) {
    LaminaSchemaEntry& schema = *ours.definitions().FindSchema(in);
    visit(schema, schema.relations_.at(of)->Cast<LaminaSequenceEntry>());
  }
}

Status LaminaTransaction::WriteCreatedSequences() {
  const Lock lock(*this);
  for (const auto& [id, position] : created_sequences_) {
    if (position.blocks == 0 || data_->FindTable(kSequenceTable) == nullptr) continue;
    // A savepoint may have taken the sequence back.
    ARROW_ASSIGN_OR_RAISE(const auto row, data_->Get(kSequenceTable, KeyOf(id)));
    if (row->num_rows() == 0) continue;
    ARROW_ASSIGN_OR_RAISE(const auto changed, PositionRow(id, position));
    ARROW_RETURN_NOT_OK(data_->Put(kSequenceTable, changed));
  }
  return Status::OK();
}

}  // namespace lamina::sql
