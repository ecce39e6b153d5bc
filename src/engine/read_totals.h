// What all reads of one engine have done and cost since it was opened.
#pragma once

#include "base/metrics.h"
#include "storage/sst/file_reader.h"

namespace lamina::engine {

/// Thread-safe. A read that memory answers costs one relaxed addition; the rest is added once a
/// read, not once a page.
class ReadTotals {
 public:
  void AddGet(uint64_t rows, const storage::sst::ReadCounters& io) {
    gets_.Add();
    if (rows > 0) rows_returned_.Add(rows);
    AddIo(io);
  }
  void AddScan(uint64_t rows, const storage::sst::ReadCounters& io) {
    scans_.Add();
    if (rows > 0) rows_returned_.Add(rows);
    AddIo(io);
  }

  uint64_t gets() const { return gets_.value(); }
  uint64_t scans() const { return scans_.value(); }
  uint64_t rows_returned() const { return rows_returned_.value(); }
  storage::sst::ReadCounters io() const {
    storage::sst::ReadCounters out;
    for (const Field& field : kFields) out.*field.of_read = (this->*field.of_all).value();
    return out;
  }

 private:
  struct Field {
    uint64_t storage::sst::ReadCounters::*of_read;
    base::Counter ReadTotals::*of_all;
  };
  static const Field kFields[10];

  void AddIo(const storage::sst::ReadCounters& io) {
    for (const Field& field : kFields) {
      if (io.*field.of_read != 0) (this->*field.of_all).Add(io.*field.of_read);
    }
  }

  base::Counter gets_, scans_, rows_returned_, files_opened_, row_groups_read_, row_groups_pruned_,
      pages_read_, pages_pruned_, page_cache_hits_, bytes_read_, requests_, bloom_negatives_,
      rows_decoded_;
};

inline const ReadTotals::Field ReadTotals::kFields[10] = {
    {&storage::sst::ReadCounters::files_opened, &ReadTotals::files_opened_},
    {&storage::sst::ReadCounters::row_groups_read, &ReadTotals::row_groups_read_},
    {&storage::sst::ReadCounters::row_groups_pruned, &ReadTotals::row_groups_pruned_},
    {&storage::sst::ReadCounters::pages_read, &ReadTotals::pages_read_},
    {&storage::sst::ReadCounters::pages_pruned, &ReadTotals::pages_pruned_},
    {&storage::sst::ReadCounters::page_cache_hits, &ReadTotals::page_cache_hits_},
    {&storage::sst::ReadCounters::bytes_read, &ReadTotals::bytes_read_},
    {&storage::sst::ReadCounters::requests, &ReadTotals::requests_},
    {&storage::sst::ReadCounters::bloom_negatives, &ReadTotals::bloom_negatives_},
    {&storage::sst::ReadCounters::rows_decoded, &ReadTotals::rows_decoded_},
};
static_assert(sizeof(storage::sst::ReadCounters) == 10 * sizeof(uint64_t),
              "a new counter needs a line above");

}  // namespace lamina::engine
