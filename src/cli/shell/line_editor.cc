// How Enter, Tab and the arrows work:
//
// 1. The buffer of libedit holds the whole statement, its line ends too, so that earlier lines can
//    still be changed. Enter asks `is_whole`: a text that is not gets a line end and goes on.
// 2. Up and Down move between the lines of the buffer, and at its first and last line in the
//    history: our commands do the former and push libedit's own key for the latter.
// 3. Characters are read by us: libedit would start a read anew after a signal, and Ctrl-C shall
//    give the text up.
#include "cli/shell/line_editor.h"

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <clocale>
#include <csignal>
#include <cstdio>
#include <cwchar>
#include <fcntl.h>
#include <histedit.h>
#include <langinfo.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

#include "cli/terminal.h"
#include <fmt/format.h>

namespace lamina::cli {
namespace {

constexpr int kHistoryMax = 5'000;
constexpr size_t kChoicesMax = 200;
// Keys that stay libedit's own, for our commands to push.
constexpr char kHistoryBack[] = "\x10";     // Ctrl-P
constexpr char kHistoryForward[] = "\x0e";  // Ctrl-N

volatile std::sig_atomic_t terminal_resized = 0;

int CharactersOf(std::string_view text) {
  return static_cast<int>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U;
  }));
}

bool SameStart(std::string_view text, std::string_view start) {
  return text.size() >= start.size() &&
         std::equal(start.begin(), start.end(), text.begin(), [](char a, char b) {
           return std::tolower(static_cast<unsigned char>(a)) ==
                  std::tolower(static_cast<unsigned char>(b));
         });
}

}  // namespace

struct LineEditor::State {
  Callbacks callbacks;
  std::string history_file;
  EditLine* editor = nullptr;
  History* history = nullptr;
  std::string prompt;
  bool interrupted = false;

  static State* Of(EditLine* editor) {
    void* out = nullptr;
    (void)el_get(editor, EL_CLIENTDATA, &out);
    return static_cast<State*>(out);
  }

  static char* Prompt(EditLine* editor) { return State::Of(editor)->prompt.data(); }

  enum class Wait { kInput, kAgain, kInterrupted, kFailed };
  /// The signals arrive only while this waits: none is lost between the question and the wait.
  static Wait WaitForInput(EditLine* editor) {
    sigset_t held, before;
    sigemptyset(&held);
    sigaddset(&held, SIGINT);
    sigaddset(&held, SIGWINCH);
    (void)sigprocmask(SIG_BLOCK, &held, &before);
    Wait out = Wait::kAgain;
    if (Of(editor)->callbacks.is_interrupted()) {
      out = Wait::kInterrupted;
    } else {
      pollfd input{STDIN_FILENO, POLLIN, 0};
      const int ready = ppoll(&input, 1, nullptr, &before);
      if (ready > 0) out = Wait::kInput;
      if (ready < 0 && errno != EINTR) out = Wait::kFailed;
    }
    (void)sigprocmask(SIG_SETMASK, &before, nullptr);
    if (std::exchange(terminal_resized, 0) != 0) el_resize(editor);
    return out;
  }

  /// One character of UTF-8; -1 ends the reading.
  static int ReadChar(EditLine* editor, wchar_t* out) {
    State* state = Of(editor);
    std::mbstate_t shift{};
    for (;;) {
      switch (WaitForInput(editor)) {
        case Wait::kInput:
          break;
        case Wait::kAgain:
          continue;
        case Wait::kInterrupted:
          state->interrupted = true;
          return -1;
        case Wait::kFailed:
          return -1;
      }
      char c = 0;
      const ssize_t n = read(STDIN_FILENO, &c, 1);
      if (n == 0) return 0;
      if (n < 0) {
        if (errno == EINTR) continue;
        return -1;
      }
      const size_t used = std::mbrtowc(out, &c, 1, &shift);
      if (used == static_cast<size_t>(-2)) continue;  // more bytes to come
      if (used == static_cast<size_t>(-1)) {          // no UTF-8: left out
        shift = {};
        continue;
      }
      return 1;
    }
  }

  static bool InputWaits() {
    int waiting = 0;
    return ioctl(STDIN_FILENO, FIONREAD, &waiting) == 0 && waiting > 0;
  }

  static unsigned char Enter(EditLine* editor, int /*key*/) {
    const LineInfo* line = el_line(editor);
    const std::string_view text(line->buffer, static_cast<size_t>(line->lastchar - line->buffer));
    const std::string_view after(line->cursor, static_cast<size_t>(line->lastchar - line->cursor));
    // Within the text, Enter breaks the line there, unless it is whole as it stands.
    if (!Of(editor)->callbacks.is_whole(text)) {
      (void)el_insertstr(editor, "\n");
      return CC_REFRESH;
    }
    // The cursor goes to the end, where the answer begins.
    (void)el_cursor(editor, CharactersOf(after));
    return CC_NEWLINE;
  }

  static unsigned char Up(EditLine* editor, int /*key*/) {
    const LineInfo* line = el_line(editor);
    const std::string_view before(line->buffer, static_cast<size_t>(line->cursor - line->buffer));
    const size_t start = before.rfind('\n');
    if (start == std::string_view::npos) {
      el_push(editor, kHistoryBack);
      return CC_NORM;
    }
    const int column = CharactersOf(before.substr(start + 1));
    const std::string_view above = before.substr(0, start);
    const size_t above_start =
        above.rfind('\n') == std::string_view::npos ? 0 : above.rfind('\n') + 1;
    const int length = CharactersOf(above.substr(above_start));
    (void)el_cursor(editor, -(column + 1 + std::max(0, length - column)));
    return CC_REFRESH;
  }

  static unsigned char Down(EditLine* editor, int /*key*/) {
    const LineInfo* line = el_line(editor);
    const std::string_view before(line->buffer, static_cast<size_t>(line->cursor - line->buffer));
    const std::string_view after(line->cursor, static_cast<size_t>(line->lastchar - line->cursor));
    const size_t end = after.find('\n');
    if (end == std::string_view::npos) {
      el_push(editor, kHistoryForward);
      return CC_NORM;
    }
    const size_t start = before.rfind('\n') == std::string_view::npos ? 0 : before.rfind('\n') + 1;
    const int column = CharactersOf(before.substr(start));
    std::string_view below = after.substr(end + 1);
    below = below.substr(0, below.find('\n'));
    (void)el_cursor(editor,
                    CharactersOf(after.substr(0, end)) + 1 + std::min(column, CharactersOf(below)));
    return CC_REFRESH;
  }

  static unsigned char Tab(EditLine* editor, int /*key*/) {
    const LineInfo* line = el_line(editor);
    const std::string before(line->buffer, static_cast<size_t>(line->cursor - line->buffer));
    // At a line's begin it indents, and tabs that are pasted complete nothing.
    const size_t word = before.find_last_not_of(" \t");
    if (word == std::string::npos || before[word] == '\n' || InputWaits()) {
      (void)el_insertstr(editor, "  ");
      return CC_REFRESH;
    }
    const TabAnswer answer = AnswerTab(before, Of(editor)->callbacks.complete(before));
    if (answer.insert != before.substr(answer.replace_from)) {
      el_deletestr(editor, CharactersOf(before.substr(answer.replace_from)));
      (void)el_insertstr(editor, answer.insert.c_str());
      return CC_REFRESH;
    }
    if (answer.choices.empty()) return CC_REFRESH_BEEP;
    Out("\n" + InColumns(answer.choices, TerminalColumns(STDOUT_FILENO)));
    (void)FlushOut();
    return CC_REDISPLAY;
  }

  void LoadHistory() const {
    if (history_file.empty()) return;
    HistEvent event;
    (void)::history(history, &event, H_LOAD, history_file.c_str());
  }

  /// Added at once and by itself, so that shells beside each other keep each other's lines.
  void SaveLast() const {
    if (history_file.empty()) return;
    const int file = ::open(history_file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (file < 0) return;
    FILE* stream = fdopen(file, "a");
    if (stream == nullptr) {
      (void)close(file);
      return;
    }
    // libedit begins a file with a line of its own and asks the position whether it is empty.
    (void)fseek(stream, 0, SEEK_END);
    HistEvent event;
    (void)::history(history, &event, H_NSAVE_FP, static_cast<size_t>(1), stream);
    (void)fclose(stream);
  }
};

LineEditor::LineEditor(Callbacks callbacks, std::string history_file)
    : state_(std::make_unique<State>()) {
  state_->callbacks = std::move(callbacks);
  state_->history_file = std::move(history_file);
  // Without it, letters beyond ASCII cannot be typed; a machine without locales has this one.
  (void)std::setlocale(LC_CTYPE, "");
  if (std::string_view(nl_langinfo(CODESET)) != "UTF-8") (void)std::setlocale(LC_CTYPE, "C.UTF-8");

  state_->history = history_init();
  HistEvent event;
  (void)history(state_->history, &event, H_SETSIZE, kHistoryMax);
  (void)history(state_->history, &event, H_SETUNIQUE, 1);
  state_->LoadHistory();

  EditLine* editor = el_init("lamina", stdin, stdout, stderr);
  state_->editor = editor;
  (void)el_set(editor, EL_CLIENTDATA, state_.get());
  (void)el_set(editor, EL_PROMPT, &State::Prompt);
  (void)el_set(editor, EL_HIST, &history, state_->history);
  (void)el_set(editor, EL_EDITOR, "emacs");
  (void)el_set(editor, EL_GETCFN, &State::ReadChar);
  // Wide, as libedit loses the copies that it makes of other names.
  (void)el_wset(editor, EL_ADDFN, L"lamina-enter", L"End the statement or its line", &State::Enter);
  (void)el_wset(editor, EL_ADDFN, L"lamina-up", L"Line above, or older statement", &State::Up);
  (void)el_wset(editor, EL_ADDFN, L"lamina-down", L"Line below, or newer statement", &State::Down);
  (void)el_wset(editor, EL_ADDFN, L"lamina-tab", L"Complete", &State::Tab);
  const auto bind = [&](const char* key, const char* command) {
    (void)el_set(editor, EL_BIND, key, command, nullptr);
  };
  bind("^M", "lamina-enter");
  bind("^J", "lamina-enter");
  bind("^I", "lamina-tab");
  for (const char* up : {"\033[A", "\033OA"}) bind(up, "lamina-up");
  for (const char* down : {"\033[B", "\033OB"}) bind(down, "lamina-down");
  bind("^R", "em-inc-search-prev");
  for (const char* home : {"\033[H", "\033OH", "\033[1~"}) bind(home, "ed-move-to-beg");
  for (const char* end : {"\033[F", "\033OF", "\033[4~"}) bind(end, "ed-move-to-end");
  bind("\033[3~", "ed-delete-next-char");
  bind("\033[1;5C", "em-next-word");
  bind("\033[1;5D", "ed-prev-word");

  struct sigaction action {};
  action.sa_handler = [](int) { terminal_resized = 1; };
  (void)sigaction(SIGWINCH, &action, nullptr);
}

LineEditor::~LineEditor() {
  el_end(state_->editor);
  history_end(state_->history);
}

LineEditor::Outcome LineEditor::Read(const std::string& prompt, std::string* text) {
  state_->prompt = prompt;
  state_->interrupted = false;
  text->clear();
  int count = 0;
  // libedit shows the prompt and takes the terminal over after it: a Ctrl-D that comes in between
  // would be the terminal's, and lost.
  (void)el_set(state_->editor, EL_PREP_TERM, 1);
  const char* line = el_gets(state_->editor, &count);
  if (state_->interrupted) {
    Out("^C\n");
    (void)FlushOut();
    el_reset(state_->editor);
    return Outcome::kInterrupted;
  }
  if (line == nullptr || count <= 0) return Outcome::kEnd;
  // By its length: our Enter leaves what lay in the buffer after it.
  text->assign(line, static_cast<size_t>(count));
  while (text->ends_with('\n')) text->pop_back();
  return Outcome::kText;
}

void LineEditor::Remember(const std::string& text) {
  if (text.empty()) return;
  HistEvent event;
  if (history(state_->history, &event, H_ENTER, text.c_str()) >= 0) state_->SaveLast();
}

TabAnswer AnswerTab(std::string_view text, const std::vector<Connection::Completion>& found) {
  TabAnswer out;
  out.replace_from = text.size();
  if (found.empty()) return out;
  // The best one says where the word begins.
  const size_t from = std::min(found[0].replace_from, text.size());
  const std::string_view typed = text.substr(from);
  const bool lower =
      std::any_of(typed.begin(), typed.end(),
                  [](char c) { return std::islower(static_cast<unsigned char>(c)) != 0; }) &&
      std::none_of(typed.begin(), typed.end(),
                   [](char c) { return std::isupper(static_cast<unsigned char>(c)) != 0; });
  std::vector<std::string> fitting;
  for (const auto& one : found) {
    if (one.replace_from != from || !SameStart(one.text, typed)) continue;
    std::string word = one.text;
    // Keywords come in capitals: as the word was begun, so it ends.
    const bool keyword = std::none_of(word.begin(), word.end(), [](char c) {
      return std::islower(static_cast<unsigned char>(c)) != 0 || c == '"';
    });
    if (lower && keyword) {
      for (char& c : word) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    }
    if (std::find(fitting.begin(), fitting.end(), word) == fitting.end()) fitting.push_back(word);
  }
  out.replace_from = from;
  out.insert = std::string(typed);
  if (fitting.empty()) return out;
  if (fitting.size() == 1) {
    out.insert = fitting[0];
    return out;
  }
  std::string common = fitting[0];
  for (const std::string& word : fitting) {
    size_t same = 0;
    while (same < common.size() && same < word.size() && common[same] == word[same]) ++same;
    common.resize(same);
  }
  if (common.size() > typed.size()) out.insert = common;
  for (std::string& word : fitting) {
    while (word.ends_with(' ')) word.pop_back();
    out.choices.push_back(std::move(word));
  }
  return out;
}

std::string InColumns(const std::vector<std::string>& words, size_t width) {
  if (words.empty()) return "";
  const size_t count = std::min(words.size(), kChoicesMax);
  size_t widest = 1;
  for (size_t i = 0; i < count; ++i) widest = std::max(widest, DisplayWidth(words[i]));
  const size_t columns = std::max<size_t>(1, (width + 1) / (widest + 2));
  const size_t lines = (count + columns - 1) / columns;
  std::string out;
  for (size_t l = 0; l < lines; ++l) {
    for (size_t i = l; i < count; i += lines) {
      out += words[i];
      if (i + lines < count) out += std::string(widest - DisplayWidth(words[i]) + 2, ' ');
    }
    out += '\n';
  }
  if (count < words.size()) out += fmt::format("… and {} more\n", words.size() - count);
  return out;
}

}  // namespace lamina::cli
