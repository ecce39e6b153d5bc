// Encoding works a column at a time:
//   1. Every key column is looked up, its type and absence of nulls checked.
//   2. One key column: integers and the like are written at a fixed stride; strings and binary are
//      their own encoding, so the result shares the column's buffers.
//   3. Several: the lengths of all keys give the offsets; then blocks of rows are filled, one
//      column after the other, with one write position a row kept on the stack. So the switch over
//      types runs once per column and block, not per value.
#include "catalog/key_codec.h"

#include <bit>
#include <cstring>
#include <limits>
#include <xxhash.h>

#include <arrow/array/array_binary.h>
#include <arrow/array/array_decimal.h>
#include <arrow/array/array_primitive.h>
#include <arrow/array/builder_binary.h>
#include <arrow/buffer.h>
#include <arrow/buffer_builder.h>
#include <arrow/util/bit_util.h>
#include <fmt/format.h>

#include "base/check.h"
#include "catalog/encoding_internal.h"

namespace lamina::catalog {
namespace {

using arrow::Type;

template <typename U>
U ToBigEndian(U v) {
  if constexpr (sizeof(U) == 8) {
    return __builtin_bswap64(v);
  } else if constexpr (sizeof(U) == 4) {
    return __builtin_bswap32(v);
  } else if constexpr (sizeof(U) == 2) {
    return __builtin_bswap16(v);
  } else {
    return v;
  }
}
static_assert(std::endian::native == std::endian::little);

template <typename U>
constexpr U kSignBit = U{1} << (sizeof(U) * 8 - 1);

template <typename U>
void Store(U ordered, char* to) {
  ordered = ToBigEndian(ordered);
  std::memcpy(to, &ordered, sizeof(ordered));
}
template <typename U>
U Load(const char* from) {
  U v;
  std::memcpy(&v, from, sizeof(v));
  return ToBigEndian(v);
}

// How each group of types maps its bit pattern to an unsigned integer of the same order.
// FromOrdered is false for a number that ToOrdered never gives.
struct UnsignedOrder {
  template <typename U>
  static U ToOrdered(U bits) {
    return bits;
  }
  template <typename U>
  static bool FromOrdered(U ordered, U* bits) {
    *bits = ordered;
    return true;
  }
};
struct SignedOrder {
  template <typename U>
  static U ToOrdered(U bits) {
    return bits ^ kSignBit<U>;
  }
  template <typename U>
  static bool FromOrdered(U ordered, U* bits) {
    *bits = ordered ^ kSignBit<U>;
    return true;
  }
};
struct FloatOrder {
  template <typename U>
  static constexpr U kInfinity = sizeof(U) == 2   ? static_cast<U>(0x7C00)
                                 : sizeof(U) == 4 ? static_cast<U>(0x7F800000)
                                                  : static_cast<U>(0x7FF0000000000000ULL);
  template <typename U>
  static constexpr U kNaN =
      kInfinity<U> | (kInfinity<U> & ~(kInfinity<U> << 1)) >> 1;  // the quiet bit set

  template <typename U>
  static U ToOrdered(U bits) {
    const U magnitude = bits & static_cast<U>(~kSignBit<U>);
    if (magnitude > kInfinity<U>) {
      bits = kNaN<U>;  // one NaN, positive: after +inf
    } else if (magnitude == 0) {
      bits = 0;  // -0 = +0
    }
    return (bits & kSignBit<U>) != 0 ? static_cast<U>(~bits) : static_cast<U>(bits | kSignBit<U>);
  }
  template <typename U>
  static bool FromOrdered(U ordered, U* bits) {
    *bits = (ordered & kSignBit<U>) != 0 ? static_cast<U>(ordered ^ kSignBit<U>)
                                         : static_cast<U>(~ordered);
    return ToOrdered(*bits) == ordered;
  }
};
static_assert(FloatOrder::kNaN<uint64_t> == 0x7FF8000000000000ULL);
static_assert(FloatOrder::kNaN<uint32_t> == 0x7FC00000U);
static_assert(FloatOrder::kNaN<uint16_t> == 0x7E00U);

// Two's complement of 4 … 32 bytes in memory order (little-endian) to big-endian with the sign bit
// flipped, and back.
void StoreDecimal(const uint8_t* value, int width, char* to) {
  for (int i = 0; i < width; ++i) to[i] = static_cast<char>(value[width - 1 - i]);
  to[0] = static_cast<char>(to[0] ^ 0x80);
}
void LoadDecimal(const char* from, int width, uint8_t* value) {
  for (int i = 0; i < width; ++i) value[width - 1 - i] = static_cast<uint8_t>(from[i]);
  value[width - 1] ^= 0x80;
}

// Calls body(tag<U>, Order) for types whose values are 1, 2, 4 or 8 byte numbers; false for other
// types.
template <typename U, typename Order>
struct NumberForm {
  using Bits = U;
  using Ordering = Order;
};
template <typename Body>
bool VisitNumber(Type::type id, Body&& body) {
  switch (id) {
    case Type::UINT8:
      body(NumberForm<uint8_t, UnsignedOrder>{});
      return true;
    case Type::UINT16:
      body(NumberForm<uint16_t, UnsignedOrder>{});
      return true;
    case Type::UINT32:
      body(NumberForm<uint32_t, UnsignedOrder>{});
      return true;
    case Type::UINT64:
      body(NumberForm<uint64_t, UnsignedOrder>{});
      return true;
    case Type::INT8:
      body(NumberForm<uint8_t, SignedOrder>{});
      return true;
    case Type::INT16:
      body(NumberForm<uint16_t, SignedOrder>{});
      return true;
    case Type::INT32:
    case Type::DATE32:
    case Type::TIME32:
    case Type::DECIMAL32:
      body(NumberForm<uint32_t, SignedOrder>{});
      return true;
    case Type::INT64:
    case Type::DATE64:
    case Type::TIME64:
    case Type::TIMESTAMP:
    case Type::DURATION:
    case Type::DECIMAL64:
      body(NumberForm<uint64_t, SignedOrder>{});
      return true;
    case Type::HALF_FLOAT:
      body(NumberForm<uint16_t, FloatOrder>{});
      return true;
    case Type::FLOAT:
      body(NumberForm<uint32_t, FloatOrder>{});
      return true;
    case Type::DOUBLE:
      body(NumberForm<uint64_t, FloatOrder>{});
      return true;
    default:
      return false;
  }
}

// First value of the array's data buffer, its offset applied.
template <typename T>
const T* Values(const arrow::Array& array) {
  return array.data()->GetValues<T>(1);
}

// Calls body(put) with put(row, to), which writes one value of a fixed-width column.
template <typename Body>
void WithWriter(const arrow::Array& array, Body&& body) {
  const Type::type id = array.type_id();
  const bool number = VisitNumber(id, [&](auto form) {
    using U = typename decltype(form)::Bits;
    using Order = typename decltype(form)::Ordering;
    const U* values = Values<U>(array);
    body([values](int64_t row, char* to) { Store<U>(Order::ToOrdered(values[row]), to); });
  });
  if (number) return;
  if (id == Type::BOOL) {
    const auto& bools = static_cast<const arrow::BooleanArray&>(array);
    body([&bools](int64_t row, char* to) { *to = bools.Value(row) ? 1 : 0; });
    return;
  }
  const auto& fixed =
      static_cast<const arrow::FixedSizeBinaryArray&>(array);  // decimals derive from it
  const int width = fixed.byte_width();
  if (id == Type::FIXED_SIZE_BINARY) {
    body([&fixed, width](int64_t row, char* to) { std::memcpy(to, fixed.GetValue(row), width); });
  } else {
    body([&fixed, width](int64_t row, char* to) { StoreDecimal(fixed.GetValue(row), width, to); });
  }
}

// Strings or binary with offsets of either size.
struct BytesColumn {
  explicit BytesColumn(const arrow::Array& array) {
    const auto& data = *array.data();
    if (array.type_id() == Type::STRING || array.type_id() == Type::BINARY) {
      offsets32 = data.GetValues<int32_t>(1);
    } else {
      offsets64 = data.GetValues<int64_t>(1);
    }
    bytes =
        data.buffers[2] != nullptr ? reinterpret_cast<const char*>(data.buffers[2]->data()) : "";
  }
  std::string_view At(int64_t row) const {
    if (offsets32 != nullptr) {
      return {bytes + offsets32[row], static_cast<size_t>(offsets32[row + 1] - offsets32[row])};
    }
    return {bytes + offsets64[row], static_cast<size_t>(offsets64[row + 1] - offsets64[row])};
  }
  const int32_t* offsets32 = nullptr;
  const int64_t* offsets64 = nullptr;
  const char* bytes;
};

size_t CountZeros(std::string_view raw) {
  size_t zeros = 0;
  const char* p = raw.data();
  const char* end = p + raw.size();
  while (p != end && (p = static_cast<const char*>(
                          std::memchr(p, 0, static_cast<size_t>(end - p)))) != nullptr) {
    ++zeros;
    ++p;
  }
  return zeros;
}

// Writes the escaped bytes; returns the end.
char* PutEscaped(std::string_view raw, char* to) {
  const char* p = raw.data();
  size_t left = raw.size();
  while (left > 0) {
    const void* zero = std::memchr(p, 0, left);
    const size_t run =
        zero == nullptr ? left : static_cast<size_t>(static_cast<const char*>(zero) - p) + 1;
    std::memcpy(to, p, run);
    to += run;
    p += run;
    left -= run;
    if (zero != nullptr) *to++ = '\xFF';
  }
  return to;
}

Status TooLong(int64_t row, size_t size) {
  return MakeError(
      ErrorCode::kInvalidArgument,
      fmt::format("the encoded key is too long: row={} bytes={} limit={}", row, size, kMaxKeyBytes),
      "use a shorter key, for example a hash of the value");
}

Status TooManyBytes() {
  return MakeError(ErrorCode::kInvalidArgument, "the keys of one batch take more than 2 GiB",
                   "write smaller batches");
}

std::shared_ptr<arrow::BinaryArray> MakeBinary(int64_t rows, std::shared_ptr<arrow::Buffer> offsets,
                                               std::shared_ptr<arrow::Buffer> bytes,
                                               int64_t offset = 0) {
  return std::make_shared<arrow::BinaryArray>(arrow::ArrayData::Make(
      arrow::binary(), rows, {nullptr, std::move(offsets), std::move(bytes)}, 0, offset));
}

Result<std::shared_ptr<arrow::Buffer>> StrideOffsets(int64_t rows, int width) {
  if (rows * width > std::numeric_limits<int32_t>::max()) return TooManyBytes();
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> offsets,
                        arrow::AllocateBuffer((rows + 1) * static_cast<int64_t>(sizeof(int32_t))));
  auto* at = reinterpret_cast<int32_t*>(offsets->mutable_data());
  for (int64_t i = 0; i <= rows; ++i) at[i] = static_cast<int32_t>(i * width);
  return offsets;
}

Result<std::shared_ptr<arrow::BinaryArray>> EncodeOneFixed(const arrow::Array& column, int width) {
  const int64_t rows = column.length();
  if (width > kMaxKeyBytes && rows > 0) return TooLong(0, static_cast<size_t>(width));
  ARROW_ASSIGN_OR_RAISE(auto offsets, StrideOffsets(rows, width));
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> bytes, arrow::AllocateBuffer(rows * width));
  char* base = reinterpret_cast<char*>(bytes->mutable_data());
  bool done = VisitNumber(column.type_id(), [&](auto form) {
    using U = typename decltype(form)::Bits;
    using Order = typename decltype(form)::Ordering;
    const U* values = Values<U>(column);
    for (int64_t i = 0; i < rows; ++i)
      Store<U>(Order::ToOrdered(values[i]), base + i * static_cast<int64_t>(sizeof(U)));
  });
  if (!done) {
    WithWriter(column, [&](auto put) {
      for (int64_t i = 0; i < rows; ++i) put(i, base + i * width);
    });
  }
  return MakeBinary(rows, std::move(offsets), std::move(bytes));
}

// Without a copy for 32-bit offsets; large types get new offsets and, where those do not fit, an
// error.
Result<std::shared_ptr<arrow::BinaryArray>> EncodeOneBytes(const arrow::Array& column) {
  const int64_t rows = column.length();
  const auto& data = *column.data();
  const BytesColumn from(column);
  if (from.offsets32 != nullptr) {
    int32_t longest = 0;
    for (int64_t i = 0; i < rows; ++i)
      longest = std::max(longest, from.offsets32[i + 1] - from.offsets32[i]);
    if (longest > kMaxKeyBytes) {
      for (int64_t i = 0; i < rows; ++i) {
        if (from.At(i).size() > static_cast<size_t>(kMaxKeyBytes)) {
          return TooLong(i, from.At(i).size());
        }
      }
    }
    return MakeBinary(rows, data.buffers[1], data.buffers[2], data.offset);
  }
  if (rows == 0) {
    ARROW_ASSIGN_OR_RAISE(auto offsets, StrideOffsets(0, 0));
    return MakeBinary(0, std::move(offsets), data.buffers[2]);
  }
  const int64_t first = from.offsets64[0];
  if (from.offsets64[rows] - first > std::numeric_limits<int32_t>::max()) return TooManyBytes();
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> offsets,
                        arrow::AllocateBuffer((rows + 1) * static_cast<int64_t>(sizeof(int32_t))));
  auto* at = reinterpret_cast<int32_t*>(offsets->mutable_data());
  for (int64_t i = 0; i <= rows; ++i) at[i] = static_cast<int32_t>(from.offsets64[i] - first);
  for (int64_t i = 0; i < rows; ++i) {
    if (at[i + 1] - at[i] > kMaxKeyBytes) return TooLong(i, static_cast<size_t>(at[i + 1] - at[i]));
  }
  std::shared_ptr<arrow::Buffer> bytes = data.buffers[2];
  if (bytes != nullptr) bytes = arrow::SliceBuffer(bytes, first, from.offsets64[rows] - first);
  return MakeBinary(rows, std::move(offsets), std::move(bytes));
}

Result<std::shared_ptr<arrow::BinaryArray>> EncodeSeveral(
    const std::vector<std::shared_ptr<arrow::Array>>& columns, int64_t rows) {
  const size_t last = columns.size() - 1;
  size_t fixed_bytes = 0;
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> offset_buffer,
                        arrow::AllocateBuffer((rows + 1) * static_cast<int64_t>(sizeof(int32_t))));
  auto* offsets = reinterpret_cast<int32_t*>(offset_buffer->mutable_data());
  std::vector<std::pair<BytesColumn, bool>> variable;  // and: is it the last component?
  for (size_t c = 0; c <= last; ++c) {
    if (internal::IsBytesType(columns[c]->type_id())) {
      variable.emplace_back(BytesColumn(*columns[c]), c == last);
    } else {
      fixed_bytes += static_cast<size_t>(internal::FixedKeyWidth(*columns[c]->type()));
    }
  }
  int64_t total = 0;
  offsets[0] = 0;
  for (int64_t i = 0; i < rows; ++i) {
    size_t size = fixed_bytes;
    for (const auto& [column, is_last] : variable) {
      const std::string_view raw = column.At(i);
      size += raw.size();
      if (!is_last) size += CountZeros(raw) + 2;
    }
    if (size > static_cast<size_t>(kMaxKeyBytes)) return TooLong(i, size);
    total += static_cast<int64_t>(size);
    if (total > std::numeric_limits<int32_t>::max()) return TooManyBytes();
    offsets[i + 1] = static_cast<int32_t>(total);
  }

  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> bytes, arrow::AllocateBuffer(total));
  char* base = reinterpret_cast<char*>(bytes->mutable_data());
  constexpr int64_t kBlockRows = 1024;
  char* cursor[kBlockRows];
  for (int64_t begin = 0; begin < rows; begin += kBlockRows) {
    const int64_t end = std::min(rows, begin + kBlockRows);
    for (int64_t i = begin; i < end; ++i) cursor[i - begin] = base + offsets[i];
    for (size_t c = 0; c <= last; ++c) {
      const arrow::Array& column = *columns[c];
      if (!internal::IsBytesType(column.type_id())) {
        const int width = internal::FixedKeyWidth(*column.type());
        WithWriter(column, [&](auto put) {
          for (int64_t i = begin; i < end; ++i) {
            put(i, cursor[i - begin]);
            cursor[i - begin] += width;
          }
        });
        continue;
      }
      const BytesColumn from(column);
      for (int64_t i = begin; i < end; ++i) {
        const std::string_view raw = from.At(i);
        if (c == last) {
          if (!raw.empty()) std::memcpy(cursor[i - begin], raw.data(), raw.size());
          continue;
        }
        char* to = PutEscaped(raw, cursor[i - begin]);
        to[0] = 0;
        to[1] = 0;
        cursor[i - begin] = to + 2;
      }
    }
  }
  return MakeBinary(rows, std::move(offset_buffer), std::move(bytes));
}

Status BadKey(const std::string& column, int64_t row, std::string_view what) {
  return MakeError(
      ErrorCode::kCorruption,
      fmt::format("bytes are not an encoded key: {} column={} row={}", what, column, row));
}

// One component read from every key; `cursor` moves behind it.
struct DecodeInput {
  const arrow::BinaryArray& keys;
  std::vector<int32_t> cursor;  // next byte of each key, from the key's start
  std::string_view Rest(int64_t row) const {
    return keys.GetView(row).substr(static_cast<size_t>(cursor[static_cast<size_t>(row)]));
  }
};

Result<std::shared_ptr<arrow::Array>> DecodeFixed(const std::shared_ptr<arrow::DataType>& type,
                                                  const std::string& name, DecodeInput* in) {
  const int64_t rows = in->keys.length();
  const int width = internal::FixedKeyWidth(*type);
  const bool bits = type->id() == Type::BOOL;
  ARROW_ASSIGN_OR_RAISE(
      std::shared_ptr<arrow::Buffer> buffer,
      arrow::AllocateBuffer(bits ? arrow::bit_util::BytesForBits(rows) : rows * width));
  uint8_t* out = buffer->mutable_data();
  if (bits && buffer->size() > 0) std::memset(out, 0, static_cast<size_t>(buffer->size()));
  int64_t bad_row = -1;
  const char* what = "truncated component";
  auto each = [&](auto get) {
    for (int64_t i = 0; i < rows; ++i) {
      const std::string_view rest = in->Rest(i);
      if (rest.size() < static_cast<size_t>(width)) {
        bad_row = i;
        return;
      }
      if (!get(i, rest.data())) {
        bad_row = i;
        what = "no value has these bytes";
        return;
      }
      in->cursor[static_cast<size_t>(i)] += width;
    }
  };
  const bool number = VisitNumber(type->id(), [&](auto form) {
    using U = typename decltype(form)::Bits;
    using Order = typename decltype(form)::Ordering;
    auto* values = reinterpret_cast<U*>(out);
    each([values](int64_t row, const char* from) {
      return Order::template FromOrdered<U>(Load<U>(from), values + row);
    });
  });
  if (!number) {
    if (bits) {
      each([out](int64_t row, const char* from) {
        if (*from == 1) arrow::bit_util::SetBit(out, row);
        return *from == 0 || *from == 1;
      });
    } else if (type->id() == Type::FIXED_SIZE_BINARY) {
      each([out, width](int64_t row, const char* from) {
        std::memcpy(out + row * width, from, static_cast<size_t>(width));
        return true;
      });
    } else {
      each([out, width](int64_t row, const char* from) {
        LoadDecimal(from, width, out + row * width);
        return true;
      });
    }
  }
  if (bad_row >= 0) return BadKey(name, bad_row, what);
  return arrow::MakeArray(arrow::ArrayData::Make(type, rows, {nullptr, std::move(buffer)}, 0));
}

template <typename Offset>
Result<std::shared_ptr<arrow::Array>> DecodeBytes(const std::shared_ptr<arrow::DataType>& type,
                                                  const std::string& name, bool last,
                                                  DecodeInput* in) {
  const int64_t rows = in->keys.length();
  arrow::TypedBufferBuilder<Offset> offsets;
  arrow::BufferBuilder bytes;
  ARROW_RETURN_NOT_OK(offsets.Reserve(rows + 1));
  ARROW_RETURN_NOT_OK(bytes.Reserve(in->keys.total_values_length()));
  offsets.UnsafeAppend(0);
  for (int64_t i = 0; i < rows; ++i) {
    const std::string_view rest = in->Rest(i);
    if (last) {
      bytes.UnsafeAppend(rest.data(), static_cast<int64_t>(rest.size()));
      in->cursor[static_cast<size_t>(i)] += static_cast<int32_t>(rest.size());
    } else {
      size_t at = 0;
      for (;;) {
        const size_t zero = rest.find('\0', at);
        if (zero == std::string_view::npos || zero + 1 >= rest.size()) {
          return BadKey(name, i, "component without its terminator");
        }
        bytes.UnsafeAppend(rest.data() + at, static_cast<int64_t>(zero - at));
        at = zero + 2;
        if (rest[zero + 1] == '\0') break;
        if (rest[zero + 1] != '\xFF') return BadKey(name, i, "unknown escape");
        bytes.UnsafeAppend(rest.data() + zero, 1);
      }
      in->cursor[static_cast<size_t>(i)] += static_cast<int32_t>(at);
    }
    offsets.UnsafeAppend(static_cast<Offset>(bytes.length()));
  }
  ARROW_ASSIGN_OR_RAISE(auto offset_buffer, offsets.Finish());
  ARROW_ASSIGN_OR_RAISE(auto byte_buffer, bytes.Finish());
  return arrow::MakeArray(arrow::ArrayData::Make(
      type, rows, {nullptr, std::move(offset_buffer), std::move(byte_buffer)}, 0));
}

Result<std::shared_ptr<arrow::BinaryArray>> ToBinary(const std::vector<std::string_view>& keys) {
  arrow::BinaryBuilder builder;
  int64_t total = 0;
  for (std::string_view key : keys) total += static_cast<int64_t>(key.size());
  if (total > std::numeric_limits<int32_t>::max()) return TooManyBytes();
  ARROW_RETURN_NOT_OK(builder.Reserve(static_cast<int64_t>(keys.size())));
  ARROW_RETURN_NOT_OK(builder.ReserveData(total));
  for (std::string_view key : keys) builder.UnsafeAppend(key);
  std::shared_ptr<arrow::BinaryArray> array;
  ARROW_RETURN_NOT_OK(builder.Finish(&array));
  return array;
}

}  // namespace

namespace internal {

int FixedKeyWidth(const arrow::DataType& type) {
  switch (type.id()) {
    case Type::BOOL:
    case Type::INT8:
    case Type::UINT8:
      return 1;
    case Type::INT16:
    case Type::UINT16:
    case Type::HALF_FLOAT:
      return 2;
    case Type::INT32:
    case Type::UINT32:
    case Type::FLOAT:
    case Type::DATE32:
    case Type::TIME32:
    case Type::DECIMAL32:
      return 4;
    case Type::INT64:
    case Type::UINT64:
    case Type::DOUBLE:
    case Type::DATE64:
    case Type::TIME64:
    case Type::TIMESTAMP:
    case Type::DURATION:
    case Type::DECIMAL64:
      return 8;
    case Type::DECIMAL128:
      return 16;
    case Type::DECIMAL256:
      return 32;
    case Type::FIXED_SIZE_BINARY:
      return static_cast<const arrow::FixedSizeBinaryType&>(type).byte_width();
    default:
      return 0;
  }
}

void AppendEscaped(std::string_view raw, std::string* out) {
  const size_t at = out->size();
  out->resize(at + raw.size() + CountZeros(raw));
  PutEscaped(raw, out->data() + at);
}

void AppendComponent(const arrow::DataType& type, std::string_view value, bool last,
                     std::string* out) {
  if (last || !IsBytesType(type.id())) {
    out->append(value);
    return;
  }
  AppendEscaped(value, out);
  out->append(2, '\0');
}

void AppendValue(const arrow::Scalar& value, std::string* out) {
  LAMINA_DCHECK(value.is_valid);
  const Type::type id = value.type->id();
  if (IsBytesType(id) || id == Type::FIXED_SIZE_BINARY) {
    const auto& bytes = static_cast<const arrow::BaseBinaryScalar&>(value);
    if (bytes.value != nullptr) out->append(bytes.view());
    return;
  }
  const int width = FixedKeyWidth(*value.type);
  LAMINA_CHECK(width > 0);
  const size_t at = out->size();
  out->resize(at + static_cast<size_t>(width));
  char* to = out->data() + at;
  const std::string_view bits =
      static_cast<const arrow::internal::PrimitiveScalarBase&>(value).view();
  if (id == Type::DECIMAL128 || id == Type::DECIMAL256) {
    StoreDecimal(reinterpret_cast<const uint8_t*>(bits.data()), width, to);
  } else if (id == Type::BOOL) {
    *to = static_cast<const arrow::BooleanScalar&>(value).value ? 1 : 0;
  } else {
    const bool number = VisitNumber(id, [&](auto form) {
      using U = typename decltype(form)::Bits;
      using Order = typename decltype(form)::Ordering;
      LAMINA_DCHECK(bits.size() == sizeof(U));
      U v;
      std::memcpy(&v, bits.data(), sizeof(v));
      Store<U>(Order::ToOrdered(v), to);
    });
    LAMINA_CHECK(number);
  }
}

Result<std::vector<std::shared_ptr<arrow::Array>>> DecodeComponents(
    const std::vector<std::shared_ptr<arrow::DataType>>& types,
    const std::vector<std::string>& names, const arrow::BinaryArray& keys) {
  if (keys.null_count() > 0) {
    return MakeError(ErrorCode::kInvalidArgument, "encoded keys contain a null");
  }
  const int64_t rows = keys.length();
  DecodeInput in{keys, std::vector<int32_t>(static_cast<size_t>(rows), 0)};
  std::vector<std::shared_ptr<arrow::Array>> out;
  out.reserve(types.size());
  for (size_t c = 0; c < types.size(); ++c) {
    const bool last = c + 1 == types.size();
    switch (types[c]->id()) {
      case Type::STRING:
      case Type::BINARY: {
        ARROW_ASSIGN_OR_RAISE(out.emplace_back(),
                              DecodeBytes<int32_t>(types[c], names[c], last, &in));
        break;
      }
      case Type::LARGE_STRING:
      case Type::LARGE_BINARY: {
        ARROW_ASSIGN_OR_RAISE(out.emplace_back(),
                              DecodeBytes<int64_t>(types[c], names[c], last, &in));
        break;
      }
      default: {
        ARROW_ASSIGN_OR_RAISE(out.emplace_back(), DecodeFixed(types[c], names[c], &in));
      }
    }
  }
  for (int64_t i = 0; i < rows; ++i) {
    if (!in.Rest(i).empty()) return BadKey(names.back(), i, "bytes left over");
  }
  return out;
}

}  // namespace internal

KeyRange KeyRange::Point(std::string_view key) {
  KeyRange range;
  range.from = key;
  range.to = key;
  range.to.push_back('\0');
  range.unbounded_to = false;
  return range;
}

KeyRange KeyRange::Prefix(std::string_view prefix) {
  KeyRange range;
  range.from = prefix;
  // The first string after all that start with the prefix: its last byte below FF, raised. None
  // when all are FF.
  while (!prefix.empty() && prefix.back() == '\xFF') prefix.remove_suffix(1);
  if (prefix.empty()) return range;
  range.to = prefix;
  range.to.back() = static_cast<char>(static_cast<unsigned char>(range.to.back()) + 1);
  range.unbounded_to = false;
  return range;
}

KeyCodec::KeyCodec(const TableSchema& table) {
  for (ColumnId id : table.key) {
    const Column* column = table.FindColumn(id);
    LAMINA_CHECK(column != nullptr);
    LAMINA_CHECK(internal::IsOrdered(*column->type));
    columns_.push_back(*column);
  }
  LAMINA_CHECK(!columns_.empty());
}

Result<std::shared_ptr<arrow::BinaryArray>> KeyCodec::Encode(
    const arrow::RecordBatch& batch) const {
  std::vector<std::shared_ptr<arrow::Array>> arrays;
  arrays.reserve(columns_.size());
  for (const Column& column : columns_) {
    auto array = batch.GetColumnByName(column.name);
    if (array == nullptr) {
      return MakeError(ErrorCode::kInvalidArgument,
                       fmt::format("the batch lacks a key column: column={}", column.name));
    }
    if (!array->type()->Equals(*column.type)) {
      return MakeError(
          ErrorCode::kInvalidArgument,
          fmt::format("a key column has the wrong type: column={} expected={} actual={}",
                      column.name, column.type->ToString(), array->type()->ToString()));
    }
    if (array->null_count() > 0) {
      int64_t row = 0;
      while (!array->IsNull(row)) ++row;
      return MakeError(
          ErrorCode::kInvalidArgument,
          fmt::format("a key column must not be null: column={} row={}", column.name, row));
    }
    arrays.push_back(std::move(array));
  }
  if (arrays.size() > 1) return EncodeSeveral(arrays, batch.num_rows());
  const arrow::Array& only = *arrays.front();
  if (internal::IsBytesType(only.type_id())) return EncodeOneBytes(only);
  return EncodeOneFixed(only, internal::FixedKeyWidth(*only.type()));
}

namespace {

// The components of the first values.size() columns; the column after the last is the end of the
// key or not.
Result<std::string> EncodeLeading(const std::vector<Column>& columns,
                                  const std::vector<std::shared_ptr<arrow::Scalar>>& values) {
  std::string key;
  for (size_t c = 0; c < values.size(); ++c) {
    const Column& column = columns[c];
    ARROW_ASSIGN_OR_RAISE(auto value, internal::CastConstant(values[c], column.type, column.name));
    if (!value->is_valid) {
      return MakeError(ErrorCode::kInvalidArgument,
                       fmt::format("a key must not be null: column={}", column.name));
    }
    if (c + 1 == columns.size() || !internal::IsBytesType(column.type->id())) {
      internal::AppendValue(*value, &key);
    } else {
      internal::AppendComponent(
          *column.type, static_cast<const arrow::BaseBinaryScalar&>(*value).view(), false, &key);
    }
  }
  if (key.size() > static_cast<size_t>(kMaxKeyBytes)) return TooLong(0, key.size());
  return key;
}

}  // namespace

Result<std::string> KeyCodec::EncodeScalars(
    const std::vector<std::shared_ptr<arrow::Scalar>>& values) const {
  if (values.size() != columns_.size()) {
    return MakeError(ErrorCode::kInvalidArgument,
                     fmt::format("wrong number of key values: expected={} actual={}",
                                 columns_.size(), values.size()),
                     "give one value for each key column, in the declared order");
  }
  return EncodeLeading(columns_, values);
}

Result<KeyRange> KeyCodec::PrefixRange(
    const std::vector<std::shared_ptr<arrow::Scalar>>& values) const {
  if (values.empty() || values.size() > columns_.size()) {
    return MakeError(
        ErrorCode::kInvalidArgument,
        fmt::format("wrong number of key values for a prefix: expected=1..{} actual={}",
                    columns_.size(), values.size()));
  }
  ARROW_ASSIGN_OR_RAISE(const std::string prefix, EncodeLeading(columns_, values));
  return values.size() == columns_.size() ? KeyRange::Point(prefix) : KeyRange::Prefix(prefix);
}

Result<std::vector<std::shared_ptr<arrow::Array>>> KeyCodec::Decode(
    const arrow::BinaryArray& keys) const {
  std::vector<std::shared_ptr<arrow::DataType>> types;
  std::vector<std::string> names;
  for (const Column& column : columns_) {
    types.push_back(column.type);
    names.push_back(column.name);
  }
  return internal::DecodeComponents(types, names, keys);
}

Result<std::vector<std::shared_ptr<arrow::Array>>> KeyCodec::Decode(
    const std::vector<std::string_view>& keys) const {
  ARROW_ASSIGN_OR_RAISE(auto array, ToBinary(keys));
  return Decode(*array);
}

Result<std::optional<std::string>> EncodeValue(const arrow::Scalar& value) {
  if (!value.is_valid) return std::optional<std::string>();
  if (!internal::IsOrdered(*value.type)) {
    return MakeError(ErrorCode::kInvalidArgument,
                     fmt::format("a type without an order: type={}", value.type->ToString()));
  }
  std::string out;
  internal::AppendValue(value, &out);
  return std::optional<std::string>(std::move(out));
}

Result<std::shared_ptr<arrow::Scalar>> DecodeValue(std::string_view bytes,
                                                   const std::shared_ptr<arrow::DataType>& type) {
  if (!internal::IsOrdered(*type)) {
    return MakeError(ErrorCode::kInvalidArgument,
                     fmt::format("a type without an order: type={}", type->ToString()));
  }
  ARROW_ASSIGN_OR_RAISE(auto array, ToBinary({bytes}));
  ARROW_ASSIGN_OR_RAISE(auto columns, internal::DecodeComponents({type}, {"value"}, *array));
  return columns.front()->GetScalar(0);
}

uint64_t HashKey(std::string_view encoded_key) {
  return XXH64(encoded_key.data(), encoded_key.size(), 0);
}

}  // namespace lamina::catalog
