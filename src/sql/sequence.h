// Sequences: their entries in the catalogue, and the values they give.
//
// 1. The definition is an object of the catalogue (kObjectTable, "sequence/schema/name") with an id
//    of its own, which no other sequence ever gets, of whatever name.
// 2. How far it has counted is a row of kSequenceTable under that id. A block of values is taken by
//    a small transaction of its own, synced before the first of them is given: what was given is
//    never given again, whether its user commits, rolls back or the process dies. That row is not
//    beside the definition, as every transaction reads those and would conflict with every block.
// 3. What is left of a block is given in memory, and put back by a clean end where nobody has taken
//    another since. After a crash it is a gap.
// 4. A sequence that the transaction itself made counts in that transaction; its commit writes how
//    far. Nobody else knows it before.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include <duckdb/catalog/catalog_entry/sequence_catalog_entry.hpp>

#include "base/mutex.h"
#include "lamina/database.h"
#include "sql/duckdb_api.h"

namespace lamina::sql {

class LaminaTransaction;

/// The table of positions; not shown.
inline constexpr char kSequenceTable[] = "_lamina_sequences";
/// Values that one block holds, unless one call needs more at once.
inline constexpr int64_t kSequenceBlock = 32;

/// What a sequence gives, in which order. `increment` is not 0, start lies in [min, max].
struct SequenceRule {
  int64_t start = 1;
  int64_t increment = 1;
  int64_t min = 1;
  int64_t max = INT64_MAX;
  bool cycle = false;
};

struct SequencePosition {
  std::optional<int64_t> next = {};  ///< None: the end is reached.
  std::optional<int64_t> last = {};  ///< Given or taken in a block; none: never used.
  int64_t blocks = 0;                ///< Taken so far: tells two equal positions of a cycle apart.
};

/// `count` values from `first` on, one increment apart.
struct SequenceRun {
  int64_t first = 0;
  int64_t count = 0;
};

/// Takes the next values: `wanted` (at least 1), or fewer where the end or a new round comes
/// before. None at the end. Pure.
std::optional<SequenceRun> TakeRun(const SequenceRule& rule, int64_t wanted,
                                   SequencePosition* position);

/// What is needed to give values of a sequence.
struct SequenceHandle {
  std::string id;
  std::string name;
  SequenceRule rule;
};

/// Where sequences have got to, for all sessions of a database. Thread-safe.
class SequenceCounters {
 public:
  explicit SequenceCounters(Database* database) : database_(database) {}
  /// Puts back what is left of blocks; what cannot be put back is a gap.
  ~SequenceCounters();

  /// Writes the next `count` values to `out`. `created_here`: the position of a sequence that the
  /// caller's transaction made, which it holds a lock for; else null. Errors: T4008 (the end is
  /// reached; values before it are lost), T2010 (it was dropped meanwhile), those of commits.
  Status Next(const SequenceHandle& sequence, SequencePosition* created_here, int64_t count,
              int64_t* out);
  /// As far as values were given. Errors: those of reads.
  Result<SequencePosition> Position(const SequenceHandle& sequence);

 private:
  struct Block {
    base::Mutex mu;
    SequenceRun left LAMINA_GUARDED_BY(mu);
    SequenceRule rule LAMINA_GUARDED_BY(mu);
    std::optional<int64_t> last LAMINA_GUARDED_BY(mu);  ///< Given here.
    SequencePosition after LAMINA_GUARDED_BY(mu);       ///< As it was stored with this block.
  };
  Status Take(const SequenceHandle& sequence, int64_t wanted, Block* block)
      LAMINA_REQUIRES(block->mu);

  Database* const database_;
  base::Mutex mu_;
  std::map<std::string, std::shared_ptr<Block>> blocks_ LAMINA_GUARDED_BY(mu_);
};

struct SequenceOwner {
  std::string table = {};  ///< As the database names it; "" = none.
  bool always = false;     ///< The column that counts by it takes no other value.
};

class LaminaSequenceEntry final : public duckdb::SequenceCatalogEntry {
 public:
  LaminaSequenceEntry(duckdb::Catalog& catalog, duckdb::SchemaCatalogEntry& schema,
                      duckdb::CreateSequenceInfo& info, std::string id, SequenceOwner owner);

  const SequenceHandle& handle() const { return handle_; }
  /// The table that it ends with, as the database names it; "" = none. Also its tag "owner".
  const std::string& owner() const { return owner_.table; }
  /// Also its tag "identity" = "always".
  bool always() const { return owner_.always; }
  const SequenceOwner& ties() const { return owner_; }
  /// As it was made.
  duckdb::CreateSequenceInfo Definition() const;
  /// The same with START at the value that comes next.
  duckdb::unique_ptr<duckdb::CreateInfo> GetInfo() const override;
  /// The same as a statement. Where the end is reached, a second one takes the last value again.
  std::string ToSQL() const override;

 private:
  const SequenceHandle handle_;
  const SequenceOwner owner_;
};

/// Whether an expression (a default) asks for values of the sequence; `schema` is where names
/// without one are looked for.
bool UsesSequence(const duckdb::ParsedExpression& expression, const std::string& schema,
                  const LaminaSequenceEntry& sequence);

/// In the caller's transaction, where the table of positions is made if need be. Throws.
void PutPosition(LaminaTransaction& transaction, const std::string& id,
                 const SequencePosition& position);
void DeletePosition(LaminaTransaction& transaction, const std::string& id);

}  // namespace lamina::sql
