// Random transactions that change tables and write them, against a model of a few maps: whatever
// the transaction reads on the way, whatever others write meanwhile, and what is there afterwards,
// now and at every earlier commit, over flushes, compactions and reopens.
#include <algorithm>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "test_database.h"

namespace lamina::behaviour {
namespace {

using Cell = std::optional<int64_t>;

struct ModelColumn {
  int id = 0;  ///< Stays over renames, never reused.
  std::string name;
  char type = 'l';  ///< i int32, l int64, s text.
  Cell initial;     ///< What rows have that do not know the column.
};
using ModelRow = std::map<int, Cell>;  // by column id
using ModelRows = std::map<int64_t, ModelRow>;

struct ModelTable {
  int id = 0;  ///< Stays over renames, never reused.
  bool keyed = true;
  std::vector<ModelColumn> columns;
  ModelRows rows;
};
using Model = std::map<std::string, ModelTable>;

std::shared_ptr<arrow::DataType> TypeOf(char type) {
  return type == 'i' ? arrow::int32() : type == 'l' ? arrow::int64() : arrow::utf8();
}

std::string ModelText(const Cell& cell, char type) {
  if (!cell.has_value()) return "null";
  return type == 's' ? fmt::format("text {}", *cell) : std::to_string(*cell);
}

std::string LineOf(const ModelTable& table, int64_t id, const ModelRow& row) {
  std::string line = std::to_string(id);
  for (const ModelColumn& column : table.columns) {
    const auto cell = row.find(column.id);
    line += '|' + ModelText(cell == row.end() ? column.initial : cell->second, column.type);
  }
  return line;
}

Lines LinesOf(const ModelTable& table, const ModelRows& rows) {
  Lines lines;
  for (const auto& [id, row] : rows) lines.push_back(LineOf(table, id, row));
  return lines;
}

ScalarPtr ScalarOf(const Cell& cell, char type) {
  if (!cell.has_value()) return arrow::MakeNullScalar(TypeOf(type));
  if (type == 'i') return std::make_shared<arrow::Int32Scalar>(static_cast<int32_t>(*cell));
  if (type == 'l') return std::make_shared<arrow::Int64Scalar>(*cell);
  return std::make_shared<arrow::StringScalar>(ModelText(cell, type));
}

class RandomTableTransactions : public StoreTest {
 protected:
  void Run(uint64_t seed, int transactions) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    random_.seed(seed);
    store_ = MakeMemoryStore();
    Open();
    for (int i = 0; i < transactions && !HasFailure(); ++i) {
      switch (Below(8)) {
        case 0:
          Must(db_->Flush());
          break;
        case 1:
          Must(db_->Compact());
          break;
        case 2:
          Reopen();
          break;
        default:
          break;
      }
      OneTransaction();
      CheckAll();
    }
    ExpectSound();
  }

  /// What happened, for a minimum of trust that everything did.
  std::map<std::string, int> counts_;

 private:
  int Below(int n) { return std::uniform_int_distribution<int>(0, n - 1)(random_); }
  Cell AnyCell() { return Below(6) == 0 ? Cell() : Cell(Below(1000)); }
  std::string FreshName() { return fmt::format("n{}", ++names_); }
  std::optional<std::string> AnyTable(const Model& model) {
    if (model.empty()) return std::nullopt;
    return std::next(model.begin(), Below(static_cast<int>(model.size())))->first;
  }

  std::shared_ptr<arrow::RecordBatch> RowsOf(const ModelTable& table, const ModelRows& rows) {
    arrow::FieldVector fields{arrow::field("id", arrow::int64(), false)};
    std::vector<int64_t> ids;
    for (const auto& [id, row] : rows) ids.push_back(id);
    arrow::ArrayVector arrays{Int64s(ids)};
    for (const ModelColumn& column : table.columns) {
      fields.push_back(arrow::field(column.name, TypeOf(column.type)));
      auto builder = Must(arrow::MakeBuilder(TypeOf(column.type)));
      for (const auto& [id, row] : rows)
        Must(builder->AppendScalar(*ScalarOf(row.at(column.id), column.type)));
      arrays.push_back(Must(builder->Finish()));
    }
    return arrow::RecordBatch::Make(arrow::schema(fields), static_cast<int64_t>(rows.size()),
                                    arrays);
  }

  ModelRows AnyRows(const ModelTable& table, int64_t first_id) {
    ModelRows rows;
    const int count = 1 + Below(5);
    for (int i = 0; i < count; ++i) {
      // An append table's rows have no key: ids that are never used again make one of them.
      ModelRow& row = rows[table.keyed ? first_id + Below(12) : ++append_ids_];
      for (const ModelColumn& column : table.columns) row[column.id] = AnyCell();
    }
    return rows;
  }

  template <typename On>
  void PutRows(On* on, const std::string& name, ModelTable* table, int64_t first_id) {
    ModelRows rows = AnyRows(*table, first_id);
    Must(on->Put(name, RowsOf(*table, rows)));
    for (auto& [id, row] : rows) table->rows[id] = std::move(row);
  }

  template <typename On>
  static Status AddColumnTo(On* on, const std::string& table,
                            const std::shared_ptr<arrow::Field>& field, const ScalarPtr& initial) {
    if constexpr (kTakesInitial<On>) {
      return on->AddColumn(table, field, initial);
    } else {
      return on->AddColumn(table, field);
    }
  }
  template <typename On>
  static constexpr bool kTakesInitial =
      requires(On& on, std::shared_ptr<arrow::Field> field, ScalarPtr initial) {
        on.AddColumn("", field, initial);
      };

  void OneTransaction() {
    TransactionOptions options;
    options.isolation = Isolation::kSnapshot;  // others write what we read
    auto t = Must(db_->Begin(options));
    Model own = model_;
    std::vector<std::pair<std::string, Model>> savepoints;
    const int steps = 1 + Below(14);
    for (int step = 0; step < steps; ++step) {
      const auto name = AnyTable(own);
      const int what = name.has_value() ? Below(19) : 0;
      if (what == 0 || (what == 1 && own.size() < 3)) {
        ModelTable table;
        table.id = ++table_ids_;
        table.keyed = Below(4) != 0;
        table.columns.push_back({++column_ids_, "a", 'i', std::nullopt});
        KeyDeclaration key;
        if (table.keyed) {
          key.names = {"id"};
        } else {
          key.no_key = true;
        }
        const std::string as = Below(2) == 0 ? FreshName() : "again";
        const Status created =
            t->CreateTable(as,
                           arrow::schema({arrow::field("id", arrow::int64(), false),
                                          arrow::field("a", arrow::int32())}),
                           key);
        if (own.count(as) != 0) {
          ExpectError(created, ErrorCode::kAlreadyExists);
          continue;
        }
        Must(created);
        own[as] = table;
        ++counts_["create"];
      } else if (what == 2) {
        Must(t->DropTable(*name));
        own.erase(*name);
        ++counts_["drop"];
      } else if (what == 3) {
        const std::string to = Below(2) == 0 ? FreshName() : "again";
        if (own.count(to) != 0) continue;
        Must(t->RenameTable(*name, to));
        own[to] = own[*name];
        own.erase(*name);
        ++counts_["rename"];
      } else if (what <= 5) {
        ModelColumn column{++column_ids_, Below(3) == 0 ? "back" : FreshName(), "ils"[Below(3)],
                           std::nullopt};
        auto& columns = own[*name].columns;
        if (std::any_of(columns.begin(), columns.end(),
                        [&](const auto& c) { return c.name == column.name; }))
          continue;
        if (kTakesInitial<Transaction> && Below(2) == 0) column.initial = Below(1000);
        Must(AddColumnTo(t.get(), *name, arrow::field(column.name, TypeOf(column.type)),
                         column.initial ? ScalarOf(column.initial, column.type) : nullptr));
        columns.push_back(column);
        ++counts_[column.initial ? "add with a value" : "add"];
      } else if (what <= 7) {
        auto& columns = own[*name].columns;
        if (columns.empty()) continue;
        const auto at = columns.begin() + Below(static_cast<int>(columns.size()));
        if (what == 6) {
          Must(t->DropColumn(*name, at->name));
          for (auto& [id, row] : own[*name].rows) row.erase(at->id);
          columns.erase(at);
          ++counts_["drop column"];
        } else if (at->type == 'i') {
          Must(t->WidenColumn(*name, at->name, arrow::int64()));
          at->type = 'l';
          ++counts_["widen"];
        } else {
          const std::string to = FreshName();
          Must(t->RenameColumn(*name, at->name, to));
          at->name = to;
          ++counts_["rename column"];
        }
      } else if (what <= 12) {
        PutRows(t.get(), *name, &own[*name], 0);
      } else if (what == 13) {
        ModelTable& table = own[*name];
        if (!table.keyed) continue;
        const int64_t id = Below(12);
        Must(t->Delete(*name, Ids({id})));
        table.rows.erase(id);
      } else if (what == 14) {
        savepoints.emplace_back(fmt::format("s{}", Below(3)), own);
        Must(t->Savepoint(savepoints.back().first));
      } else if (what == 15 && !savepoints.empty()) {
        const std::string to =
            savepoints[static_cast<size_t>(Below(static_cast<int>(savepoints.size())))].first;
        const auto newest = std::find_if(savepoints.rbegin(), savepoints.rend(),
                                         [&](const auto& s) { return s.first == to; });
        Must(t->RollbackTo(to));
        own = newest->second;
        savepoints.erase(newest.base(), savepoints.end());
        ++counts_["rollback"];
      } else {
        CheckReads(*t, own);
      }
      if (HasFailure()) return;
    }
    CheckReads(*t, own);
    if (Below(5) == 0) {
      if (Below(2) == 0) t->Abort();
      return;
    }
    const bool changed = !SameDefinitions(own, model_);
    // Others write keys that we do not touch: they come first, under the old definitions.
    Model base = model_;
    std::set<int> touched;
    if (const auto other = AnyTable(model_); other.has_value() && Below(2) == 0) {
      ModelTable& table = model_[*other];
      PutRows(db_.get(), *other, &table, 1'000);
      NoteHistory();
      touched.insert(table.id);
      if (Below(3) == 0) Must(db_->Flush());
    }
    const auto result = t->Commit();
    // Nobody else changed a definition, or a key that we wrote.
    ASSERT_TRUE(result.ok()) << result.status().ToString();
    // What came meanwhile stays, in the tables that are still there.
    for (auto& [name, table] : own) {
      if (touched.count(table.id) == 0) continue;
      for (const auto& [base_name, now] : model_) {
        if (now.id != table.id) continue;
        const ModelRows& before = base[base_name].rows;
        for (const auto& [id, row] : now.rows) {
          if (before.count(id) != 0 && before.at(id) == row) continue;
          ModelRow kept;
          for (const auto& [column, cell] : row) {
            if (std::any_of(table.columns.begin(), table.columns.end(),
                            [&](const auto& c) { return c.id == column; }))
              kept[column] = cell;
          }
          table.rows[id] = kept;
        }
      }
    }
    model_ = std::move(own);
    NoteHistory();
    ++counts_[changed ? "commit with changes" : "commit"];
  }

  static bool SameDefinitions(const Model& a, const Model& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const auto& x, const auto& y) {
      return x.first == y.first && x.second.id == y.second.id &&
             std::equal(x.second.columns.begin(), x.second.columns.end(), y.second.columns.begin(),
                        y.second.columns.end(), [](const auto& c, const auto& d) {
                          return c.id == d.id && c.name == d.name && c.type == d.type;
                        });
    });
  }

  /// Rows of every table as of the newest commit.
  void NoteHistory() {
    const CommitId commit = db_->newest_commit();
    for (const auto& [name, table] : model_) history_[table.id][commit.value] = table.rows;
  }

  template <typename On>
  void CheckReads(On& on, const Model& model) {
    Lines names, expected_names;
    for (const TableInfo& info : on.ListTables()) names.push_back(info.name);
    for (const auto& [name, table] : model) expected_names.push_back(name);
    std::sort(names.begin(), names.end());
    ASSERT_EQ(names, expected_names);
    for (const auto& [name, table] : model) {
      SCOPED_TRACE(name);
      std::vector<std::string> columns{"id"};
      for (const ModelColumn& column : table.columns) columns.push_back(column.name);
      ASSERT_EQ(Must(on.GetTable(name)).schema->field_names(), columns);
      const Lines all = LinesOf(table, table.rows);
      ASSERT_EQ(Sorted(ScanText(on, name)), Sorted(all));
      ScanOptions count;
      count.columns = std::vector<std::string>{};
      ASSERT_EQ(CountRows(*Must(on.Scan(name, count))), static_cast<int64_t>(all.size()));
      if (!table.columns.empty()) {
        const auto& column =
            table.columns[static_cast<size_t>(Below(static_cast<int>(table.columns.size())))];
        const int64_t bound = Below(1000);
        const bool null = column.type == 's' || Below(3) == 0;
        ScanOptions options;
        options.filter = null ? IsNull(column.name) : Ge(column.name, Lit(bound));
        Lines passing;
        for (const auto& [id, row] : table.rows) {
          const auto found = row.find(column.id);
          const Cell cell = found == row.end() ? column.initial : found->second;
          if (null ? !cell.has_value() : cell.has_value() && *cell >= bound)
            passing.push_back(LineOf(table, id, row));
        }
        ASSERT_EQ(Sorted(ScanText(on, name, options)), Sorted(passing)) << column.name;
      }
      if (table.keyed) {
        const int64_t id = Below(12);
        const auto row = table.rows.find(id);
        ASSERT_EQ(Text(Must(on.Get(name, IdKey(id)))),
                  row == table.rows.end() ? Lines{} : Lines{LineOf(table, id, row->second)});
      }
    }
  }

  void CheckAll() {
    CheckReads(*db_, model_);
    for (const auto& [name, table] : model_) {
      SCOPED_TRACE(name);
      const auto& versions = history_[table.id];
      if (versions.empty()) continue;
      const auto moment = std::next(versions.begin(), Below(static_cast<int>(versions.size())));
      ScanOptions options;
      options.system = SystemPeriod::AsOf(CommitId{moment->first});
      ASSERT_EQ(Sorted(ScanText(*db_, name, options)), Sorted(LinesOf(table, moment->second)))
          << "as of " << moment->first;
    }
  }

  static Lines Sorted(Lines lines) {
    std::sort(lines.begin(), lines.end());
    return lines;
  }

  std::mt19937_64 random_;
  int names_ = 0, table_ids_ = 0, column_ids_ = 0;
  int64_t append_ids_ = 100'000;
  Model model_;
  std::map<int, std::map<uint64_t, ModelRows>> history_;  // by table id and commit

 protected:
  void Forget() {
    db_.reset();
    model_.clear();
    history_.clear();
  }
};

TEST_F(RandomTableTransactions, AnswersAreThoseOfAModel) {
  for (uint64_t seed = 1; seed <= 20 && !HasFailure(); ++seed) {
    Forget();
    Run(seed, 25);
  }
  for (const char* what : {"create", "drop", "rename", "add", "drop column", "widen",
                           "rename column", "rollback", "commit with changes", "commit"})
    EXPECT_GT(counts_[what], 5) << what;
}

}  // namespace
}  // namespace lamina::behaviour
