#include "testing/reference_model.h"

#include <algorithm>
#include <iterator>
#include <tuple>

#include <fmt/format.h>

#include "base/check.h"

namespace lamina::testing {
namespace {

constexpr SystemTime kOpen = SystemTime::Max();

auto SortKey(const ModelRow& row) { return std::tie(row.key, row.valid.from, row.system.from); }
auto SortKey(const temporal::RowVersion& row) { return std::tie(row.valid.from, row.system.from); }

// Neighbours in valid time come together when rows are sorted by everything else first.
auto JoinKey(const ModelRow& row) {
  return std::tie(row.key, row.system.from, row.system.to, row.commit, row.value, row.valid.from);
}
auto JoinKey(const temporal::RowVersion& row) {
  return std::tie(row.system.from, row.system.to, row.commit, row.payload, row.valid.from);
}

template <typename Row>
std::vector<Row> CoalesceRows(std::vector<Row> rows) {
  std::sort(rows.begin(), rows.end(),
            [](const Row& a, const Row& b) { return JoinKey(a) < JoinKey(b); });
  std::vector<Row> joined;
  for (const Row& row : rows) {
    if (!joined.empty() && joined.back().valid.to == row.valid.from) {
      Row longer = joined.back();
      longer.valid.to = row.valid.to;
      Row wanted = row;
      wanted.valid.from = longer.valid.from;
      if (longer == wanted) {
        joined.back() = longer;
        continue;
      }
    }
    joined.push_back(row);
  }
  std::sort(joined.begin(), joined.end(),
            [](const Row& a, const Row& b) { return SortKey(a) < SortKey(b); });
  return joined;
}

template <typename Time>
std::string Number(Time time) {
  if (time == Time::Min()) return "-";
  if (time == Time::Max()) return "+";
  return fmt::format("{}", time.micros);
}

}  // namespace

void ReferenceModel::Apply(CommitId commit, SystemTime system,
                           const std::vector<ModelWrite>& writes) {
  LAMINA_CHECK(commit > newest_commit_);
  LAMINA_CHECK(system > newest_time_ && system < kOpen);
  newest_commit_ = commit;
  newest_time_ = system;
  for (const ModelWrite& write : writes) {
    Table& table = tables_[write.table];
    table.system_boundaries.insert(system);
    if (write.kind == temporal::FactKind::kErase) {
      table.facts.erase(write.key);
      continue;
    }
    if (write.valid.empty()) continue;
    table.valid_boundaries.insert(write.valid.from);
    if (write.valid.to != ValidTime::Max()) table.valid_boundaries.insert(write.valid.to);
    table.facts[write.key].push_back(
        {write.kind == temporal::FactKind::kPut, write.valid, system, commit, write.value});
  }
}

void ReferenceModel::SetHistoryFloor(const std::string& table, SystemTime floor) {
  Table& changed = tables_[table];
  changed.floor = std::max(changed.floor, floor);
  // The floor itself is a moment that can be asked for, though no commit need be there.
  changed.system_boundaries.insert(floor);
}

SystemTime ReferenceModel::HistoryFloor(const std::string& table) const {
  return Find(table).floor;
}

std::optional<std::string> ReferenceModel::Get(const std::string& table, const std::string& key,
                                               SystemTime s, ValidTime v) const {
  LAMINA_CHECK(Answers(table, s));
  const Table& found = Find(table);
  const auto it = found.facts.find(key);
  if (it == found.facts.end()) return std::nullopt;
  return NewestCovering(it->second, s, v);
}

ModelKeyValues ReferenceModel::Scan(const std::string& table, const ModelKeyRange& range,
                                    SystemTime s, ValidTime v) const {
  LAMINA_CHECK(Answers(table, s));
  ModelKeyValues result;
  for (const auto& [key, facts] : Find(table).facts) {
    if (!range.Contains(key)) continue;
    if (std::optional<std::string> value = NewestCovering(facts, s, v))
      result.emplace_back(key, *value);
  }
  return result;
}

std::vector<ModelKeyValues> ReferenceModel::ScanPoints(
    const std::string& table, const ModelKeyRange& range,
    const std::vector<ModelPoint>& points) const {
  std::vector<ModelKeyValues> result;
  result.reserve(points.size());
  for (const ModelPoint& point : points)
    result.push_back(Scan(table, range, point.system, point.valid));
  return result;
}

std::vector<ModelRow> ReferenceModel::ScanWindow(const std::string& table,
                                                 const ModelKeyRange& range,
                                                 const temporal::Window& window,
                                                 SystemTime newest) const {
  std::vector<ModelRow> result;
  if (window.empty()) return result;
  LAMINA_CHECK(Answers(table, window.system.from));
  for (const auto& [key, facts] : Find(table).facts) {
    if (!range.Contains(key)) continue;
    for (const ModelRow& row : Rectangles(key, facts, newest)) {
      if (window.valid.Overlaps(row.valid) && window.system.Overlaps(row.system))
        result.push_back(row);
    }
  }
  std::sort(result.begin(), result.end(),
            [](const ModelRow& a, const ModelRow& b) { return SortKey(a) < SortKey(b); });
  return result;
}

std::vector<SystemTime> ReferenceModel::SystemBoundaries(const std::string& table) const {
  const Table& found = Find(table);
  return {found.system_boundaries.begin(), found.system_boundaries.end()};
}

std::vector<ValidTime> ReferenceModel::ValidBoundaries(const std::string& table) const {
  const Table& found = Find(table);
  return {found.valid_boundaries.begin(), found.valid_boundaries.end()};
}

std::vector<ModelPoint> ReferenceModel::AllPoints(const std::string& table) const {
  std::vector<ModelPoint> points;
  for (SystemTime s : SystemBoundaries(table)) {
    if (!Answers(table, s)) continue;
    for (ValidTime v : ValidBoundaries(table)) points.push_back({s, v});
  }
  return points;
}

std::vector<std::string> ReferenceModel::Tables() const {
  std::vector<std::string> names;
  names.reserve(tables_.size());
  for (const auto& [name, table] : tables_) names.push_back(name);
  return names;
}

const ReferenceModel::Table& ReferenceModel::Find(const std::string& table) const {
  static const Table kNothing;
  const auto it = tables_.find(table);
  return it == tables_.end() ? kNothing : it->second;
}

std::optional<std::string> ReferenceModel::NewestCovering(const std::vector<Fact>& facts,
                                                          SystemTime s, ValidTime v) {
  for (auto fact = facts.rbegin(); fact != facts.rend(); ++fact) {
    if (fact->system > s || !fact->valid.Contains(v)) continue;
    if (fact->is_put) return fact->value;
    return std::nullopt;
  }
  return std::nullopt;
}

std::vector<ModelRow> ReferenceModel::Rectangles(const std::string& key,
                                                 const std::vector<Fact>& facts,
                                                 SystemTime newest) {
  std::vector<ModelRow> rows;
  for (const Fact& fact : facts) {
    if (fact.system > newest) break;
    std::vector<ModelRow> next;
    for (const ModelRow& row : rows) {
      if (row.system.to != kOpen || !row.valid.Overlaps(fact.valid)) {
        next.push_back(row);
        continue;
      }
      // Three parts: left of the fact and right of it stay open, the middle ends. Parts may be
      // empty.
      ModelRow left = row, middle = row, right = row;
      left.valid.to = std::max(row.valid.from, fact.valid.from);
      middle.valid = {std::max(row.valid.from, fact.valid.from),
                      std::min(row.valid.to, fact.valid.to)};
      middle.system.to = fact.system;
      right.valid.from = std::min(row.valid.to, fact.valid.to);
      for (const ModelRow& part : {left, middle, right}) {
        if (!part.valid.empty() && !part.system.empty()) next.push_back(part);
      }
    }
    if (fact.is_put)
      next.push_back({key, fact.valid, {fact.system, kOpen}, fact.commit, fact.value});
    rows = next;
  }
  return rows;
}

std::vector<ModelRow> Coalesce(std::vector<ModelRow> rows) { return CoalesceRows(std::move(rows)); }

std::vector<temporal::RowVersion> Coalesce(std::vector<temporal::RowVersion> rows) {
  return CoalesceRows(std::move(rows));
}

std::string Print(const std::vector<ModelRow>& rows) {
  std::string text;
  for (const ModelRow& row : rows) {
    text += fmt::format("{} [{},{}) [{},{}) #{} = {}\n", row.key, Number(row.valid.from),
                        Number(row.valid.to), Number(row.system.from), Number(row.system.to),
                        row.commit.value, row.value);
  }
  return text;
}

}  // namespace lamina::testing
