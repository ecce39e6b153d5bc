#include "base/out_of_memory.h"

#include <stdexcept>
#include <utility>

#include <gtest/gtest.h>

namespace lamina::base {
namespace {

TEST(OutOfMemoryTest, BadAllocBecomesAnErrorAndNothingElseDoes) {
  const Status status = Guarded([]() -> Status { throw std::bad_alloc(); });
  EXPECT_EQ(ErrorCode::kResourceExhausted, CodeOf(status));
  EXPECT_EQ("out of memory", MessageOf(status));
  const Result<int> result = Guarded([]() -> Result<int> { throw std::bad_alloc(); });
  EXPECT_EQ(ErrorCode::kResourceExhausted, CodeOf(result.status()));
  EXPECT_EQ(7, *Guarded([]() -> Result<int> { return 7; }));
  EXPECT_THROW((void)Guarded([]() -> Status { throw std::runtime_error("a bug"); }),
               std::runtime_error);
}

TEST(OutOfMemoryTest, ErrorsOfLastResortAreSharedByTheirCopies) {
  for (const auto& [make, code] : {std::pair(&OutOfMemory, ErrorCode::kResourceExhausted),
                                   std::pair(&OutcomeUnknown, ErrorCode::kCommitUnknown),
                                   std::pair(&StoppedOutOfMemory, ErrorCode::kStopped)}) {
    const Status status = make();
    // NOLINTNEXTLINE(performance-unnecessary-copy-initialization): the copy is what is tested
    const Status copy = status;
    const Result<int> result = copy;
    EXPECT_EQ(code, CodeOf(result.status()));
    // The same bytes: nothing was allocated for them.
    EXPECT_EQ(status.message().data(), copy.message().data());
    EXPECT_EQ(status.message().data(), result.status().message().data());
    EXPECT_FALSE(HintOf(status).empty());
  }
}

TEST(OutOfMemoryTest, AnErrorIsKeptWhereThereIsMemoryForIt) {
  Status error = MakeError(ErrorCode::kConflict, "another came first");
  EXPECT_EQ(ErrorCode::kConflict, CodeOf(CopyOf(error)));
  EXPECT_TRUE(CopyOf(Status::OK()).ok());
  EXPECT_EQ(ErrorCode::kStopped,
            CodeOf(ErrorOr([]() -> Status { throw std::bad_alloc(); }, StoppedOutOfMemory())));
  EXPECT_EQ(ErrorCode::kConflict, CodeOf(ErrorOr([&] { return error; }, StoppedOutOfMemory())));
}

}  // namespace
}  // namespace lamina::base
