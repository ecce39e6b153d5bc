// nextval, currval and duckdb_sequences for sequences of ours; those of DuckDB's own catalogues
// (temporary ones, attached databases) count there.
#include <duckdb/catalog/catalog_entry/scalar_function_catalog_entry.hpp>
#include <duckdb/catalog/catalog_entry/table_function_catalog_entry.hpp>
#include <duckdb/parser/qualified_name.hpp>
#include <duckdb/planner/expression/bound_function_expression.hpp>
#include <duckdb/transaction/duck_transaction.hpp>

#include "sql/error_translation.h"
#include "sql/functions/functions.h"
#include "sql/lamina_catalog.h"
#include "sql/sequence.h"
#include "sql/session_state.h"
#include "sql/transaction.h"

namespace lamina::sql {
namespace {

using duckdb::LogicalType;
using duckdb::Value;

/// The sequence that a call names, found when it is bound.
struct SequenceCall final : public duckdb::FunctionData {
  explicit SequenceCall(duckdb::SequenceCatalogEntry& of) : entry(of), catalog(of.catalog) {
    const auto* own = dynamic_cast<LaminaSequenceEntry*>(&of);
    if (own != nullptr) handle = own->handle();
  }
  duckdb::unique_ptr<duckdb::FunctionData> Copy() const override {
    return duckdb::make_uniq<SequenceCall>(*this);
  }
  bool Equals(const FunctionData& other) const override {
    return &entry == &other.Cast<SequenceCall>().entry;
  }

  /// Not looked into where the sequence is ours: its entry may be gone with its snapshot.
  duckdb::SequenceCatalogEntry& entry;
  duckdb::Catalog& catalog;
  std::optional<SequenceHandle> handle;
};

duckdb::unique_ptr<duckdb::FunctionData> BindCall(
    duckdb::ScalarFunctionBindInput& input, duckdb::ScalarFunction&,
    duckdb::vector<duckdb::unique_ptr<duckdb::Expression>>& arguments) {
  if (arguments[0]->HasParameter() ||
      arguments[0]->return_type.id() == duckdb::LogicalTypeId::UNKNOWN)
    throw duckdb::ParameterNotResolvedException();
  if (!arguments[0]->IsFoldable())
    Throw(MakeSqlError("T4009", "nextval and currval take the name of a sequence as a constant"));
  auto& context = input.binder.context;
  const Value name = duckdb::ExpressionExecutor::EvaluateScalar(context, *arguments[0]);
  if (name.IsNull()) return nullptr;
  auto path = duckdb::QualifiedName::Parse(name.ToString());
  duckdb::Binder::BindSchemaOrCatalog(context, path.catalog, path.schema);
  const duckdb::EntryLookupInfo lookup(duckdb::CatalogType::SEQUENCE_ENTRY, path.name);
  auto entry = input.binder.EntryRetriever().GetEntry(path.catalog, path.schema, lookup);
  return duckdb::make_uniq<SequenceCall>(entry->Cast<duckdb::SequenceCatalogEntry>());
}

void NextOfOurs(duckdb::ClientContext& context, SequenceCall& call, int64_t count, int64_t* out) {
  const auto session = context.registered_state->Get<SessionState>(SessionState::kKey);
  if (session != nullptr && session->read_only) {
    Throw(MakeSqlError("T5007", "nextval changes a sequence, and the transaction is read-only",
                       "ROLLBACK it and BEGIN one that writes"));
  }
  auto& transaction = LaminaTransaction::Get(context, call.catalog);
  auto& counters = call.catalog.Cast<LaminaCatalog>().sequences();
  const bool made_here = [&] {
    const LaminaTransaction::Lock lock(transaction);
    auto& created = transaction.created_sequences();
    const auto it = created.find(call.handle->id);
    if (it == created.end()) return false;
    ThrowIfError(counters.Next(*call.handle, &it->second, count, out));
    return true;
  }();
  // Not under the lock: it may write a block of numbers.
  if (!made_here) ThrowIfError(counters.Next(*call.handle, nullptr, count, out));
  const LaminaTransaction::Lock lock(transaction);
  if (session != nullptr && count > 0) session->current_values[call.handle->id] = out[count - 1];
}

void Nextval(duckdb::DataChunk& input, duckdb::ExpressionState& state, duckdb::Vector& result) {
  const auto& expression = state.expr.Cast<duckdb::BoundFunctionExpression>();
  if (expression.bind_info == nullptr) {  // nextval(NULL)
    result.SetVectorType(duckdb::VectorType::CONSTANT_VECTOR);
    duckdb::ConstantVector::SetNull(result, true);
    return;
  }
  auto& call = expression.bind_info->Cast<SequenceCall>();
  auto& context = state.GetContext();
  result.SetVectorType(duckdb::VectorType::FLAT_VECTOR);
  auto* out = duckdb::FlatVector::GetData<int64_t>(result);
  if (call.handle.has_value()) {
    NextOfOurs(context, call, static_cast<int64_t>(input.size()), out);
    return;
  }
  auto& transaction = duckdb::DuckTransaction::Get(context, call.catalog);
  for (duckdb::idx_t i = 0; i < input.size(); ++i) out[i] = call.entry.NextValue(transaction);
}

/// Of this session, as in PostgreSQL.
void Currval(duckdb::DataChunk&, duckdb::ExpressionState& state, duckdb::Vector& result) {
  const auto& expression = state.expr.Cast<duckdb::BoundFunctionExpression>();
  result.SetVectorType(duckdb::VectorType::CONSTANT_VECTOR);
  if (expression.bind_info == nullptr) {
    duckdb::ConstantVector::SetNull(result, true);
    return;
  }
  auto& call = expression.bind_info->Cast<SequenceCall>();
  auto& context = state.GetContext();
  int64_t value = 0;
  if (call.handle.has_value()) {
    auto& transaction = LaminaTransaction::Get(context, call.catalog);
    const LaminaTransaction::Lock lock(transaction);
    const auto session = context.registered_state->Get<SessionState>(SessionState::kKey);
    if (session == nullptr || session->current_values.count(call.handle->id) == 0) {
      Throw(MakeSqlError(
          "T4010", "nextval was not called yet in this session: sequence=" + call.handle->name,
          "call nextval first"));
    }
    value = session->current_values[call.handle->id];
  } else {
    value = call.entry.CurrentValue();
  }
  *duckdb::ConstantVector::GetData<int64_t>(result) = value;
}

// ---- duckdb_sequences()

struct SequenceRows final : public duckdb::GlobalTableFunctionState {
  std::vector<std::reference_wrapper<duckdb::SequenceCatalogEntry>> entries;
  size_t next = 0;
};

duckdb::unique_ptr<duckdb::GlobalTableFunctionState> BeginSequences(
    duckdb::ClientContext& context, duckdb::TableFunctionInitInput&) {
  auto out = duckdb::make_uniq<SequenceRows>();
  for (auto& schema : duckdb::Catalog::GetAllSchemas(context)) {
    schema.get().Scan(context, duckdb::CatalogType::SEQUENCE_ENTRY,
                      [&](duckdb::CatalogEntry& entry) {
                        out->entries.push_back(entry.Cast<duckdb::SequenceCatalogEntry>());
                      });
  }
  return out;
}

void NextSequences(duckdb::ClientContext& context, duckdb::TableFunctionInput& input,
                   duckdb::DataChunk& output) {
  auto& rows = input.global_state->Cast<SequenceRows>();
  duckdb::idx_t count = 0;
  for (; rows.next < rows.entries.size() && count < STANDARD_VECTOR_SIZE; ++count) {
    auto& entry = rows.entries[rows.next++].get();
    duckdb::SequenceData data = entry.GetData();
    bool used = data.usage_count > 0;
    if (const auto* own = dynamic_cast<LaminaSequenceEntry*>(&entry); own != nullptr) {
      auto& transaction = LaminaTransaction::Get(context, entry.catalog);
      const LaminaTransaction::Lock lock(transaction);
      const auto it = transaction.created_sequences().find(own->handle().id);
      const auto position =
          it != transaction.created_sequences().end()
              ? Result<SequencePosition>(it->second)
              : entry.catalog.Cast<LaminaCatalog>().sequences().Position(own->handle());
      // Dropped since the transaction began: as if it had not been used.
      used = position.ok() && position->last.has_value();
      if (used) data.last_value = *position->last;
    }
    const Value values[] = {
        Value(entry.catalog.GetName()),
        Value::BIGINT(static_cast<int64_t>(entry.catalog.GetOid())),
        Value(entry.schema.name),
        Value::BIGINT(static_cast<int64_t>(entry.schema.oid)),
        Value(entry.name),
        Value::BIGINT(static_cast<int64_t>(entry.oid)),
        entry.comment,
        Value::MAP(entry.tags),
        Value::BOOLEAN(entry.temporary),
        Value::BIGINT(data.start_value),
        Value::BIGINT(data.min_value),
        Value::BIGINT(data.max_value),
        Value::BIGINT(data.increment),
        Value::BOOLEAN(data.cycle),
        used ? Value::BIGINT(data.last_value) : Value(LogicalType::BIGINT),
        Value(entry.ToSQL()),
    };
    for (duckdb::idx_t column = 0; column < std::size(values); ++column)
      output.SetValue(column, count, values[column]);
  }
  output.SetCardinality(count);
}

/// Puts ours in the place of DuckDB's. Nothing is planned yet, so the entry may be changed where it
/// lies.
template <typename Entry>
Entry& Builtin(duckdb::ExtensionLoader& loader, duckdb::CatalogType type, const char* name) {
  auto& instance = loader.GetDatabaseInstance();
  auto& catalog = duckdb::Catalog::GetSystemCatalog(instance);
  const auto transaction = duckdb::CatalogTransaction::GetSystemTransaction(instance);
  return catalog.GetSchema(transaction, DEFAULT_SCHEMA)
      .GetEntry(transaction, type, name)
      ->template Cast<Entry>();
}

void Replace(duckdb::ExtensionLoader& loader, const char* name, duckdb::scalar_function_t run) {
  duckdb::ScalarFunction function(name, {LogicalType::VARCHAR}, LogicalType::BIGINT,
                                  std::move(run));
  function.SetBindExtendedCallback(BindCall);
  function.SetVolatile();
  function.SetFallible();
  function.SetNullHandling(duckdb::FunctionNullHandling::SPECIAL_HANDLING);
  auto& functions = Builtin<duckdb::ScalarFunctionCatalogEntry>(
                        loader, duckdb::CatalogType::SCALAR_FUNCTION_ENTRY, name)
                        .functions.functions;
  functions.clear();
  functions.push_back(std::move(function));
}

}  // namespace

void RegisterSequences(duckdb::ExtensionLoader& loader) {
  Replace(loader, "nextval", Nextval);
  Replace(loader, "currval", Currval);
  auto& listing = Builtin<duckdb::TableFunctionCatalogEntry>(
                      loader, duckdb::CatalogType::TABLE_FUNCTION_ENTRY, "duckdb_sequences")
                      .functions.functions.at(0);
  listing.init_global = BeginSequences;
  listing.function = NextSequences;
}

}  // namespace lamina::sql
