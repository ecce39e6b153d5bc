// Which moments of both times a table is read at, as SQL says it: by DuckDB's AT clause.
//
// `t AT (VERSION => lamina_moment(system, a, b, valid, c, d))` is what every temporal clause
// becomes (time_clauses.h): `system` and `valid` are forms ('as of', 'from', 'between', 'all', and
// for what is written 'portion'), NULL where the clause says nothing of that time. AT (VERSION =>
// n) and AT (TIMESTAMP => t) are DuckDB's own and say the system time alone.
#pragma once

#include <array>
#include <optional>
#include <string>

#include "lamina/time.h"
#include "sql/duckdb_api.h"

namespace lamina::sql {

class LaminaTransaction;

inline constexpr char kMomentFunction[] = "lamina_moment";
/// Settings of a session; empty: the newest commit, and now.
inline constexpr char kSystemTimeSetting[] = "system_time";
inline constexpr char kValidTimeSetting[] = "valid_time";

struct Moment {
  /// Not said: as the session reads by default.
  std::optional<SystemPeriod> system;
  std::optional<ValidPeriod> valid;
  /// What is read is changed for `valid`, a range, alone.
  bool portion = false;

  /// Of what the AT clause of a lookup gave; null gives one that says nothing. `transaction`:
  /// knows commits' times. Throws T4010, and T5013 for a time before the first commit.
  static Moment Of(duckdb::ClientContext& context, LaminaTransaction& transaction,
                   duckdb::optional_ptr<duckdb::BoundAtClause> at);
  /// What SET system_time and SET valid_time say. Throws as Of.
  static Moment OfSession(duckdb::ClientContext& context, LaminaTransaction& transaction);
  /// `this`, and `other` where it says nothing.
  Moment Or(const Moment& other) const;

  /// The newest commit, and now: what indexes and statistics are made for.
  bool newest() const { return !system.has_value() && !valid.has_value(); }
  /// Empty where nothing is said.
  std::string SystemText() const;
  std::string ValidText() const;

  friend bool operator==(const Moment& x, const Moment& y) {
    return x.SystemText() == y.SystemText() && x.ValidText() == y.ValidText() &&
           x.portion == y.portion;
  }
};

/// T5007 where the session reads the past, and thus may not write. Throws.
void CheckReadsNewest(duckdb::ClientContext& context);

/// A call of lamina_moment that is being put together.
class MomentCall {
 public:
  using Operand = duckdb::unique_ptr<duckdb::ParsedExpression>;

  MomentCall() = default;
  /// Of an AT clause, also DuckDB's own; null gives one that says nothing.
  explicit MomentCall(duckdb::AtClause* clause);
  /// Of what such a clause gave.
  explicit MomentCall(const duckdb::BoundAtClause& at);

  bool says_system() const { return parts_[0] != nullptr; }
  bool says_valid() const { return parts_[3] != nullptr; }
  void SaySystem(const char* form, Operand a, Operand b);
  void SayValid(const char* form, Operand c, Operand d);
  /// Where this says nothing, what `other` says.
  void Add(const MomentCall& other);

  duckdb::unique_ptr<duckdb::AtClause> ToClause() const;

 private:
  std::array<Operand, 6> parts_;
};

/// The query of a view that is read at another moment than it says: what `at` says wins over what
/// the query's tables say.
void ReadViewAt(duckdb::QueryNode& query, const duckdb::BoundAtClause& at);

}  // namespace lamina::sql
