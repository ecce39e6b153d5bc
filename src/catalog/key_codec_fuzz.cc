// Arbitrary bytes decode to an error or to values that encode to the same bytes. The first byte
// chooses the key's types.
#include <cstdint>
#include <cstdlib>

#include <arrow/api.h>

#include "catalog/key_codec.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lamina::catalog;  // NOLINT(google-build-using-namespace)
  if (size == 0) return 0;
  const std::shared_ptr<arrow::DataType> types[] = {arrow::binary(),
                                                    arrow::int32(),
                                                    arrow::float64(),
                                                    arrow::boolean(),
                                                    arrow::float16(),
                                                    arrow::decimal128(38, 2),
                                                    arrow::fixed_size_binary(3),
                                                    arrow::large_binary()};
  const auto schema = arrow::schema(
      {arrow::field("a", types[data[0] & 7]), arrow::field("b", types[(data[0] >> 3) & 7])});
  KeyDeclaration key;
  key.names =
      (data[0] & 0x80) != 0 ? std::vector<std::string>{"a", "b"} : std::vector<std::string>{"a"};
  const KeyCodec codec(**MakeTable(TableId{16}, "t", schema, key));
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  auto columns = codec.Decode({bytes});
  if (!columns.ok() || bytes.size() > static_cast<size_t>(kMaxKeyBytes)) return 0;
  std::vector<std::shared_ptr<arrow::Scalar>> values;
  for (const auto& column : *columns) {
    if (!column->ValidateFull().ok()) {
      if (arrow::is_decimal(column->type_id())) return 0;  // more digits than the type's precision
      std::abort();
    }
    values.push_back(*column->GetScalar(0));
  }
  if (*codec.EncodeScalars(values) != bytes) std::abort();
  return 0;
}
