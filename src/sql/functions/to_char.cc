// to_char as PostgreSQL has it: times and numbers by a picture. to_char(x) is x as text.
//
// Of times: YYYY YYY YY Y IYYY Q MM MONTH Month month MON Mon mon WW IW DDD DD D ID DAY Day day DY
// Dy dy HH24 HH12 HH MI SS MS US SSSS AM PM am pm, and FM before a word against its padding. What
// stands in double quotes, and every other character, stays. English names only.
// Of numbers: 9 0 . D , G S MI and FM. A number that does not fit its picture is ###.
#include <algorithm>
#include <array>

#include <duckdb/common/types/date.hpp>
#include <duckdb/common/types/time.hpp>
#include <duckdb/common/types/timestamp.hpp>
#include <duckdb/common/vector_operations/binary_executor.hpp>
#include <duckdb/function/function_binder.hpp>
#include <duckdb/planner/expression/bound_cast_expression.hpp>
#include <fmt/format.h>

#include "sql/functions/functions.h"

namespace lamina::sql {
namespace {

using duckdb::LogicalType;
using duckdb::LogicalTypeId;
using duckdb::string_t;

constexpr std::array<std::string_view, 12> kMonths = {
    "January", "February", "March",     "April",   "May",      "June",
    "July",    "August",   "September", "October", "November", "December"};
constexpr std::array<std::string_view, 7> kDays = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                                   "Thursday", "Friday", "Saturday"};

std::string InCaseOf(std::string_view name, std::string_view picture) {
  std::string out(name);
  const bool upper = std::isupper(static_cast<unsigned char>(picture[1])) != 0;
  const bool first = std::isupper(static_cast<unsigned char>(picture[0])) != 0;
  for (size_t i = 0; i < out.size(); ++i) {
    const auto c = static_cast<unsigned char>(out[i]);
    out[i] = static_cast<char>(upper || (i == 0 && first) ? std::toupper(c) : std::tolower(c));
  }
  return out;
}

class TimePicture {
 public:
  explicit TimePicture(duckdb::timestamp_t time) {
    duckdb::date_t date;
    duckdb::dtime_t of_day;
    duckdb::Timestamp::Convert(time, date, of_day);
    date_ = date;
    duckdb::Date::Convert(date, year_, month_, day_);
    duckdb::Time::Convert(of_day, hour_, minute_, second_, micros_);
  }

  std::string Draw(std::string_view picture) {
    std::string out;
    bool fill = true;
    while (!picture.empty()) {
      if (picture.starts_with("FM") || picture.starts_with("fm")) {
        fill = false;
        picture.remove_prefix(2);
        continue;
      }
      if (picture.front() == '"') {
        const size_t end = std::min(picture.find('"', 1), picture.size());
        out += picture.substr(1, end - 1);
        picture.remove_prefix(std::min(end + 1, picture.size()));
        continue;
      }
      const size_t taken = Word(picture, fill, &out);
      if (taken == 0) {
        out += picture.front();
        picture.remove_prefix(1);
      } else {
        picture.remove_prefix(taken);
        fill = true;
      }
    }
    return out;
  }

 private:
  static bool Begins(std::string_view picture, std::string_view word) {
    return picture.size() >= word.size() &&
           std::equal(word.begin(), word.end(), picture.begin(), [](char a, char b) {
             return a == std::toupper(static_cast<unsigned char>(b));
           });
  }

  /// Bytes of the picture that it took.
  size_t Word(std::string_view p, bool fill, std::string* out) const {
    const auto number = [&](size_t taken, int64_t value, int width) {
      *out += fill ? fmt::format("{:0{}}", value, width) : fmt::format("{}", value);
      return taken;
    };
    const auto name = [&](size_t taken, std::string_view full, size_t shown, size_t width) {
      std::string text = InCaseOf(full.substr(0, shown), p);
      if (fill && text.size() < width) text.resize(width, ' ');
      *out += text;
      return taken;
    };
    const auto day_of_year = duckdb::Date::ExtractDayOfTheYear(date_);
    const auto weekday = duckdb::Date::ExtractISODayOfTheWeek(date_) % 7;  // 0 is Sunday
    const int hour12 = hour_ % 12 == 0 ? 12 : hour_ % 12;
    if (Begins(p, "HH24")) return number(4, hour_, 2);
    if (Begins(p, "HH12")) return number(4, hour12, 2);
    if (Begins(p, "HH")) return number(2, hour12, 2);
    if (Begins(p, "MI")) return number(2, minute_, 2);
    if (Begins(p, "SSSS")) return number(4, (int64_t{hour_} * 60 + minute_) * 60 + second_, 1);
    if (Begins(p, "SS")) return number(2, second_, 2);
    if (Begins(p, "MS")) return number(2, micros_ / 1000, 3);
    if (Begins(p, "US")) return number(2, micros_, 6);
    if (Begins(p, "AM") || Begins(p, "PM")) {
      *out += InCaseOf(hour_ < 12 ? "am" : "pm", p);
      return 2;
    }
    if (Begins(p, "IYYY")) return number(4, duckdb::Date::ExtractISOYearNumber(date_), 4);
    if (Begins(p, "YYYY")) return number(4, year_, 4);
    if (Begins(p, "YYY")) return number(3, year_ % 1000, 3);
    if (Begins(p, "YY")) return number(2, year_ % 100, 2);
    if (Begins(p, "Y")) return number(1, year_ % 10, 1);
    if (Begins(p, "MONTH")) return name(5, kMonths[static_cast<size_t>(month_ - 1)], 16, 9);
    if (Begins(p, "MON")) return name(3, kMonths[static_cast<size_t>(month_ - 1)], 3, 3);
    if (Begins(p, "MM")) return number(2, month_, 2);
    if (Begins(p, "DAY")) return name(3, kDays[static_cast<size_t>(weekday)], 16, 9);
    if (Begins(p, "DY")) return name(2, kDays[static_cast<size_t>(weekday)], 3, 3);
    if (Begins(p, "DDD")) return number(3, day_of_year, 3);
    if (Begins(p, "DD")) return number(2, day_, 2);
    if (Begins(p, "ID")) return number(2, weekday == 0 ? 7 : weekday, 1);
    if (Begins(p, "D")) return number(1, weekday + 1, 1);
    if (Begins(p, "IW")) return number(2, duckdb::Date::ExtractISOWeekNumber(date_), 2);
    if (Begins(p, "WW")) return number(2, (day_of_year - 1) / 7 + 1, 2);
    if (Begins(p, "Q")) return number(1, (month_ - 1) / 3 + 1, 1);
    return 0;
  }

  duckdb::date_t date_;
  int32_t year_ = 0, month_ = 0, day_ = 0, hour_ = 0, minute_ = 0, second_ = 0, micros_ = 0;
};

/// The digits of a number, rounded half away from zero at `decimals`.
struct Digits {
  bool negative = false;
  std::string whole;     ///< Without leading zeros.
  std::string fraction;  ///< Exactly `decimals`.
};
Digits Round(std::string_view number, size_t decimals) {
  Digits out;
  if (number.starts_with('-')) {
    out.negative = true;
    number.remove_prefix(1);
  }
  const size_t point = std::min(number.find('.'), number.size());
  out.whole = std::string(number.substr(0, point));
  out.fraction = point < number.size() ? std::string(number.substr(point + 1)) : "";
  const bool up = out.fraction.size() > decimals && out.fraction[decimals] >= '5';
  out.fraction.resize(decimals, '0');
  if (up) {
    std::string all = out.whole + out.fraction;
    size_t i = all.size();
    while (i > 0 && all[i - 1] == '9') all[--i] = '0';
    if (i == 0) {
      all.insert(all.begin(), '1');
    } else {
      ++all[i - 1];
    }
    out.whole = all.substr(0, all.size() - decimals);
    out.fraction = all.substr(all.size() - decimals);
  }
  out.whole.erase(0, out.whole.find_first_not_of('0'));
  if (out.whole.find_first_not_of('0') == std::string::npos &&
      out.fraction.find_first_not_of('0') == std::string::npos)
    out.negative = false;
  return out;
}

std::string DrawNumber(std::string text, std::string_view picture) {
  bool fill = true;
  if (picture.starts_with("FM") || picture.starts_with("fm")) {
    fill = false;
    picture.remove_prefix(2);
  }
  // Of a DOUBLE that its text gives by an exponent.
  if (text.find_first_of("eE") != std::string::npos) text = fmt::format("{:f}", std::stod(text));
  std::string places;  // only 9, 0, '.' and ','
  enum class Sign : uint8_t { kBlank, kFront, kBack, kBackMinus } sign = Sign::kBlank;
  for (size_t i = 0; i < picture.size(); ++i) {
    const char c = static_cast<char>(std::toupper(static_cast<unsigned char>(picture[i])));
    if (c == '9' || c == '0' || c == '.' || c == ',') {
      places += c;
    } else if (c == 'D') {
      places += '.';
    } else if (c == 'G') {
      places += ',';
    } else if (c == 'S') {
      sign = places.empty() ? Sign::kFront : Sign::kBack;
    } else if (c == 'M' && i + 1 < picture.size() && std::toupper(picture[i + 1]) == 'I') {
      sign = Sign::kBackMinus;
      ++i;
    } else {
      throw duckdb::InvalidInputException("a number's picture has 9 0 . D , G S MI FM: picture=%s",
                                          std::string(picture));
    }
  }
  const size_t point = std::min(places.find('.'), places.size());
  if (places.find('.', std::min(point + 1, places.size())) != std::string::npos)
    throw duckdb::InvalidInputException("a number's picture has one point: picture=%s",
                                        std::string(picture));
  const auto is_digit = [](char c) { return c == '9' || c == '0'; };
  const auto decimals = static_cast<size_t>(
      std::count_if(places.begin() + static_cast<ptrdiff_t>(point), places.end(), is_digit));
  const auto wholes = static_cast<size_t>(
      std::count_if(places.begin(), places.begin() + static_cast<ptrdiff_t>(point), is_digit));
  const bool finite = text.find_first_of("nN") == std::string::npos;  // inf, nan
  const Digits digits = Round(finite ? text : "0", decimals);

  std::string body;
  const size_t zeros_from = places.substr(0, point).find('0');
  size_t left = wholes;  // places of digits not drawn yet
  bool begun = false;
  for (size_t i = 0; i < point; ++i) {
    if (places[i] == ',') {
      body += begun ? "," : fill ? " " : "";
      continue;
    }
    if (left <= digits.whole.size() && digits.whole.size() <= wholes) {
      body += digits.whole[digits.whole.size() - left];
      begun = true;
    } else if (zeros_from != std::string::npos && i >= zeros_from) {
      body += '0';
      begun = true;
    } else if (left == 1 && decimals == 0) {
      body += '0';
      begun = true;
    } else if (fill) {
      body += ' ';
    }
    --left;
  }
  const bool fits = finite && digits.whole.size() <= wholes;
  if (!fits) {
    body.clear();
    for (const char c : places.substr(0, point)) body += c == ',' ? ',' : '#';
  }
  if (point < places.size()) {
    body += '.';
    std::string fraction = fits ? digits.fraction : std::string(decimals, '#');
    if (!fill && fits) {
      // FM drops the zeros that only a 9 asks for.
      const std::string of = places.substr(point + 1);
      while (!fraction.empty() && fraction.back() == '0' && of[fraction.size() - 1] == '9')
        fraction.pop_back();
    }
    body += fraction;
  }
  const bool minus = digits.negative || text.starts_with('-');
  switch (sign) {
    case Sign::kBack:
      return body + (minus && digits.negative ? "-" : "+");
    case Sign::kBackMinus:
      return body + (digits.negative ? "-" : fill ? " " : "");
    case Sign::kBlank:
    case Sign::kFront:
      break;
  }
  const std::string mark = digits.negative ? "-" : sign == Sign::kFront ? "+" : fill ? " " : "";
  const size_t first = std::min(body.find_first_not_of(' '), body.size());
  return body.substr(0, first) + mark + body.substr(first);
}

void OfTimes(duckdb::DataChunk& input, duckdb::ExpressionState&, duckdb::Vector& result) {
  duckdb::BinaryExecutor::Execute<duckdb::timestamp_t, string_t, string_t>(
      input.data[0], input.data[1], result, input.size(),
      [&](duckdb::timestamp_t time, string_t picture) {
        if (!duckdb::Timestamp::IsFinite(time))
          return duckdb::StringVector::AddString(result, duckdb::Timestamp::ToString(time));
        return duckdb::StringVector::AddString(
            result, TimePicture(time).Draw({picture.GetData(), picture.GetSize()}));
      });
}

void OfNumbers(duckdb::DataChunk& input, duckdb::ExpressionState&, duckdb::Vector& result) {
  duckdb::BinaryExecutor::Execute<string_t, string_t, string_t>(
      input.data[0], input.data[1], result, input.size(), [&](string_t number, string_t picture) {
        return duckdb::StringVector::AddString(
            result, DrawNumber(number.GetString(), {picture.GetData(), picture.GetSize()}));
      });
}

void Never(duckdb::DataChunk&, duckdb::ExpressionState&, duckdb::Vector&) {
  throw duckdb::InternalException("to_char was not bound");
}

duckdb::unique_ptr<duckdb::Expression> AsText(duckdb::FunctionBindExpressionInput& input) {
  return duckdb::BoundCastExpression::AddCastToType(input.context, std::move(input.children[0]),
                                                    LogicalType::VARCHAR);
}

duckdb::unique_ptr<duckdb::Expression> ByPicture(duckdb::FunctionBindExpressionInput& input) {
  const LogicalType type = input.children[0]->return_type;
  LogicalType wanted;
  duckdb::scalar_function_t run;
  if (type.IsNumeric()) {
    wanted = LogicalType::VARCHAR;
    run = OfNumbers;
  } else if (type.IsTemporal() && type.id() != LogicalTypeId::TIME &&
             type.id() != LogicalTypeId::TIME_TZ && type.id() != LogicalTypeId::INTERVAL) {
    // A time with zone is drawn in the session's.
    wanted = LogicalType::TIMESTAMP;
    run = OfTimes;
  } else if (type.id() == LogicalTypeId::SQLNULL || type.id() == LogicalTypeId::UNKNOWN) {
    wanted = LogicalType::TIMESTAMP;
    run = OfTimes;
  } else {
    throw duckdb::BinderException("to_char draws times and numbers: an explicit cast is required");
  }
  duckdb::ScalarFunction function("to_char", {wanted, LogicalType::VARCHAR}, LogicalType::VARCHAR,
                                  run);
  function.SetFallible();
  auto children = std::move(input.children);
  children[0] =
      duckdb::BoundCastExpression::AddCastToType(input.context, std::move(children[0]), wanted);
  duckdb::FunctionBinder binder(input.context);
  return binder.BindScalarFunction(std::move(function), std::move(children));
}

}  // namespace

void RegisterToChar(duckdb::ExtensionLoader& loader) {
  duckdb::ScalarFunctionSet set("to_char");
  duckdb::ScalarFunction plain({LogicalType::ANY}, LogicalType::VARCHAR, Never);
  plain.SetBindExpressionCallback(AsText);
  plain.SetNullHandling(duckdb::FunctionNullHandling::SPECIAL_HANDLING);
  set.AddFunction(plain);
  duckdb::ScalarFunction drawn({LogicalType::ANY, LogicalType::VARCHAR}, LogicalType::VARCHAR,
                               Never);
  drawn.SetBindExpressionCallback(ByPicture);
  drawn.SetNullHandling(duckdb::FunctionNullHandling::SPECIAL_HANDLING);
  set.AddFunction(drawn);
  loader.RegisterFunction(std::move(set));
}

}  // namespace lamina::sql
