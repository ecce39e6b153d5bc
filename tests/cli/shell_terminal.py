"""The SQL shell at a terminal: a pseudo terminal types and looks at what is shown.

Usage: shell_terminal.py PROGRAM FOLDER CASE. Ends with 0 when everything came as expected; else says what did not.
"""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time

PATIENCE_S = 60
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]|\r")


class Terminal:
    def __init__(self, program, arguments=(), folder=".", rows=50, columns=100, **environment):
        self.seen = ""
        ready, go = os.pipe()
        self.pid, self.descriptor = pty.fork()
        if self.pid == 0:
            os.close(go)
            os.read(ready, 1)  # The size is set first.
            os.chdir(folder)
            variables = dict(os.environ, TERM="xterm", LAMINA_HISTORY=os.path.join(folder, "history"), PAGER="cat")
            variables.pop("NO_COLOR", None)
            variables.pop("LAMINA_DB", None)
            variables.update(environment)
            os.execvpe(program, [program, *arguments], variables)
        os.close(ready)
        fcntl.ioctl(self.descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        os.close(go)

    def type(self, text):
        os.write(self.descriptor, text.encode())

    def read(self, seconds):
        """Adds what comes; False when the program has closed the terminal."""
        if not select.select([self.descriptor], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self.descriptor, 1 << 16)
        except OSError:
            return False
        self.seen += data.decode("utf-8", "replace")
        return bool(data)

    def expect(self, pattern):
        """Waits for a pattern, in the text without escape sequences; takes what came up to its end."""
        end = time.monotonic() + PATIENCE_S
        while True:
            plain = ESCAPES.sub("", self.seen)
            found = re.search(pattern, plain)
            if found:
                self.seen = plain[found.end() :]
                return plain[: found.end()]
            if time.monotonic() > end:
                sys.exit(f"did not come: {pattern!r}; what came: {plain!r}")
            self.read(0.2)

    def ends_with(self, code):
        end = time.monotonic() + PATIENCE_S
        while self.read(0.1) and time.monotonic() < end:
            pass
        if time.monotonic() >= end:
            os.kill(self.pid, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        if status != code:
            sys.exit(f"ended with {status} instead of {code}: {self.seen!r}")


PROMPT = r"lamina> $"


def case_editing(program, folder):
    """Statements of several lines, the history, and keys that move."""
    terminal = Terminal(program, folder=folder)
    terminal.expect(PROMPT)
    terminal.type("SELECT 40 +\r")
    terminal.type("2 AS answer;\r")
    terminal.expect(r"answer")
    terminal.expect(r"│ +42 │")
    terminal.expect(PROMPT)
    # The history gives the whole statement, which is one text to change.
    terminal.type("\x1b[A")
    terminal.expect(r"AS answer;")
    terminal.type("\x7f" + " , 7 AS more;\r")
    terminal.expect(r"│ +42 │ +7 │")
    terminal.expect(PROMPT)
    # Up moves to the line above; Ctrl-A to the beginning, and what is typed there goes there.
    terminal.type("SELECT 1\r")
    terminal.type("AS a;")
    terminal.type("\x1b[A\x1b[D\x1b[D\x1b[D\x1b[D" + "\x1b[C" * 4)
    terminal.type("\x05")
    terminal.type("\r")
    terminal.expect(r"│ +1 │")
    terminal.expect(PROMPT)
    # Letters beyond ASCII.
    terminal.type("SELECT 'Łukasz 🙂' AS name;\r")
    terminal.expect(r"│ Łukasz 🙂 │")
    terminal.expect(PROMPT)
    terminal.type("\x04")
    terminal.ends_with(0)
    # Another session finds it.
    terminal = Terminal(program, folder=folder)
    terminal.expect(PROMPT)
    terminal.type("\x1b[A")
    terminal.expect(r"Łukasz")
    terminal.type("\x15.quit\r")
    terminal.ends_with(0)


def case_completion(program, folder):
    """Tab completes tables, keywords and commands, and lists what there is."""
    terminal = Terminal(program, folder=folder)
    terminal.expect(PROMPT)
    terminal.type("CREATE TABLE customers (id INT PRIMARY KEY); CREATE TABLE custody (id INT PRIMARY KEY);\r")
    terminal.expect(r"CREATE.*\n.*CREATE")
    terminal.expect(PROMPT)
    terminal.type("INSERT INTO customers VALUES (77);\r")
    terminal.expect(r"INSERT 1 row, commit \d+")
    terminal.expect(PROMPT)
    terminal.type("sel\t")  # By itself: a tab within what is pasted completes nothing.
    terminal.expect(r"select ")
    terminal.type("* from customers;\r")
    terminal.expect(r"│ +77 │")
    terminal.expect(PROMPT)
    terminal.type("SELECT id + 1 AS x FROM custom\t")
    terminal.expect(r"customers")
    terminal.type(";\r")
    terminal.expect(r"│ +78 │")
    terminal.expect(PROMPT)
    terminal.type(".describe cust\t")
    terminal.expect(r"custo")
    terminal.type("\t")
    terminal.expect(r"custody +customers")
    terminal.type("mers\r")
    terminal.expect(r"PRI")
    terminal.expect(PROMPT)
    terminal.type(".q\t")
    terminal.expect(r"\.quit")
    terminal.type("\r")
    terminal.ends_with(0)


def case_interrupt(program, folder):
    """Ctrl-C gives up a text, ends a statement, and keeps the shell; the prompt shows the transaction."""
    terminal = Terminal(program, folder=folder)
    terminal.expect(PROMPT)
    terminal.type("SELECT 'never")
    terminal.expect("never")
    terminal.type("\x03")
    terminal.expect(r"\^C\s+lamina> $")
    terminal.type("BEGIN;\r")
    terminal.expect(r"lamina\*> $")
    terminal.type("SELEC 1;\r")
    terminal.expect(r"error T1004")
    terminal.expect(r"lamina!> $")
    terminal.type("ROLLBACK;\r")
    terminal.expect(PROMPT)
    terminal.type("SELECT count(*) FROM range(100000000000) a(i), range(1000) b(j) WHERE hash(i + j) = 1;\r")
    terminal.expect(r"running .*\d")  # The progress, after two seconds.
    begin = time.monotonic()
    terminal.type("\x03")
    terminal.expect(r"error T4006")
    terminal.expect(PROMPT)
    if time.monotonic() - begin > 20:
        sys.exit("Ctrl-C took too long")
    terminal.type("SELECT 6 * 7 AS n;\r")
    terminal.expect(r"│ +42 │")
    terminal.expect(PROMPT)
    terminal.type("\x04")
    terminal.ends_with(0)


def case_output(program, folder):
    """Colours, cuts to the terminal, the pager, and NO_COLOR."""
    terminal = Terminal(program, folder=folder, rows=20, columns=60, PAGER="sed s/^/P:/")
    terminal.expect(PROMPT)
    terminal.type("SELECT repeat('x', 200) AS long, 1 AS n;\r")
    text = terminal.expect(r"1 row\n")
    if "x…" not in text or any(len(line) > 60 for line in text.split("\n") if "│" in line and "SELECT" not in line):
        sys.exit(f"not cut to the terminal: {text!r}")
    terminal.expect(PROMPT)
    terminal.type("FROM range(1000);\r")
    terminal.expect(r"P:┌")  # Taller than the screen: through the pager.
    terminal.expect(r"P:│ +· │")
    terminal.expect(r"P:1,000 rows \(40 shown\)")
    terminal.expect(PROMPT)
    terminal.type("SELEC;\r")
    end = time.monotonic() + PATIENCE_S
    while "LINE 1" not in terminal.seen and time.monotonic() < end:
        terminal.read(0.2)
    if "\x1b[1;31merror T1004:" not in terminal.seen:
        sys.exit(f"the error is not red: {terminal.seen!r}")
    terminal.type(".quit\r")
    terminal.ends_with(0)

    terminal = Terminal(program, folder=folder, NO_COLOR="1")
    terminal.expect(PROMPT)
    terminal.type("SELEC;\r")
    while "LINE 1" not in terminal.seen and time.monotonic() < end:
        terminal.read(0.2)
    if "error T1004:" not in terminal.seen or "\x1b[1;31m" in terminal.seen:
        sys.exit(f"NO_COLOR is not heeded: {terminal.seen!r}")
    terminal.type(".quit\r")
    terminal.ends_with(0)


if __name__ == "__main__":
    signal.alarm(300)
    globals()["case_" + sys.argv[3]](sys.argv[1], sys.argv[2])
