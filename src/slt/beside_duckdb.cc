#include "slt/beside_duckdb.h"

#include <algorithm>
#include <map>
#include <utility>

#include <duckdb.hpp>
#include <duckdb/common/error_data.hpp>
#include <duckdb/parser/parser.hpp>
#include <duckdb/parser/query_node.hpp>
#include <duckdb/parser/statement/select_statement.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "slt/runner.h"

namespace lamina::slt {
namespace {

constexpr size_t kShownRowsMax = 20;

Status FromDuckDB(const duckdb::ErrorData& error) {
  return MakeError(ErrorCode::kInvalidArgument, error.Message());
}

class Impl final : public BesideDuckDB {
 public:
  Impl() : database_(nullptr, &config_) {}

  Answer Run(const std::string& name, const std::string& sql) override {
    Answer out;
    try {
      auto& connection = connections_[name];
      if (connection == nullptr) connection = std::make_unique<duckdb::Connection>(database_);
      out = Ask(*connection, sql);
    } catch (const std::exception& e) {
      out.status = FromDuckDB(duckdb::ErrorData(e));
    }
    return out;
  }
  void Disconnect() override { connections_.clear(); }

 private:
  static Answer Ask(duckdb::Connection& connection, const std::string& sql) {
    Answer out;
    const duckdb::unique_ptr<duckdb::QueryResult> first = connection.Query(sql);
    duckdb::QueryResult* result = first.get();
    // Of several statements the last one's, as ours.
    while (!result->HasError() && result->next != nullptr) result = result->next.get();
    if (result->HasError()) {
      out.status = FromDuckDB(result->GetErrorObject());
      return out;
    }
    auto& rows = result->Cast<duckdb::MaterializedQueryResult>();
    switch (rows.properties.return_type) {
      case duckdb::StatementReturnType::CHANGED_ROWS:
        out.changed = rows.GetValue(0, 0).GetValue<int64_t>();
        return out;
      case duckdb::StatementReturnType::NOTHING:
        return out;
      case duckdb::StatementReturnType::QUERY_RESULT:
        break;
    }
    for (size_t i = 0; i < rows.names.size(); ++i)
      out.columns.push_back({rows.names[i], rows.types[i].ToString()});
    // A cast to text wants a transaction where the type's cast looks at settings.
    connection.context->RunFunctionInTransaction([&] {
      for (size_t row = 0; row < rows.RowCount(); ++row) {
        auto& values = out.rows.emplace_back();
        for (size_t column = 0; column < out.columns.size(); ++column) {
          const duckdb::Value value = rows.GetValue(column, row);
          values.push_back(ValueText(
              value.IsNull(), value.IsNull()
                                  ? ""
                                  : duckdb::StringValue::Get(value.CastAs(
                                        *connection.context, duckdb::LogicalType::VARCHAR))));
        }
      }
    });
    return out;
  }

  duckdb::DBConfig config_;
  duckdb::DuckDB database_;
  std::map<std::string, std::unique_ptr<duckdb::Connection>> connections_;
};

std::string Outcome(const Answer& answer) {
  return answer.status.ok() ? "succeeds" : "fails: " + MessageOf(answer.status);
}

std::string Columns(const Answer& answer) {
  std::string out;
  for (const SqlColumn& column : answer.columns)
    out += fmt::format("{}{} {}", out.empty() ? "" : ", ", column.name, column.type);
  return out;
}

bool SameRow(const std::vector<std::string>& ours, const std::vector<std::string>& theirs,
             const std::vector<SqlColumn>& columns) {
  for (size_t i = 0; i < columns.size(); ++i) {
    if (!SameText(ours[i], theirs[i], columns[i].type)) return false;
  }
  return true;
}

std::string Shown(const Rows& rows) {
  std::string out;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (i == kShownRowsMax) {
      out += fmt::format("  … {} rows more\n", rows.size() - i);
      break;
    }
    out += fmt::format("  {}\n", fmt::join(rows[i], "\t"));
  }
  return out;
}

}  // namespace

Result<std::unique_ptr<BesideDuckDB>> BesideDuckDB::Open() {
  try {
    return std::make_unique<Impl>();
  } catch (const std::exception& e) {
    return FromDuckDB(duckdb::ErrorData(e));
  }
}

bool OrdersRows(const std::string& sql) {
  try {
    duckdb::Parser parser;
    parser.ParseQuery(sql);
    if (parser.statements.empty()) return true;
    const auto& last = *parser.statements.back();
    if (last.type != duckdb::StatementType::SELECT_STATEMENT) return true;
    const auto& modifiers = last.Cast<duckdb::SelectStatement>().node->modifiers;
    return std::any_of(modifiers.begin(), modifiers.end(), [](const auto& modifier) {
      return modifier->type == duckdb::ResultModifierType::ORDER_MODIFIER;
    });
  } catch (const std::exception&) {
    return true;  // what is ours alone, or no SQL
  }
}

std::string Difference(const Answer& ours, const Answer& theirs, bool ordered) {
  if (ours.status.ok() != theirs.status.ok())
    return fmt::format("LaminaDB {}\nDuckDB {}\n", Outcome(ours), Outcome(theirs));
  if (!ours.status.ok()) return "";
  const auto count = [](const Answer& answer) {
    return answer.changed ? fmt::format("changes {} rows", *answer.changed)
                          : "does not count changed rows";
  };
  if (ours.changed != theirs.changed)
    return fmt::format("LaminaDB {}\nDuckDB {}\n", count(ours), count(theirs));
  if (Columns(ours) != Columns(theirs))
    return fmt::format("LaminaDB's columns: {}\nDuckDB's columns: {}\n", Columns(ours),
                       Columns(theirs));
  Rows a = ours.rows;
  Rows b = theirs.rows;
  if (!ordered) {
    std::sort(a.begin(), a.end());
    std::sort(b.begin(), b.end());
  }
  const auto same = [&](const auto& x, const auto& y) { return SameRow(x, y, ours.columns); };
  if (std::equal(a.begin(), a.end(), b.begin(), b.end(), same)) return "";
  return "LaminaDB's rows:\n" + Shown(a) + "DuckDB's rows:\n" + Shown(b);
}

}  // namespace lamina::slt
