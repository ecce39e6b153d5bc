#include "lamina/time.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace lamina {
namespace {

constexpr int64_t kMin = INT64_MIN;
constexpr int64_t kMax = INT64_MAX;

TEST(TimestampTest, FormatsMomentsAndOpenEnds) {
  EXPECT_EQ("1970-01-01 00:00:00.000000Z", FormatTimestamp(0));
  EXPECT_EQ("1969-12-31 23:59:59.999999Z", FormatTimestamp(-1));
  EXPECT_EQ("2013-02-08 17:00:00.000000Z", FormatTimestamp(1360342800000000));
  EXPECT_EQ("infinity", FormatTimestamp(kMax));
  EXPECT_EQ("-infinity", FormatTimestamp(kMin));
  EXPECT_EQ("0000-01-01 00:00:00.000000Z", FormatTimestamp(-62167219200000000));
  EXPECT_EQ("294247-01-10 04:00:54.775806Z", FormatTimestamp(kMax - 1));
}

TEST(TimestampTest, ParsesEveryDocumentedForm) {
  const int64_t five_pm = 1360342800000000;
  for (const char* text :
       {"2013-02-08 17:00", "2013-02-08T17:00:00Z", "2013-02-08 17:00:00.000000Z",
        "2013-02-08 18:00+01:00", "2013-02-08T18:00:00+01", "2013-02-08 11:30:00-0530",
        " 2013-02-08 17:00:00 UTC ", "2013-02-08t17:00:00.0000009z", "1360342800000000",
        "+1360342800000000"}) {
    auto parsed = ParseTimestamp(text);
    ASSERT_TRUE(parsed.ok()) << text << ": " << parsed.status().ToString();
    EXPECT_EQ(five_pm, *parsed) << text;
  }
  EXPECT_EQ(five_pm + 250'000, *ParseTimestamp("2013-02-08T17:00:00.25Z"));
  EXPECT_EQ(0, *ParseTimestamp("1970-01-01"));
  EXPECT_EQ(86'400'000'000, *ParseTimestamp("1970-01-01 24:00"));
  EXPECT_EQ(-5, *ParseTimestamp("-5"));
  EXPECT_EQ(kMax, *ParseTimestamp("infinity"));
  EXPECT_EQ(kMin, *ParseTimestamp("-Infinity"));
  EXPECT_EQ(*ParseTimestamp("2000-02-29"), *ParseTimestamp("2000-02-28 24:00"));
}

TEST(TimestampTest, RefusesWhatIsNoMomentAndNamesTheText) {
  for (const char* text : {"",
                           " ",
                           "now",
                           "2013-13-01",
                           "2013-02-29",
                           "1900-02-29",
                           "2013-02-08 25:00",
                           "2013-02-08 24:01",
                           "2013-02-08 17",
                           "2013-02-08 17:60",
                           "2013-02-08 17:00:60",
                           "2013-02-08 17:00:00.",
                           "2013-2-8",
                           "2013-02-08 17:00 CET",
                           "2013-02-08 17:00+19:00",
                           "2013-02-08x",
                           "99999999999999999999",
                           "999999-01-01",
                           "-999999-01-01",
                           "+-5",
                           "--5",
                           "13-02-08"}) {
    auto parsed = ParseTimestamp(text);
    ASSERT_FALSE(parsed.ok()) << text;
    EXPECT_EQ(ErrorCode::kInvalidArgument, CodeOf(parsed.status()));
    EXPECT_NE(std::string::npos, MessageOf(parsed.status()).find(text));
  }
}

TEST(TimestampTest, FormattedMomentsParseBack) {
  base::Random random(11);
  for (int i = 0; i < 20'000; ++i) {
    const int64_t micros = static_cast<int64_t>(random.Next64()) >> random.Uniform(60);
    auto parsed = ParseTimestamp(FormatTimestamp(micros));
    ASSERT_TRUE(parsed.ok()) << micros << " " << FormatTimestamp(micros);
    ASSERT_EQ(micros, *parsed);
  }
  for (const int64_t micros : {kMin, kMin + 1, kMax - 1, kMax})
    EXPECT_EQ(micros, *ParseTimestamp(FormatTimestamp(micros)));
}

TEST(ErrorTest, CodeMessageAndHintTravelInTheStatus) {
  const Status status = MakeError(ErrorCode::kFenced, "newer writer: epoch=5", "reopen");
  EXPECT_EQ(ErrorCode::kFenced, CodeOf(status));
  EXPECT_EQ("newer writer: epoch=5", MessageOf(status));
  EXPECT_EQ("reopen", HintOf(status));
  EXPECT_EQ("newer writer: epoch=5 hint: reopen", status.message());
  EXPECT_NE(std::string::npos, status.ToString().find("fenced"));
  // A new text around the old error keeps its code.
  const Status wrapped = status.WithMessage("while committing: ", status.message());
  EXPECT_EQ(ErrorCode::kFenced, CodeOf(wrapped));
  EXPECT_EQ("while committing: newer writer: epoch=5 hint: reopen", MessageOf(wrapped));
  EXPECT_EQ("", HintOf(MakeError(ErrorCode::kInternal, "x")));
}

TEST(ErrorTest, EveryCodeSurvivesAndHasItsOwnName) {
  std::string names;
  for (int i = 0; i <= static_cast<int>(ErrorCode::kInternal); ++i) {
    const auto code = static_cast<ErrorCode>(i);
    EXPECT_EQ(code, CodeOf(MakeError(code, "x")));
    const std::string name = "," + std::string(ErrorCodeName(code)) + ",";
    EXPECT_EQ(std::string::npos, names.find(name)) << name;
    names += name;
  }
}

TEST(ErrorTest, PlainArrowStatusesAreMapped) {
  EXPECT_EQ(ErrorCode::kInvalidArgument, CodeOf(Status::Invalid("x")));
  EXPECT_EQ(ErrorCode::kUnavailable, CodeOf(Status::IOError("x")));
  EXPECT_EQ(ErrorCode::kResourceExhausted, CodeOf(Status::OutOfMemory("x")));
  EXPECT_EQ(ErrorCode::kUnsupported, CodeOf(Status::NotImplemented("x")));
  EXPECT_EQ(ErrorCode::kCancelled, CodeOf(Status::Cancelled("x")));
  EXPECT_EQ(ErrorCode::kInternal, CodeOf(Status::UnknownError("x")));
  EXPECT_EQ("x", MessageOf(Status::Invalid("x")));
}

}  // namespace
}  // namespace lamina
