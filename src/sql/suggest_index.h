// SUGGEST INDEX FOR 'statement': which indexes a statement would be read by if they were there.
//
// The statement is planned, and each time the planner asks which index serves a scan, what it asks
// with is noted. So what is suggested is what would be chosen.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "lamina/error.h"
#include "sql/duckdb_api.h"
#include "sql/index_scan.h"
#include "sql/lexer.h"
#include "sql/table_entry.h"

namespace lamina::sql {

class IndexWishes {
 public:
  struct Wish {
    LaminaTableEntry* table = nullptr;
    ColumnUses uses;
  };

  void Note(LaminaTableEntry& table, const duckdb::LogicalGet& get,
            const duckdb::vector<duckdb::unique_ptr<duckdb::Expression>>& filters);
  /// Of one scan each, in the order of the scans.
  std::vector<Wish> Wishes() const;

 private:
  std::map<duckdb::idx_t, Wish> by_scan_;
};

struct IndexSuggestion {
  std::string schema, table;
  std::vector<std::string> columns;
  std::string statement;  ///< That makes it.
  std::string reason;
};
/// Throws what planning throws.
std::vector<IndexSuggestion> SuggestIndexes(duckdb::ClientContext& context, std::string_view query);

/// Makes the statement a query; true when it was one.
Result<bool> TakeSuggestIndex(std::string_view sql, const StatementSpan& span,
                              std::string* statement);

}  // namespace lamina::sql
