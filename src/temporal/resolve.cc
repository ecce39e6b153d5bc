// How facts are applied to the open rows of one key. The state is the *live* pieces: what is open,
// in an ordered map by valid.from and without overlap.
//
//   1. Everything up to the last erase is dropped: open rows and facts alike.
//   2. The live pieces that a fact overlaps lie side by side from one look-up on.
//   3. The overlap of each is emitted as a version closed at the fact's time, unless the piece is
//      of that same time.
//   4. The pieces are replaced by what is left of the first, the fact itself if it is a put, and
//      what is right of the last.
//   5. At the end every live piece is emitted, except open rows that no fact touched.
//
// An open row ended whole by one fact is not emitted but marked kEnded, since its file position can
// carry the end. Closed neighbours are never joined: whether they could be depends on where the
// list of facts was split.
//
// Most calls need no such state: one fact over some rows, or facts that all speak of the same
// interval. They go short ways below.
#include "temporal/resolve.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <iterator>
#include <map>
#include <memory_resource>
#include <tuple>

#include "base/mutant.h"

namespace lamina::temporal {
namespace {

enum class Origin : uint8_t {
  kUntouched,  // An open row as it came in.
  kPiece,      // What is left of an open row.
  kFact,
};

struct Live {
  RowVersion row;
  uint32_t source = 0;
  Origin origin = Origin::kFact;
};

// Live pieces by valid.from. A sorted vector would be a little faster for a few pieces, but
// quadratic for a key with a series of valid times written newest first. Nodes of the usual few
// pieces fit on the stack.
using LiveMap = std::pmr::map<ValidTime, Live>;

struct LiveStorage {
  std::array<std::byte, 1536> on_stack;
  std::pmr::monotonic_buffer_resource memory{on_stack.data(), on_stack.size()};
  LiveMap live{&memory};
};

bool Before(const RowVersion& a, const RowVersion& b) {
  return std::tie(a.valid.from, a.system.from) < std::tie(b.valid.from, b.system.from);
}

ValidInterval Intersect(const ValidInterval& a, const ValidInterval& b) {
  return {std::max(a.from, b.from), std::min(a.to, b.to)};
}

bool Covers(const ValidInterval& outer, const ValidInterval& inner) {
  return outer.from <= inner.from && inner.to <= outer.to;
}

bool Changes(const Fact& fact, const ValidInterval& valid) {
  return !fact.valid.empty() && fact.valid.Overlaps(valid);
}

RowVersion Opened(const Fact& fact) {
  return {fact.valid, {fact.system, SystemTime::Max()}, fact.commit, fact.payload};
}

RowVersion Part(const RowVersion& row, const ValidInterval& valid, SystemTime system_to) {
  return {valid, {row.system.from, system_to}, row.commit, row.payload};
}

// The number of facts up to and with the last erase.
size_t ErasedCount(std::span<const Fact> facts) {
  for (size_t i = facts.size(); i > 0; --i) {
    if (facts[i - 1].kind == FactKind::kErase) return i;
  }
  return 0;
}

// Ends the overlap of an open row with a fact; `emit(version)` gets what must be written.
template <typename Emit>
void EndOpenRow(const RowVersion& row, const Fact& fact, OpenRowResult* result, Emit emit) {
  const bool was_visible = row.system.from < fact.system;
  if (was_visible && Covers(fact.valid, row.valid)) {
    *result = {Outcome::kEnded, fact.system};
    return;
  }
  result->outcome = Outcome::kRewritten;
  if (was_visible) emit(Part(row, Intersect(row.valid, fact.valid), fact.system));
}

// What is left of a live piece; an open row is then no longer as it came in.
Live Rest(const Live& piece, const ValidInterval& valid) {
  return {Part(piece.row, valid, SystemTime::Max()), piece.source,
          piece.origin == Origin::kUntouched ? Origin::kPiece : piece.origin};
}

// Steps 2 to 4 for one fact. `end(live, fact)` is called for every piece the fact overlaps, in
// order of valid time.
template <typename End>
void Apply(const Fact& fact, uint32_t source, bool opens, LiveMap* live, End end) {
  const ValidInterval& valid = fact.valid;
  if (valid.empty()) return;
  auto it = live->lower_bound(valid.from);
  if (it != live->begin() &&
      (LAMINA_MUTANT("resolve.touching_row_cut") ? std::prev(it)->second.row.valid.to >= valid.from
                                                 : std::prev(it)->second.row.valid.to > valid.from))
    --it;
  while (it != live->end() && it->first < valid.to) {
    const Live piece = it->second;
    end(piece, fact);
    if (piece.row.valid.from < valid.from) {
      it->second = Rest(piece, {piece.row.valid.from, valid.from});
      ++it;
    } else {
      it = live->erase(it);
    }
    if (piece.row.valid.to > valid.to) {
      it = live->emplace_hint(it, valid.to, Rest(piece, {valid.to, piece.row.valid.to}));
    }
  }
  if (opens) live->emplace_hint(it, valid.from, Live{Opened(fact), source, Origin::kFact});
}

// Applies facts to one open row, or to nothing, without regard to its outcome: what Cut and
// Versions need. Appends in sorted order.
void ApplyAll(const RowVersion* row, std::span<const Fact> facts, bool puts_open,
              std::vector<RowVersion>* out) {
  LiveStorage storage;
  LiveMap& live = storage.live;
  if (row != nullptr) live.emplace(row->valid.from, Live{*row, 0, Origin::kPiece});
  const size_t before = out->size();
  for (const Fact& fact : facts) {
    Apply(fact, 0, puts_open && fact.kind == FactKind::kPut, &live,
          [&](const Live& piece, const Fact& by) {
            if (piece.row.system.from >= by.system) return;
            out->push_back(Part(piece.row, Intersect(piece.row.valid, by.valid), by.system));
          });
  }
  for (const auto& [from, piece] : live) out->push_back(piece.row);
  std::sort(out->begin() + static_cast<ptrdiff_t>(before), out->end(), Before);
}

bool AllSpeakOf(const ValidInterval& valid, std::span<const Fact> facts) {
  return std::all_of(facts.begin(), facts.end(),
                     [&](const Fact& fact) { return fact.valid == valid; });
}

// Versions of facts that all have the same, not empty interval: each ends the one before it.
// `emit(version, index)` in order of system time; `index` counts in `facts`.
template <typename Emit>
void ApplyChain(std::span<const Fact> facts, Emit emit) {
  for (size_t i = 0; i < facts.size(); ++i) {
    if (facts[i].kind != FactKind::kPut) continue;
    RowVersion row = Opened(facts[i]);
    if (i + 1 < facts.size()) row.system.to = facts[i + 1].system;
    if (!row.system.empty()) emit(row, i);
  }
}

void ResolveOneFact(std::span<const RowVersion> open_rows, const Fact& fact, uint32_t source,
                    Resolution* out) {
  for (uint32_t i = 0; i < open_rows.size(); ++i) {
    const RowVersion& row = open_rows[i];
    if (!Changes(fact, row.valid)) continue;
    const auto emit = [&](const RowVersion& piece) { out->new_rows.push_back({piece, true, i}); };
    EndOpenRow(row, fact, &out->open[i], emit);
    if (row.valid.from < fact.valid.from) {
      emit(Part(row, {row.valid.from, fact.valid.from}, SystemTime::Max()));
    }
    if (row.valid.to > fact.valid.to && !LAMINA_MUTANT("resolve.right_rest_lost")) {
      emit(Part(row, {fact.valid.to, row.valid.to}, SystemTime::Max()));
    }
  }
  if (fact.kind == FactKind::kPut && !fact.valid.empty())
    out->new_rows.push_back({Opened(fact), false, source});
}

void ResolveMany(std::span<const RowVersion> open_rows, std::span<const Fact> facts, size_t start,
                 Resolution* out) {
  LiveStorage storage;
  LiveMap& live = storage.live;
  for (uint32_t i = 0; i < open_rows.size(); ++i) {
    live.emplace(open_rows[i].valid.from, Live{open_rows[i], i, Origin::kUntouched});
  }

  for (size_t i = start; i < facts.size(); ++i) {
    Apply(facts[i], static_cast<uint32_t>(i), facts[i].kind == FactKind::kPut, &live,
          [&](const Live& piece, const Fact& by) {
            const auto emit = [&](const RowVersion& version) {
              out->new_rows.push_back({version, piece.origin != Origin::kFact, piece.source});
            };
            if (piece.origin == Origin::kUntouched) {
              EndOpenRow(piece.row, by, &out->open[piece.source], emit);
            } else if (piece.row.system.from < by.system) {
              emit(Part(piece.row, Intersect(piece.row.valid, by.valid), by.system));
            }
          });
  }
  for (const auto& [from, piece] : live) {
    if (piece.origin == Origin::kUntouched) continue;
    out->new_rows.push_back({piece.row, piece.origin == Origin::kPiece, piece.source});
  }
}

}  // namespace

Window Window::At(SystemTime s, ValidTime v) {
  Window window{{s, s}, {v, v}};
  // [Max, Max) meets nothing, as it should: no interval contains its own open end.
  if (s != SystemTime::Max()) ++window.system.to.micros;
  if (v != ValidTime::Max()) ++window.valid.to.micros;
  return window;
}

void Resolve(std::span<const RowVersion> open_rows, std::span<const Fact> facts, Resolution* out) {
  const size_t start = ErasedCount(facts);
  out->new_rows.clear();
  out->erase_history = start > 0;
  out->open.assign(open_rows.size(),
                   {start > 0 ? Outcome::kErased : Outcome::kUntouched, SystemTime{}});
  if (start > 0) open_rows = {};

  const std::span<const Fact> applied = facts.subspan(start);
  if (applied.empty()) return;
  if (applied.size() == 1) {
    ResolveOneFact(open_rows, applied[0], static_cast<uint32_t>(start), out);
  } else if (const ValidInterval& valid = applied[0].valid;
             !valid.empty() && open_rows.size() <= 1 && AllSpeakOf(valid, applied) &&
             (open_rows.empty() || open_rows[0].valid == valid)) {
    // The row covers what every fact covers, so only the first fact meets it, and no piece is left
    // to emit.
    if (!open_rows.empty())
      EndOpenRow(open_rows[0], applied[0], &out->open[0], [](const RowVersion&) {});
    ApplyChain(applied, [&](const RowVersion& row, size_t i) {
      out->new_rows.push_back({row, false, static_cast<uint32_t>(start + i)});
    });
  } else {
    ResolveMany(open_rows, facts, start, out);
  }
  if (out->new_rows.size() > 1) {
    std::sort(out->new_rows.begin(), out->new_rows.end(),
              [](const NewRow& a, const NewRow& b) { return Before(a.row, b.row); });
  }
}

Resolution Resolve(std::span<const RowVersion> open_rows, std::span<const Fact> facts) {
  Resolution resolution;
  Resolve(open_rows, facts, &resolution);
  return resolution;
}

void Cut(const RowVersion& row, std::span<const Fact> facts, std::vector<RowVersion>* out) {
  if (ErasedCount(facts) > 0) return;
  if (row.system.to != SystemTime::Max()) {
    out->push_back(row);
    return;
  }
  const auto first = std::find_if(facts.begin(), facts.end(),
                                  [&](const Fact& f) { return Changes(f, row.valid); });
  if (first == facts.end()) {
    out->push_back(row);
  } else if (Covers(first->valid, row.valid)) {
    if (row.system.from < first->system) out->push_back(Part(row, row.valid, first->system));
  } else {
    ApplyAll(&row, facts.subspan(static_cast<size_t>(first - facts.begin())), /*puts_open=*/false,
             out);
  }
}

void Versions(std::span<const Fact> facts, std::vector<RowVersion>* out) {
  facts = facts.subspan(ErasedCount(facts));
  if (facts.empty()) return;
  if (!facts[0].valid.empty() && AllSpeakOf(facts[0].valid, facts)) {
    ApplyChain(facts, [&](const RowVersion& row, size_t) { out->push_back(row); });
    return;
  }
  ApplyAll(nullptr, facts, /*puts_open=*/true, out);
}

}  // namespace lamina::temporal
