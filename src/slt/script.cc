#include "slt/script.h"

#include <cctype>
#include <charconv>
#include <limits>
#include <utility>

#include <fmt/format.h>

namespace lamina::slt {
namespace {

std::vector<std::string> Words(std::string_view line) {
  std::vector<std::string> out;
  size_t at = 0;
  while (at < line.size()) {
    while (at < line.size() && std::isspace(static_cast<unsigned char>(line[at])) != 0) ++at;
    const size_t begin = at;
    while (at < line.size() && std::isspace(static_cast<unsigned char>(line[at])) == 0) ++at;
    if (at > begin) out.emplace_back(line.substr(begin, at - begin));
  }
  return out;
}

std::vector<std::string> LinesOf(std::string_view text) {
  std::vector<std::string> out;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    out.emplace_back(line);
    text = end == std::string_view::npos ? "" : text.substr(end + 1);
  }
  return out;
}

/// "T3001", or five capitals and digits with a digit among them: "23505", "42P01".
bool IsCode(const std::string& word) {
  if (word.size() != 5) return false;
  bool digit = false;
  for (const char c : word) {
    const auto u = static_cast<unsigned char>(c);
    if (std::isdigit(u) == 0 && std::isupper(u) == 0) return false;
    digit = digit || std::isdigit(u) != 0;
  }
  return digit;
}

std::optional<int64_t> Number(const std::string& word) {
  int64_t out = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), out);
  if (error != std::errc() || end != word.data() + word.size()) return std::nullopt;
  return out;
}

/// Values that DuckDB's own files name as a group.
void AddValues(const std::string& word, std::vector<std::string>* out) {
  const std::vector<std::string> is_signed = {"TINYINT", "SMALLINT", "INTEGER", "BIGINT",
                                              "HUGEINT"};
  const std::vector<std::string> is_unsigned = {"UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT",
                                                "UHUGEINT"};
  const auto add = [&](const std::vector<std::string>& more) {
    out->insert(out->end(), more.begin(), more.end());
  };
  if (word == "<signed>") {
    add(is_signed);
  } else if (word == "<unsigned>") {
    add(is_unsigned);
  } else if (word == "<integral>" || word == "<numeric>" || word == "<alltypes>") {
    add(is_signed);
    add(is_unsigned);
    if (word != "<integral>") add({"FLOAT", "DOUBLE"});
    if (word == "<alltypes>") add({"BOOL", "INTERVAL", "VARCHAR"});
  } else {
    out->push_back(word);
  }
}

class Parser {
 public:
  explicit Parser(std::string_view text) : lines_(LinesOf(text)) {}

  Result<Script> Parse() {
    constexpr std::string_view kPending = "# pending:";
    if (!lines_.empty() && lines_[0].starts_with(kPending)) {
      script_.pending = lines_[0].substr(kPending.size());
      script_.pending.erase(0, script_.pending.find_first_not_of(' '));
      if (script_.pending.empty()) return Wrong("# pending: says why");
      return std::move(script_);
    }
    ARROW_RETURN_NOT_OK(Block(&script_.records, /*in_loop=*/false));
    return std::move(script_);
  }

 private:
  Status Wrong(const std::string& what) const {
    return MakeError(ErrorCode::kInvalidArgument, fmt::format("line {}: {}", at_ + 1, what));
  }

  /// Records up to the file's end, or up to and with the loop's end.
  Status Block(std::vector<Record>* out, bool in_loop) {
    Record next;  // what skipif and onlyif lines say of the record below them
    for (; at_ < lines_.size(); ++at_) {
      const std::string& line = lines_[at_];
      if (line == "# no restart") script_.no_restart = true;
      if (line.empty() || line[0] == '#') continue;
      const std::vector<std::string> words = Words(line);
      if (words.empty()) continue;
      const std::string& word = words[0];
      if (word == "skipif" || word == "onlyif") {
        if (words.size() != 2) return Wrong(word + " names one engine");
        (word == "skipif" ? next.skip_if : next.only_if).push_back(words[1]);
        continue;
      }
      if (word == "endloop") {
        if (!in_loop) return Wrong("endloop without a loop");
        return Status::OK();
      }
      if (word == "mode") {
        if (words.size() == 2 && words[1] == "skip") {
          skipping_ = true;
        } else if (words.size() == 2 && words[1] == "unskip") {
          skipping_ = false;
        } else {
          return Wrong("modes are skip and unskip");
        }
        continue;
      }
      Record record = std::exchange(next, {});
      record.line = static_cast<int>(at_) + 1;
      ARROW_RETURN_NOT_OK(One(words, &record));
      if (!skipping_) out->push_back(std::move(record));
    }
    if (in_loop) return Wrong("a loop has no endloop");
    return Status::OK();
  }

  /// The record that begins on this line; stops on its last line.
  Status One(const std::vector<std::string>& words, Record* record) {
    const std::string& word = words[0];
    if (word == "statement") return StatementRecord(words, record);
    if (word == "query") return QueryRecord(words, record);
    if (word == "loop" || word == "foreach") return Loop(words, record);
    record->words.assign(words.begin() + 1, words.end());
    if (word == "restart") {
      record->kind = RecordKind::kRestart;
    } else if (word == "reconnect") {
      record->kind = RecordKind::kReconnect;
    } else if (word == "halt") {
      record->kind = RecordKind::kHalt;
    } else if (word == "require") {
      record->kind = RecordKind::kRequire;
      if (record->words.empty()) return Wrong("require names what is needed");
    } else if (word == "require-env") {
      record->kind = RecordKind::kRequireEnv;
      if (record->words.empty()) return Wrong("require-env names a variable");
    } else if (word == "hash-threshold") {
      record->kind = RecordKind::kHashThreshold;
      if (record->words.size() != 1 || !Number(record->words[0]))
        return Wrong("hash-threshold takes a number");
    } else {
      return Wrong("unknown record: " + word);
    }
    return Status::OK();
  }

  /// SQL up to an empty line or ----, and then what is expected.
  Status Text(Record* record, std::vector<std::string>* below) {
    for (++at_; at_ < lines_.size() && !lines_[at_].empty(); ++at_) {
      if (lines_[at_] == "----") {
        record->has_expected = true;
        for (++at_; at_ < lines_.size() && !lines_[at_].empty(); ++at_)
          below->push_back(lines_[at_]);
        break;
      }
      if (!record->sql.empty()) record->sql += '\n';
      record->sql += lines_[at_];
    }
    --at_;
    if (record->sql.empty()) return Wrong("a record has no SQL");
    return Status::OK();
  }

  Status StatementRecord(const std::vector<std::string>& words, Record* record) {
    record->kind = RecordKind::kStatement;
    if (words.size() < 2) return Wrong("statement ok, error, maybe or count N");
    size_t next = 2;
    if (words[1] == "ok") {
      record->expectation = Expectation::kOk;
    } else if (words[1] == "error") {
      record->expectation = Expectation::kError;
      if (next < words.size() && IsCode(words[next])) record->code = words[next++];
    } else if (words[1] == "maybe") {
      record->expectation = Expectation::kMaybe;
    } else if (words[1] == "count" && words.size() > 2 && Number(words[2])) {
      record->count = Number(words[2]);
      next = 3;
    } else {
      return Wrong("statement ok, error, maybe or count N");
    }
    if (next < words.size()) record->connection = words[next++];
    if (next < words.size()) return Wrong("too many words: " + words[next]);
    std::vector<std::string> below;
    ARROW_RETURN_NOT_OK(Text(record, &below));
    if (below.empty()) return Status::OK();
    if (record->expectation == Expectation::kOk) return Wrong("statement ok expects no text");
    for (const std::string& line : below)
      record->error += (record->error.empty() ? "" : "\n") + line;
    return Status::OK();
  }

  Status QueryRecord(const std::vector<std::string>& words, Record* record) {
    record->kind = RecordKind::kQuery;
    if (words.size() < 2) return Wrong("query needs a letter for each column");
    record->types = words[1];
    for (const char c : record->types) {
      if (c != 'I' && c != 'T' && c != 'R') return Wrong("types are the letters I, T and R");
    }
    if (words.size() > 2) {
      if (words[2] == "rowsort") {
        record->sort = SortMode::kRows;
      } else if (words[2] == "valuesort") {
        record->sort = SortMode::kValues;
      } else if (words[2] != "nosort") {
        record->connection = words[2];
      }
    }
    if (words.size() > 3) record->label = words[3];
    if (words.size() > 4) return Wrong("too many words: " + words[4]);
    ARROW_RETURN_NOT_OK(Text(record, &record->expected));
    if (!record->has_expected && record->label.empty())
      return Wrong("a query needs ---- and its rows, or a label");
    return Status::OK();
  }

  Status Loop(const std::vector<std::string>& words, Record* record) {
    record->kind = RecordKind::kLoop;
    if (words.size() < 3) return Wrong("a loop needs a name and values");
    record->variable = words[1];
    if (words[0] == "loop") {
      const auto from = Number(words[2]);
      const int64_t none = std::numeric_limits<int64_t>::min();
      const int64_t to = words.size() == 4 ? Number(words[3]).value_or(none) : none;
      if (!from || to == none) return Wrong("loop name from to");
      for (int64_t i = *from; i < to; ++i) record->values.push_back(std::to_string(i));
    } else {
      for (size_t i = 2; i < words.size(); ++i) AddValues(words[i], &record->values);
    }
    ++at_;
    return Block(&record->body, /*in_loop=*/true);
  }

  const std::vector<std::string> lines_;
  size_t at_ = 0;
  bool skipping_ = false;
  Script script_;
};

}  // namespace

Result<Script> ParseScript(std::string_view text) { return Parser(text).Parse(); }

std::string Substitute(std::string_view text, std::string_view name, std::string_view value) {
  const std::string mark = fmt::format("${{{}}}", name);
  std::string out;
  for (;;) {
    const size_t at = text.find(mark);
    out += text.substr(0, at);
    if (at == std::string_view::npos) return out;
    out += value;
    text.remove_prefix(at + mark.size());
  }
}

}  // namespace lamina::slt
