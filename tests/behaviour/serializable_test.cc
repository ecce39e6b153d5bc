// Random transactions side by side against a model, one thread deciding the order of their steps.
//
//   * Whatever a transaction reads is its snapshot with its own writes over it, savepoints
//   included.
//   * Serializable: every transaction that committed would have read the same, and so done the
//   same, had
//     it run alone at the moment of its commit. (Commit order is then a serial order.)
//   * Snapshot: no key that a committed transaction wrote was written by another since it began.
//   * After every commit the tables are what the model says.
#include <map>
#include <optional>
#include <set>

#include <fmt/format.h>

#include "base/random.h"
#include "test_database.h"

namespace lamina::behaviour {
namespace {

struct State {
  std::map<int64_t, int64_t> rows;
  std::map<std::string, std::string> documents;
  friend bool operator==(const State&, const State&) = default;
};

struct Step {
  enum class Kind {
    kGet,
    kScan,
    kInsert,
    kPut,
    kDelete,
    kGetDocument,
    kScanPrefix,
    kPutDocument,
    kDeleteDocument,
    kSavepoint,
    kRollbackTo,
    kRelease
  };
  Kind kind;
  int64_t id = 0, to = 0, value = 0;
  std::optional<int64_t> limit;
  std::optional<int64_t> least;  // filter: value >= least
  bool key_as_filter = false;
  std::string name, text;
};

std::string Joined(const Lines& lines) {
  std::string out;
  for (const auto& line : lines) out += line + ";";
  return out;
}

/// What the step writes: "r" and a row's key, "d" and a document's, "" for nothing.
std::string KeyOf(const Step& step) {
  switch (step.kind) {
    case Step::Kind::kInsert:
    case Step::Kind::kPut:
    case Step::Kind::kDelete:
      return "r" + std::to_string(step.id);
    case Step::Kind::kPutDocument:
    case Step::Kind::kDeleteDocument:
      return "d" + step.name;
    default:
      return "";
  }
}

/// A transaction of the model: steps run over a state.
struct View {
  struct Savepoint {
    std::string name;
    State state;
    std::set<std::string> written;
  };
  State state;
  std::set<std::string> written;
  std::vector<Savepoint> savepoints;

  /// What the step answers.
  std::string Run(const Step& step) {
    std::string answer = Answer(step);
    if (const std::string key = KeyOf(step); !key.empty() && answer == "ok") written.insert(key);
    return answer;
  }

 private:
  std::string Answer(const Step& step) {
    const auto text = [](const auto& map, const auto& key) {
      const auto found = map.find(key);
      return found == map.end() ? std::string("none") : fmt::format("{}", found->second);
    };
    const auto find = [&] {
      auto it = savepoints.end();
      while (it != savepoints.begin()) {
        if ((--it)->name == step.name) return it;
      }
      return savepoints.end();
    };
    Lines lines;
    switch (step.kind) {
      case Step::Kind::kGet:
        return text(state.rows, step.id);
      case Step::Kind::kScan:
        for (const auto& [id, value] : state.rows) {
          if (id < step.id || id >= step.to || (step.least && value < *step.least)) continue;
          if (step.limit && lines.size() == static_cast<size_t>(*step.limit)) break;
          lines.push_back(fmt::format("{}|{}", id, value));
        }
        return Joined(lines);
      case Step::Kind::kInsert:
        return state.rows.emplace(step.id, step.value).second ? "ok" : "already_exists";
      case Step::Kind::kPut:
        state.rows[step.id] = step.value;
        return "ok";
      case Step::Kind::kDelete:
        state.rows.erase(step.id);
        return "ok";
      case Step::Kind::kGetDocument:
        return text(state.documents, step.name);
      case Step::Kind::kScanPrefix:
        for (const auto& [key, document] : state.documents) {
          if (!key.starts_with(step.name)) continue;
          if (step.limit && lines.size() == static_cast<size_t>(*step.limit)) break;
          lines.push_back(key + "|" + document);
        }
        return Joined(lines);
      case Step::Kind::kPutDocument:
        state.documents[step.name] = step.text;
        return "ok";
      case Step::Kind::kDeleteDocument:
        state.documents.erase(step.name);
        return "ok";
      case Step::Kind::kSavepoint:
        savepoints.push_back({step.name, state, written});
        return "ok";
      case Step::Kind::kRollbackTo: {
        const auto at = find();
        if (at == savepoints.end()) return "not_found";
        state = at->state;
        written = at->written;
        savepoints.erase(std::next(at), savepoints.end());
        return "ok";
      }
      case Step::Kind::kRelease: {
        const auto at = find();
        if (at == savepoints.end()) return "not_found";
        savepoints.erase(at, savepoints.end());
        return "ok";
      }
    }
    return "";
  }
};

std::string RunStep(Transaction& t, const Step& step) {
  const auto code = [](const Status& status) {
    return status.ok() ? std::string("ok") : std::string(ErrorCodeName(CodeOf(status)));
  };
  switch (step.kind) {
    case Step::Kind::kGet:
      return ValueOf(t, "t", step.id);
    case Step::Kind::kScan: {
      ScanOptions options;
      if (step.key_as_filter) {
        options.filter = And({Ge("id", Lit(step.id)), Lt("id", Lit(step.to))});
      } else {
        options.keys.from = IdKey(step.id);
        options.keys.to = IdKey(step.to);
      }
      if (step.least) {
        const ExprPtr least = Ge("value", Lit(*step.least));
        options.filter = options.filter ? And({options.filter, least}) : least;
      }
      options.limit = step.limit;
      return Joined(ScanText(t, "t", options));
    }
    case Step::Kind::kInsert:
      return code(t.Insert("t", Numbers({{step.id, step.value}})));
    case Step::Kind::kPut:
      return code(t.Put("t", Numbers({{step.id, step.value}})));
    case Step::Kind::kDelete:
      return code(t.Delete("t", Ids({step.id})));
    case Step::Kind::kGetDocument:
      return Must(t.GetDocument(step.name)).value_or("none");
    case Step::Kind::kScanPrefix:
      return Joined(Text(*Must(t.ScanPrefix(step.name, {}, {}, step.limit))));
    case Step::Kind::kPutDocument:
      return code(t.PutDocument(step.name, step.text));
    case Step::Kind::kDeleteDocument:
      return code(t.DeleteDocument(step.name));
    case Step::Kind::kSavepoint:
      return code(t.Savepoint(step.name));
    case Step::Kind::kRollbackTo:
      return code(t.RollbackTo(step.name));
    case Step::Kind::kRelease:
      return code(t.Release(step.name));
  }
  return "";
}

std::string Describe(const Step& step) {
  return fmt::format("kind={} id={} to={} value={} name={} least={} limit={}",
                     static_cast<int>(step.kind), step.id, step.to, step.value, step.name,
                     step.least.value_or(-1), step.limit.value_or(-1));
}

class Schedule {
 public:
  Schedule(uint64_t seed, Isolation isolation) : random_(seed), isolation_(isolation) {
    Open();
    Must(db_->CreateTable("t", NumberSchema(), {.names = {"id"}}));
  }

  void Run() {
    for (int i = 0; i < 120 && !::testing::Test::HasFailure(); ++i) {
      if (random_.OneIn(8)) {
        Maintain();
      } else if (random_.OneIn(10)) {
        WriteBlindly();
      } else {
        Advance();
      }
    }
  }
  uint64_t commits() const { return commits_; }
  uint64_t conflicts() const { return conflicts_; }
  const std::string& log() const { return log_; }

 private:
  struct Running {
    uint64_t number = 0;
    std::unique_ptr<Transaction> transaction;
    View view;
    std::vector<std::pair<Step, std::string>> done;
    std::map<std::string, uint64_t> writes_at_begin;
  };

  void Open() {
    running_.clear();
    db_.reset();
    DatabaseOptions options = SmallOptions();
    options.rows_per_page = 2;
    options.rows_per_row_group = 4;
    db_ = Must(Database::Open(store_, options));
  }

  void Maintain() {
    const uint64_t what = random_.Uniform(6);
    log_ += fmt::format("maintain {}\n", what);
    if (what < 3) return Must(db_->Flush());
    if (what == 3) return Must(db_->Compact());
    if (what == 4) return Must(db_->CollectGarbage(false, 0).status());
    if (running_.empty()) Open();
  }

  void WriteBlindly() {
    Step step = AnyWrite();
    if (step.kind == Step::Kind::kPut) {
      Must(db_->Put("t", Numbers({{step.id, step.value}})).status());
    } else if (step.kind == Step::Kind::kDelete) {
      Must(db_->Delete("t", Ids({step.id})).status());
    } else if (step.kind == Step::Kind::kPutDocument) {
      Must(db_->PutDocument(step.name, step.text).status());
    } else {
      Must(db_->DeleteDocument(step.name).status());
    }
    log_ += "blind " + Describe(step) + "\n";
    View now{state_, {}, {}};
    now.Run(step);
    state_ = now.state;
    ++writes_[KeyOf(step)];
    ExpectState();
  }

  void Advance() {
    if (running_.size() < 3 && random_.OneIn(3)) {
      Running r;
      r.number = ++numbers_;
      TransactionOptions options;
      options.isolation = isolation_;
      r.transaction = Must(db_->Begin(options));
      r.view.state = state_;
      r.writes_at_begin = writes_;
      log_ += fmt::format("t{} begin\n", r.number);
      running_.push_back(std::move(r));
      return;
    }
    if (running_.empty()) return;
    const size_t at = random_.Uniform(running_.size());
    Running& r = running_[at];
    if (random_.OneIn(12)) {
      log_ += fmt::format("t{} abort\n", r.number);
      r.transaction->Abort();
    } else if (random_.OneIn(5)) {
      Commit(&r);
    } else {
      const Step step = AnyStep();
      const std::string expected = r.view.Run(step);
      const std::string answer = RunStep(*r.transaction, step);
      log_ += fmt::format("t{} {} -> {}\n", r.number, Describe(step), answer);
      EXPECT_EQ(answer, expected) << "t" << r.number;
      r.done.emplace_back(step, answer);
      return;
    }
    running_.erase(running_.begin() + static_cast<std::ptrdiff_t>(at));
    ExpectState();
  }

  void Commit(Running* r) {
    const auto result = r->transaction->Commit();
    log_ += fmt::format("t{} commit {}\n", r->number, result.status().ToString());
    if (!result.ok()) {
      ExpectError(result, ErrorCode::kConflict);
      ++conflicts_;
      return;
    }
    if (result->commit.value == 0) return;  // It wrote nothing: its snapshot was its moment.
    ++commits_;
    if (isolation_ == Isolation::kSerializable) {
      View now{state_, {}, {}};
      for (const auto& [step, answer] : r->done) {
        EXPECT_EQ(now.Run(step), answer)
            << "t" << r->number << " would have read otherwise at its commit: " << Describe(step);
      }
    }
    for (const std::string& key : r->view.written) {
      EXPECT_EQ(writes_[key], r->writes_at_begin[key]) << "a lost update of " << key;
      ++writes_[key];
      const State& mine = r->view.state;
      const auto lay = [](const auto& from, auto* to, const auto& at) {
        const auto found = from.find(at);
        if (found == from.end()) {
          to->erase(at);
        } else {
          (*to)[at] = found->second;
        }
      };
      if (key[0] == 'd') {
        lay(mine.documents, &state_.documents, key.substr(1));
      } else {
        lay(mine.rows, &state_.rows, int64_t{std::stoll(key.substr(1))});
      }
    }
  }

  Step AnyWrite() {
    Step step{};
    step.id = static_cast<int64_t>(random_.Uniform(8));
    step.value = static_cast<int64_t>(++values_);
    step.name = Name();
    step.text = fmt::format("v{}", values_);
    constexpr Step::Kind kKinds[] = {Step::Kind::kPut, Step::Kind::kDelete,
                                     Step::Kind::kPutDocument, Step::Kind::kDeleteDocument};
    step.kind = kKinds[random_.Uniform(4)];
    return step;
  }
  std::string Name() {
    static const std::vector<std::string> names = {"a", "a/1", "a/2", "b"};
    return names[random_.Uniform(names.size())];
  }
  Step AnyStep() {
    if (random_.OneIn(3)) return AnyWrite();
    Step step{};
    step.kind = static_cast<Step::Kind>(random_.Uniform(12));
    step.id = static_cast<int64_t>(random_.Uniform(8));
    step.to = step.id + static_cast<int64_t>(random_.Uniform(5));
    step.value = static_cast<int64_t>(++values_);
    step.name = Name();
    step.text = fmt::format("v{}", values_);
    if (random_.OneIn(3)) step.limit = static_cast<int64_t>(random_.Uniform(3));
    if (random_.OneIn(3)) step.least = static_cast<int64_t>(random_.Uniform(values_ + 1));
    step.key_as_filter = random_.OneIn(2);
    return step;
  }

  void ExpectState() {
    Lines rows, documents;
    for (const auto& [id, value] : state_.rows) rows.push_back(fmt::format("{}|{}", id, value));
    for (const auto& [key, document] : state_.documents) documents.push_back(key + "|" + document);
    EXPECT_EQ(ScanText(*db_, "t"), rows);
    EXPECT_EQ(Text(*Must(db_->ScanPrefix(""))), documents);
  }

  base::Random random_;
  Isolation isolation_;
  std::shared_ptr<ObjectStore> store_ = MakeMemoryStore();
  std::unique_ptr<Database> db_;
  State state_;
  std::map<std::string, uint64_t> writes_;
  std::vector<Running> running_;
  uint64_t numbers_ = 0, values_ = 0, commits_ = 0, conflicts_ = 0;
  std::string log_;
};

class RandomTransactionTest : public ::testing::TestWithParam<Isolation> {};
INSTANTIATE_TEST_SUITE_P(Levels, RandomTransactionTest,
                         ::testing::Values(Isolation::kSerializable, Isolation::kSnapshot),
                         [](const auto& info) {
                           return std::string(info.param == Isolation::kSerializable
                                                  ? "Serializable"
                                                  : "Snapshot");
                         });

TEST_P(RandomTransactionTest, EveryScheduleIsAsItsLevelPromises) {
  uint64_t commits = 0, conflicts = 0;
  for (uint64_t seed = 1; seed <= 80; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    Schedule schedule(seed, GetParam());
    try {
      schedule.Run();
    } catch (const std::exception& error) {
      ADD_FAILURE() << error.what();
    }
    if (HasFailure()) {
      ADD_FAILURE() << "after:\n" << schedule.log();
      return;
    }
    commits += schedule.commits();
    conflicts += schedule.conflicts();
  }
  EXPECT_GT(commits, 150u) << "or the test shows little";
  EXPECT_GT(conflicts, 50u) << "or the test shows little";
}

}  // namespace
}  // namespace lamina::behaviour
