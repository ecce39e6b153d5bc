// The shell at a terminal: signals, line editor, exit codes.
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <sstream>
#include <unistd.h>
#include <utility>

#include "cli/shell/line_editor.h"
#include "cli/shell/shell.h"
#include "cli/terminal.h"
#include <fmt/format.h>

namespace lamina::cli {
namespace {

constexpr int kInterruptedExit = 130;
// Ctrl-C again after so long, while the statement has not ended: the program is meant.
constexpr int64_t kInsistAfterNanos = 1'000'000'000;

// For the signal handler.
std::atomic<Shell*> the_shell{nullptr};
std::atomic<bool> running{false};
std::atomic<int64_t> interrupted_nanos{0};

void OnInterrupt(int /*signal*/) {
  Shell* shell = the_shell.load();
  if (shell == nullptr) _exit(kInterruptedExit);
  const int64_t now = MonotonicNanos();
  const int64_t before = interrupted_nanos.load();
  if (running.load() && before != 0 && now - before > kInsistAfterNanos) {
    // Nothing here needs cleaning that the next open would not do.
    _exit(kInterruptedExit);
  }
  if (before == 0) interrupted_nanos = now;
  shell->Interrupt();
}

void InstallHandlers(bool interactive) {
  struct sigaction action {};
  action.sa_handler = OnInterrupt;
  // No SA_RESTART: a read of the terminal must come back.
  (void)sigaction(SIGINT, &action, nullptr);
  // A pager that is left is no reason to end the shell; for scripts, `lamina -c … | head` is.
  (void)std::signal(SIGPIPE, interactive ? SIG_IGN : SIG_DFL);
}

/// Runs `body` as work that Ctrl-C ends.
template <typename Body>
bool Running(const Body& body) {
  interrupted_nanos = 0;
  running = true;
  const bool good = body();
  running = false;
  return good;
}

std::string HistoryFile() {
  if (const char* file = std::getenv("LAMINA_HISTORY"); file != nullptr) return file;
  const char* home = std::getenv("HOME");
  return home == nullptr || *home == '\0' ? "" : std::string(home) + "/.lamina_history";
}

/// Lines of standard input, until its end or Ctrl-C.
std::optional<std::string> NextLine() {
  static std::string rest;
  static bool ended = false;
  for (;;) {
    if (const size_t end = rest.find('\n'); end != std::string::npos) {
      std::string line = rest.substr(0, end);
      rest.erase(0, end + 1);
      return line;
    }
    if (ended) {
      if (rest.empty()) return std::nullopt;
      return std::exchange(rest, "");
    }
    char buffer[1 << 16];
    const ssize_t n = read(STDIN_FILENO, buffer, sizeof(buffer));
    if (n <= 0) {
      ended = true;
    } else {
      rest.append(buffer, static_cast<size_t>(n));
    }
  }
}

bool RunText(Shell* shell, const std::string& text) {
  std::istringstream in(text);
  return shell->RunLines(
      [&]() -> std::optional<std::string> {
        std::string line;
        if (!std::getline(in, line)) return std::nullopt;
        return line;
      },
      "");
}

/// False: what was named cannot be read, or has an error.
bool RunInit(Shell* shell, const ShellOptions& options, bool interactive) {
  if (!options.init.has_value()) return true;
  std::string path = *options.init;
  if (path.empty()) {
    const char* home = std::getenv("HOME");
    if (!interactive || home == nullptr || *home == '\0') return true;
    path = std::string(home) + "/.laminarc";
    if (access(path.c_str(), F_OK) != 0) return true;
  }
  return Running([&] { return shell->RunFile(path); });
}

int RunScripts(Shell* shell, const ShellOptions& options) {
  bool good = true;
  const auto stop = [&] { return shell->finished() || (!good && !options.keep_going); };
  for (const auto& [is_file, text] : options.inputs) {
    if (stop()) break;
    good = Running([&] { return is_file ? shell->RunFile(text) : RunText(shell, text); }) && good;
  }
  if (options.inputs.empty()) (void)Running([&] { return shell->RunLines(NextLine, ""); });
  if (shell->TakeInterrupt()) return kInterruptedExit;
  return shell->failed() ? 1 : 0;
}

int RunTerminal(Shell* shell, const ShellOptions& options) {
  shell->set_bail(false);
  shell->set_talkative(true);
  Out(fmt::format("LaminaDB {}, {}. .help shows the commands.\n", "0.1.0",
                  options.path.empty() ? "in memory" : options.path));
  (void)FlushOut();
  LineEditor editor({[&](std::string_view text) { return shell->IsWhole(text); },
                     [&](std::string_view text) { return shell->Complete(text); },
                     [&] { return shell->TakeInterrupt(); }},
                    HistoryFile());
  while (!shell->finished()) {
    std::string text;
    interrupted_nanos = 0;
    const auto outcome = editor.Read(shell->Prompt(), &text);
    if (outcome == LineEditor::Outcome::kEnd) {
      Out("\n");
      break;
    }
    if (outcome == LineEditor::Outcome::kInterrupted) continue;
    editor.Remember(text);
    (void)Running([&] { return shell->Run(text); });
    (void)shell->TakeInterrupt();
  }
  (void)FlushOut();
  return 0;
}

}  // namespace

int RunShell(const ShellOptions& options) {
  const bool interactive = options.inputs.empty() && isatty(STDIN_FILENO) == 1;
  Output output;
  const auto error = [](std::string_view text) {
    (void)std::fflush(stdout);  // what was answered before comes before
    (void)fwrite(text.data(), 1, text.size(), stderr);
  };
  Shell shell(&output, error, options);
  if (const Status status = shell.Open(options.path); !status.ok()) {
    shell.Report(status, "");
    return 1;
  }
  output.set_pager(interactive);
  the_shell = &shell;
  InstallHandlers(interactive);
  if (!RunInit(&shell, options, interactive) && !interactive && !options.keep_going) {
    the_shell = nullptr;
    return shell.TakeInterrupt() ? kInterruptedExit : 1;
  }
  const int code = interactive ? RunTerminal(&shell, options) : RunScripts(&shell, options);
  the_shell = nullptr;
  return code;
}

}  // namespace lamina::cli
