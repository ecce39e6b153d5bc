#include "sql/transaction_control.h"

#include <utility>

#include <fmt/format.h>

#include "sql/error_translation.h"
#include "sql/token_reader.h"

namespace lamina::sql {
namespace {

/// WITH (name = expression, …), after its WITH.
Status ReadOptions(TokenReader& reader, std::string_view text, Control* out) {
  ARROW_RETURN_NOT_OK(reader.ExpectSign('('));
  do {
    const size_t name_at = reader.position();
    ARROW_ASSIGN_OR_RAISE(const std::string name, reader.Name());
    if (name != "system_time") {
      return MakeSqlError("T1002", "no option of a transaction: " + name,
                          "system_time = TIMESTAMP '…' is one: when its commit was made", name_at);
    }
    ARROW_RETURN_NOT_OK(reader.ExpectSign('='));
    out->system_time_at = reader.position();
    size_t end = out->system_time_at;
    for (int depth = 0; !reader.AtEnd(); reader.GoTo(reader.at() + 1)) {
      if (depth == 0 && (reader.PeekSign(',') || reader.PeekSign(')'))) break;
      if (reader.PeekSign('(')) ++depth;
      if (reader.PeekSign(')')) --depth;
      end = reader.Next().end;
    }
    out->system_time = text.substr(out->system_time_at, end - out->system_time_at);
    if (out->system_time.empty()) return reader.Unexpected();
  } while (reader.TakeSign(','));
  return reader.ExpectSign(')');
}

Status ReadModes(TokenReader& reader, std::string_view text, Control* out) {
  out->kind = ControlKind::kBegin;
  while (!reader.AtEnd()) {
    if (reader.Take({"READ", "ONLY"})) {
      out->read_only = true;
    } else if (reader.Take({"READ", "WRITE"})) {
      out->read_only = false;
    } else if (reader.Take({"ISOLATION", "LEVEL"})) {
      if (reader.Take("SERIALIZABLE")) {
        out->isolation = Isolation::kSerializable;
      } else if (reader.Take("SNAPSHOT") || reader.Take({"REPEATABLE", "READ"}) ||
                 reader.Take({"READ", "COMMITTED"}) || reader.Take({"READ", "UNCOMMITTED"})) {
        // The weaker levels of the standard may be given as a stronger one.
        out->isolation = Isolation::kSnapshot;
      } else {
        return reader.Unexpected();
      }
    } else if (reader.Take("WITH")) {
      ARROW_RETURN_NOT_OK(ReadOptions(reader, text, out));
    } else {
      (void)(reader.Take("READ") || reader.Take("ISOLATION"));  // the next word is the wrong one
      return reader.Unexpected();
    }
    (void)reader.TakeSign(',');
  }
  return Status::OK();
}

Result<Control> Read(TokenReader& reader, std::string_view text) {
  Control out;
  const auto name = [&](ControlKind kind) {
    out.kind = kind;
    if (kind != ControlKind::kSavepoint) (void)reader.Take("SAVEPOINT");
    return reader.Name().Value(&out.name);
  };
  const auto transaction = [&] { (void)(reader.Take("TRANSACTION") || reader.Take("WORK")); };
  if (reader.Take("BEGIN")) {
    transaction();
    ARROW_RETURN_NOT_OK(ReadModes(reader, text, &out));
  } else if (reader.Take({"START", "TRANSACTION"})) {
    ARROW_RETURN_NOT_OK(ReadModes(reader, text, &out));
  } else if (reader.Take("COMMIT") || reader.Take("END")) {
    out.kind = ControlKind::kCommit;
    transaction();
  } else if (reader.Take("ROLLBACK") || reader.Take("ABORT")) {
    out.kind = ControlKind::kRollback;
    transaction();
    if (reader.Take("TO")) ARROW_RETURN_NOT_OK(name(ControlKind::kRollbackTo));
  } else if (reader.Take("SAVEPOINT")) {
    ARROW_RETURN_NOT_OK(name(ControlKind::kSavepoint));
  } else if (reader.Take("RELEASE")) {
    ARROW_RETURN_NOT_OK(name(ControlKind::kRelease));
  } else {
    return out;
  }
  if (reader.AtEnd()) return out;
  return MakeSqlError("T1005",
                      fmt::format("syntax error at or near \"{}\"", reader.Next().In(text)), "",
                      reader.position());
}

}  // namespace

Result<Control> ParseControl(std::string_view text, const StatementSpan& span) {
  TokenReader reader(text, span);
  auto out = Read(reader, text);
  if (!out.ok()) return WithExcerpt(out.status(), text);
  return out;
}

}  // namespace lamina::sql
