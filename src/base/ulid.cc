#include "base/ulid.h"

#include "base/check.h"

namespace lamina::base {

namespace {

constexpr char kAlphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
constexpr size_t kTextSize = 26;

// The value of one character, or -1. Crockford's stand-ins (I and L for 1, O for 0) are refused:
// one ULID, one spelling of a file name.
int DigitOf(char c) {
  if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  for (int i = 0; i < 32; ++i) {
    if (kAlphabet[i] == c) return i;
  }
  return -1;
}

}  // namespace

int64_t Ulid::timestamp_ms() const {
  int64_t ms = 0;
  for (int i = 0; i < 6; ++i) ms = (ms << 8) | bytes[i];
  return ms;
}

std::string Ulid::ToString() const {
  unsigned __int128 value = 0;
  for (const uint8_t byte : bytes) value = (value << 8) | byte;
  std::string out(kTextSize, '0');
  for (size_t i = kTextSize; i-- > 0;) {
    out[i] = kAlphabet[static_cast<uint32_t>(value) & 31];
    value >>= 5;
  }
  return out;
}

Result<Ulid> Ulid::Parse(std::string_view text) {
  if (text.size() != kTextSize) {
    return MakeError(ErrorCode::kInvalidArgument,
                     "not a ULID: text='" + std::string(text.substr(0, 64)) +
                         "' length=" + std::to_string(text.size()) + " expected=26");
  }
  unsigned __int128 value = 0;
  for (size_t i = 0; i < kTextSize; ++i) {
    const int digit = DigitOf(text[i]);
    // 26 digits hold 130 bits: the first one has room for three.
    if (digit < 0 || (i == 0 && digit > 7)) {
      return MakeError(
          ErrorCode::kInvalidArgument,
          "not a ULID: text='" + std::string(text) + "' bad_character_index=" + std::to_string(i));
    }
    value = (value << 5) | static_cast<unsigned>(digit);
  }
  Ulid ulid;
  for (size_t i = 16; i-- > 0;) {
    ulid.bytes[i] = static_cast<uint8_t>(value);
    value >>= 8;
  }
  return ulid;
}

Result<Ulid> Ulid::FromBytes(std::string_view raw) {
  if (raw.size() != 16) {
    return MakeError(ErrorCode::kInvalidArgument,
                     "not a ULID: bytes=" + std::to_string(raw.size()) + " expected=16");
  }
  Ulid ulid;
  std::memcpy(ulid.bytes.data(), raw.data(), 16);
  return ulid;
}

Ulid UlidGenerator::Next() {
  // Asked before the lock is taken: a clock is somebody else's code.
  const int64_t now = clock_->NowMicros() / 1000;
  const int64_t now_ms = now < 0 ? 0 : now;
  MutexLock lock(&mu_);
  if (now_ms > last_.timestamp_ms()) {
    for (int i = 0; i < 6; ++i) last_.bytes[i] = static_cast<uint8_t>(now_ms >> (40 - 8 * i));
    random_->FillBytes(last_.bytes.data() + 6, 10);
    // Leaves 2^79 steps before the random part carries into the time.
    last_.bytes[6] &= 0x7f;
    return last_;
  }
  // Same millisecond, or the clock stepped back, or a floor from the future: step up by a random 1
  // … 2^32, so that two generators restored to one floor still part. A carry runs into the time,
  // which keeps the order.
  uint64_t carry = 1 + random_->Uniform(uint64_t{1} << 32);
  for (size_t i = 16; i-- > 0 && carry > 0;) {
    carry += last_.bytes[i];
    last_.bytes[i] = static_cast<uint8_t>(carry);
    carry >>= 8;
  }
  LAMINA_CHECK_MSG(carry == 0, "ULIDs are used up: a floor near the maximum was restored");
  return last_;
}

void UlidGenerator::Restore(const Ulid& floor) {
  MutexLock lock(&mu_);
  if (floor > last_) last_ = floor;
}

Ulid UlidGenerator::last() const {
  MutexLock lock(&mu_);
  return last_;
}

}  // namespace lamina::base
