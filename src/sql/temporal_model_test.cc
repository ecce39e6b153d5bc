// Random statements of valid and system time through SQL against the reference model: INSERT with a
// valid time (failing, replacing, skipping), UPDATE and DELETE of portions and of whole rows, the
// past laid over the present, transactions with savepoints and rollbacks, with and without an
// index, flushed, compacted and opened again; and after them queries of every form and combination
// of the two times.
//
// LAMINA_SQL_MODEL_RUNS=n histories from LAMINA_SQL_MODEL_FIRST=seed on; LAMINA_SQL_TRACE=1 prints
// the statements.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <map>
#include <optional>
#include <unistd.h>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/random.h"
#include "lamina/connection.h"
#include "temporal/period.h"
#include "testing/reference_model.h"

namespace lamina {
namespace {

using testing::Coalesce;
using testing::ModelRow;
using testing::ModelWrite;
using testing::ReferenceModel;

constexpr char kTable[] = "t";
constexpr int64_t kHour = 3'600'000'000;

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

/// Keys order in the model as in the table.
std::string KeyText(int64_t key) { return fmt::format("{:03}", key); }

SystemTime TimeOf(uint64_t commit) {
  return {1'000'000'000'000'000 + static_cast<int64_t>(commit) * kHour};
}

class History {
 public:
  explicit History(uint64_t seed) : seed_(seed), random_(seed) {
    path_ = std::filesystem::temp_directory_path() /
            fmt::format("lamina_temporal_model_{}_{}", ::getpid(), seed);
    std::filesystem::remove_all(path_);
    Open();
  }
  ~History() {
    connection_ = nullptr;
    sql_ = nullptr;
    std::filesystem::remove_all(path_);
  }

  int statements() const { return statements_; }

  bool Go(int transactions) {
    // Commit 1 is the model's, too: it writes nothing.
    if (!Must(Begin()) || !Must("CREATE TABLE t (k BIGINT PRIMARY KEY, v BIGINT)") ||
        !Must("COMMIT"))
      return false;
    model_.Apply({1}, TimeOf(1), {});
    for (int i = 0; i < transactions; ++i) {
      if (!Transaction()) return false;
      if (random_.OneIn(6) && !Around()) return false;
      if (!Questions(3)) return false;
    }
    return Questions(20);
  }

 private:
  int64_t Below(int64_t n) {
    return static_cast<int64_t>(random_.Uniform(static_cast<uint64_t>(n)));
  }

  void Open() {
    sql_ = SqlDatabase::Open(path_.string()).ValueOrDie();
    connection_ = sql_->Connect().ValueOrDie();
    (void)connection_->Execute("SET TimeZone = 'UTC'");
  }

  bool Fail(const std::string& what) {
    ADD_FAILURE() << "seed " << seed_ << " (LAMINA_SQL_MODEL_FIRST=" << seed_
                  << " LAMINA_SQL_MODEL_RUNS=1 LAMINA_SQL_TRACE=1): " << what;
    return false;
  }
  Status Run(const std::string& sql) {
    if (std::getenv("LAMINA_SQL_TRACE") != nullptr) std::cout << sql << ";\n";
    ++statements_;
    return connection_->ExecuteAll(sql, [](SqlResult&) { return Status::OK(); });
  }
  bool Must(const std::string& sql) {
    const Status status = Run(sql);
    return status.ok() || Fail(sql + ": " + status.ToString());
  }

  // ---- The state that a transaction under way sees

  uint64_t next() const { return model_.newest_commit().value + 1; }
  std::string Begin() const {
    return fmt::format("BEGIN WITH (system_time = make_timestamptz({}))", TimeOf(next()).micros);
  }
  ReferenceModel Now() const {
    ReferenceModel out = model_;
    out.Apply({next()}, TimeOf(next()), writes_);
    return out;
  }
  /// Rows of now that meet `valid`, cut where the database may have cut otherwise.
  std::vector<ModelRow> Current(const ValidInterval& valid) const {
    const ReferenceModel now = Now();
    const SystemTime at = TimeOf(next());
    return now.ScanWindow(kTable, {}, {{at, {at.micros + 1}}, valid});
  }
  static ValidInterval MomentOf(ValidTime at) { return {at, {at.micros + 1}}; }
  /// Later than every end that is written: what is valid now is valid for ever.
  static ValidTime Today() { return {1'700'000'000'000'000}; }

  void Put(int64_t key, const ValidInterval& valid, int64_t value) {
    if (valid.empty()) return;
    writes_.push_back(
        {kTable, KeyText(key), temporal::FactKind::kPut, valid, std::to_string(value)});
  }
  void Delete(const std::string& key, const ValidInterval& valid) {
    writes_.push_back({kTable, key, temporal::FactKind::kDelete, valid, ""});
  }

  // ---- Statements

  ValidTime Moment() { return {(1 + Below(12)) * kHour}; }
  static std::string Literal(ValidTime time) {
    if (time == ValidTime::Min() || time == ValidTime::Max()) return "NULL";
    return fmt::format("make_timestamptz({})", time.micros);
  }
  /// [from, to) with from <= to.
  ValidInterval Interval() {
    ValidInterval out{Moment(), Moment()};
    if (out.to < out.from) std::swap(out.from, out.to);
    if (random_.OneIn(6)) out.from = ValidTime::Min();
    if (random_.OneIn(4)) out.to = ValidTime::Max();
    return out;
  }
  static ValidInterval Meet(const ValidInterval& x, const ValidInterval& y) {
    return {std::max(x.from, y.from), std::min(x.to, y.to)};
  }
  /// A condition, and what it says of keys.
  struct Condition {
    std::string text;
    int64_t divisor, rest;
    bool Holds(const std::string& key) const { return std::stoll(key) % divisor == rest; }
  };
  Condition Where() {
    if (random_.OneIn(3)) {
      const int64_t key = Below(8);
      return {fmt::format("k = {}", key), 1000, key};
    }
    const int64_t divisor = 1 + Below(4);
    const int64_t rest = Below(divisor);
    return {fmt::format("k % {} = {}", divisor, rest), divisor, rest};
  }

  /// True: it ran. False with failed_: it is to be rolled back.
  bool Statement() {
    const int64_t value = Below(5);
    switch (Below(10)) {
      case 0:
      case 1:
      case 2:
        return Insert("INSERT INTO t", "", value);
      case 3:
        return Insert("INSERT OR REPLACE INTO t", "", value);
      case 4:
        return Insert("INSERT INTO t", " ON CONFLICT DO NOTHING", value);
      case 5: {
        const ValidInterval portion = Interval();
        const Condition where = Where();
        if (!Must(fmt::format("UPDATE t FOR PORTION OF APPLICATION_TIME FROM {} TO {} SET v = {} "
                              "WHERE {}",
                              Literal(portion.from), Literal(portion.to), value, where.text)))
          return false;
        for (const ModelRow& row : Current(portion))
          if (where.Holds(row.key)) Put(std::stoll(row.key), Meet(row.valid, portion), value);
        return true;
      }
      case 6: {
        const ValidInterval portion = Interval();
        const Condition where = Where();
        if (!Must(fmt::format("DELETE FROM t FOR PORTION OF VALID_TIME FROM {} TO {} WHERE {}",
                              Literal(portion.from), Literal(portion.to), where.text)))
          return false;
        for (const ModelRow& row : Current(portion))
          if (where.Holds(row.key)) Delete(row.key, Meet(row.valid, portion));
        return true;
      }
      case 7:
      case 8:
        return ChangeWhole(value);
      default:
        return Restore(value);
    }
  }

  bool Insert(const std::string& head, const std::string& tail, int64_t value) {
    const ValidInterval valid = Interval();
    std::vector<int64_t> keys = {Below(8)};
    if (random_.OneIn(3)) keys.push_back((keys[0] + 1 + Below(7)) % 8);
    std::string rows;
    for (const int64_t key : keys)
      rows += fmt::format("{}({}, {})", rows.empty() ? "" : ", ", key, value);
    const std::string sql = fmt::format("{} VALID FROM {} TO {} VALUES {}{}", head,
                                        Literal(valid.from), Literal(valid.to), rows, tail);
    const auto taken = [&](int64_t key) {
      if (valid.empty()) return false;
      const auto current = Current(valid);
      return std::any_of(current.begin(), current.end(),
                         [&](const ModelRow& row) { return row.key == KeyText(key); });
    };
    const bool plain = head == "INSERT INTO t" && tail.empty();
    const bool conflicts = plain && std::any_of(keys.begin(), keys.end(), taken);
    const Status status = Run(sql);
    if (conflicts) {
      const SqlError* error = SqlErrorOf(status);
      if (error == nullptr || error->code != "T3003")
        return Fail(sql + ": should be a conflict: " + status.ToString());
      failed_ = true;
      return true;
    }
    if (!status.ok()) return Fail(sql + ": " + status.ToString());
    std::vector<int64_t> written;
    for (const int64_t key : keys)
      if (tail.empty() || !taken(key)) written.push_back(key);
    for (const int64_t key : written) Put(key, valid, value);
    return true;
  }

  /// UPDATE or DELETE of rows that are valid at a moment, with all of their valid time. How rows
  /// are cut is the database's matter: it is asked.
  bool ChangeWhole(int64_t value) {
    const bool now = random_.OneIn(2);
    const ValidTime at = now ? Today() : Moment();
    const std::string clause = now ? "" : fmt::format(" VALID AT {}", Literal(at));
    const Condition where = Where();
    const auto found = Rows(fmt::format(
        "SELECT k, v, _valid_from, _valid_to, _system_from, _system_to, _commit FROM t{} WHERE {}",
        clause, where.text));
    if (!found) return false;
    std::vector<std::pair<std::string, std::string>> mine, theirs;
    for (const ModelRow& row : Current(MomentOf(at)))
      if (where.Holds(row.key)) mine.emplace_back(row.key, row.value);
    for (const ModelRow& row : *found) theirs.emplace_back(row.key, row.value);
    std::sort(mine.begin(), mine.end());
    std::sort(theirs.begin(), theirs.end());
    if (mine != theirs) return Fail("rows to change differ");
    const bool deletes = random_.OneIn(3);
    if (!Must(deletes ? fmt::format("DELETE FROM t{} WHERE {}", clause, where.text)
                      : fmt::format("UPDATE t{} SET v = {} WHERE {}", clause, value, where.text)))
      return false;
    for (const ModelRow& row : *found) {
      if (deletes) {
        Delete(row.key, row.valid);
      } else {
        Put(std::stoll(row.key), row.valid, value);
      }
    }
    return true;
  }

  bool Restore(int64_t) {
    const uint64_t commit = 1 + static_cast<uint64_t>(Below(static_cast<int64_t>(next()) - 1));
    const Condition where = Where();
    const SystemTime then = TimeOf(commit);
    const bool deletes = random_.OneIn(3);
    if (!Must(fmt::format(
            fmt::runtime(deletes ? "DELETE FROM t WHERE {} FOR VALID_TIME ALL AS OF {}"
                                 : "UPDATE t SET v = v WHERE {} FOR VALID_TIME ALL AS OF {}"),
            where.text, commit)))
      return false;
    for (const ModelRow& row :
         model_.ScanWindow(kTable, {}, {{then, {then.micros + 1}}, ValidInterval{}})) {
      if (!where.Holds(row.key)) continue;
      if (!deletes) {
        Put(std::stoll(row.key), row.valid, std::stoll(row.value));
        continue;
      }
      // What is not there any more is not ended again.
      for (const ModelRow& there : Current(row.valid))
        if (there.key == row.key) Delete(row.key, Meet(there.valid, row.valid));
    }
    return true;
  }

  bool Transaction() {
    writes_.clear();
    failed_ = false;
    if (!Must(Begin())) return false;
    std::optional<std::vector<ModelWrite>> saved;
    for (int64_t i = 1 + Below(4); i > 0; --i) {
      if (random_.OneIn(8)) {
        if (!Must("SAVEPOINT s")) return false;
        saved = writes_;
      }
      if (!Statement()) return false;
      if (failed_ && saved.has_value() && random_.OneIn(2)) {
        failed_ = false;
        writes_ = *saved;
        if (!Must("ROLLBACK TO s")) return false;
      }
      if (failed_) return Must("ROLLBACK");
      if (random_.OneIn(4) && !Question(/*own=*/true)) return false;
      if (saved.has_value() && random_.OneIn(5)) {
        writes_ = *saved;
        if (!Must("ROLLBACK TO s")) return false;
      }
    }
    if (random_.OneIn(8)) return Must("ROLLBACK");
    const bool wrote = WroteAnything();
    if (!Must("COMMIT")) return false;
    if (wrote) model_.Apply({next()}, TimeOf(next()), writes_);
    return true;
  }
  /// A transaction that wrote nothing takes no commit.
  bool WroteAnything() const { return !writes_.empty(); }

  /// What changes no answer.
  bool Around() {
    switch (Below(5)) {
      case 0:
        return Must("CHECKPOINT");
      case 1:
        return Must("CHECKPOINT") && Must("VACUUM");
      case 2: {
        if (!Must(Begin()) || !Must(indexed_ ? "DROP INDEX tv" : "CREATE INDEX tv ON t (v)") ||
            !Must("COMMIT"))
          return false;
        indexed_ = !indexed_;
        model_.Apply({next()}, TimeOf(next()), {});
        return true;
      }
      default:
        connection_ = nullptr;
        sql_ = nullptr;
        Open();
        return true;
    }
  }

  // ---- Questions

  bool Questions(int count) {
    writes_.clear();
    for (int i = 0; i < count; ++i)
      if (!Question(/*own=*/false)) return false;
    return true;
  }

  /// A clause of system time, and the window that it shows. `newest`: the time of the newest
  /// commit.
  std::string SystemClause(SystemTime newest, uint64_t commits, SystemInterval* window) {
    const auto commit = [&] {
      return 1 + static_cast<uint64_t>(Below(static_cast<int64_t>(commits)));
    };
    const SystemTime end{newest.micros + 1};
    switch (Below(6)) {
      case 0: {
        const uint64_t at = commit();
        *window = {TimeOf(at), {TimeOf(at).micros + 1}};
        return fmt::format(fmt::runtime(random_.OneIn(2) ? "AS OF {}" : "FOR SYSTEM_TIME AS OF {}"),
                           at);
      }
      case 1: {
        const uint64_t at = commit();
        const SystemTime time{TimeOf(at).micros + Below(kHour)};
        *window = {std::min(time, newest), {std::min(time, newest).micros + 1}};
        return fmt::format("FOR SYSTEM_TIME AS OF make_timestamptz({})", time.micros);
      }
      case 2:
      case 3: {
        uint64_t from = commit();
        uint64_t to = commit();
        if (to < from) std::swap(from, to);
        const bool between = random_.OneIn(2);
        *window = {TimeOf(from), between ? SystemTime{TimeOf(to).micros + 1} : TimeOf(to)};
        return fmt::format(fmt::runtime(between ? "FOR SYSTEM_TIME BETWEEN {} AND {}"
                                                : "FOR SYSTEM_TIME FROM {} TO {}"),
                           from, to);
      }
      case 4:
        *window = {SystemTime::Min(), end};
        return random_.OneIn(2) ? "FOR SYSTEM_TIME ALL" : "FOR ALL SYSTEM_TIME";
      default:
        *window = {newest, end};
        return "";
    }
  }

  std::string ValidClause(ValidInterval* window) {
    const std::string axis = random_.OneIn(2) ? "APPLICATION_TIME" : "VALID_TIME";
    switch (Below(6)) {
      case 0: {
        const ValidTime at = Moment();
        *window = MomentOf(at);
        return random_.OneIn(2) ? "VALID AT " + Literal(at)
                                : fmt::format("FOR {} AS OF {}", axis, at.micros);
      }
      case 1:
      case 2: {
        const ValidInterval of = Interval();
        const bool between = random_.OneIn(2) && of.to != ValidTime::Max();
        *window = of;
        if (between) window->to.micros += 1;
        return fmt::format(
            fmt::runtime(between ? "FOR {} BETWEEN {} AND {}" : "FOR {} FROM {} TO {}"), axis,
            Literal(of.from), Literal(of.to));
      }
      case 3:
      case 4:
        *window = {};
        return fmt::format("FOR {} ALL", axis);
      default:
        *window = MomentOf(Today());
        return "";
    }
  }

  bool Question(bool own) {
    const ReferenceModel model = own ? Now() : model_;
    const bool sees_own = own && WroteAnything();
    const SystemTime newest = sees_own ? TimeOf(next()) : model_.newest_time();
    SystemInterval system;
    ValidInterval valid;
    std::string first = SystemClause(newest, model_.newest_commit().value, &system);
    std::string second = ValidClause(&valid);
    if (random_.OneIn(2)) std::swap(first, second);
    std::string filter = "true";
    std::optional<int64_t> value;
    if (random_.OneIn(3)) {
      value = Below(5);
      filter = fmt::format("v = {}", *value);
    }
    // Before or after the alias, or at the end.
    std::string from;
    switch (Below(4)) {
      case 0:
        from = fmt::format("t AS x {} {} WHERE {}", first, second, filter);
        break;
      case 1:
        from = fmt::format("t {} {} AS x WHERE {}", first, second, filter);
        break;
      case 2:
        from = fmt::format("t {} WHERE {} {}", first, filter, second);
        break;
      default:
        from = fmt::format("t WHERE {} {} {}", filter, first, second);
    }
    const std::string sql =
        "SELECT k, v, _valid_from, _valid_to, _system_from, _system_to, _commit FROM " + from;
    const auto found = Rows(sql);
    if (!found) return false;
    auto mine = model.ScanWindow(kTable, {}, {system, valid}, newest);
    if (value) {
      std::erase_if(mine, [&](const ModelRow& row) { return std::stoll(row.value) != *value; });
    }
    if (system.empty() || valid.empty()) mine.clear();
    // A window may show one piece of a row and not its neighbour: only what it shows is compared.
    const auto shown = [&](std::vector<ModelRow> rows) {
      for (ModelRow& row : rows) row.valid = Meet(row.valid, valid);
      return Print(Coalesce(std::move(rows)));
    };
    const std::string expected = shown(std::move(mine));
    const std::string actual = shown(*found);
    return expected == actual || Fail(sql + "\nexpected\n" + expected + "actual\n" + actual);
  }

  std::optional<std::vector<ModelRow>> Rows(const std::string& sql) {
    if (std::getenv("LAMINA_SQL_TRACE") != nullptr) std::cout << sql << ";\n";
    ++statements_;
    std::vector<ModelRow> out;
    auto result = connection_->Execute(sql);
    if (!result.ok()) {
      Fail(sql + ": " + result.status().ToString());
      return {};
    }
    for (;;) {
      const auto more = (*result)->NextRow();
      if (!more.ok()) {
        Fail(sql + ": " + more.status().ToString());
        return {};
      }
      if (!*more) return out;
      const auto text = [&](int column) { return std::string((*result)->Text(column)); };
      const auto micros = [&](int column) { return ParseTimestamp(text(column)).ValueOrDie(); };
      ModelRow row;
      row.key = KeyText(std::stoll(text(0)));
      row.value = text(1);
      row.valid = {{micros(2)}, {micros(3)}};
      row.system = {{micros(4)}, {micros(5)}};
      row.commit = {std::stoull(text(6))};
      out.push_back(std::move(row));
    }
  }

  const uint64_t seed_;
  base::Random random_;
  std::filesystem::path path_;
  std::shared_ptr<SqlDatabase> sql_;
  std::unique_ptr<Connection> connection_;
  ReferenceModel model_;
  std::vector<ModelWrite> writes_;  ///< Of the transaction under way.
  bool failed_ = false;
  bool indexed_ = false;
  int statements_ = 0;
};

TEST(TemporalModelTest, RandomStatementsOfBothTimesAnswerAsTheModel) {
  const uint64_t first = FromEnvironment("LAMINA_SQL_MODEL_FIRST", 1);
  const uint64_t runs = FromEnvironment("LAMINA_SQL_MODEL_RUNS", 0);
  int statements = 0;
  for (uint64_t seed = first; runs == 0 ? statements < 5000 : seed < first + runs; ++seed) {
    History history(seed);
    if (!history.Go(25)) break;
    statements += history.statements();
  }
  RecordProperty("statements", statements);
}

}  // namespace
}  // namespace lamina
