// The program is its own victim: started with the environment of a child it writes until it is
// killed.
#include <gtest/gtest.h>

#include "kill_child.h"

int main(int argc, char** argv) {
  lamina::KillChildOptions child;
  if (lamina::KillChildOptionsFromEnvironment(&child)) return lamina::WriteUntilKilled(child);
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
