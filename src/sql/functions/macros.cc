// Functions that can be said in SQL.
#include <duckdb/catalog/default/default_functions.hpp>
#include <duckdb/function/scalar_macro_function.hpp>
#include <duckdb/parser/parsed_expression_iterator.hpp>

#include "sql/functions/functions.h"

namespace lamina::sql {
namespace {

// Of a vector: a list, an array, or text such as '[1, 2]'.
#define LAMINA_VECTOR(v) "CAST(" v " AS DOUBLE[])"
// DuckDB says -1 of a vector without length, which has no direction.
#define LAMINA_HAS_LENGTH(v) "list_inner_product(" LAMINA_VECTOR(v) ", " LAMINA_VECTOR(v) ") <> 0"
#define LAMINA_COSINE(function)                                  \
  "CASE WHEN " LAMINA_HAS_LENGTH("a") " AND " LAMINA_HAS_LENGTH( \
      "b") " THEN " function "(" LAMINA_VECTOR("a") ", " LAMINA_VECTOR("b") ") END"

// Those of one name stand together: they are overloads.
constexpr duckdb::DefaultMacro kMacros[] = {
    // Words are letters and digits, as in PostgreSQL.
    {"main",
     "initcap",
     {"s", nullptr},
     {{nullptr, nullptr}},
     "coalesce(list_aggregate(list_transform(regexp_extract_all(lower(CAST(s AS VARCHAR)), "
     R"('[\p{L}\p{N}\p{M}]+|[^\p{L}\p{N}\p{M}]+'), lambda w: upper(w[1]) || w[2:]), )"
     "'string_agg', ''), CASE WHEN s IS NOT NULL THEN '' END)"},
    {"main",
     "iif",
     {"c", "a", "b", nullptr},
     {{nullptr, nullptr}},
     "CASE WHEN c THEN a ELSE b END"},
    {"main", "iif", {"c", "a", nullptr}, {{nullptr, nullptr}}, "CASE WHEN c THEN a END"},
    {"main", "current_timestamp", {nullptr}, {{nullptr, nullptr}}, "now()"},
    {"main", "make_interval", {"seconds", nullptr}, {{nullptr, nullptr}}, "to_seconds(seconds)"},
    {"main",
     "vector_norm",
     {"v", nullptr},
     {{nullptr, nullptr}},
     "sqrt(list_inner_product(" LAMINA_VECTOR("v") ", " LAMINA_VECTOR("v") "))"},
    {"main", "vector_dims", {"v", nullptr}, {{nullptr, nullptr}}, "len(" LAMINA_VECTOR("v") ")"},
    {"main",
     "cosine_similarity",
     {"a", "b", nullptr},
     {{nullptr, nullptr}},
     LAMINA_COSINE("list_cosine_similarity")},
    {"main",
     "vector_distance",
     {"a", "b", nullptr},
     {{nullptr, nullptr}},
     LAMINA_COSINE("list_cosine_distance")},
    {"main",
     "vector_distance",
     {"a", "b", "metric", nullptr},
     {{nullptr, nullptr}},
     "CASE WHEN metric IS NULL THEN NULL "
     "WHEN lower(metric) = 'cosine' THEN " LAMINA_COSINE(
         "list_cosine_distance") " "
                                 "WHEN lower(metric) IN ('euclidean', 'l2') THEN "
                                 "list_distance(" LAMINA_VECTOR("a") ", " LAMINA_VECTOR(
                                     "b") ") "
                                          // Less is nearer, as for the others.
                                          "WHEN lower(metric) IN ('dot_product', 'dot') THEN "
                                          "list_negative_inner_product(" LAMINA_VECTOR(
                                              "a") ", " LAMINA_VECTOR("b") ") "
                                                                           "ELSE error('the metric "
                                                                           "is not one of cosine, "
                                                                           "euclidean, l2, "
                                                                           "dot_product, dot: ' || "
                                                                           "metric) "
                                                                           "END"},
    // Periods: half-open; NULL is an open end.
    {"main",
     "lamina_row_period",
     {"a", "b", nullptr},
     {{nullptr, nullptr}},
     "struct_pack(\"from\" := a, \"to\" := b)"},
    {"main",
     "lamina_checked_period",
     {"a", "b", nullptr},
     {{nullptr, nullptr}},
     "CASE WHEN a < b THEN struct_pack(\"from\" := a, \"to\" := b) ELSE error('a period ends after "
     "it "
     "begins: from=' || a::VARCHAR || ' to=' || b::VARCHAR) END"},
    {"main",
     "period",
     {"a", "b", nullptr},
     {{nullptr, nullptr}},
     "lamina_checked_period(coalesce(lamina_valid_moment(a), CAST('-infinity' AS TIMESTAMPTZ)), "
     "coalesce(lamina_valid_moment(b), CAST('infinity' AS TIMESTAMPTZ)))"},
    {"main",
     "period_overlaps",
     {"p", "q", nullptr},
     {{nullptr, nullptr}},
     "p.\"from\" < q.\"to\" AND q.\"from\" < p.\"to\""},
    {"main",
     "period_contains",
     {"p", "q", nullptr},
     {{nullptr, nullptr}},
     "p.\"from\" <= q.\"from\" AND q.\"to\" <= p.\"to\""},
    {"main",
     "period_contains_moment",
     {"p", "m", nullptr},
     {{nullptr, nullptr}},
     "p.\"from\" <= lamina_valid_moment(m) AND lamina_valid_moment(m) < p.\"to\""},
    {"main",
     "period_equals",
     {"p", "q", nullptr},
     {{nullptr, nullptr}},
     "p.\"from\" = q.\"from\" AND p.\"to\" = q.\"to\""},
    {"main",
     "period_precedes",
     {"p", "q", nullptr},
     {{nullptr, nullptr}},
     "p.\"to\" <= q.\"from\""},
    {"main",
     "period_succeeds",
     {"p", "q", nullptr},
     {{nullptr, nullptr}},
     "p.\"from\" >= q.\"to\""},
    {"main",
     "period_immediately_precedes",
     {"p", "q", nullptr},
     {{nullptr, nullptr}},
     "p.\"to\" = q.\"from\""},
    {"main",
     "period_immediately_succeeds",
     {"p", "q", nullptr},
     {{nullptr, nullptr}},
     "p.\"from\" = q.\"to\""},
    {"main",
     "overlaps",
     {"a", "b", "c", "d", nullptr},
     {{nullptr, nullptr}},
     "CASE WHEN least(a, b) = least(c, d) THEN true WHEN least(a, b) > least(c, d) THEN least(a, "
     "b) < greatest(c, d) ELSE least(c, d) < greatest(a, b) END"},
    {"main",
     "hybrid_score",
     {"vector_distance", "text_score", "vector_weight", "text_weight", nullptr},
     {{nullptr, nullptr}},
     "vector_weight / (1.0 + vector_distance) + text_weight * text_score"},
};

// Places in the macro's text would be shown as places in the user's.
void ForgetPlaces(duckdb::ParsedExpression& expression) {
  expression.SetQueryLocation(duckdb::optional_idx());
  duckdb::ParsedExpressionIterator::EnumerateChildren(
      expression, [](duckdb::ParsedExpression& child) { ForgetPlaces(child); });
}

}  // namespace

void RegisterMacros(duckdb::ExtensionLoader& loader) {
  const size_t all = std::size(kMacros);
  for (size_t i = 0; i < all;) {
    size_t end = i + 1;
    while (end < all && std::string_view(kMacros[end].name) == kMacros[i].name) ++end;
    auto info = duckdb::DefaultFunctionGenerator::CreateInternalMacroInfo(
        duckdb::array_ptr<const duckdb::DefaultMacro>(kMacros + i, end - i));
    for (auto& macro : info->macros)
      ForgetPlaces(*macro->Cast<duckdb::ScalarMacroFunction>().expression);
    info->on_conflict = duckdb::OnCreateConflict::ERROR_ON_CONFLICT;
    loader.RegisterFunction(*info);
    i = end;
  }
}

}  // namespace lamina::sql
