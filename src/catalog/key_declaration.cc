// How a primary key is declared: by the call, by marks on fields, or by a list in the schema's
// metadata.
#include <algorithm>
#include <set>

#include <arrow/util/key_value_metadata.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "catalog/schema.h"
#include "catalog/schema_internal.h"

namespace lamina::catalog {
namespace {

Status Invalid(std::string message, std::string hint = {}) {
  return MakeError(ErrorCode::kInvalidArgument, std::move(message), std::move(hint));
}

const std::string* FindMetadata(const arrow::KeyValueMetadata* metadata,
                                std::initializer_list<const char*> keys) {
  if (metadata == nullptr) return nullptr;
  for (const char* key : keys) {
    const int at = metadata->FindKey(key);
    if (at >= 0) return &metadata->value(at);
  }
  return nullptr;
}

bool OneOf(const std::string& text, std::initializer_list<const char*> words) {
  return std::any_of(words.begin(), words.end(), [&](const char* word) { return text == word; });
}

// "a" -> {a}; ["a", "b"] -> {a, b}.
Result<std::vector<std::string>> ParseKeyList(const std::string& text) {
  const auto bad = [&] {
    return Invalid(fmt::format("the schema's key metadata cannot be read: value={}", text),
                   R"(write a column name or a list like ["a","b"])");
  };
  if (text.empty()) return bad();
  if (text.front() != '[') return std::vector<std::string>{text};
  std::vector<std::string> names;
  size_t at = 1;
  auto skip_space = [&] {
    while (at < text.size() &&
           (text[at] == ' ' || text[at] == '\t' || text[at] == '\n' || text[at] == '\r'))
      ++at;
  };
  for (;;) {
    skip_space();
    if (at >= text.size() || text[at] != '"') return bad();
    ++at;
    std::string name;
    while (at < text.size() && text[at] != '"') {
      if (text[at] == '\\') {
        ++at;
        if (at >= text.size() || (text[at] != '"' && text[at] != '\\' && text[at] != '/')) {
          return bad();
        }
      }
      name += text[at++];
    }
    if (at >= text.size()) return bad();
    ++at;
    names.push_back(std::move(name));
    skip_space();
    if (at >= text.size()) return bad();
    if (text[at] == ',') {
      ++at;
      continue;
    }
    if (text[at] != ']') return bad();
    ++at;
    skip_space();
    if (at != text.size()) return bad();
    return names;
  }
}

Result<std::vector<int>> PositionsOf(const std::vector<std::string>& names,
                                     const arrow::Schema& schema) {
  std::vector<int> positions;
  for (const std::string& name : names) {
    const int at = schema.GetFieldIndex(name);
    if (at < 0) {
      return Invalid(fmt::format("the key names an unknown column: column={}", name),
                     internal::SuggestNames(name, schema.field_names()));
    }
    positions.push_back(at);
  }
  return positions;
}

Result<std::vector<int>> PositionsFromFieldMarks(const arrow::Schema& schema) {
  std::vector<int> plain;                    // marked "true"
  std::vector<std::pair<int, int>> ordered;  // (ordinal, position)
  for (int i = 0; i < schema.num_fields(); ++i) {
    const auto& field = schema.field(i);
    const std::string* mark = FindMetadata(field->metadata().get(), {"lamina.key", "tonbo.key"});
    if (mark == nullptr || OneOf(*mark, {"false", "False", "FALSE", "no", "No", "NO", ""}))
      continue;
    if (OneOf(*mark, {"true", "True", "TRUE", "yes", "Yes", "YES"})) {
      plain.push_back(i);
    } else if (mark->size() <= 4 && std::all_of(mark->begin(), mark->end(),
                                                [](char c) { return c >= '0' && c <= '9'; })) {
      ordered.emplace_back(std::stoi(*mark), i);
    } else {
      return Invalid(fmt::format("a field's key mark cannot be read: column={} value={}",
                                 field->name(), *mark),
                     R"(use "true" for one key column, "0", "1", … for several)");
    }
  }
  if (!plain.empty() && plain.size() + ordered.size() > 1) {
    std::string names;
    for (int i : plain) names += (names.empty() ? "" : ",") + schema.field(i)->name();
    return Invalid("several columns are marked as key without an order: columns=" + names,
                   R"(mark them "0", "1", … in key order)");
  }
  if (!plain.empty()) return plain;
  std::sort(ordered.begin(), ordered.end());
  std::vector<int> positions;
  for (size_t i = 0; i < ordered.size(); ++i) {
    if (i > 0 && ordered[i].first == ordered[i - 1].first) {
      return Invalid(fmt::format("two key columns have the same ordinal: ordinal={} columns={},{}",
                                 ordered[i].first, schema.field(ordered[i - 1].second)->name(),
                                 schema.field(ordered[i].second)->name()),
                     "give every key column its own ordinal");
    }
    if (ordered[i].first != static_cast<int>(i)) {
      return Invalid(fmt::format("the key ordinals have a gap: expected={} found={} column={}", i,
                                 ordered[i].first, schema.field(ordered[i].second)->name()),
                     "number the key columns 0, 1, … without a gap");
    }
    positions.push_back(ordered[i].second);
  }
  return positions;
}

}  // namespace

namespace internal {

// Positions of the key columns in key order; empty for an append table.
Result<std::vector<int>> ResolveKey(const arrow::Schema& schema, const KeyDeclaration& key) {
  const int ways =
      (key.names.empty() ? 0 : 1) + (key.positions.empty() ? 0 : 1) + (key.no_key ? 1 : 0);
  if (ways > 1) {
    return Invalid("the key is declared in more than one way",
                   "give names, or positions, or no_key");
  }
  if (key.no_key) return std::vector<int>();
  std::vector<int> positions;
  if (!key.names.empty()) {
    ARROW_ASSIGN_OR_RAISE(positions, PositionsOf(key.names, schema));
  } else if (!key.positions.empty()) {
    for (int at : key.positions) {
      if (at < 0 || at >= schema.num_fields()) {
        return Invalid(fmt::format("a key position lies outside the schema: position={} columns={}",
                                   at, schema.num_fields()),
                       "positions count the schema's fields from 0");
      }
    }
    positions = key.positions;
  } else {
    ARROW_ASSIGN_OR_RAISE(positions, PositionsFromFieldMarks(schema));
    if (positions.empty()) {
      const std::string* list =
          FindMetadata(schema.metadata().get(), {"lamina.keys", "tonbo.keys"});
      if (list == nullptr) {
        return Invalid(
            "no primary key is declared: neither by the call, nor by the field metadata lamina.key "
            "(tonbo.key), nor "
            "by the schema metadata lamina.keys (tonbo.keys)",
            "declare one, or set no_key for an append table");
      }
      ARROW_ASSIGN_OR_RAISE(auto names, ParseKeyList(*list));
      ARROW_ASSIGN_OR_RAISE(positions, PositionsOf(names, schema));
    }
  }
  std::set<int> seen;
  for (int at : positions) {
    if (!seen.insert(at).second) {
      return Invalid(
          fmt::format("a column is named twice in the key: column={}", schema.field(at)->name()),
          "name every key column once");
    }
    if (!IsKeyType(*schema.field(at)->type())) {
      return Invalid(
          fmt::format("a key column has a type without an order: column={} type={}",
                      schema.field(at)->name(), schema.field(at)->type()->ToString()),
          "a key may consist of numbers, dates and times, decimals, booleans, text and binary");
    }
  }
  return positions;
}

std::string SuggestNames(const std::string& name, const std::vector<std::string>& known) {
  auto lower = [](std::string text) {
    for (char& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    return text;
  };
  // Edit distance, letters' case aside; inserting, deleting and replacing cost 1 each.
  auto distance = [](const std::string& a, const std::string& b) {
    std::vector<size_t> row(b.size() + 1);
    for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
    for (size_t i = 1; i <= a.size(); ++i) {
      size_t diagonal = row[0];
      row[0] = i;
      for (size_t j = 1; j <= b.size(); ++j) {
        const size_t above = row[j];
        row[j] = std::min({row[j] + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
        diagonal = above;
      }
    }
    return row[b.size()];
  };
  const std::string wanted = lower(name.substr(0, 64));
  std::vector<std::pair<size_t, std::string>> near;
  for (const std::string& candidate : known) {
    const size_t d = distance(wanted, lower(candidate.substr(0, 64)));
    if (d <= std::max<size_t>(1, wanted.size() / 3)) near.emplace_back(d, candidate);
  }
  std::stable_sort(near.begin(), near.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<std::string> names;
  for (const auto& [d, candidate] : near) {
    if (names.size() < 3) names.push_back(candidate);
  }
  if (!names.empty()) return fmt::format("did you mean {}?", fmt::join(names, " or "));
  names.assign(known.begin(),
               known.begin() + static_cast<std::ptrdiff_t>(std::min<size_t>(known.size(), 12)));
  return fmt::format("the columns are {}{}", fmt::join(names, ", "),
                     known.size() > 12 ? ", …" : "");
}

}  // namespace internal

}  // namespace lamina::catalog
