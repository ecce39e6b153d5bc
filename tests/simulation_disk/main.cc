#include <gtest/gtest.h>

#include "testing/probe_report.h"

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  const int failed = RUN_ALL_TESTS();
  return lamina::testing::ReportProbes("simulation_disk") ? failed : 1;
}
