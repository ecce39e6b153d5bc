// Which rare branches a program reached, for tools/probes.py, which adds up several programs.
#pragma once

#include <string>

namespace lamina::testing {

/// Writes a line for each probe that is linked in, "name hits", to <program>.txt in the folder that
/// LAMINA_PROBES names; without that variable nothing. For main(), once everything has run. False
/// when it cannot.
bool ReportProbes(const std::string& program);

}  // namespace lamina::testing
