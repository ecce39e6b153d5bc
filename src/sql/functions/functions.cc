#include "sql/functions/functions.h"

#include "sql/commit_notes.h"
#include "sql/moment_value.h"
#include "sql/strict_mode.h"

namespace lamina::sql {

void RegisterFunctions(duckdb::DatabaseInstance& instance) {
  duckdb::ExtensionLoader loader(instance, "lamina");
  RegisterMacros(loader);
  RegisterOverloads(loader);
  RegisterToChar(loader);
  RegisterPlanFunctions(loader);
  RegisterTriggers(loader);
  RegisterSequences(loader);
  RegisterJson(loader);
  RegisterStrictDivision(loader);
  RegisterJsonDepth(loader);
  RegisterStrictFunctions(loader);
  RegisterMoments(loader);
  RegisterCommitNotes(loader);
  RegisterTimeTravel(loader);
  RegisterPeriods(loader);
}

}  // namespace lamina::sql
