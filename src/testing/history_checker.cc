// 1. Who appended what; what each read shows by itself (duplicates, own appends, garbage).
// 2. Per key the longest read is the order; every other read must be the beginning of it.
// 3. Edges from neighbours in the order. Real time goes through one node a moment, chained, so that
//    it costs as many edges as there are transactions, not their square.
// 4. Cycles, from the strongest anomaly to the weakest: write-write only, then with write-read,
// then
//    each read-write edge closed by a path without (read skew) or with others (write skew), then
//    the same with real time. Knots (strongly connected parts) bound the search.
#include "testing/history_checker.h"

#include <algorithm>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <unordered_map>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace lamina::testing {

namespace {

enum EdgeKind : uint8_t { kWw = 1, kWr = 2, kRw = 4, kTime = 8 };

struct Edge {
  size_t to;
  EdgeKind kind;
  int64_t key;
};

using Graph = std::vector<std::vector<Edge>>;

struct Appender {
  size_t transaction;
  size_t operation;
};

/// Strongly connected parts over the edges in `mask` (Tarjan, without recursion). Equal numbers are
/// one part.
std::vector<size_t> Knots(const Graph& graph, uint8_t mask) {
  constexpr size_t kNone = ~size_t{0};
  std::vector<size_t> part(graph.size(), kNone);
  std::vector<size_t> index(graph.size(), kNone);
  std::vector<size_t> low(graph.size(), 0);
  std::vector<bool> on_stack(graph.size(), false);
  std::vector<size_t> stack;
  std::vector<std::pair<size_t, size_t>> calls;  // node, next edge
  size_t next_index = 0;
  size_t next_part = 0;
  for (size_t root = 0; root < graph.size(); ++root) {
    if (index[root] != kNone) continue;
    calls.emplace_back(root, 0);
    while (!calls.empty()) {
      auto& [node, edge] = calls.back();
      if (edge == 0) {
        index[node] = low[node] = next_index++;
        stack.push_back(node);
        on_stack[node] = true;
      }
      bool descended = false;
      while (edge < graph[node].size()) {
        const Edge& e = graph[node][edge++];
        if ((e.kind & mask) == 0) continue;
        if (index[e.to] == kNone) {
          calls.emplace_back(e.to, 0);  // invalidates node and edge
          descended = true;
          break;
        }
        if (on_stack[e.to]) low[node] = std::min(low[node], index[e.to]);
      }
      if (descended) continue;
      const size_t done = calls.back().first;
      if (low[done] == index[done]) {
        for (;;) {
          const size_t member = stack.back();
          stack.pop_back();
          on_stack[member] = false;
          part[member] = next_part;
          if (member == done) break;
        }
        ++next_part;
      }
      calls.pop_back();
      if (!calls.empty()) {
        const size_t parent = calls.back().first;
        low[parent] = std::min(low[parent], low[done]);
      }
    }
  }
  return part;
}

struct Step {
  size_t from;
  Edge edge;
};

/// A shortest path from `from` to `to` over the edges in `mask` inside their common knot; empty
/// when there is none.
std::vector<Step> ShortestPath(const Graph& graph, const std::vector<size_t>& knots, size_t from,
                               size_t to, uint8_t mask) {
  std::unordered_map<size_t, Step> came;
  std::deque<size_t> queue{from};
  while (!queue.empty()) {
    const size_t node = queue.front();
    queue.pop_front();
    for (const Edge& e : graph[node]) {
      if ((e.kind & mask) == 0 || knots[e.to] != knots[from] || e.to == from) continue;
      if (!came.try_emplace(e.to, Step{node, e}).second) continue;
      if (e.to == to) {
        std::vector<Step> path;
        for (size_t at = to; at != from; at = came.at(at).from) path.push_back(came.at(at));
        std::reverse(path.begin(), path.end());
        return path;
      }
      queue.push_back(e.to);
    }
  }
  return {};
}

class Checker {
 public:
  Checker(const std::vector<ListTransaction>& history, Consistency promised)
      : history_(history), promised_(promised) {}

  std::vector<Anomaly> Run() {
    IndexAppends();
    for (size_t t = 0; t < history_.size(); ++t) CheckInside(t);
    SettleUnknown();
    for (size_t t = 0; t < history_.size(); ++t) {
      if (Counts(t)) CheckReads(t);
    }
    Order();
    BuildEdges();
    FindCycles();
    if (promised_ == Consistency::kStrictSerializable) CheckLostAppends();
    return std::move(found_);
  }

 private:
  bool Counts(size_t t) const {
    return history_[t].outcome == ListTransaction::Outcome::kCommitted ||
           (history_[t].outcome == ListTransaction::Outcome::kUnknown && seen_.contains(t));
  }
  void Add(AnomalyKind kind, const std::vector<size_t>& who, std::string text) {
    Anomaly anomaly{kind, {}, fmt::format("{}: {}", AnomalyName(kind), text)};
    for (const size_t t : who) anomaly.transactions.push_back(history_[t].id);
    found_.push_back(std::move(anomaly));
  }

  void IndexAppends() {
    for (size_t t = 0; t < history_.size(); ++t) {
      for (size_t i = 0; i < history_[t].operations.size(); ++i) {
        const ListOperation& op = history_[t].operations[i];
        if (op.kind != ListOperation::Kind::kAppend) continue;
        const auto [it, fresh] = appenders_.try_emplace({op.key, op.element}, Appender{t, i});
        if (!fresh) {
          Add(AnomalyKind::kDuplicate, {it->second.transaction, t},
              fmt::format("element {} of key {} was appended twice", op.element, op.key));
        }
      }
    }
  }

  /// A transaction by itself: reads repeat, and show its own appends at their end.
  void CheckInside(size_t t) {
    if (history_[t].outcome == ListTransaction::Outcome::kAborted) return;
    struct Known {
      bool read = false;
      std::vector<int64_t> list;  // whole, once read
      std::vector<int64_t> own;   // appends since the last read
    };
    std::map<int64_t, Known> known;
    for (const ListOperation& op : history_[t].operations) {
      Known& k = known[op.key];
      if (op.kind == ListOperation::Kind::kAppend) {
        (k.read ? k.list : k.own).push_back(op.element);
        continue;
      }
      bool fits = true;
      if (k.read) {
        fits = op.list == k.list;
      } else {
        fits = op.list.size() >= k.own.size() &&
               std::equal(k.own.begin(), k.own.end(),
                          op.list.end() - static_cast<ptrdiff_t>(k.own.size()));
      }
      if (!fits) {
        Add(AnomalyKind::kInternal, {t},
            fmt::format("T{} read key {} as {}, after its own operations {}", history_[t].id,
                        op.key, fmt::join(op.list, ","), fmt::join(k.read ? k.list : k.own, ",")));
      }
      k.read = true;
      k.list = op.list;
    }
  }

  /// The part of a read list that others appended: what lies before our own appends.
  std::vector<int64_t> Foreign(size_t t, const ListOperation& op) const {
    std::vector<int64_t> list = op.list;
    while (!list.empty()) {
      const auto it = appenders_.find({op.key, list.back()});
      if (it == appenders_.end() || it->second.transaction != t) break;
      list.pop_back();
    }
    return list;
  }

  /// Which transactions of unknown outcome were seen by one that counts.
  void SettleUnknown() {
    for (bool grew = true; grew;) {
      grew = false;
      for (size_t t = 0; t < history_.size(); ++t) {
        if (!Counts(t)) continue;
        for (const ListOperation& op : history_[t].operations) {
          for (const int64_t element : op.list) {
            const auto it = appenders_.find({op.key, element});
            if (it == appenders_.end() || it->second.transaction == t) continue;
            if (history_[it->second.transaction].outcome == ListTransaction::Outcome::kUnknown)
              grew = seen_.insert(it->second.transaction).second || grew;
          }
        }
      }
    }
  }

  void CheckReads(size_t t) {
    for (const ListOperation& op : history_[t].operations) {
      if (op.kind != ListOperation::Kind::kRead) continue;
      std::set<int64_t> once;
      for (const int64_t element : op.list) {
        if (!once.insert(element).second) {
          Add(AnomalyKind::kDuplicate, {t},
              fmt::format("T{} read element {} of key {} twice", history_[t].id, element, op.key));
        }
        const auto it = appenders_.find({op.key, element});
        if (it == appenders_.end()) {
          Add(AnomalyKind::kGarbageRead, {t},
              fmt::format("T{} read element {} of key {}, which nobody appended", history_[t].id,
                          element, op.key));
        } else if (history_[it->second.transaction].outcome == ListTransaction::Outcome::kAborted) {
          Add(AnomalyKind::kAbortedRead, {it->second.transaction, t},
              fmt::format("T{} read element {} of key {} of the aborted T{}", history_[t].id,
                          element, op.key, history_[it->second.transaction].id));
        }
      }
      const std::vector<int64_t> list = Foreign(t, op);
      if (list.empty()) continue;
      const auto last = appenders_.find({op.key, list.back()});
      if (last == appenders_.end()) continue;
      const auto& writer = history_[last->second.transaction].operations;
      for (size_t i = last->second.operation + 1; i < writer.size(); ++i) {
        if (writer[i].kind != ListOperation::Kind::kAppend || writer[i].key != op.key) continue;
        Add(AnomalyKind::kIntermediateRead, {last->second.transaction, t},
            fmt::format("T{} read key {} as T{} left it in between: {}", history_[t].id, op.key,
                        history_[last->second.transaction].id, fmt::join(list, ",")));
        break;
      }
    }
  }

  void Order() {
    std::map<int64_t, size_t> reader;
    for (size_t t = 0; t < history_.size(); ++t) {
      if (!Counts(t)) continue;
      for (const ListOperation& op : history_[t].operations) {
        if (op.kind != ListOperation::Kind::kRead) continue;
        auto& order = order_[op.key];
        if (op.list.size() > order.size()) {
          order = op.list;
          reader[op.key] = t;
        }
      }
    }
    for (size_t t = 0; t < history_.size(); ++t) {
      if (!Counts(t)) continue;
      for (const ListOperation& op : history_[t].operations) {
        if (op.kind != ListOperation::Kind::kRead) continue;
        const auto& order = order_[op.key];
        if (std::equal(op.list.begin(), op.list.end(), order.begin())) continue;
        Add(AnomalyKind::kIncompatibleOrder, {t, reader[op.key]},
            fmt::format("T{} read key {} as {}, T{} as {}", history_[t].id, op.key,
                        fmt::join(op.list, ","), history_[reader[op.key]].id,
                        fmt::join(order, ",")));
      }
    }
  }

  void Connect(size_t from, size_t to, EdgeKind kind, int64_t key) {
    if (from == to) return;
    for (const Edge& e : graph_[from]) {
      if (e.to == to && e.kind == kind) return;
    }
    graph_[from].push_back({to, kind, key});
  }

  void BuildEdges() {
    graph_.resize(history_.size());
    const auto writer = [&](int64_t key, int64_t element) {
      const auto it = appenders_.find({key, element});
      return it == appenders_.end() || !Counts(it->second.transaction) ? history_.size()
                                                                       : it->second.transaction;
    };
    for (const auto& [key, order] : order_) {
      for (size_t i = 1; i < order.size(); ++i) {
        const size_t a = writer(key, order[i - 1]);
        const size_t b = writer(key, order[i]);
        if (a < history_.size() && b < history_.size()) Connect(a, b, kWw, key);
      }
    }
    for (size_t t = 0; t < history_.size(); ++t) {
      if (!Counts(t)) continue;
      for (const ListOperation& op : history_[t].operations) {
        if (op.kind != ListOperation::Kind::kRead) continue;
        const std::vector<int64_t> list = Foreign(t, op);
        if (!list.empty()) {
          const size_t w = writer(op.key, list.back());
          if (w < history_.size()) Connect(w, t, kWr, op.key);
        }
        // The first that follows and is not our own: with our own in between, write-write edges
        // lead on.
        const auto& order = order_[op.key];
        if (list.size() < order.size()) {
          const size_t w = writer(op.key, order[list.size()]);
          if (w < history_.size()) Connect(t, w, kRw, op.key);
        }
      }
    }
    if (promised_ != Consistency::kStrictSerializable) return;
    // One node a moment at which something ended; moments are chained.
    std::vector<int64_t> moments;
    for (size_t t = 0; t < history_.size(); ++t) {
      if (history_[t].outcome == ListTransaction::Outcome::kCommitted)
        moments.push_back(history_[t].end);
    }
    std::sort(moments.begin(), moments.end());
    moments.erase(std::unique(moments.begin(), moments.end()), moments.end());
    const size_t first = graph_.size();
    graph_.resize(first + moments.size());
    for (size_t i = 1; i < moments.size(); ++i)
      graph_[first + i - 1].push_back({first + i, kTime, 0});
    for (size_t t = 0; t < history_.size(); ++t) {
      if (!Counts(t)) continue;
      // What is unknown may have taken effect at any time after it began.
      if (history_[t].outcome == ListTransaction::Outcome::kCommitted) {
        const auto at = std::lower_bound(moments.begin(), moments.end(), history_[t].end);
        graph_[t].push_back({first + static_cast<size_t>(at - moments.begin()), kTime, 0});
      }
      const auto after = std::upper_bound(moments.begin(), moments.end(), history_[t].begin);
      if (after == moments.begin()) continue;
      graph_[first + static_cast<size_t>(after - moments.begin()) - 1].push_back({t, kTime, 0});
    }
  }

  void AddCycle(AnomalyKind kind, const std::vector<Step>& steps) {
    std::vector<size_t> who;
    std::string text;
    bool time = false;
    for (const Step& step : steps) {
      if (step.from < history_.size()) {
        if (!text.empty() && time) text += " -time-> ";
        time = false;
        text += fmt::format("T{}", history_[step.from].id);
        who.push_back(step.from);
      }
      if (step.edge.kind == kTime) {
        time = true;
        continue;
      }
      text += fmt::format(" -{} {}-> ",
                          step.edge.kind == kWw   ? "ww"
                          : step.edge.kind == kWr ? "wr"
                                                  : "rw",
                          step.edge.key);
    }
    if (time) text += " -time-> ";
    text += fmt::format("T{}", history_[who.front()].id);
    Add(kind, who, text);
  }

  /// One cycle in each knot of `mask` that holds an edge of `closing`, reported by `name`.
  template <typename Name>
  void FindIn(uint8_t closing, uint8_t path_mask, uint8_t knot_mask, const Name& name) {
    const std::vector<size_t> knots = Knots(graph_, knot_mask);
    std::set<size_t> reported;
    for (size_t from = 0; from < graph_.size(); ++from) {
      for (const Edge& e : graph_[from]) {
        if ((e.kind & closing) == 0 || knots[e.to] != knots[from] || reported.contains(knots[from]))
          continue;
        std::vector<Step> path = ShortestPath(graph_, knots, e.to, from, path_mask);
        if (path.empty()) continue;
        path.insert(path.begin(), Step{from, e});
        // Begin at a transaction, not at a moment.
        while (path.front().from >= history_.size())
          std::rotate(path.begin(), path.begin() + 1, path.end());
        const auto kind = name(path);
        if (!kind.has_value()) continue;
        reported.insert(knots[from]);
        AddCycle(*kind, path);
      }
    }
  }

  void FindCycles() {
    using Kind = std::optional<AnomalyKind>;
    const size_t before = found_.size();
    FindIn(kWw, kWw, kWw, [](const auto&) { return Kind(AnomalyKind::kWriteCycle); });
    FindIn(kWr, kWw | kWr, kWw | kWr,
           [](const auto&) { return Kind(AnomalyKind::kCircularInformation); });
    FindIn(kRw, kWw | kWr, kWw | kWr | kRw, [](const std::vector<Step>& path) {
      const bool one_key = path.size() == 2 && path[0].edge.key == path[1].edge.key &&
                           (path[0].edge.kind | path[1].edge.kind) == (kRw | kWw);
      return Kind(one_key ? AnomalyKind::kLostUpdate : AnomalyKind::kReadSkew);
    });
    if (promised_ == Consistency::kSnapshot) return;
    const auto read_writes = [](const std::vector<Step>& path) {
      return std::count_if(path.begin(), path.end(),
                           [](const Step& s) { return s.edge.kind == kRw; });
    };
    FindIn(kRw, kWw | kWr | kRw, kWw | kWr | kRw, [&](const std::vector<Step>& path) {
      return read_writes(path) > 1 ? Kind(AnomalyKind::kWriteSkew) : std::nullopt;
    });
    if (promised_ != Consistency::kStrictSerializable || found_.size() != before) return;
    // Without a cycle so far every further one needs a real-time edge.
    constexpr uint8_t kAll = kWw | kWr | kRw | kTime;
    FindIn(kAll & ~kTime, kAll, kAll, [&](const std::vector<Step>& path) {
      return Kind(read_writes(path) > 1 ? AnomalyKind::kRealTimeCycle : AnomalyKind::kStaleRead);
    });
  }

  /// Elements that no read shows although one began after they were there.
  void CheckLostAppends() {
    std::map<int64_t, std::set<int64_t>> placed;
    for (const auto& [key, order] : order_) placed[key].insert(order.begin(), order.end());
    for (const auto& [what, appender] : appenders_) {
      const auto& [key, element] = what;
      const ListTransaction& writer = history_[appender.transaction];
      if (writer.outcome != ListTransaction::Outcome::kCommitted || placed[key].contains(element))
        continue;
      for (size_t t = 0; t < history_.size(); ++t) {
        if (!Counts(t) || history_[t].begin < writer.end || t == appender.transaction) continue;
        const bool reads =
            std::any_of(history_[t].operations.begin(), history_[t].operations.end(),
                        [k = key](const ListOperation& op) {
                          return op.kind == ListOperation::Kind::kRead && op.key == k;
                        });
        if (!reads) continue;
        Add(AnomalyKind::kLostAppend, {appender.transaction, t},
            fmt::format("T{} appended {} to key {} and committed; T{} began later and does not "
                        "see it",
                        writer.id, element, key, history_[t].id));
        break;
      }
    }
  }

  const std::vector<ListTransaction>& history_;
  const Consistency promised_;
  std::map<std::pair<int64_t, int64_t>, Appender> appenders_;  // (key, element)
  std::set<size_t> seen_;                                      // of unknown outcome
  std::map<int64_t, std::vector<int64_t>> order_;
  Graph graph_;
  std::vector<Anomaly> found_;
};

}  // namespace

const char* AnomalyName(AnomalyKind kind) {
  switch (kind) {
    case AnomalyKind::kGarbageRead:
      return "garbage read";
    case AnomalyKind::kDuplicate:
      return "duplicate element";
    case AnomalyKind::kInternal:
      return "internal inconsistency";
    case AnomalyKind::kIncompatibleOrder:
      return "incompatible order";
    case AnomalyKind::kAbortedRead:
      return "G1a (aborted read)";
    case AnomalyKind::kIntermediateRead:
      return "G1b (intermediate read)";
    case AnomalyKind::kWriteCycle:
      return "G0 (write cycle)";
    case AnomalyKind::kCircularInformation:
      return "G1c (circular information flow)";
    case AnomalyKind::kLostUpdate:
      return "G-single (lost update)";
    case AnomalyKind::kReadSkew:
      return "G-single (read skew)";
    case AnomalyKind::kWriteSkew:
      return "G2-item (write skew)";
    case AnomalyKind::kLostAppend:
      return "lost append";
    case AnomalyKind::kStaleRead:
      return "stale read (real time)";
    case AnomalyKind::kRealTimeCycle:
      return "cycle with real time";
  }
  return "unknown";
}

std::vector<Anomaly> CheckListHistory(const std::vector<ListTransaction>& history,
                                      Consistency promised) {
  return Checker(history, promised).Run();
}

std::string Print(const std::vector<Anomaly>& anomalies) {
  std::string out;
  for (const Anomaly& anomaly : anomalies) out += anomaly.text + "\n";
  return out;
}

}  // namespace lamina::testing
