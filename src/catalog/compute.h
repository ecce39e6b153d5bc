// When Arrow's compute functions become known.
#pragma once

namespace lamina::catalog {

/// Registers the functions of Arrow's compute library, once; returns when all of them are there.
/// Arrow's registry may be read by many threads, but not while functions are added (it then answers
/// "no function registered with name", or worse). So an engine calls this before it has threads,
/// and whoever needs the functions without an engine calls it too.
void InitializeCompute();

}  // namespace lamina::catalog
