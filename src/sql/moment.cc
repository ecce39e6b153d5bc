#include "sql/moment.h"

#include <limits>
#include <utility>

#include <duckdb/parser/expression/constant_expression.hpp>
#include <duckdb/parser/expression/function_expression.hpp>
#include <duckdb/parser/tableref/basetableref.hpp>
#include <duckdb/planner/tableref/bound_at_clause.hpp>
#include <fmt/format.h>

#include "sql/error_translation.h"
#include "sql/moment_value.h"
#include "sql/statement_walk.h"
#include "sql/transaction.h"

namespace lamina::sql {
namespace {

using duckdb::LogicalTypeId;
using duckdb::Value;

constexpr char kHint[] =
    "such as 42 (a commit's number), TIMESTAMP '2024-05-01 12:00', or now() - INTERVAL 1 DAY";

SystemTime OfMicros(std::optional<int64_t> micros, SystemTime open) {
  return micros.has_value() ? SystemTime{*micros} : open;
}

/// The time of an end of a range.
SystemTime Resolve(LaminaTransaction& transaction, const SystemOperand& end, SystemTime open,
                   bool excluded) {
  if (!end.commit.has_value()) return OfMicros(end.micros, open);
  const LaminaTransaction::Lock lock(transaction);
  db::Session& data = transaction.data();
  // What a range excludes may be the commit that comes next.
  if (excluded && end.commit->value == data.snapshot()->commit().value + 1)
    return SystemTime::Max();
  return ValueOrThrow(data.TimeOf(*end.commit));
}

void CheckAfterFirst(LaminaTransaction& transaction, SystemTime time) {
  const LaminaTransaction::Lock lock(transaction);
  db::Session& data = transaction.data();
  if (data.snapshot()->commit().value == 0) return;
  const auto first = data.TimeOf({1});
  if (!first.ok() || time >= *first) return;
  Throw(MakeSqlError("T5013",
                     fmt::format("the database knew nothing then: asked={} first_commit={}",
                                 Format(time), Format(*first)),
                     "AS OF is about when the database learned something; VALID AT is about when "
                     "it is true"));
}

SystemPeriod ToSystem(LaminaTransaction& transaction, const std::string& form,
                      const SystemOperand& a, const SystemOperand& b) {
  if (form == "all") return SystemPeriod::All();
  if (form == "as of") {
    if (a.commit.has_value()) return SystemPeriod::AsOf(*a.commit);
    if (!a.micros.has_value())
      Throw(MakeSqlError("T4010", "AS OF needs a moment, and this one is NULL", kHint));
    CheckAfterFirst(transaction, {*a.micros});
    return SystemPeriod::AsOf(SystemTime{*a.micros});
  }
  const bool from_to = form == "from";
  const SystemTime from = Resolve(transaction, a, SystemTime::Min(), false);
  const SystemTime to = Resolve(transaction, b, SystemTime::Max(), from_to);
  return from_to ? SystemPeriod::FromTo(from, to) : SystemPeriod::Between(from, to);
}

ValidPeriod ToValid(const std::string& form, std::optional<int64_t> c, std::optional<int64_t> d) {
  if (form == "all") return ValidPeriod::All();
  if (form == "as of") {
    if (!c.has_value())
      Throw(MakeSqlError("T4010", "VALID AT needs a moment, and this one is NULL"));
    return ValidPeriod::At({*c});
  }
  const ValidTime from = c.has_value() ? ValidTime{*c} : ValidTime::Min();
  const ValidTime to = d.has_value() ? ValidTime{*d} : ValidTime::Max();
  if (form == "portion" && to < from) {
    Throw(MakeSqlError("T4010",
                       fmt::format("the portion ends before it begins: from={} to={}",
                                   FormatTimestamp(from.micros), FormatTimestamp(to.micros))));
  }
  return form == "between" ? ValidPeriod::Between(from, to) : ValidPeriod::FromTo(from, to);
}

Moment ToMoment(LaminaTransaction& transaction, const MomentValue& value) {
  Moment out;
  if (value.system.has_value()) out.system = ToSystem(transaction, *value.system, value.a, value.b);
  if (value.valid.has_value()) {
    out.valid = ToValid(*value.valid, value.c, value.d);
    out.portion = *value.valid == "portion";
  }
  return out;
}

std::string Setting(duckdb::ClientContext& context, const char* name) {
  Value value;
  if (!context.TryGetCurrentSetting(name, value) || value.IsNull()) return {};
  return value.ToString();
}

duckdb::unique_ptr<duckdb::ParsedExpression> Constant(Value value) {
  return duckdb::make_uniq<duckdb::ConstantExpression>(std::move(value));
}

std::string Range(const std::string& from, const std::string& to) {
  return fmt::format("from {} to {}", from, to);
}

}  // namespace

Moment Moment::Of(duckdb::ClientContext& context, LaminaTransaction& transaction,
                  duckdb::optional_ptr<duckdb::BoundAtClause> at) {
  if (at == nullptr) return {};
  return ToMoment(transaction, MomentValue::Of(context, at->Unit(), at->GetValue()));
}

Moment Moment::OfSession(duckdb::ClientContext& context, LaminaTransaction& transaction) {
  const std::string system = Setting(context, kSystemTimeSetting);
  const std::string valid = Setting(context, kValidTimeSetting);
  if (system.empty() && valid.empty()) return {};
  return ToMoment(transaction, MomentValue::OfSettings(context, system, valid));
}

Moment Moment::Or(const Moment& other) const {
  Moment out = *this;
  if (!out.system.has_value()) out.system = other.system;
  if (!out.valid.has_value()) out.valid = other.valid;
  return out;
}

std::string Moment::SystemText() const {
  if (!system.has_value()) return {};
  switch (system->kind()) {
    case SystemPeriod::Kind::kLatest:
      return "newest";
    case SystemPeriod::Kind::kAsOfCommit:
      return fmt::format("as of commit {}", system->commit().value);
    case SystemPeriod::Kind::kAsOfTime:
      return "as of " + Format(system->from());
    case SystemPeriod::Kind::kRange:
      return Range(Format(system->from()), Format(system->to()));
    case SystemPeriod::Kind::kAll:
      return "all";
  }
  return {};
}

std::string Moment::ValidText() const {
  if (!valid.has_value()) return {};
  switch (valid->kind()) {
    case ValidPeriod::Kind::kNow:
      return "now";
    case ValidPeriod::Kind::kAt:
      return "at " + Format(valid->from());
    case ValidPeriod::Kind::kRange:
      return Range(Format(valid->from()), Format(valid->to()));
    case ValidPeriod::Kind::kAll:
      return "all";
  }
  return {};
}

void CheckReadsNewest(duckdb::ClientContext& context) {
  const std::string system = Setting(context, kSystemTimeSetting);
  if (system.empty()) return;
  Throw(MakeSqlError("T5007",
                     "this session reads the past, which cannot be written: system_time=" + system,
                     "RESET system_time first"));
}

MomentCall::MomentCall(duckdb::AtClause* clause) {
  if (clause == nullptr) return;
  auto& expression = *clause->ExpressionMutable();
  if (expression.GetExpressionClass() == duckdb::ExpressionClass::FUNCTION) {
    auto& call = expression.Cast<duckdb::FunctionExpression>();
    if (call.function_name == kMomentFunction && call.children.size() == parts_.size()) {
      const auto says = [&](size_t form) {
        const auto& child = *call.children[form];
        return child.GetExpressionClass() != duckdb::ExpressionClass::CONSTANT ||
               !child.Cast<duckdb::ConstantExpression>().value.IsNull();
      };
      for (const size_t form : {0, 3}) {
        for (size_t i = form; says(form) && i < form + 3; ++i) parts_[i] = call.children[i]->Copy();
      }
      return;
    }
  }
  SaySystem("as of", expression.Copy(), nullptr);
}

MomentCall::MomentCall(const duckdb::BoundAtClause& at) {
  const Value& value = at.GetValue();
  if (value.type().id() != LogicalTypeId::STRUCT) {
    SaySystem("as of", Constant(value), nullptr);
    return;
  }
  const MomentValue said = MomentValue::OfStruct(value);
  const auto micros = [](std::optional<int64_t> of) -> Operand {
    if (!of.has_value()) return nullptr;
    return Constant(Value::TIMESTAMPTZ(duckdb::timestamp_tz_t(
        *of == std::numeric_limits<int64_t>::min() ? -std::numeric_limits<int64_t>::max() : *of)));
  };
  const auto operand = [&](const SystemOperand& of) -> Operand {
    if (of.commit.has_value()) return Constant(Value::UBIGINT(of.commit->value));
    return micros(of.micros);
  };
  if (said.system.has_value()) SaySystem(said.system->c_str(), operand(said.a), operand(said.b));
  if (said.valid.has_value()) SayValid(said.valid->c_str(), micros(said.c), micros(said.d));
}

void MomentCall::SaySystem(const char* form, Operand a, Operand b) {
  parts_[0] = Constant(Value(form));
  parts_[1] = std::move(a);
  parts_[2] = std::move(b);
}

void MomentCall::SayValid(const char* form, Operand c, Operand d) {
  parts_[3] = Constant(Value(form));
  parts_[4] = std::move(c);
  parts_[5] = std::move(d);
}

void MomentCall::Add(const MomentCall& other) {
  for (const size_t form : {0, 3}) {
    if (parts_[form] != nullptr || other.parts_[form] == nullptr) continue;
    for (size_t i = form; i < form + 3; ++i)
      parts_[i] = other.parts_[i] == nullptr ? nullptr : other.parts_[i]->Copy();
  }
}

duckdb::unique_ptr<duckdb::AtClause> MomentCall::ToClause() const {
  duckdb::vector<Operand> children;
  for (const Operand& part : parts_)
    children.push_back(part == nullptr ? Constant(Value()) : part->Copy());
  return duckdb::make_uniq<duckdb::AtClause>(
      "VERSION",
      duckdb::make_uniq<duckdb::FunctionExpression>(kMomentFunction, std::move(children)));
}

void ReadViewAt(duckdb::QueryNode& query, const duckdb::BoundAtClause& at) {
  const StatementVisitor visitor{.on_table = [&](duckdb::BaseTableRef& ref) {
    // What says nothing itself is asked for at `at` anyway.
    if (ref.at_clause == nullptr) return;
    MomentCall call(at);
    call.Add(MomentCall(ref.at_clause.get()));
    ref.at_clause = call.ToClause();
  }};
  visitor.Visit(query);
}

}  // namespace lamina::sql
