#include "sql/commit_notes.h"

#include <arrow/api.h>

#include "catalog/schema.h"

namespace lamina::sql {
namespace {

using duckdb::LogicalType;
using duckdb::Value;

constexpr char kUserSetting[] = "commit_user";
constexpr char kMessageSetting[] = "commit_message";

std::string Setting(duckdb::ClientContext& context, const char* name) {
  Value value;
  if (!context.TryGetCurrentSetting(name, value) || value.IsNull()) return {};
  return value.ToString();
}

std::shared_ptr<arrow::Schema> NoteSchema() {
  return arrow::schema(
      {arrow::field("user", arrow::utf8()), arrow::field("message", arrow::utf8())});
}

}  // namespace

Status WriteCommitNote(duckdb::ClientContext& context, db::Session& data) {
  const std::string user = Setting(context, kUserSetting);
  const std::string message = Setting(context, kMessageSetting);
  if (user.empty() && message.empty()) return Status::OK();
  if (data.FindTable(kNoteTable) == nullptr) {
    KeyDeclaration none;
    none.no_key = true;
    ARROW_RETURN_NOT_OK(data.CreateTable(kNoteTable, NoteSchema(), none));
  }
  const auto column = [](const std::string& text) -> Result<std::shared_ptr<arrow::Array>> {
    arrow::StringBuilder builder;
    ARROW_RETURN_NOT_OK(text.empty() ? builder.AppendNull() : builder.Append(text));
    return builder.Finish();
  };
  ARROW_ASSIGN_OR_RAISE(auto users, column(user));
  ARROW_ASSIGN_OR_RAISE(auto messages, column(message));
  return data.Put(kNoteTable, arrow::RecordBatch::Make(NoteSchema(), 1,
                                                       {std::move(users), std::move(messages)}));
}

Result<std::vector<CommitNote>> ReadCommitNotes(db::Session& data) {
  std::vector<CommitNote> out;
  if (data.FindTable(kNoteTable) == nullptr) return out;
  ScanOptions options;
  options.columns = {"user", "message", catalog::kCommitColumn};
  options.order_by_key = false;
  ARROW_ASSIGN_OR_RAISE(const auto reader, data.Scan(kNoteTable, options));
  for (;;) {
    ARROW_ASSIGN_OR_RAISE(const auto batch, reader->Next());
    if (batch == nullptr) return out;
    const auto& users = static_cast<const arrow::StringArray&>(*batch->column(0));
    const auto& messages = static_cast<const arrow::StringArray&>(*batch->column(1));
    const auto* commits = batch->column(2)->data()->GetValues<int64_t>(1);
    for (int64_t i = 0; i < batch->num_rows(); ++i) {
      CommitNote note{{static_cast<uint64_t>(commits[i])}, {}, {}};
      if (!users.IsNull(i)) note.user = users.GetString(i);
      if (!messages.IsNull(i)) note.message = messages.GetString(i);
      out.push_back(std::move(note));
    }
  }
}

void RegisterCommitNotes(duckdb::ExtensionLoader& loader) {
  auto& config = duckdb::DBConfig::GetConfig(loader.GetDatabaseInstance());
  config.AddExtensionOption(kUserSetting, "Who makes the commits of this session ('': is not kept)",
                            LogicalType::VARCHAR, Value(""));
  config.AddExtensionOption(kMessageSetting,
                            "What the commits of this session are for ('': is not kept)",
                            LogicalType::VARCHAR, Value(""));
}

}  // namespace lamina::sql
