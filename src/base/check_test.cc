#include "base/check.h"

#include <gtest/gtest.h>

namespace lamina::base {
namespace {

Status Guarded() {
  LAMINA_FAULT_POINT("check_test.guarded");
  return Status::OK();
}

Result<int> GuardedResult() {
  LAMINA_FAULT_POINT("check_test.guarded_result");
  return 7;
}

template <typename T>
void ReachInTemplate() {
  LAMINA_REACHED("check_test.shared");
}

class CheckTest : public ::testing::Test {
 protected:
  void TearDown() override { DisarmFaults(); }
};

TEST_F(CheckTest, FalseConditionStopsWithItsText) {
  // Other tests of this program leave threads behind, which a plain fork would not carry over.
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  LAMINA_CHECK(1 + 1 == 2);
  EXPECT_DEATH(LAMINA_CHECK(1 + 1 == 3), "check failed: 1 \\+ 1 == 3");
  EXPECT_DEATH(LAMINA_CHECK_MSG(false, "why " + std::to_string(5)), "check failed: false: why 5");
}

TEST_F(CheckTest, ProbesCountByNameAndListTheUnreached) {
  ResetProbes();
  if (ReachedProbes().empty()) LAMINA_REACHED("check_test.never");
  LAMINA_REACHED("check_test.shared");
  ReachInTemplate<int>();
  ReachInTemplate<char>();
  EXPECT_EQ(3u, ReachedCount("check_test.shared"));
  bool listed = false;
  for (const auto& [name, hits] : ReachedProbes()) {
    if (name == "check_test.never") {
      listed = true;
      EXPECT_EQ(0u, hits);
    }
  }
  EXPECT_TRUE(listed);
  EXPECT_EQ(0u, ReachedCount("check_test.unknown"));
}

TEST_F(CheckTest, ArmedFaultReturnsItsStatusAfterThePasses) {
  EXPECT_TRUE(Guarded().ok());
  ArmFault("check_test.guarded", MakeError(ErrorCode::kUnavailable, "injected"), 2);
  EXPECT_TRUE(Guarded().ok());
  EXPECT_EQ(7, GuardedResult().ValueOr(0));
  EXPECT_TRUE(Guarded().ok());
  EXPECT_EQ(ErrorCode::kUnavailable, CodeOf(Guarded()));
  EXPECT_FALSE(Guarded().ok());
  ArmFault("check_test.guarded_result", MakeError(ErrorCode::kCorruption, "injected"));
  DisarmFault("check_test.guarded");
  EXPECT_TRUE(Guarded().ok());
  EXPECT_EQ(ErrorCode::kCorruption, CodeOf(GuardedResult().status()));
  DisarmFaults();
  EXPECT_TRUE(GuardedResult().ok());
  EXPECT_FALSE(FaultsArmed());
}

}  // namespace
}  // namespace lamina::base
