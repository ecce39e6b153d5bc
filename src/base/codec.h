// Bytes at rest: little-endian integers, varints, and tagged messages in protobuf's wire format.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lamina/error.h"

namespace lamina::base {

static_assert(std::endian::native == std::endian::little,
              "fixed-width fields are copied as they lie in memory");

// ---- Raw stores and loads; `p` needs no alignment ----

inline void StoreFixed32(char* p, uint32_t v) { std::memcpy(p, &v, sizeof(v)); }
inline void StoreFixed64(char* p, uint64_t v) { std::memcpy(p, &v, sizeof(v)); }
inline uint16_t LoadFixed16(const char* p) {
  uint16_t v;
  std::memcpy(&v, p, sizeof(v));
  return v;
}
inline uint32_t LoadFixed32(const char* p) {
  uint32_t v;
  std::memcpy(&v, p, sizeof(v));
  return v;
}
inline uint64_t LoadFixed64(const char* p) {
  uint64_t v;
  std::memcpy(&v, p, sizeof(v));
  return v;
}

// ---- Appending ----

inline void PutFixed16(std::string* out, uint16_t v) {
  out->append(reinterpret_cast<const char*>(&v), sizeof(v));
}
inline void PutFixed32(std::string* out, uint32_t v) {
  out->append(reinterpret_cast<const char*>(&v), sizeof(v));
}
inline void PutFixed64(std::string* out, uint64_t v) {
  out->append(reinterpret_cast<const char*>(&v), sizeof(v));
}
/// LEB128: seven bits a byte, low ones first; at most 5 and 10 bytes.
void PutVarint64(std::string* out, uint64_t v);
inline void PutVarint32(std::string* out, uint32_t v) { PutVarint64(out, v); }
/// Zigzag: small magnitudes of either sign stay short.
constexpr uint64_t ZigzagEncode(int64_t v) {
  return (static_cast<uint64_t>(v) << 1) ^ static_cast<uint64_t>(v >> 63);
}
constexpr int64_t ZigzagDecode(uint64_t v) {
  return static_cast<int64_t>((v >> 1) ^ (~(v & 1) + 1));
}
inline void PutSigned64(std::string* out, int64_t v) { PutVarint64(out, ZigzagEncode(v)); }
/// Varint length, then the bytes.
void PutLengthPrefixed(std::string* out, std::string_view bytes);
/// Bytes that PutVarint64 would append.
int VarintLength(uint64_t v);

// ---- Reading ----

/// Reads from the front of borrowed bytes. Every read is checked; after the first failure all reads
/// fail and leave their output alone, so a run of reads needs one test at its end. Views returned
/// live as long as the input. Any bytes are safe.
class Decoder {
 public:
  explicit Decoder(std::string_view input)
      : begin_(input.data()), p_(input.data()), end_(input.data() + input.size()) {}

  bool ReadByte(uint8_t* v);
  bool ReadFixed16(uint16_t* v);
  bool ReadFixed32(uint32_t* v);
  bool ReadFixed64(uint64_t* v);
  bool ReadVarint32(uint32_t* v);  ///< Fails on more than 32 bits.
  bool ReadVarint64(uint64_t* v);  ///< Fails on more than 64 bits.
  bool ReadSigned64(int64_t* v);   ///< Zigzag.
  bool ReadBytes(size_t size, std::string_view* v);
  bool ReadLengthPrefixed(std::string_view* v);
  bool Skip(size_t size);

  bool ok() const { return !failed_; }
  bool done() const { return p_ == end_; }
  size_t offset() const { return static_cast<size_t>(p_ - begin_); }
  size_t remaining() const { return static_cast<size_t>(end_ - p_); }
  std::string_view rest() const { return {p_, remaining()}; }
  /// Makes later reads fail: for values that decode but make no sense.
  void Fail() { failed_ = true; }
  /// OK, or kCorruption: "cannot decode <what>: offset=<where the failed read began> size=…".
  Status status(std::string_view what) const;
  /// As status(), and kCorruption too when bytes are left over.
  Status Finish(std::string_view what) const;

 private:
  const char* begin_;
  const char* p_;
  const char* end_;
  bool failed_ = false;
};

// ---- Tagged messages ----

/// Protobuf's wire types (groups are refused).
enum class WireType : uint8_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

/// Appends tagged fields to a string, in the order of the calls. Field numbers are 1 … 2^29-1. The
/// bytes are those protobuf would write for uint64/bool/enum (AddVarint), sint64 (AddSigned),
/// fixed64, fixed32, double, bytes/string, and submessages. Source:
/// protobuf.dev/programming-guides/encoding.
class MessageWriter {
 public:
  /// Borrows `out`.
  explicit MessageWriter(std::string* out) : out_(out) {}

  void AddVarint(uint32_t field, uint64_t v);
  void AddBool(uint32_t field, bool v) { AddVarint(field, v ? 1 : 0); }
  void AddSigned(uint32_t field, int64_t v) { AddVarint(field, ZigzagEncode(v)); }
  void AddFixed32(uint32_t field, uint32_t v);
  void AddFixed64(uint32_t field, uint64_t v);
  void AddDouble(uint32_t field, double v) { AddFixed64(field, std::bit_cast<uint64_t>(v)); }
  void AddBytes(uint32_t field, std::string_view v);
  /// `encoded` is what another MessageWriter wrote.
  void AddMessage(uint32_t field, std::string_view encoded) { AddBytes(field, encoded); }
  /// Runs `fill(MessageWriter&)` on a fresh message and adds it.
  template <typename Fill>
  void AddMessageWith(uint32_t field, Fill&& fill) {
    std::string encoded;
    MessageWriter sub(&encoded);
    fill(sub);
    AddBytes(field, encoded);
  }
  /// A packed repeated uint64; nothing when empty.
  void AddPackedVarints(uint32_t field, std::span<const uint64_t> values);
  /// A packed repeated sint64; nothing when empty.
  void AddPackedSigned(uint32_t field, std::span<const int64_t> values);

 private:
  void AddTag(uint32_t field, WireType type);
  std::string* out_;
};

/// Walks the fields of a message:
///
///   MessageReader reader(bytes);
///   while (reader.Next()) {
///     switch (reader.field()) {
///       case 1: reader.GetVarint(&epoch); break;
///       case 2: reader.GetString(&name); break;   // any other field is skipped by the next Next()
///     }
///   }
///   ARROW_RETURN_NOT_OK(reader.status("ref"));
///
/// A Get of the wrong wire type, like malformed bytes, ends the walk and shows in status(). Views
/// live as long as the input.
class MessageReader {
 public:
  MessageReader() : MessageReader(std::string_view{}) {}
  explicit MessageReader(std::string_view input) : decoder_(input) {}

  /// Moves to the next field; false at the end or after an error.
  bool Next();
  uint32_t field() const { return field_; }
  WireType type() const { return type_; }

  // Each reads the current field's value and may be called more than once.
  bool GetVarint(uint64_t* v);
  bool GetVarint32(uint32_t* v);  ///< Fails on a value of more than 32 bits.
  bool GetBool(bool* v);
  bool GetSigned(int64_t* v);
  bool GetFixed32(uint32_t* v);
  bool GetFixed64(uint64_t* v);
  bool GetDouble(double* v);
  bool GetBytes(std::string_view* v);
  bool GetString(std::string* v);
  bool GetMessage(MessageReader* v);
  /// Appends; takes a packed field and a single unpacked one.
  bool GetVarints(std::vector<uint64_t>* v);
  bool GetSigneds(std::vector<int64_t>* v);

  bool ok() const { return decoder_.ok(); }
  /// For values that decode but make no sense.
  void Fail() { decoder_.Fail(); }
  /// OK, or kCorruption naming `what`, the offset and the field.
  Status status(std::string_view what) const;

 private:
  bool Expect(WireType type);

  Decoder decoder_;
  uint32_t field_ = 0;
  WireType type_ = WireType::kVarint;
  uint64_t number_ = 0;     // value of a varint or fixed field
  std::string_view bytes_;  // value of a bytes field
};

}  // namespace lamina::base
