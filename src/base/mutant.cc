#include "base/mutant.h"

#ifdef LAMINA_MUTANTS

#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <vector>

namespace lamina::base::internal {

namespace {

// Filled before main, by one thread; leaked, as mutants are asked by threads that may outlive
// static destructors.
std::vector<const Mutant*>& Linked() {
  static auto* linked = new std::vector<const Mutant*>;
  return *linked;
}

void PrintLinked() {
  for (const Mutant* mutant : Linked()) std::fprintf(stderr, "mutant linked: %s\n", mutant->name());
}

}  // namespace

Mutant::Mutant(const char* name) : name_(name) {
  const char* chosen = std::getenv("LAMINA_MUTANT");
  chosen_ = chosen != nullptr && std::string_view(chosen) == name;
  if (Linked().empty() && std::getenv("LAMINA_MUTANT_LIST") != nullptr) std::atexit(PrintLinked);
  Linked().push_back(this);
}

void Mutant::Announce() const { std::fprintf(stderr, "mutant reached: %s\n", name_); }

}  // namespace lamina::base::internal

#endif
