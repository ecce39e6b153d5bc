// A small data file with bytes changed anywhere, its own checksums set right behind that: opening,
// pruning and reading it gives rows or kCorruption (kUnsupported for a version), never a crash. The
// input is a list of changes: offset (2 bytes), new byte.
#include <cstdint>
#include <cstdlib>

#include <arrow/api.h>

#include "catalog/key_codec.h"
#include "storage/sst/file_reader_internal.h"
#include "storage/sst/file_writer.h"
#include "storage/sst/reseal_internal.h"
#include "storage/sst/row_batch.h"
#include "testing/fuzz_target.h"

namespace {

using namespace lamina;                // NOLINT(google-build-using-namespace)
using namespace lamina::storage;       // NOLINT(google-build-using-namespace)
using namespace lamina::storage::sst;  // NOLINT(google-build-using-namespace)

struct Sample {
  catalog::TableSchemaPtr table;
  DataFile file;
  std::string bytes;
};

Sample MakeSample() {
  Sample sample;
  TableOptions options;
  options.dictionary_columns = {"s"};
  const auto schema = arrow::schema(
      {arrow::field("k", arrow::int64(), false), arrow::field("s", arrow::utf8()),
       arrow::field("l", arrow::list(arrow::int32())), arrow::field("d", arrow::decimal128(9, 2))});
  sample.table = *catalog::MakeTable(catalog::TableId{16}, "t", schema,
                                     KeyDeclaration{.names = {"k"}}, options);
  arrow::Int64Builder keys;
  arrow::StringBuilder texts;
  const auto item = std::make_shared<arrow::Int32Builder>();
  arrow::ListBuilder lists(arrow::default_memory_pool(), item);
  arrow::Decimal128Builder decimals(arrow::decimal128(9, 2));
  arrow::TimestampBuilder min(TimeType(), arrow::default_memory_pool());
  arrow::TimestampBuilder max(TimeType(), arrow::default_memory_pool());
  arrow::TimestampBuilder from(TimeType(), arrow::default_memory_pool());
  arrow::Int64Builder commits;
  Status status;
  for (int64_t i = 0; i < 40; ++i) {
    status &= keys.Append(i * 3);
    status &= i % 5 == 0 ? texts.AppendNull()
                         : texts.Append(std::string(static_cast<size_t>(i % 7), 'x'));
    status &= lists.Append(i % 4 != 0);
    for (int64_t k = 0; i % 4 != 0 && k < i % 3; ++k)
      status &= item->Append(static_cast<int32_t>(k));
    status &= decimals.Append(arrow::Decimal128(i));
    status &= min.Append(INT64_MIN);
    status &= max.Append(INT64_MAX);
    status &= from.Append(1000 + i);
    status &= commits.Append(i);
  }
  const auto system_to = *max.Finish();
  const auto rows = arrow::RecordBatch::Make(
      RowBatchSchema(*sample.table), 40,
      {*keys.Finish(), *texts.Finish(), *lists.Finish(), *decimals.Finish(), *min.Finish(),
       system_to, *from.Finish(), system_to, *commits.Finish()});
  const auto store = MakeMemoryStore();
  const auto writer =
      *FileWriter::Make(store, sample.table, base::Ulid::Max(),
                        WriterOptions{.rows_per_page = 8, .rows_per_row_group = 16});
  status &= writer->Write(rows, **catalog::KeyCodec(*sample.table).Encode(*rows));
  sample.file = *writer->Finish();
  sample.bytes = (*store->Get(sample.file.Path()))->ToString();
  if (!status.ok()) std::abort();
  return sample;
}

}  // namespace

LAMINA_FUZZ_TARGET(data_file_fuzz)(const uint8_t* data, size_t size) {
  static const Sample sample = MakeSample();
  std::string bytes = sample.bytes;
  for (size_t i = 0; i + 3 <= size; i += 3) {
    // Offsets count from the end: footer and page index are where decisions are taken.
    const size_t at = base::LoadFixed16(reinterpret_cast<const char*>(data) + i) % bytes.size();
    bytes[bytes.size() - 1 - at] = static_cast<char>(data[i + 2]);
  }
  Reseal(sample.bytes, sample.file.footer_length, &bytes);
  const auto store = MakeMemoryStore();
  if (!store->Put(sample.file.Path(), bytes, PutCondition::None()).ok()) std::abort();
  const auto check = [](const Status& status) {
    if (!status.ok() && CodeOf(status) != ErrorCode::kCorruption &&
        CodeOf(status) != ErrorCode::kUnsupported)
      std::abort();
    return status.ok();
  };
  const auto reader =
      OpenDataFile(store.get(), std::make_shared<const DataFile>(sample.file), nullptr, nullptr);
  if (!check(reader.status())) return 0;
  const PageSet all = {{0, (*reader)->page_count()}};
  const auto predicate = catalog::Predicate::Bind(
      And({Ge("d", arrow::MakeScalar(int64_t{7})), Lt("s", arrow::MakeScalar("xx"))}),
      *sample.table);
  if (predicate.ok())
    static_cast<void>((*reader)->Prune(all, **predicate, nullptr, sample.table.get()));
  static_cast<void>((*reader)->PruneTimes(all, SystemTime{1010}, SystemTime{1020}, ValidTime{0},
                                          ValidTime{1}, nullptr));
  for (uint32_t page = 0; page < (*reader)->page_count(); ++page) {
    static_cast<void>(check((*reader)->PageKeys(page, nullptr).status()));
    static_cast<void>(check(
        (*reader)
            ->ReadPage(page, *sample.table, {"k", "s", "l", "d", catalog::kCommitColumn}, nullptr)
            .status()));
  }
  static_cast<void>(check((*reader)->Verify()));
  return 0;
}
