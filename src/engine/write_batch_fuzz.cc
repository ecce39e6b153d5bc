// libFuzzer target: a commit payload is decoded from arbitrary bytes, and what decodes is walked.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include <arrow/type.h>

#include "catalog/schema.h"
#include "engine/memtable.h"
#include "engine/write_batch.h"
#include "testing/fuzz_target.h"

namespace {

lamina::catalog::TableSchemaPtr Table() {
  static const lamina::catalog::TableSchemaPtr table = [] {
    lamina::catalog::KeyDeclaration key;
    key.names = {"id"};
    return lamina::catalog::MakeTable(
               {16}, "t",
               arrow::schema({arrow::field("id", arrow::int64(), false),
                              arrow::field("name", arrow::utf8()),
                              arrow::field("tags", arrow::list(arrow::int32()))}),
               key)
        .ValueOrDie();
  }();
  return table;
}

}  // namespace

LAMINA_FUZZ_TARGET(write_batch_fuzz)(const uint8_t* data, size_t size) {
  const std::string_view payload(reinterpret_cast<const char*>(data), size);
  auto batch = lamina::engine::WriteBatch::Decode(
      payload,
      [](lamina::catalog::TableId, uint32_t version) { return version == 0 ? nullptr : Table(); });
  if (batch.ok()) {
    auto memtable = lamina::engine::Memtable::Make();
    (void)memtable->Apply(*batch, {1}, {1});  // only memory can fail here
  }
  return 0;
}
