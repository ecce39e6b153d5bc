// Who made a commit, and why: what SET commit_user and SET commit_message say, kept beside the
// commit. A commit that says neither costs nothing.
//
// A note is a row of the table kNoteTable, written in the transaction that it is about: its _commit
// is the commit. It is kept for ever, as history is.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <duckdb/main/extension/extension_loader.hpp>

#include "db/session.h"
#include "sql/duckdb_api.h"

namespace lamina::sql {

inline constexpr char kNoteTable[] = "_lamina_commits";

struct CommitNote {
  CommitId commit;
  std::optional<std::string> user, message;
};

/// Writes the session's note, when it has one, into a transaction that is about to commit.
Status WriteCommitNote(duckdb::ClientContext& context, db::Session& data);
/// In no order.
Result<std::vector<CommitNote>> ReadCommitNotes(db::Session& data);

/// The settings commit_user and commit_message.
void RegisterCommitNotes(duckdb::ExtensionLoader& loader);

}  // namespace lamina::sql
