// The program is its own victim: started with LAMINA_KILL_CHILD it writes until it is killed.
#include <cstdlib>

#include <gtest/gtest.h>

#include "kill_child.h"

int main(int argc, char** argv) {
  if (const char* directory = std::getenv("LAMINA_KILL_CHILD"))
    return lamina::WriteUntilKilled(directory);
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
