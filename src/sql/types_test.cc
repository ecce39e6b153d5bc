// Every type that a table holds, with the ends of its range: its values come back the same from
// memory and from files, and compare as DuckDB's own values do.
#include <filesystem>

#include <gtest/gtest.h>

#include "lamina/connection.h"

namespace lamina {
namespace {

struct TypeCase {
  const char* type;
  std::vector<std::string> values;  ///< Expressions; NULL comes on top.
};
const TypeCase kCases[] = {
    {R"(BOOLEAN)", {R"(false)", R"(true)"}},
    {R"(TINYINT)", {R"('-128')", R"('127')"}},
    {R"(SMALLINT)", {R"('-32768')", R"('32767')"}},
    {R"(INTEGER)", {R"('-2147483648')", R"('2147483647')"}},
    {R"(BIGINT)", {R"('-9223372036854775808')", R"('9223372036854775807')"}},
    {R"(HUGEINT)",
     {R"('-170141183460469231731687303715884105728')",
      R"('170141183460469231731687303715884105727')"}},
    {R"(UTINYINT)", {R"('0')", R"('255')"}},
    {R"(USMALLINT)", {R"('0')", R"('65535')"}},
    {R"(UINTEGER)", {R"('0')", R"('4294967295')"}},
    {R"(UBIGINT)", {R"('0')", R"('18446744073709551615')"}},
    {R"(UHUGEINT)", {R"('0')", R"('340282366920938463463374607431768211455')"}},
    {R"(REAL)",
     {R"('-inf')", R"('-3.4028235e38')", R"('1e-45')", R"('3.4028235e38')", R"('inf')",
      R"('nan')"}},
    {R"(DOUBLE)",
     {R"('-inf')", R"('-1.7976931348623157e308')", R"('5e-324')", R"('1.7976931348623157e308')",
      R"('inf')", R"('nan')"}},
    {R"(DECIMAL(1,0))", {R"('-9')", R"('9')"}},
    {R"(DECIMAL(4,4))", {R"('-0.9999')", R"('0.9999')"}},
    {R"(DECIMAL(9,2))", {R"('-9999999.99')", R"('9999999.99')"}},
    {R"(DECIMAL(18,9))", {R"('-999999999.999999999')", R"('999999999.999999999')"}},
    {R"(DECIMAL(38,0))",
     {R"('-99999999999999999999999999999999999999')",
      R"('99999999999999999999999999999999999999')"}},
    {R"(DECIMAL(38,38))",
     {R"('-0.99999999999999999999999999999999999999')",
      R"('0.99999999999999999999999999999999999999')"}},
    {R"(VARCHAR)", {R"('')", R"('A')", R"('a')", R"('ä🎉')"}},
    {R"(BLOB)", {R"(''::BLOB)", R"('\x00\x00'::BLOB)", R"('\xFF'::BLOB)"}},
    {R"(BIT)", {R"('0'::BIT)", R"('1'::BIT)"}},
    {R"(UUID)",
     {R"('00000000-0000-0000-0000-000000000000')", R"('7fffffff-ffff-ffff-ffff-ffffffffffff')",
      R"('ffffffff-ffff-ffff-ffff-ffffffffffff')"}},
    {R"(DATE)",
     {R"('-infinity')", R"('5877642-06-25 (BC)')", R"('1970-01-01')", R"('5881580-07-10')",
      R"('infinity')"}},
    {R"(TIME)", {R"('00:00:00')", R"('23:59:59.999999')"}},
    {R"(TIME_NS)", {R"('00:00:00')", R"('23:59:59.999999999')"}},
    {R"(TIMETZ)", {R"('00:00:00+15:59:59')", R"('12:00:00+00')", R"('23:59:59.999999-15:59:59')"}},
    {R"(TIMESTAMP)",
     {R"('-infinity')", R"('290309-12-22 (BC) 00:00:00')", R"('294247-01-10 04:00:54.775806')",
      R"('infinity')"}},
    {R"(TIMESTAMP_S)",
     {R"('290309-12-22 (BC) 00:00:00')", R"('1969-12-31 23:59:59')", R"('294247-01-10 04:00:54')"}},
    {R"(TIMESTAMP_MS)",
     {R"('290309-12-22 (BC) 00:00:00')", R"('1969-12-31 23:59:59.999')",
      R"('294247-01-10 04:00:54.775')"}},
    {R"(TIMESTAMP_NS)",
     {R"('1677-09-22 00:00:00')", R"('1969-12-31 23:59:59.999999999')",
      R"('2262-04-11 23:47:16.854775806')"}},
    {R"(TIMESTAMPTZ)",
     {R"('-infinity')", R"('290309-12-22 (BC) 00:00:00+00')", R"('9999-12-31 23:59:59.999999+00')",
      R"('infinity')"}},
    {R"(INTERVAL)",
     {R"(INTERVAL (-1) YEAR)", R"(INTERVAL (-1) MICROSECOND)", R"(INTERVAL 0 DAY)",
      R"(INTERVAL 178956970 YEAR)"}},
    {R"(ENUM('z', 'a'))", {R"('z')", R"('a')"}},
    {R"(JSON)", {R"('[]')", R"('{"b": 1, "a": [null]}')"}},
    {R"(INTEGER[])", {R"([])", R"([-1, NULL])", R"([1])"}},
    {R"(VARCHAR[][])", {R"([])", R"([[]])", R"([['a', NULL], []])"}},
    {R"(INTEGER[3])", {R"([-1, 0, 0])", R"([1, NULL, 3])"}},
    {R"(UUID[2])",
     {R"(['00000000-0000-0000-0000-000000000000', NULL])",
      R"(['ffffffff-ffff-ffff-ffff-ffffffffffff', 'ffffffff-ffff-ffff-ffff-ffffffffffff'])"}},
    {R"(STRUCT(x INTEGER, y VARCHAR[]))",
     {R"({'x': 1, 'y': ['a']})", R"({'x': 2, 'y': NULL})", R"({'x': NULL, 'y': []})"}},
    {R"(STRUCT(i INTERVAL, t TIMETZ, h HUGEINT, b BIT))",
     {R"({'i': INTERVAL 1 DAY, 't': '12:00:00+01'::TIMETZ, 'h': -5, 'b': '101'::BIT})"}},
    {R"(MAP(VARCHAR, INTEGER))", {R"(MAP {})", R"(MAP {'a': NULL})", R"(MAP {'b': 1})"}},
    {R"(MAP(INTEGER, STRUCT(a DATE)[]))", {R"(MAP {1: [{'a': DATE '2020-01-01'}, NULL]})"}},
    {R"(UNION(num INTEGER, str VARCHAR))",
     {R"(union_value(num := -5))", R"(union_value(num := 7))", R"(union_value(str := 'x'))"}},
    {R"(UNION(a INTEGER[], b STRUCT(c UUID))[])", {R"([union_value(a := [1, NULL])])"}},
};

class TypesTest : public testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::remove_all(path_);
    Open();
  }
  void TearDown() override {
    connection_ = nullptr;
    sql_ = nullptr;
    std::filesystem::remove_all(path_);
  }
  void Open() {
    connection_ = nullptr;
    sql_ = nullptr;
    sql_ = SqlDatabase::Open(path_.string()).ValueOrDie();
    connection_ = sql_->Connect().ValueOrDie();
  }
  void Do(const std::string& statement) {
    const Status status = connection_->Execute(statement).status();
    EXPECT_TRUE(status.ok()) << statement << ": " << status.ToString();
  }
  std::string Ask(const std::string& query) {
    const auto rows = connection_->Execute(query);
    if (!rows.ok()) return query + ": " + rows.status().ToString();
    std::string out;
    for (;;) {
      const auto more = (*rows)->NextRow();
      if (!more.ok()) return query + ": " + more.status().ToString();
      if (!*more) return out;
      for (size_t i = 0; i < (*rows)->columns().size(); ++i) {
        const int column = static_cast<int>(i);
        out += (*rows)->IsNull(column) ? "NULL" : std::string((*rows)->Text(column));
        out += ';';
      }
    }
  }

  /// The same of the table `t` and of the values themselves.
  void ExpectAsInDuckDB(const TypeCase& of, const std::string& table) {
    std::string values;
    int id = 0;
    for (const std::string& value : of.values)
      values += "(" + std::to_string(id++) + ", (" + value + ")::" + of.type + "), ";
    values += "(" + std::to_string(id) + ", NULL)";
    const std::string own =
        "(SELECT id, v::" + std::string(of.type) + " AS v FROM (VALUES " + values + ") x (id, v))";
    const auto same = [&](const std::string& begin, const std::string& end) {
      EXPECT_EQ(Ask(begin + table + end), Ask(begin + own + end)) << begin << table << end;
    };
    same("SELECT id, v, v::VARCHAR, typeof(v) FROM ", " t ORDER BY id");
    same("SELECT id FROM ", " t ORDER BY v, id");
    same("SELECT count(*) FROM (SELECT v, count(*) FROM ", " t GROUP BY v)");
    for (const std::string& value : of.values) {
      for (const char* sign : {"=", "<>", "<", "<=", ">", ">="}) {
        same("SELECT id FROM ",
             " t WHERE v " + std::string(sign) + " (" + value + ")::" + of.type + " ORDER BY id");
      }
    }
  }

  const std::filesystem::path path_ =
      std::filesystem::temp_directory_path() / "lamina_sql_types_test";
  std::shared_ptr<SqlDatabase> sql_;
  std::unique_ptr<Connection> connection_;
};

TEST_F(TypesTest, ValuesOfEveryTypeComeBackAndCompareAsDuckDBs) {
  int number = 0;
  for (const TypeCase& of : kCases) {
    const std::string table = "t" + std::to_string(number++);
    Do("CREATE TABLE " + table + " (id INTEGER PRIMARY KEY, v " + of.type + ")");
    std::string rows;
    int id = 0;
    for (const std::string& value : of.values)
      rows += "(" + std::to_string(id++) + ", (" + value + ")::" + of.type + "), ";
    Do("INSERT INTO " + table + " VALUES " + rows + "(" + std::to_string(id) + ", NULL)");
    ExpectAsInDuckDB(of, table);
  }
  ASSERT_TRUE(sql_->database().Flush().ok());
  number = 0;
  for (const TypeCase& of : kCases) ExpectAsInDuckDB(of, "t" + std::to_string(number++));
  // Each table gets a second file, and both become one.
  number = 0;
  for (const TypeCase& of : kCases)
    Do("UPDATE t" + std::to_string(number++) +
       " SET v = v WHERE id = " + std::to_string(of.values.size() - 1));
  ASSERT_TRUE(sql_->database().Flush().ok());
  ASSERT_TRUE(sql_->database().Compact().ok());
  Open();
  number = 0;
  for (const TypeCase& of : kCases) ExpectAsInDuckDB(of, "t" + std::to_string(number++));
}

TEST_F(TypesTest, TypesThatNoFileHoldsAreRefusedByName) {
  for (const char* type : {"VARIANT", "GEOMETRY", "BIGNUM", "VARIANT[]", "STRUCT(a BIGNUM)"}) {
    const Status status =
        connection_->Execute("CREATE TABLE t (v " + std::string(type) + ")").status();
    ASSERT_NE(SqlErrorOf(status), nullptr) << type << ": " << status.ToString();
    EXPECT_EQ(SqlErrorOf(status)->code, "T4009") << type;
  }
}

TEST_F(TypesTest, MinusZeroKeepsItsSignAndEqualsZero) {
  Do("CREATE TABLE t (id DOUBLE PRIMARY KEY, v DOUBLE)");
  Do("INSERT INTO t VALUES ('-0', '-0')");
  EXPECT_EQ(Ask("SELECT id::VARCHAR, v::VARCHAR FROM t WHERE id = 0 AND v = 0"), "-0.0;-0.0;");
  ASSERT_TRUE(sql_->database().Flush().ok());
  Open();
  EXPECT_EQ(Ask("SELECT id::VARCHAR, v::VARCHAR FROM t WHERE id = 0 AND v = 0"), "-0.0;-0.0;");
}

}  // namespace
}  // namespace lamina
