#include "lamina/time.h"

#include <cctype>
#include <charconv>

namespace lamina {

namespace {

constexpr int64_t kMicrosPerSecond = 1'000'000;
constexpr int64_t kMicrosPerDay = 86'400 * kMicrosPerSecond;
constexpr int64_t kMin = std::numeric_limits<int64_t>::min();
constexpr int64_t kMax = std::numeric_limits<int64_t>::max();

// Days since 1970-01-01 of a date of the proleptic Gregorian calendar, and back.
// Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms". std::chrono::year stops at
// 32767; int64 microseconds reach the year 294247.
int64_t DaysFromCivil(int64_t y, unsigned m, unsigned d) {
  y -= m <= 2;
  const int64_t era = (y >= 0 ? y : y - 399) / 400;
  const auto yoe = static_cast<unsigned>(y - era * 400);
  const unsigned doy = (153 * (m > 2 ? m - 3 : m + 9) + 2) / 5 + d - 1;
  const unsigned doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
  return era * 146097 + static_cast<int64_t>(doe) - 719468;
}

void CivilFromDays(int64_t days, int64_t* year, unsigned* month, unsigned* day) {
  days += 719468;
  const int64_t era = (days >= 0 ? days : days - 146096) / 146097;
  const auto doe = static_cast<unsigned>(days - era * 146097);
  const unsigned yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
  const unsigned doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
  const unsigned mp = (5 * doy + 2) / 153;
  *day = doy - (153 * mp + 2) / 5 + 1;
  *month = mp < 10 ? mp + 3 : mp - 9;
  *year = static_cast<int64_t>(yoe) + era * 400 + (*month <= 2);
}

unsigned DaysInMonth(int64_t year, unsigned month) {
  constexpr unsigned kDays[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  const bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
  return month == 2 && leap ? 29 : kDays[month - 1];
}

// A cursor over the text; every method says whether it took something.
struct Scanner {
  std::string_view rest;

  bool Take(char c) {
    if (rest.empty() || rest.front() != c) return false;
    rest.remove_prefix(1);
    return true;
  }
  // `digits_min` to `digits_max` decimal digits.
  bool Number(size_t digits_min, size_t digits_max, int64_t* v) {
    size_t n = 0;
    int64_t value = 0;
    while (n < rest.size() && n < digits_max && rest[n] >= '0' && rest[n] <= '9')
      value = value * 10 + (rest[n++] - '0');
    if (n < digits_min) return false;
    rest.remove_prefix(n);
    *v = value;
    return true;
  }
  bool NextIsDigit() const { return !rest.empty() && rest.front() >= '0' && rest.front() <= '9'; }
};

std::string_view Trim(std::string_view text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.front())))
    text.remove_prefix(1);
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back())))
    text.remove_suffix(1);
  return text;
}

bool EqualsIgnoringCase(std::string_view a, std::string_view lower) {
  if (a.size() != lower.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (std::tolower(static_cast<unsigned char>(a[i])) != lower[i]) return false;
  }
  return true;
}

// "[-+]YYYY-MM-DD"; years of four to six digits.
bool ParseDate(Scanner* in, int64_t* days) {
  const bool negative = in->Take('-');
  if (!negative) in->Take('+');
  int64_t year = 0;
  int64_t month = 0;
  int64_t day = 0;
  if (!in->Number(4, 6, &year) || !in->Take('-') || !in->Number(2, 2, &month) || !in->Take('-') ||
      !in->Number(2, 2, &day)) {
    return false;
  }
  if (negative) year = -year;
  if (month < 1 || month > 12 || day < 1 || day > DaysInMonth(year, static_cast<unsigned>(month)))
    return false;
  *days = DaysFromCivil(year, static_cast<unsigned>(month), static_cast<unsigned>(day));
  return true;
}

// "HH:MM[:SS[.f…]]"; digits behind the sixth are cut off; 24:00 is the day's end.
bool ParseTimeOfDay(Scanner* in, int64_t* micros) {
  int64_t hour = 0;
  int64_t minute = 0;
  int64_t second = 0;
  int64_t fraction = 0;
  if (!in->Number(2, 2, &hour) || !in->Take(':') || !in->Number(2, 2, &minute)) return false;
  if (in->Take(':')) {
    if (!in->Number(2, 2, &second)) return false;
    if (in->Take('.') || in->Take(',')) {
      const size_t before = in->rest.size();
      if (!in->Number(1, 6, &fraction)) return false;
      for (size_t digits = before - in->rest.size(); digits < 6; ++digits) fraction *= 10;
      while (in->NextIsDigit()) in->rest.remove_prefix(1);
    }
  }
  if (hour > 24 || minute > 59 || second > 59 ||
      (hour == 24 && (minute != 0 || second != 0 || fraction != 0)))
    return false;
  *micros = ((hour * 60 + minute) * 60 + second) * kMicrosPerSecond + fraction;
  return true;
}

// "", "Z", " UTC", "+HH", "+HHMM" or "+HH:MM": minutes east of UTC.
bool ParseZone(Scanner* in, int64_t* minutes) {
  *minutes = 0;
  while (in->Take(' ')) {
  }
  if (in->rest.empty() || EqualsIgnoringCase(in->rest, "z") ||
      EqualsIgnoringCase(in->rest, "utc")) {
    in->rest = {};
    return true;
  }
  const bool west = in->Take('-');
  if (!west && !in->Take('+')) return false;
  int64_t hours = 0;
  int64_t rest = 0;
  if (!in->Number(2, 2, &hours)) return false;
  const bool colon = in->Take(':');
  if ((colon || in->NextIsDigit()) && !in->Number(2, 2, &rest)) return false;
  if (hours > 18 || rest > 59 || !in->rest.empty()) return false;
  *minutes = (hours * 60 + rest) * (west ? -1 : 1);
  return true;
}

void AppendPadded(std::string* out, int64_t v, size_t width) {
  const std::string digits = std::to_string(v);
  if (digits.size() < width) out->append(width - digits.size(), '0');
  out->append(digits);
}

}  // namespace

std::string FormatTimestamp(int64_t micros) {
  if (micros == kMin) return "-infinity";
  if (micros == kMax) return "infinity";
  int64_t days = micros / kMicrosPerDay;
  int64_t rest = micros % kMicrosPerDay;
  if (rest < 0) {
    rest += kMicrosPerDay;
    --days;
  }
  int64_t year = 0;
  unsigned month = 0;
  unsigned day = 0;
  CivilFromDays(days, &year, &month, &day);
  std::string out;
  if (year < 0) out += '-';
  AppendPadded(&out, year < 0 ? -year : year, 4);
  out += '-';
  AppendPadded(&out, month, 2);
  out += '-';
  AppendPadded(&out, day, 2);
  out += ' ';
  AppendPadded(&out, rest / (3600 * kMicrosPerSecond), 2);
  out += ':';
  AppendPadded(&out, rest / (60 * kMicrosPerSecond) % 60, 2);
  out += ':';
  AppendPadded(&out, rest / kMicrosPerSecond % 60, 2);
  out += '.';
  AppendPadded(&out, rest % kMicrosPerSecond, 6);
  out += 'Z';
  return out;
}

Result<int64_t> ParseTimestamp(std::string_view text) {
  const auto refuse = [&](const char* why) {
    return MakeError(
        ErrorCode::kInvalidArgument,
        std::string("not a timestamp: text='") + std::string(text.substr(0, 100)) +
            "' reason=" + why,
        "write 2013-02-08 17:00:00.25+01:00, infinity, -infinity or microseconds since 1970");
  };
  const std::string_view trimmed = Trim(text);
  if (EqualsIgnoringCase(trimmed, "infinity") || EqualsIgnoringCase(trimmed, "+infinity"))
    return kMax;
  if (EqualsIgnoringCase(trimmed, "-infinity")) return kMin;

  int64_t integer = 0;
  std::string_view digits = trimmed;
  if (digits.size() > 1 && digits.front() == '+' && digits[1] != '-') digits.remove_prefix(1);
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), integer);
  if (!digits.empty() && end == digits.data() + digits.size()) {
    if (error == std::errc()) return integer;
    if (error == std::errc::result_out_of_range) return refuse("out of range");
  }

  Scanner in{trimmed};
  int64_t days = 0;
  int64_t of_day = 0;
  int64_t zone_minutes = 0;
  if (!ParseDate(&in, &days)) return refuse("bad date");
  if (in.Take('T') || in.Take('t')) {
    if (!ParseTimeOfDay(&in, &of_day)) return refuse("bad time of day");
  } else {
    Scanner ahead = in;
    while (ahead.Take(' ')) {
    }
    if (ahead.NextIsDigit()) {
      in = ahead;
      if (!ParseTimeOfDay(&in, &of_day)) return refuse("bad time of day");
    }
  }
  if (!ParseZone(&in, &zone_minutes)) return refuse("bad zone");

  // 128 bits, because a day before the first moment plus a time of day may lie inside the range
  // again.
  const __int128 micros =
      static_cast<__int128>(days) * kMicrosPerDay + of_day - zone_minutes * 60 * kMicrosPerSecond;
  if (micros <= kMin || micros >= kMax) return refuse("out of range");
  return static_cast<int64_t>(micros);
}

}  // namespace lamina
