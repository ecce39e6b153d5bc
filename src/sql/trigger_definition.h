// A trigger as it is kept.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace lamina::sql {

enum class TriggerEvent : uint8_t { kInsert, kUpdate, kDelete };

struct TriggerDefinition {
  std::string object;  ///< Its row's key in kObjectTable.
  std::string name;    ///< One of a table's triggers has it.
  bool on_insert = false;
  bool on_update = false;
  bool on_delete = false;
  std::vector<std::string> columns;  ///< UPDATE OF; empty: of any.
  bool each_row = true;              ///< Else it runs once a statement.
  /// Of a trigger for each statement: what its statements call the rows; "": nothing.
  std::string old_table, new_table;
  std::string when;  ///< "": always.
  std::vector<std::string> statements;

  bool Has(TriggerEvent event) const {
    return event == TriggerEvent::kInsert   ? on_insert
           : event == TriggerEvent::kUpdate ? on_update
                                            : on_delete;
  }
};

}  // namespace lamina::sql
