// What makes a table a materialized view.
#pragma once

#include <string>

namespace lamina::sql {

struct ViewQuery {
  std::string object;     ///< Its row's key in kObjectTable.
  std::string query;      ///< SELECT …
  bool populated = true;  ///< False: made WITH NO DATA and not refreshed yet.
};

}  // namespace lamina::sql
