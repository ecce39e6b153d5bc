// What names an object that is to be dropped: views, materialized ones, too, and the expressions of
// tables for macros.
// Views are kept as text and bound anew whenever they are used, so nothing says what they need but
// the attempt.
#pragma once

#include <string>
#include <vector>

#include "sql/duckdb_api.h"
#include "sql/lamina_catalog.h"

namespace lamina::sql {

/// The views that name an object, or one that does, and can be bound before it changes.
class WorkingViews {
 public:
  WorkingViews(duckdb::ClientContext& context, LaminaCatalog& catalog, const std::string& name);

  /// After the change, in the same transaction. Throws T2013 for the first view that is there still
  /// and cannot be bound any more; with `cascade`, such views are dropped. `what` ("column") called
  /// `which` was to be dropped.
  void Check(duckdb::ClientContext& context, const char* what, const std::string& which,
             bool cascade) const;

  struct View {
    std::string schema, name;
    bool materialized = false;
  };

 private:
  LaminaCatalog& catalog_;
  std::vector<View> views_;
};

/// Throws T2013 when a default, CHECK or generated column of a table calls the macro.
void CheckNoTableCalls(duckdb::ClientContext& context, LaminaCatalog& catalog,
                       const std::string& macro);

}  // namespace lamina::sql
