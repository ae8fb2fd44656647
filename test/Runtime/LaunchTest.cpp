#include "Launch.h"

#include "seqpar/rt/Error.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

namespace seqpar::rt::test {

namespace {

using testing::HasSubstr;

using Values = std::map<std::string, std::string>;

Launch launchOf(const Values &values) {
  return findLaunch([&](const char *name) -> const char * {
    auto found = values.find(name);
    return found == values.end() ? nullptr : found->second.c_str();
  });
}

std::string errorOf(const Values &values) {
  try {
    launchOf(values);
  } catch (const UsageError &error) {
    return error.what();
  }
  return "";
}

const Values kTorchrun = {{"RANK", "3"},           {"WORLD_SIZE", "8"},
                          {"LOCAL_RANK", "1"},     {"LOCAL_WORLD_SIZE", "2"},
                          {"MASTER_ADDR", "head"}, {"MASTER_PORT", "29500"}};

Values with(Values values, const Values &others) {
  for (auto &[name, value] : others)
    values[name] = value;
  return values;
}

Values without(Values values, const std::string &name) {
  values.erase(name);
  return values;
}

TEST(Launch, WithoutALauncherAProcessIsAlone) {
  EXPECT_EQ(launchOf({}).kind, Launch::Alone);
  EXPECT_EQ(launchOf({{"WORLD_SIZE", "4"}}).kind, Launch::Alone);
  EXPECT_EQ(launchOf({{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "4"}}).kind, Launch::Alone);
  EXPECT_EQ(launchOf({{"OMPI_COMM_WORLD_SIZE", "1"}, {"OMPI_COMM_WORLD_RANK", "0"}}).kind,
            Launch::Alone);
  EXPECT_EQ(launchOf({{"RANK", "0"}, {"WORLD_SIZE", "1"}}).kind, Launch::Alone);
}

TEST(Launch, ReadsTheVariablesOfTorchrun) {
  Launch launch = launchOf(kTorchrun);
  EXPECT_EQ(launch.kind, Launch::Tcp);
  EXPECT_EQ(launch.index, 3);
  EXPECT_EQ(launch.count, 8);
  EXPECT_EQ(launch.host, "head");
  EXPECT_EQ(launch.port, 29500);
}

TEST(Launch, ThePortIsNotTheOneOfTorchrunsOwnStore) {
  Values store = with(kTorchrun, {{"TORCHELASTIC_USE_AGENT_STORE", "True"}});
  EXPECT_EQ(launchOf(store).port, 29501);
  EXPECT_EQ(launchOf(with(store, {{"TORCHELASTIC_USE_AGENT_STORE", "False"}})).port, 29500);
  EXPECT_EQ(launchOf(with(store, {{"SEQPAR_PORT", "4711"}})).port, 4711);
  EXPECT_THAT(errorOf(with(store, {{"MASTER_PORT", "65535"}})),
              HasSubstr("MASTER_PORT=65535: expected a whole number from 1 to 65534"));
}

TEST(Launch, RunsOfTorchrunDiffer) {
  auto runOf = [](const char *id, const char *restarts) {
    return launchOf(with(kTorchrun,
                         {{"TORCHELASTIC_RUN_ID", id}, {"TORCHELASTIC_RESTART_COUNT", restarts}}))
        .run;
  };
  EXPECT_EQ(runOf("a", "0"), runOf("a", "0"));
  EXPECT_NE(runOf("a", "0"), runOf("b", "0"));
  EXPECT_NE(runOf("a", "0"), runOf("a", "1"));
}

TEST(Launch, TheInnermostLauncherCounts) {
  Values mpirun = {{"OMPI_COMM_WORLD_SIZE", "2"}, {"OMPI_COMM_WORLD_RANK", "1"}};
  EXPECT_EQ(launchOf(with(kTorchrun, mpirun)).kind, Launch::Mpi);
  EXPECT_EQ(launchOf(with(kTorchrun, mpirun)).count, 2);
  EXPECT_EQ(launchOf(with(kTorchrun, mpirun)).index, 1);
  EXPECT_EQ(launchOf(with(kTorchrun, {{"OMPI_COMM_WORLD_SIZE", "1"}})).kind, Launch::Tcp);
  EXPECT_EQ(launchOf(with(with(kTorchrun, mpirun), {{"TORCHELASTIC_RUN_ID", "none"}})).kind,
            Launch::Tcp);
  Values pmix = {{"PMIX_RANK", "1"}, {"PMIX_SIZE", "2"}};
  EXPECT_EQ(launchOf(with(kTorchrun, pmix)).kind, Launch::Mpi);
  EXPECT_EQ(launchOf(with(with(kTorchrun, pmix), {{"TORCHELASTIC_RUN_ID", "none"}})).kind,
            Launch::Tcp);
  Values srun = {{"SLURM_STEP_NUM_TASKS", "2"}, {"SLURM_PROCID", "1"}};
  EXPECT_EQ(launchOf(srun).kind, Launch::Mpi);
  EXPECT_EQ(launchOf(with(kTorchrun, srun)).kind, Launch::Tcp);
}

TEST(Launch, WrongVariablesAreNamed) {
  auto wrong = [](const char *name, const char *value) {
    return errorOf(with(kTorchrun, {{name, value}}));
  };
  EXPECT_EQ(wrong("RANK", "8"), "RANK=8: expected a whole number from 0 to 7");
  EXPECT_EQ(wrong("RANK", "-1"), "RANK=-1: expected a whole number from 0 to 7");
  EXPECT_EQ(wrong("WORLD_SIZE", "eight"),
            "WORLD_SIZE=eight: expected a whole number from 1 to 65536");
  EXPECT_EQ(wrong("WORLD_SIZE", "8 "), "WORLD_SIZE=8 : expected a whole number from 1 to 65536");
  EXPECT_EQ(wrong("WORLD_SIZE", ""), "WORLD_SIZE=: expected a whole number from 1 to 65536");
  EXPECT_EQ(wrong("LOCAL_WORLD_SIZE", "9"),
            "LOCAL_WORLD_SIZE=9: expected a whole number from 1 to 8");
  EXPECT_EQ(wrong("LOCAL_RANK", "2"), "LOCAL_RANK=2: expected a whole number from 0 to 1");
  EXPECT_EQ(wrong("MASTER_PORT", "0"), "MASTER_PORT=0: expected a whole number from 1 to 65535");
  EXPECT_EQ(wrong("SEQPAR_PORT", "99999999999"),
            "SEQPAR_PORT=99999999999: expected a whole number from 1 to 65535");
  EXPECT_THAT(wrong("MASTER_ADDR", ""), HasSubstr("MASTER_ADDR is not set"));
  EXPECT_THAT(errorOf(without(kTorchrun, "MASTER_PORT")), HasSubstr("MASTER_PORT is not set"));
  EXPECT_THAT(errorOf(without(kTorchrun, "MASTER_ADDR")), HasSubstr("MASTER_ADDR is not set"));
}

} // namespace

} // namespace seqpar::rt::test
