#include "child_process.h"

#include <csignal>
#include <sys/wait.h>
#include <unistd.h>

namespace lamina {

Result<std::string> RunChild(const KillChildOptions& options,
                             const std::vector<std::string>& variables, int64_t micros) {
  std::vector<std::string> environment = KillChildEnvironment(options);
  environment.insert(environment.end(), variables.begin(), variables.end());
  for (char** variable = environ; *variable != nullptr; ++variable)
    environment.emplace_back(*variable);
  std::vector<char*> pointers;
  pointers.reserve(environment.size() + 1);
  for (std::string& variable : environment) pointers.push_back(variable.data());
  pointers.push_back(nullptr);
  char name[] = "durability_test";
  char* const arguments[] = {name, nullptr};

  int ends[2];
  if (pipe(ends) != 0) return Status::IOError("pipe");
  const pid_t pid = fork();
  if (pid == 0) {
    // Only async-signal-safe calls until exec.
    dup2(ends[1], STDOUT_FILENO);
    close(ends[0]);
    close(ends[1]);
    execve("/proc/self/exe", arguments, pointers.data());
    _exit(127);
  }
  close(ends[1]);
  std::string output;
  char buffer[4096];
  // The clock starts with the first acknowledgement, so that slow starts are not all that is
  // killed; some are.
  if (micros >= 0) {
    if (micros % 8 != 0) {
      const ssize_t got = read(ends[0], buffer, sizeof(buffer));
      if (got > 0) output.append(buffer, static_cast<size_t>(got));
    }
    usleep(static_cast<useconds_t>(micros));
    kill(pid, SIGKILL);
  }
  for (;;) {
    const ssize_t got = read(ends[0], buffer, sizeof(buffer));
    if (got <= 0) break;
    output.append(buffer, static_cast<size_t>(got));
  }
  close(ends[0]);
  int status = 0;
  waitpid(pid, &status, 0);
  const bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
  if (killed != (micros >= 0))
    return Status::Invalid("the child ended otherwise than it should: status ", status);
  return output;
}

}  // namespace lamina
