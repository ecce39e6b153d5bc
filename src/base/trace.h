// Emitting trace events. The sink and its events are public: lamina/trace.h.
#pragma once

#include <initializer_list>
#include <span>
#include <string_view>

#include "lamina/trace.h"

namespace lamina::base {

using lamina::TraceField;
using lamina::TraceSink;

/// Trace(sink, "engine", "flush.finished", {{"rows", rows}, {"file", name}}); does nothing when
/// `sink` is null.
inline void Trace(TraceSink* sink, std::string_view component, std::string_view event,
                  std::initializer_list<TraceField> fields = {}) {
  if (sink != nullptr)
    sink->Event(component, event, std::span<const TraceField>(fields.begin(), fields.size()));
}

}  // namespace lamina::base
