#include "base/codec.h"

#include "base/check.h"

namespace lamina::base {

namespace {

constexpr uint32_t kFieldMax = (1u << 29) - 1;

}  // namespace

void PutVarint64(std::string* out, uint64_t v) {
  char buffer[10];
  size_t n = 0;
  while (v >= 0x80) {
    buffer[n++] = static_cast<char>(v | 0x80);
    v >>= 7;
  }
  buffer[n++] = static_cast<char>(v);
  out->append(buffer, n);
}

void PutLengthPrefixed(std::string* out, std::string_view bytes) {
  PutVarint64(out, bytes.size());
  out->append(bytes);
}

int VarintLength(uint64_t v) { return v == 0 ? 1 : (static_cast<int>(std::bit_width(v)) + 6) / 7; }

// ---- Decoder ----

bool Decoder::ReadBytes(size_t size, std::string_view* v) {
  if (failed_ || size > remaining()) {
    failed_ = true;
    return false;
  }
  *v = std::string_view(p_, size);
  p_ += size;
  return true;
}

bool Decoder::Skip(size_t size) {
  std::string_view ignored;
  return ReadBytes(size, &ignored);
}

bool Decoder::ReadByte(uint8_t* v) {
  std::string_view raw;
  if (!ReadBytes(1, &raw)) return false;
  *v = static_cast<uint8_t>(raw[0]);
  return true;
}

bool Decoder::ReadFixed16(uint16_t* v) {
  std::string_view raw;
  if (!ReadBytes(sizeof(*v), &raw)) return false;
  *v = LoadFixed16(raw.data());
  return true;
}

bool Decoder::ReadFixed32(uint32_t* v) {
  std::string_view raw;
  if (!ReadBytes(sizeof(*v), &raw)) return false;
  *v = LoadFixed32(raw.data());
  return true;
}

bool Decoder::ReadFixed64(uint64_t* v) {
  std::string_view raw;
  if (!ReadBytes(sizeof(*v), &raw)) return false;
  *v = LoadFixed64(raw.data());
  return true;
}

bool Decoder::ReadVarint64(uint64_t* v) {
  if (failed_) return false;
  uint64_t result = 0;
  const char* p = p_;
  for (int shift = 0; shift < 70 && p != end_; shift += 7) {
    const auto byte = static_cast<uint8_t>(*p++);
    // The tenth byte holds bit 63 alone.
    if (shift == 63 && byte > 1) break;
    result |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) {
      p_ = p;
      *v = result;
      return true;
    }
  }
  failed_ = true;
  return false;
}

bool Decoder::ReadVarint32(uint32_t* v) {
  const char* const before = p_;
  uint64_t wide = 0;
  if (!ReadVarint64(&wide)) return false;
  if (wide > ~uint32_t{0}) {
    p_ = before;
    failed_ = true;
    return false;
  }
  *v = static_cast<uint32_t>(wide);
  return true;
}

bool Decoder::ReadSigned64(int64_t* v) {
  uint64_t raw = 0;
  if (!ReadVarint64(&raw)) return false;
  *v = ZigzagDecode(raw);
  return true;
}

bool Decoder::ReadLengthPrefixed(std::string_view* v) {
  const char* const before = p_;
  uint64_t size = 0;
  if (!ReadVarint64(&size)) return false;
  if (size > remaining()) {
    p_ = before;
    failed_ = true;
    return false;
  }
  return ReadBytes(static_cast<size_t>(size), v);
}

Status Decoder::status(std::string_view what) const {
  if (!failed_) return Status::OK();
  return MakeError(ErrorCode::kCorruption, "cannot decode " + std::string(what) +
                                               ": offset=" + std::to_string(offset()) +
                                               " size=" + std::to_string(end_ - begin_));
}

Status Decoder::Finish(std::string_view what) const {
  ARROW_RETURN_NOT_OK(status(what));
  if (done()) return Status::OK();
  return MakeError(ErrorCode::kCorruption, "bytes left over after " + std::string(what) +
                                               ": offset=" + std::to_string(offset()) +
                                               " size=" + std::to_string(end_ - begin_));
}

// ---- MessageWriter ----

void MessageWriter::AddTag(uint32_t field, WireType type) {
  LAMINA_DCHECK(field >= 1 && field <= kFieldMax);
  PutVarint64(out_, (static_cast<uint64_t>(field) << 3) | static_cast<uint64_t>(type));
}

void MessageWriter::AddVarint(uint32_t field, uint64_t v) {
  AddTag(field, WireType::kVarint);
  PutVarint64(out_, v);
}

void MessageWriter::AddFixed32(uint32_t field, uint32_t v) {
  AddTag(field, WireType::kFixed32);
  PutFixed32(out_, v);
}

void MessageWriter::AddFixed64(uint32_t field, uint64_t v) {
  AddTag(field, WireType::kFixed64);
  PutFixed64(out_, v);
}

void MessageWriter::AddBytes(uint32_t field, std::string_view v) {
  AddTag(field, WireType::kBytes);
  PutLengthPrefixed(out_, v);
}

void MessageWriter::AddPackedVarints(uint32_t field, std::span<const uint64_t> values) {
  if (values.empty()) return;
  std::string packed;
  for (const uint64_t v : values) PutVarint64(&packed, v);
  AddBytes(field, packed);
}

void MessageWriter::AddPackedSigned(uint32_t field, std::span<const int64_t> values) {
  if (values.empty()) return;
  std::string packed;
  for (const int64_t v : values) PutSigned64(&packed, v);
  AddBytes(field, packed);
}

// ---- MessageReader ----

bool MessageReader::Next() {
  if (!decoder_.ok() || decoder_.done()) return false;
  uint64_t tag = 0;
  if (!decoder_.ReadVarint64(&tag)) return false;
  if ((tag >> 3) == 0 || (tag >> 3) > kFieldMax) {
    decoder_.Fail();
    return false;
  }
  field_ = static_cast<uint32_t>(tag >> 3);
  switch (tag & 7) {
    case static_cast<uint64_t>(WireType::kVarint):
      type_ = WireType::kVarint;
      return decoder_.ReadVarint64(&number_);
    case static_cast<uint64_t>(WireType::kFixed64):
      type_ = WireType::kFixed64;
      return decoder_.ReadFixed64(&number_);
    case static_cast<uint64_t>(WireType::kBytes):
      type_ = WireType::kBytes;
      return decoder_.ReadLengthPrefixed(&bytes_);
    case static_cast<uint64_t>(WireType::kFixed32): {
      type_ = WireType::kFixed32;
      uint32_t narrow = 0;
      if (!decoder_.ReadFixed32(&narrow)) return false;
      number_ = narrow;
      return true;
    }
    default:
      decoder_.Fail();
      return false;
  }
}

bool MessageReader::Expect(WireType type) {
  if (decoder_.ok() && field_ != 0 && type_ == type) return true;
  decoder_.Fail();
  return false;
}

bool MessageReader::GetVarint(uint64_t* v) {
  if (!Expect(WireType::kVarint)) return false;
  *v = number_;
  return true;
}

bool MessageReader::GetVarint32(uint32_t* v) {
  if (!Expect(WireType::kVarint)) return false;
  if (number_ > ~uint32_t{0}) {
    decoder_.Fail();
    return false;
  }
  *v = static_cast<uint32_t>(number_);
  return true;
}

bool MessageReader::GetBool(bool* v) {
  if (!Expect(WireType::kVarint)) return false;
  *v = number_ != 0;
  return true;
}

bool MessageReader::GetSigned(int64_t* v) {
  if (!Expect(WireType::kVarint)) return false;
  *v = ZigzagDecode(number_);
  return true;
}

bool MessageReader::GetFixed32(uint32_t* v) {
  if (!Expect(WireType::kFixed32)) return false;
  *v = static_cast<uint32_t>(number_);
  return true;
}

bool MessageReader::GetFixed64(uint64_t* v) {
  if (!Expect(WireType::kFixed64)) return false;
  *v = number_;
  return true;
}

bool MessageReader::GetDouble(double* v) {
  if (!Expect(WireType::kFixed64)) return false;
  *v = std::bit_cast<double>(number_);
  return true;
}

bool MessageReader::GetBytes(std::string_view* v) {
  if (!Expect(WireType::kBytes)) return false;
  *v = bytes_;
  return true;
}

bool MessageReader::GetString(std::string* v) {
  if (!Expect(WireType::kBytes)) return false;
  v->assign(bytes_);
  return true;
}

bool MessageReader::GetMessage(MessageReader* v) {
  if (!Expect(WireType::kBytes)) return false;
  *v = MessageReader(bytes_);
  return true;
}

bool MessageReader::GetVarints(std::vector<uint64_t>* v) {
  if (decoder_.ok() && field_ != 0 && type_ == WireType::kVarint) {
    v->push_back(number_);
    return true;
  }
  if (!Expect(WireType::kBytes)) return false;
  Decoder packed(bytes_);
  uint64_t number = 0;
  while (!packed.done() && packed.ReadVarint64(&number)) v->push_back(number);
  if (!packed.ok()) decoder_.Fail();
  return packed.ok();
}

bool MessageReader::GetSigneds(std::vector<int64_t>* v) {
  std::vector<uint64_t> raw;
  if (!GetVarints(&raw)) return false;
  v->reserve(v->size() + raw.size());
  for (const uint64_t number : raw) v->push_back(ZigzagDecode(number));
  return true;
}

Status MessageReader::status(std::string_view what) const {
  if (decoder_.ok()) return Status::OK();
  return decoder_.status(std::string(what) + " field=" + std::to_string(field_));
}

}  // namespace lamina::base
