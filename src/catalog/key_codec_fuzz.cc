// Arbitrary bytes decode to an error or to values that encode to the same bytes. The first
// two bytes choose the key's types.
#include <cstdint>
#include <cstdlib>
#include <iterator>

#include <arrow/api.h>

#include "catalog/key_codec.h"
#include "testing/fuzz_target.h"

LAMINA_FUZZ_TARGET(key_codec_fuzz)(const uint8_t* data, size_t size) {
  using namespace lamina::catalog;  // NOLINT(google-build-using-namespace)
  if (size < 2) return 0;
  // Every kind of key component there is.
  const std::shared_ptr<arrow::DataType> types[] = {arrow::binary(),
                                                    arrow::large_binary(),
                                                    arrow::utf8(),
                                                    arrow::large_utf8(),
                                                    arrow::fixed_size_binary(3),
                                                    arrow::boolean(),
                                                    arrow::int8(),
                                                    arrow::int16(),
                                                    arrow::int32(),
                                                    arrow::int64(),
                                                    arrow::uint8(),
                                                    arrow::uint16(),
                                                    arrow::uint32(),
                                                    arrow::uint64(),
                                                    arrow::float16(),
                                                    arrow::float32(),
                                                    arrow::float64(),
                                                    arrow::decimal32(9, 2),
                                                    arrow::decimal64(18, 2),
                                                    arrow::decimal128(38, 2),
                                                    arrow::decimal256(76, 2),
                                                    arrow::date32(),
                                                    arrow::time32(arrow::TimeUnit::MILLI),
                                                    arrow::time64(arrow::TimeUnit::MICRO),
                                                    arrow::timestamp(arrow::TimeUnit::MICRO, "UTC"),
                                                    arrow::duration(arrow::TimeUnit::NANO),
                                                    arrow::date64(),
                                                    arrow::time32(arrow::TimeUnit::SECOND),
                                                    arrow::timestamp(arrow::TimeUnit::SECOND)};
  const auto schema = arrow::schema({arrow::field("a", types[(data[0] & 0x7f) % std::size(types)]),
                                     arrow::field("b", types[data[1] % std::size(types)])});
  KeyDeclaration key;
  key.names =
      (data[0] & 0x80) != 0 ? std::vector<std::string>{"a", "b"} : std::vector<std::string>{"a"};
  const KeyCodec codec(**MakeTable(TableId{16}, "t", schema, key));
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 2, size - 2);
  auto columns = codec.Decode({bytes});
  if (!columns.ok() || bytes.size() > static_cast<size_t>(kMaxKeyBytes)) return 0;
  std::vector<std::shared_ptr<arrow::Scalar>> values;
  for (const auto& column : *columns) {
    if (!column->ValidateFull().ok()) {
      // More digits than the type's precision; text that is not UTF-8, which no write lets in;
      // times beyond the end of the day; dates that are no whole days.
      const arrow::Type::type type = column->type_id();
      if (arrow::is_decimal(type) || arrow::is_string(type) || arrow::is_time(type) ||
          type == arrow::Type::DATE64) {
        return 0;
      }
      std::abort();
    }
    values.push_back(*column->GetScalar(0));
  }
  if (*codec.EncodeScalars(values) != bytes) std::abort();
  return 0;
}
