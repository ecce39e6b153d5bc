// Random changes of a table's definition between random writes, one by one or several in a
// transaction, against a model that keeps values by the identity of columns, not by name: every
// moment of the past is read as the present definition.
#include <cmath>
#include <map>
#include <optional>
#include <vector>

#include <arrow/compute/api.h>
#include <fmt/format.h>

#include "base/random.h"
#include "test_database.h"

namespace lamina::behaviour {
namespace {

// What a column may become, narrowest first. Small whole numbers have a value in each of these.
using Chain = std::vector<std::shared_ptr<arrow::DataType>>;

const std::vector<Chain>& Chains() {
  static const std::vector<Chain> chains = {
      {arrow::int8(), arrow::int16(), arrow::int32(), arrow::int64()},
      {arrow::uint8(), arrow::uint32(), arrow::int64()},
      {arrow::float32(), arrow::float64()},
      {arrow::date32(), arrow::timestamp(arrow::TimeUnit::MILLI, "UTC"),
       arrow::timestamp(arrow::TimeUnit::MICRO, "UTC"),
       arrow::timestamp(arrow::TimeUnit::NANO, "UTC")},
      {arrow::utf8(), arrow::large_utf8()},
      {arrow::binary(), arrow::large_binary()},
      {arrow::decimal32(5, 2), arrow::decimal64(10, 2), arrow::decimal128(20, 2),
       arrow::decimal256(50, 2)},
  };
  return chains;
}

std::shared_ptr<arrow::Scalar> ScalarOf(const std::shared_ptr<arrow::DataType>& type, int64_t v) {
  switch (type->id()) {
    case arrow::Type::STRING:
    case arrow::Type::LARGE_STRING:
    case arrow::Type::BINARY:
    case arrow::Type::LARGE_BINARY:
      return Must(Must(arrow::MakeScalar(arrow::utf8(), std::to_string(v)))->CastTo(type));
    case arrow::Type::DATE32:
      return std::make_shared<arrow::Date32Scalar>(static_cast<int32_t>(v));
    case arrow::Type::TIMESTAMP: {
      int64_t day = 86'400'000;
      const auto unit = static_cast<const arrow::TimestampType&>(*type).unit();
      if (unit != arrow::TimeUnit::MILLI) day *= 1000;
      if (unit == arrow::TimeUnit::NANO) day *= 1000;
      return std::make_shared<arrow::TimestampScalar>(v * day, type);
    }
    case arrow::Type::DECIMAL32:
      return std::make_shared<arrow::Decimal32Scalar>(arrow::Decimal32(v * 100), type);
    case arrow::Type::DECIMAL64:
      return std::make_shared<arrow::Decimal64Scalar>(arrow::Decimal64(v * 100), type);
    case arrow::Type::DECIMAL128:
      return std::make_shared<arrow::Decimal128Scalar>(arrow::Decimal128(v * 100), type);
    case arrow::Type::DECIMAL256:
      return std::make_shared<arrow::Decimal256Scalar>(arrow::Decimal256(v * 100), type);
    default:
      return Must(arrow::Scalar::Parse(type, std::to_string(v)));
  }
}

struct ModelColumn {
  uint64_t identity = 0;
  std::string name;
  size_t chain = 0, step = 0;
  const std::shared_ptr<arrow::DataType>& type() const { return Chains()[chain][step]; }
};
using Row = std::map<uint64_t, int64_t>;  // by identity; absent = null
using Rows = std::map<int64_t, Row>;

class RandomEvolution {
 public:
  explicit RandomEvolution(uint64_t seed) : random_(seed) { Open(); }

  void Run() {
    columns_ = {{1, "a", 0, 0}};
    arrow::FieldVector fields = {arrow::field("id", arrow::int64(), false),
                                 arrow::field("a", columns_[0].type())};
    Must(db_->CreateTable("t", arrow::schema(fields), {.names = {"id"}}));
    for (int step = 0; step < 40; ++step) {
      Step();
      if (random_.OneIn(6)) Compare();
      if (::testing::Test::HasFailure()) return;
    }
    Compare();
    Must(db_->Flush());
    Must(db_->Compact());
    Open();
    Compare();
    EXPECT_EQ(Must(db_->Check()), std::vector<std::string>());
  }
  const std::string& log() const { return log_; }

 private:
  void Open() {
    held_.clear();
    db_.reset();
    DatabaseOptions options = SmallOptions();
    options.rows_per_page = 2;
    options.rows_per_row_group = 4;
    db_ = Must(Database::Open(store_, options));
  }

  void Step() {
    switch (random_.Uniform(16)) {
      case 0:
        log_ += "flush\n";
        return Must(db_->Flush());
      case 1:
        log_ += "compact\n";
        return Must(db_->Compact());
      case 2:
        log_ += "reopen\n";
        return Open();
      case 3:
        log_ += "gc\n";
        return Must(db_->CollectGarbage(false, 0).status());
      case 4:
        return AddColumn();
      case 5:
        return DropColumn();
      case 6:
        return RenameColumn();
      case 7:
        return WidenColumn();
      case 9:
        return InTransaction();
      case 8:
        log_ += "hold\n";
        held_.emplace_back(db_->GetSnapshot(), Whole());
        return;
      default:
        return Write();
    }
  }

  /// Some changes and writes that come together or not at all; read back between.
  void InTransaction() {
    log_ += "begin\n";
    transaction_ = Must(db_->Begin());
    const auto columns = columns_;
    const Rows rows = rows_;
    const auto change = [&](uint64_t what) {
      switch (what) {
        case 0:
          return AddColumn();
        case 1:
          return DropColumn();
        case 2:
          return RenameColumn();
        case 3:
          return WidenColumn();
        default:
          return Write();
      }
    };
    std::vector<ModelColumn> columns_then;
    Rows rows_then;
    bool savepoint = false;
    for (uint64_t n = 2 + random_.Uniform(6); n > 0; --n) {
      change(random_.Uniform(7));
      if (random_.OneIn(3)) CompareMoment(SystemPeriod::Latest(), rows_);
      if (random_.OneIn(4)) {
        log_ += "savepoint\n";
        Must(transaction_->Savepoint("s"));
        columns_then = columns_;
        rows_then = rows_;
        savepoint = true;
      }
      if (savepoint && random_.OneIn(4)) {
        log_ += "rollback\n";
        Must(transaction_->RollbackTo("s"));
        columns_ = columns_then;
        rows_ = rows_then;
        CompareMoment(SystemPeriod::Latest(), rows_);
      }
      if (::testing::Test::HasFailure()) return;
    }
    CompareMoment(SystemPeriod::Latest(), rows_);
    if (random_.OneIn(4)) {
      log_ += "abort\n";
      transaction_.reset();
      columns_ = columns;
      rows_ = rows;
      pending_initials_.clear();
      return;
    }
    log_ += "commit\n";
    const CommitResult committed = Must(transaction_->Commit());
    transaction_.reset();
    // What is older than an added column reads as its initial value, at every moment.
    for (const auto& [identity, value] : pending_initials_) {
      for (auto& [commit, then] : history_) Fill(identity, value, &then);
    }
    pending_initials_.clear();
    if (committed.commit.value != 0) history_.emplace_back(committed.commit, rows_);
  }

  static void Fill(uint64_t identity, int64_t value, Rows* rows) {
    for (auto& [id, row] : *rows) row[identity] = value;
  }

  template <typename Call>
  Status Do(Call&& call) {
    return transaction_ != nullptr ? call(*transaction_) : call(*db_);
  }

  std::string FreeName() {
    for (;;) {
      // Few names, so that those of dropped columns come back.
      const std::string name(1, static_cast<char>('a' + random_.Uniform(5)));
      const bool taken = std::any_of(columns_.begin(), columns_.end(),
                                     [&](const auto& c) { return c.name == name; });
      if (!taken) return name;
    }
  }
  ModelColumn& AnyColumn() { return columns_[random_.Uniform(columns_.size())]; }

  void AddColumn() {
    if (columns_.size() == 4) return;
    const ModelColumn column{++identities_, FreeName(), random_.Uniform(Chains().size()), 0};
    std::shared_ptr<arrow::Scalar> initial;
    if (random_.OneIn(2)) {
      const auto value = static_cast<int64_t>(random_.Uniform(100));
      initial = ScalarOf(column.type(), value);
      Fill(column.identity, value, &rows_);
      if (transaction_ != nullptr) {
        pending_initials_.emplace_back(column.identity, value);
      } else {
        for (auto& [commit, then] : history_) Fill(column.identity, value, &then);
      }
    }
    log_ += fmt::format("add {} {} {}\n", column.name, column.type()->ToString(),
                        initial == nullptr ? "" : initial->ToString());
    Must(Do([&](auto& on) {
      return on.AddColumn("t", arrow::field(column.name, column.type()), initial);
    }));
    columns_.push_back(column);
  }
  void DropColumn() {
    if (columns_.empty()) return;
    const size_t at = random_.Uniform(columns_.size());
    log_ += fmt::format("drop {}\n", columns_[at].name);
    Must(Do([&](auto& on) { return on.DropColumn("t", columns_[at].name); }));
    columns_.erase(columns_.begin() + static_cast<std::ptrdiff_t>(at));
  }
  void RenameColumn() {
    if (columns_.empty() || columns_.size() == 5) return;
    ModelColumn& column = AnyColumn();
    const std::string to = FreeName();
    log_ += fmt::format("rename {} {}\n", column.name, to);
    Must(Do([&](auto& on) { return on.RenameColumn("t", column.name, to); }));
    column.name = to;
  }
  void WidenColumn() {
    if (columns_.empty()) return;
    ModelColumn& column = AnyColumn();
    const size_t steps = Chains()[column.chain].size();
    if (column.step + 1 == steps) return;
    column.step += 1 + random_.Uniform(steps - column.step - 1);
    log_ += fmt::format("widen {} {}\n", column.name, column.type()->ToString());
    Must(Do([&](auto& on) { return on.WidenColumn("t", column.name, column.type()); }));
  }

  void Write() {
    std::vector<int64_t> ids;
    const uint64_t n = 1 + random_.Uniform(5);
    for (uint64_t i = 0; i < n; ++i) ids.push_back(static_cast<int64_t>(random_.Uniform(9)));
    if (random_.OneIn(4)) {
      log_ += "delete\n";
      Must(Do([&](auto& on) { return StatusOf(on.Delete("t", Ids(ids))); }));
      for (const int64_t id : ids) rows_.erase(id);
    } else {
      std::vector<Row> rows(ids.size());
      std::vector<std::shared_ptr<arrow::Array>> arrays = {Int64s(ids)};
      for (const ModelColumn& column : columns_) {
        std::unique_ptr<arrow::ArrayBuilder> builder;
        Must(arrow::MakeBuilder(arrow::default_memory_pool(), column.type(), &builder));
        for (Row& row : rows) {
          if (random_.OneIn(4)) {
            Must(builder->AppendNull());
            continue;
          }
          const auto value = static_cast<int64_t>(random_.Uniform(100));
          row[column.identity] = value;
          Must(builder->AppendScalar(*ScalarOf(column.type(), value)));
        }
        arrays.push_back(Must(builder->Finish()));
      }
      log_ += fmt::format("put {}\n", ids.size());
      Must(Do([&](auto& on) {
        return StatusOf(on.Put("t", Batch(Must(on.GetTable("t")).schema, arrays)));
      }));
      for (size_t i = 0; i < ids.size(); ++i) rows_[ids[i]] = rows[i];
    }
    if (transaction_ == nullptr) history_.emplace_back(db_->newest_commit(), rows_);
  }

  /// The whole table, as it is read now.
  std::shared_ptr<arrow::Table> Whole() { return Must(Must(db_->Scan("t"))->ToTable()); }

  std::shared_ptr<arrow::Array> Expected(const ModelColumn& column, const Rows& rows) {
    std::unique_ptr<arrow::ArrayBuilder> builder;
    Must(arrow::MakeBuilder(arrow::default_memory_pool(), column.type(), &builder));
    for (const auto& [id, row] : rows) {
      const auto value = row.find(column.identity);
      Must(value == row.end() ? builder->AppendNull()
                              : builder->AppendScalar(*ScalarOf(column.type(), value->second)));
    }
    return Must(builder->Finish());
  }

  void CompareMoment(SystemPeriod moment, const Rows& rows) {
    ScanOptions options;
    options.system = moment;
    const auto scan = [&] {
      return transaction_ != nullptr ? transaction_->Scan("t", options) : db_->Scan("t", options);
    };
    const auto read = Must(Must(Must(scan())->ToTable())->CombineChunks());
    ASSERT_EQ(read->num_rows(), static_cast<int64_t>(rows.size()));
    ASSERT_EQ(read->num_columns(), static_cast<int>(columns_.size() + 1));
    if (rows.empty()) return;
    std::vector<int64_t> ids;
    for (const auto& [id, row] : rows) ids.push_back(id);
    EXPECT_TRUE(read->column(0)->chunk(0)->Equals(Int64s(ids)));
    for (size_t c = 0; c < columns_.size(); ++c) {
      const int at = static_cast<int>(c) + 1;
      EXPECT_EQ(read->schema()->field(at)->name(), columns_[c].name);
      const auto expected = Expected(columns_[c], rows);
      EXPECT_TRUE(read->column(at)->chunk(0)->Equals(expected))
          << columns_[c].name << "\nread " << read->column(at)->ToString() << "\nexpected "
          << expected->ToString();
    }
    // One filter and one point read each time.
    if (columns_.empty()) return;
    const ModelColumn& column = AnyColumn();
    const auto bound = static_cast<int64_t>(random_.Uniform(100));
    const bool text = arrow::is_base_binary_like(column.type()->id());
    options.columns = std::vector<std::string>{"id"};
    options.filter =
        random_.OneIn(3) ? IsNull(column.name) : Le(column.name, ScalarOf(column.type(), bound));
    Lines passing;
    for (const auto& [id, row] : rows) {
      const auto value = row.find(column.identity);
      const bool null = value == row.end();
      const bool passes =
          options.filter->kind() == Expr::Kind::kIsNull
              ? null
              : !null && (text ? std::to_string(value->second) <= std::to_string(bound)
                               : value->second <= bound);
      if (passes) passing.push_back(std::to_string(id));
    }
    EXPECT_EQ(Text(*Must(scan())), passing) << options.filter->ToString();
    const auto& [id, row] =
        *std::next(rows.begin(), static_cast<std::ptrdiff_t>(random_.Uniform(rows.size())));
    const auto point = Must(transaction_ != nullptr ? transaction_->Get("t", IdKey(id), moment)
                                                    : db_->Get("t", IdKey(id), moment));
    ASSERT_EQ(point->num_rows(), 1);
    for (size_t c = 0; c < columns_.size(); ++c) {
      EXPECT_TRUE(
          point->column(static_cast<int>(c) + 1)->Equals(Expected(columns_[c], {{id, row}})));
    }
  }

  void Compare() {
    log_ += "compare\n";
    CompareMoment(SystemPeriod::Latest(), rows_);
    for (int i = 0; i < 3 && !history_.empty(); ++i) {
      const auto& [commit, rows] = history_[random_.Uniform(history_.size())];
      SCOPED_TRACE(fmt::format("as of commit {}", commit.value));
      CompareMoment(SystemPeriod::AsOf(commit), rows);
    }
    // What was held still has the shape and the rows it had.
    for (const auto& [snapshot, rows] : held_) {
      const auto read = Must(Must(db_->Scan(snapshot, "t"))->ToTable());
      EXPECT_TRUE(Must(read->CombineChunks())->Equals(*Must(rows->CombineChunks())))
          << read->ToString() << rows->ToString();
    }
  }

  base::Random random_;
  std::shared_ptr<ObjectStore> store_ = MakeMemoryStore();
  std::unique_ptr<Database> db_;
  std::unique_ptr<Transaction> transaction_;  ///< The one that the steps happen in, or null.
  std::vector<std::pair<uint64_t, int64_t>> pending_initials_;  ///< Of columns it added.
  std::vector<ModelColumn> columns_;
  uint64_t identities_ = 1;
  Rows rows_;
  std::vector<std::pair<CommitId, Rows>> history_;
  std::vector<std::pair<SnapshotPtr, std::shared_ptr<arrow::Table>>> held_;
  std::string log_;
};

TEST(RandomEvolutionTest, EveryMomentReadsAsThePresentDefinition) {
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    RandomEvolution evolution(seed);
    try {
      evolution.Run();
    } catch (const std::exception& error) {
      ADD_FAILURE() << error.what();
    }
    if (::testing::Test::HasFailure()) {
      ADD_FAILURE() << "after:\n" << evolution.log();
      return;
    }
  }
}

}  // namespace
}  // namespace lamina::behaviour
