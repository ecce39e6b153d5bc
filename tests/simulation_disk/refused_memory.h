// Memory that is not to be had: the program's `operator new` in all its forms, and the blocks of
// Arrow's memory pool (posix_memalign, by the test's environment), refuse what a test tells them
// to.
//
// Counted are the allocations that a thread makes inside the database (InTheDatabase); what a test
// or the simulated disk allocates (OutOfTheDatabase) is neither counted nor refused. Without Refuse
// nothing is ever refused.
//
// Not refused, as nothing that a caller could do would help:
//   * the first block of Arrow's hash tables (Parquet's dictionary encoder): Arrow 26 drops the
//   error
//     and writes through null;
//   * what Arrow or Parquet allocate in functions of theirs that are noexcept: std::terminate.
//   Among
//     them the copy of an arrow::Status into an arrow::Result, wherever it is made.
//   * what Arrow allocates for the fingerprint that it compares schemas by: it goes through a
//     std::stringstream, which swallows std::bad_alloc, and the rest is kept as the fingerprint.
// Whether an exception would end the program is found out by throwing it in a forked child first. A
// function of ours where it would is kept for the test, which fails with it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "lamina/database.h"
#include "storage/object_store/file_system.h"

namespace lamina::simulation {

enum class Refusal : uint8_t {
  kOne,   ///< That one allocation.
  kRest,  ///< And all that follow until the call of the database returns.
};

/// Of this thread, from now on: allocation number `n` (0, 1, …) in the database is refused, once.
void Refuse(uint64_t n, Refusal refusal);
/// Nothing is refused or counted any more. True when something was refused since Refuse.
bool RefuseNothing();
/// Allocations of this thread in the database between Refuse and RefuseNothing.
uint64_t AllocationsAsked();

/// Blocks of Arrow's pool only, of this thread, wherever it is.
void RefuseBlock(uint64_t n);
uint64_t BlocksAsked();

/// By all threads so far.
uint64_t CountRefusals();
/// Functions of Arrow and Parquet in which std::bad_alloc would have ended the program, and how
/// often; then forgets them.
std::map<std::string, uint64_t> TakeSparedPlaces();
/// Other places where it would have, one line each; then forgets them.
std::vector<std::string> TakeFatalPlaces();

/// While alive, this thread is inside the database.
class InTheDatabase {
 public:
  InTheDatabase();
  ~InTheDatabase();
  InTheDatabase(const InTheDatabase&) = delete;
  InTheDatabase& operator=(const InTheDatabase&) = delete;
};

/// While alive, it is not, wherever it was before.
class OutOfTheDatabase {
 public:
  OutOfTheDatabase();
  ~OutOfTheDatabase();
  OutOfTheDatabase(const OutOfTheDatabase&) = delete;
  OutOfTheDatabase& operator=(const OutOfTheDatabase&) = delete;

 private:
  const int depth_;
};

/// Whether databases opened on this thread (OpenDatabase) count.
void CountAllocations(bool count);
bool CountsAllocations();

/// `files`, out of the database.
std::shared_ptr<storage::FileSystem> FilesOutside(std::shared_ptr<storage::FileSystem> files);
/// `db`, with every call inside the database; likewise its transactions and scans.
std::unique_ptr<Database> CallsInside(std::unique_ptr<Database> db);

}  // namespace lamina::simulation
